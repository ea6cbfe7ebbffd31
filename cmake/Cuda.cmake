# Sets QP_WITH_CUDA, QP_CUDA_FLAGS and QP_NVTX_INCLUDE_DIR.
#
# QP_CUDA=AUTO builds the CUDA backend where there are nvcc, a C++ compiler and cuBLAS, and says so where there are not; ON
# insists; OFF leaves it out. A sanitizer's build leaves it out, too: nvcc's host code knows no such build, and the card has
# compute-sanitizer.
set(QP_CUDA AUTO CACHE STRING "Build the CUDA backend: AUTO, ON or OFF")
set_property(CACHE QP_CUDA PROPERTY STRINGS AUTO ON OFF)

string(TOUPPER "${QP_CUDA}" QP_CUDA)
if(QP_CUDA MATCHES "^(1|YES|TRUE)$")
  set(QP_CUDA ON)
elseif(QP_CUDA MATCHES "^(0|NO|FALSE)$")
  set(QP_CUDA OFF)
elseif(NOT QP_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "QP_CUDA is '${QP_CUDA}'; it must be AUTO, ON or OFF")
endif()

set(QP_WITH_CUDA OFF)
set(missing "")
if(QP_CUDA STREQUAL "OFF")
  set(missing "QP_CUDA is OFF")
elseif(QP_SANITIZE)
  set(missing "this build is for sanitizers")
else()
  include(CheckLanguage)
  check_language(CXX)
  if(CMAKE_CXX_COMPILER)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      set(CMAKE_CUDA_ARCHITECTURES 90)
      set(CMAKE_CUDA_STANDARD 17)
      set(CMAKE_CUDA_STANDARD_REQUIRED ON)
      set(CMAKE_CUDA_EXTENSIONS OFF)
      enable_language(CXX CUDA)
      find_package(CUDAToolkit QUIET)
      if(NOT TARGET CUDA::cublas)
        set(missing "the CUDA toolkit has no cuBLAS")
      endif()
    else()
      set(missing "there is no nvcc")
    endif()
  else()
    set(missing "nvcc needs a C++ compiler")
  endif()
endif()

if(NOT missing)
  set(QP_WITH_CUDA ON)
  set(CMAKE_INSTALL_RPATH "${CUDAToolkit_LIBRARY_DIR}") # cuBLAS is beside the toolkit, not in the system's folders
  set(CMAKE_BUILD_RPATH "${CUDAToolkit_LIBRARY_DIR}")
  message(STATUS "CUDA backend: yes, nvcc ${CMAKE_CUDA_COMPILER_VERSION}, for compute capability 9.0")
elseif(QP_CUDA STREQUAL "ON")
  message(FATAL_ERROR "CUDA backend: QP_CUDA is ON, but ${missing}")
else()
  message(STATUS "CUDA backend: no, ${missing}; the CPU backend is complete without it")
endif()

# -fmad=false: no rounding point of a contract is contracted away.
set(QP_CUDA_FLAGS -fmad=false -Xcompiler=-Wall,-Wextra $<$<BOOL:${QP_WERROR}>:--Werror=all-warnings>)

# NVTX is headers alone, in the toolkit; profilers see the CPU backend's ranges through it, too. The payload's header came
# later than the others, with other names at first.
find_path(QP_NVTX_INCLUDE_DIR nvtx3/nvToolsExtPayload.h HINTS ${CUDAToolkit_INCLUDE_DIRS} /usr/local/cuda/include)
set(found "")
if(QP_NVTX_INCLUDE_DIR)
  file(STRINGS ${QP_NVTX_INCLUDE_DIR}/nvtx3/nvToolsExtPayload.h found REGEX NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_NAME
       LIMIT_COUNT 1)
endif()
if(found)
  message(STATUS "NVTX ranges: yes")
else()
  set(QP_NVTX_INCLUDE_DIR "")
  message(STATUS "NVTX ranges: no, nvtx3/nvToolsExtPayload.h was not found, or is too old")
endif()
