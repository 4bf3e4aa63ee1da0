# bebr_device, what bebr._cuda and the tests on a GPU are made of, where there is nvcc 13: on PATH, named by CUDACXX, or beside the Python that builds (the packages of the
# dependency group "cuda" in pyproject.toml). Not by enable_language(CUDA): its test of the compiler fails with the
# packages, which keep their libraries in lib/ where nvcc looks in lib64/.
if(NOT BEBR_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "BEBR_CUDA is '${BEBR_CUDA}': want AUTO, ON or OFF")
endif()
if(BEBR_CUDA STREQUAL "OFF")
  return()
endif()

# site-packages of the environment itself: a build in isolation does not see it on sys.path.
execute_process(COMMAND ${Python_EXECUTABLE} -c "import sysconfig; print(sysconfig.get_path('purelib'))"
                OUTPUT_VARIABLE PACKAGES OUTPUT_STRIP_TRAILING_WHITESPACE)
get_filename_component(NAMED "$ENV{CUDACXX}" DIRECTORY)
find_program(NVCC nvcc HINTS ${NAMED} ${PACKAGES}/nvidia/cu13/bin PATHS /usr/local/cuda/bin)
get_filename_component(CUDA_HOME "${NVCC}/../.." ABSOLUTE)
find_library(CUDART cudart_static HINTS ${CUDA_HOME}/lib ${CUDA_HOME}/lib64 NO_DEFAULT_PATH)
set(REASON "")
if(NOT NVCC)
  set(REASON "no nvcc is found (pip install --group cuda)")
elseif(NOT CUDART)
  set(REASON "${NVCC} has no cudart_static beside it")
else()
  execute_process(COMMAND ${NVCC} --version OUTPUT_VARIABLE NVCC_VERSION)
  if(NOT NVCC_VERSION MATCHES "release 13\\.")
    set(REASON "${NVCC} is not of CUDA 13")
  endif()
endif()
if(REASON)
  if(BEBR_CUDA STREQUAL "ON")
    message(FATAL_ERROR "BEBR_CUDA is ON, but ${REASON}")
  endif()
  message(STATUS "bebr._cuda is not built: ${REASON}")
  return()
endif()
message(STATUS "CUDA kernels are built by ${NVCC} for ${BEBR_CUDA_ARCHITECTURES}")

# -fmad=false is the kernels' -ffp-contract=off. Registers that spill would be slow in silence: an error. Compressed, the
# kernels take two thirds of the room.
set(NVCC_FLAGS -std=c++20 -O3 -fmad=false --compress-mode=size -Xcompiler=-fPIC,-fvisibility=hidden -Xptxas=-warn-spills)
if(BEBR_WERROR)
  list(APPEND NVCC_FLAGS -Werror=all-warnings -Xptxas=-Werror)
endif()
set(NVCC_TARGETS "")
foreach(ARCHITECTURE ${BEBR_CUDA_ARCHITECTURES})
  if(ARCHITECTURE MATCHES "^compute_")  # PTX, which a driver compiles for devices that are newer than nvcc
    list(APPEND NVCC_TARGETS -gencode=arch=${ARCHITECTURE},code=${ARCHITECTURE})
  else()
    list(APPEND NVCC_TARGETS -gencode=arch=compute_${ARCHITECTURE},code=sm_${ARCHITECTURE})
  endif()
endforeach()
file(GLOB CUDA_SOURCES CONFIGURE_DEPENDS csrc/cuda/*.cu)
set(CUDA_OBJECTS "")
foreach(SOURCE ${CUDA_SOURCES})
  get_filename_component(NAME ${SOURCE} NAME_WE)
  set(OBJECT ${CMAKE_CURRENT_BINARY_DIR}/cuda/${NAME}.o)
  set(TARGETS ${NVCC_TARGETS})
  if(NAME MATCHES "_sm90$")  # instructions that one architecture has, and none after it
    set(TARGETS -gencode=arch=compute_90a,code=sm_90a)
  endif()
  add_custom_command(
    OUTPUT ${OBJECT}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/cuda
    COMMAND ${NVCC} ${NVCC_FLAGS} ${TARGETS} -I${CMAKE_CURRENT_SOURCE_DIR}/csrc -MD -MF ${OBJECT}.d -c ${SOURCE} -o ${OBJECT}
    DEPENDS ${SOURCE} DEPFILE ${OBJECT}.d VERBATIM)
  list(APPEND CUDA_OBJECTS ${OBJECT})
endforeach()
file(GLOB CUDA_HOST CONFIGURE_DEPENDS csrc/cuda/*.cpp)
add_library(bebr_device STATIC ${CUDA_HOST} ${CUDA_OBJECTS})
target_link_libraries(bebr_device PUBLIC bebr_engine ${CUDART} ${CMAKE_DL_LIBS} rt)
