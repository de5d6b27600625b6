/* cudart_device.cpp - the simulated CUDA runtime: devices, versions, errors. */
#include "cudart.h"

#include "calls.h"
#include "device.h"
#include "memory.h"
#include "settings.h"

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>

namespace simgpu {

namespace {

thread_local cudaError_t last_error;
thread_local int current_device;

struct error_text {
    cudaError_t error;
    const char *name, *text;
};

/* The ones that the simulated device itself gives; the texts are CUDA's. */
const error_text error_texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access "
     "was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {cudaErrorGraphExecUpdateFailure, "cudaErrorGraphExecUpdateFailure",
     "the graph update was not performed because it included changes which violated constraints "
     "specific to instantiated graph update"},
};

const error_text &text_of(cudaError_t error)
{
    static thread_local char name[32], text[32];
    static thread_local error_text other;
    for (const error_text &t : error_texts)
        if (t.error == error)
            return t;
    snprintf(name, sizeof name, "cudaError_%d", (int)error);
    snprintf(text, sizeof text, "error number %d", (int)error);
    other = {error, name, text};
    return other;
}

int device_count()
{
    return (int)settings().devices.size();
}

cudaError_t need_device(int device)
{
    if (!settings().driver)
        return cudaErrorInsufficientDriver;
    if (settings().devices.empty())
        return cudaErrorNoDevice;
    return device >= 0 && device < device_count() ? cudaSuccess : cudaErrorInvalidDevice;
}

/* The number that all processes have for it, from 1. */
int bus_of(int device)
{
    return settings().devices[(size_t)device] + 1;
}

}    // namespace

cudaError_t leave(cudaError_t status)
{
    if (status != cudaSuccess)
        last_error = status;
    return status;
}

cudaError_t enter(const char *call)
{
    const int injected = enter_call(call);
    if (injected)
        return leave((cudaError_t)injected);
    const cudaError_t device = need_device(current_device);
    if (device != cudaSuccess)
        return leave(device);
    return leave((cudaError_t)device_failure());
}

}    // namespace simgpu

using namespace simgpu;

extern "C" {

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = settings().driver ? CUDART_VERSION : 0;
    return leave((cudaError_t)enter_call(__func__));
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return leave((cudaError_t)enter_call(__func__));
}

cudaError_t cudaGetDeviceCount(int *count)
{
    const int injected = enter_call(__func__);
    if (injected)
        return leave((cudaError_t)injected);
    const cudaError_t status = need_device(0);
    if (status == cudaSuccess)
        *count = device_count();
    return leave(status);
}

cudaError_t cudaSetDevice(int device)
{
    const int injected = enter_call(__func__);
    if (injected)
        return leave((cudaError_t)injected);
    const cudaError_t status = need_device(device);
    if (status == cudaSuccess)
        current_device = device;
    return leave(status);
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current_device;
    return enter(__func__);
}

/* The smallest of the GPUs that Galley is built for, in what kernels can run out of. */
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    if (need_device(device) != cudaSuccess)
        return leave(need_device(device));
    *properties = {};
    snprintf(properties->name, sizeof properties->name, "simulated GPU");
    properties->major = 8;
    properties->minor = 6;
    properties->totalGlobalMem = settings().memory_bytes;
    properties->multiProcessorCount = 3;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->maxThreadsPerMultiProcessor = 1536;
    properties->sharedMemPerBlock = 48 * 1024;
    properties->sharedMemPerBlockOptin = settings().shared_bytes;
    properties->sharedMemPerMultiprocessor = settings().shared_bytes + 1024;
    properties->pciBusID = bus_of(device);
    memset(properties->uuid.bytes, bus_of(device), sizeof properties->uuid.bytes);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    cudaError_t status = enter(__func__);
    if (status == cudaSuccess)
        status = need_device(device);
    if (status != cudaSuccess)
        return leave(status);
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = 8; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 6; break;
    case cudaDevAttrMultiProcessorCount: *value = 3; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)settings().shared_bytes; break;
    case cudaDevAttrPciBusId: *value = bus_of(device); break;
    default: return leave(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int bytes, int device)
{
    cudaError_t status = enter(__func__);
    if (status == cudaSuccess)
        status = need_device(device);
    if (status == cudaSuccess)
        snprintf(id, (size_t)bytes, "0000:%02X:00.0", bus_of(device));
    return leave(status);
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    *total = settings().memory_bytes;
    *free = *total - memory_used();
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t status = last_error;
    last_error = (cudaError_t)device_failure();
    return status;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    return text_of(error).name;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return text_of(error).text;
}

/* ---- of the driver: just what the runtime has no call for ---- */

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    const cudaError_t status = enter(__func__);
    *device = ordinal;
    return (CUresult)(status != cudaSuccess ? status : need_device(ordinal));
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return (CUresult)status;
    if (attribute != CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED)
        return CUDA_ERROR_INVALID_VALUE;
    *value = bus_of(device) <= settings().multicast_devices;
    return CUDA_SUCCESS;
}

}    // extern "C"
