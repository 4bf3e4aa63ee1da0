// BEBR_INLINE: loop counts and modes are literals at every call of such a function, so its loops unroll and its
// branches fold.
#pragma once

#define BEBR_INLINE static inline __attribute__((always_inline))
