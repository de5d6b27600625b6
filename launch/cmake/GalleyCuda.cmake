# The CUDA toolkit, where it is wanted and there: GALLEY_CUDA_FOUND.

set(GALLEY_CUDA_FOUND FALSE)
if(NOT GALLEY_CUDA)
    message(STATUS "GPU kernels: left out (GALLEY_CUDA=${GALLEY_CUDA})")
    return()
endif()

find_program(GALLEY_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME /usr/local/cuda PATH_SUFFIXES bin)
find_program(GALLEY_NVCC_HOST NAMES g++ c++)    # what nvcc compiles the host's part with
mark_as_advanced(GALLEY_NVCC GALLEY_NVCC_HOST)
if(GALLEY_NVCC AND NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${GALLEY_NVCC})
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80)    # until the compiler is known; targets say what they need
endif()
if(GALLEY_NVCC AND GALLEY_NVCC_HOST)
    enable_language(CUDA)
    find_package(CUDAToolkit 12.0)
endif()
if(NOT CUDAToolkit_FOUND)
    if(GALLEY_CUDA STREQUAL AUTO)
        message(STATUS "GPU kernels: left out, there is no CUDA toolkit (nvcc) or no g++ for it")
        return()
    endif()
    message(FATAL_ERROR "there is no CUDA toolkit of version 12.0 or later (GALLEY_CUDA=${GALLEY_CUDA}): "
        "put nvcc and g++ on PATH or set CUDACXX, or build with -DGALLEY_CUDA=OFF")
endif()

set(GALLEY_CUDA_FOUND TRUE)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
if(NOT GALLEY_CUDA_ARCHITECTURES)
    set(GALLEY_CUDA_ARCHITECTURES 80 90a)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
        list(APPEND GALLEY_CUDA_ARCHITECTURES 100)
    endif()
endif()
message(STATUS "GPU kernels: CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${GALLEY_CUDA_ARCHITECTURES}")

# NCCL sums over GPUs. Only its header is needed to build; the library is loaded when ranks need it.
find_path(GALLEY_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV NCCL_HOME PATH_SUFFIXES include)
mark_as_advanced(GALLEY_NCCL_INCLUDE)
set(GALLEY_NCCL_FOUND FALSE)
if(GALLEY_NCCL_INCLUDE)
    set(GALLEY_NCCL_FOUND TRUE)
else()
    message(STATUS "GPU kernels: no nccl.h (libnccl-dev), so one rank only on GPUs; set NCCL_HOME to have more")
endif()

# cuDNN may run attention. Only its headers are needed to build; the library is loaded where it is there and
# device.tune is on.
find_path(GALLEY_CUDNN_INCLUDE cudnn_graph.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV CUDNN_HOME PATH_SUFFIXES include)
mark_as_advanced(GALLEY_CUDNN_INCLUDE)
set(GALLEY_CUDNN_FOUND FALSE)
if(GALLEY_CUDNN_INCLUDE)
    foreach(part MAJOR MINOR)
        file(STRINGS ${GALLEY_CUDNN_INCLUDE}/cudnn_version.h line REGEX "define CUDNN_${part} ")
        string(REGEX MATCH "[0-9]+$" cudnn_${part} "${line}")
    endforeach()
    if(cudnn_MAJOR EQUAL 9 AND cudnn_MINOR GREATER_EQUAL 8)    # which can plan for a GPU that is not there
        set(GALLEY_CUDNN_FOUND TRUE)
    endif()
endif()
if(NOT GALLEY_CUDNN_FOUND)
    message(STATUS "GPU kernels: no headers of cuDNN 9 (cudnn_graph.h), so attention by our own kernels only; set "
        "CUDNN_HOME to have it tried as well")
endif()
