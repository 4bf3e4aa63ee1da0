// Stacks that one OS thread switches between, and what the sanitizers must be told of it.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_acquire(void*);
extern "C" void __tsan_release(void*);
// The bookkeeping of the emulation, which ThreadSanitizer must not take for the kernel's.
#define BEBR_UNSEEN __attribute__((no_sanitize("thread"), noinline))
#else
#define BEBR_UNSEEN
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulate {

#if defined(__x86_64__)
// What a function keeps for its caller, on the stack that is left; swapcontext would make two system calls a switch.
struct Context {
  void* stack_pointer = nullptr;
};
extern "C" void bebr_emulate_switch(void** from, void* to);
asm(R"(
.text
.weak bebr_emulate_switch
.type bebr_emulate_switch,@function
bebr_emulate_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size bebr_emulate_switch,.-bebr_emulate_switch
)");
BEBR_UNSEEN inline void jump(Context& from, Context& to) { bebr_emulate_switch(&from.stack_pointer, to.stack_pointer); }
BEBR_UNSEEN inline void prepare(Context& context, uint8_t* stack, size_t bytes, void (*entry)()) {
  void** top = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15});
  *--top = nullptr;  // entry finds its stack as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  context.stack_pointer = top;
}
#else
struct Context {
  ucontext_t at{};
};
BEBR_UNSEEN inline void jump(Context& from, Context& to) { swapcontext(&from.at, &to.at); }
BEBR_UNSEEN inline void prepare(Context& context, uint8_t* stack, size_t bytes, void (*entry)()) {
  getcontext(&context.at);
  context.at.uc_stack.ss_sp = stack;
  context.at.uc_stack.ss_size = bytes;
  makecontext(&context.at, entry, 0);
}
#endif

// ThreadSanitizer: what comes before happens_before(at) is seen behind happens_after(at).
inline void happens_before([[maybe_unused]] void* at) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(at);
#endif
}
inline void happens_after([[maybe_unused]] void* at) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(at);
#endif
}

}  // namespace emulate
