/*
 * cudnn_library.c - stands in for cuDNN at link time, and loads it when attention may use it.
 *
 * Few machines have it, and nothing needs it: so its functions are defined here, each passing on to
 * the loaded library's. What stands below is every function that Galley calls.
 */
#include "kernels/cuda/cudnn_library.h"

#include "device/shared_library.h"

#include <cudnn.h>

/* Up to 9.15.0 the backward pass reads outside its tensors, when replayed in a graph, for sequences
 * that are no multiple of 128 long. */
enum { OLDEST_VERSION = 91501 };

/* F(result type, name, parameters, arguments); P: of one without a result */
#define FUNCTIONS(F, P)                                                                            \
    F(size_t, cudnnGetVersion, (void), ())                                                         \
    F(const char *, cudnnGetErrorString, (cudnnStatus_t status), (status))                         \
    P(void, cudnnGetLastErrorString, (char *message, size_t bytes), (message, bytes))              \
    F(cudnnStatus_t, cudnnCreate, (cudnnHandle_t * handle), (handle))                              \
    F(cudnnStatus_t, cudnnDestroy, (cudnnHandle_t handle), (handle))                               \
    F(cudnnStatus_t, cudnnSetStream, (cudnnHandle_t handle, cudaStream_t stream),                  \
      (handle, stream))                                                                            \
    F(cudnnStatus_t, cudnnBackendCreateDescriptor,                                                 \
      (cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t * descriptor),                  \
      (type, descriptor))                                                                          \
    F(cudnnStatus_t, cudnnBackendDestroyDescriptor, (cudnnBackendDescriptor_t descriptor),         \
      (descriptor))                                                                                \
    F(cudnnStatus_t, cudnnBackendFinalize, (cudnnBackendDescriptor_t descriptor), (descriptor))    \
    F(cudnnStatus_t, cudnnBackendSetAttribute,                                                     \
      (cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,                      \
       cudnnBackendAttributeType_t type, int64_t count, const void *values),                       \
      (descriptor, name, type, count, values))                                                     \
    F(cudnnStatus_t, cudnnBackendGetAttribute,                                                     \
      (cudnnBackendDescriptor_t const descriptor, cudnnBackendAttributeName_t name,                \
       cudnnBackendAttributeType_t type, int64_t wanted, int64_t *count, void *values),            \
      (descriptor, name, type, wanted, count, values))                                             \
    F(cudnnStatus_t, cudnnBackendExecute,                                                          \
      (cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack),        \
      (handle, plan, pack))

/* Written once, by cudnn_load, as the loader would write the program's own table. */
#define POINTER(result, name, parameters, arguments) result(*name) parameters;
static struct {
    FUNCTIONS(POINTER, POINTER)
} library;

#define PASS_ON(result, name, parameters, arguments)                                               \
    result name parameters                                                                         \
    {                                                                                              \
        return library.name arguments;                                                             \
    }
#define DO_IT_THERE(result, name, parameters, arguments)                                           \
    result name parameters                                                                         \
    {                                                                                              \
        library.name arguments;                                                                    \
    }
FUNCTIONS(PASS_ON, DO_IT_THERE)

#define SYMBOL(result, name, parameters, arguments) {#name, &library.name},

struct error *cudnn_load(void)
{
    static const struct shared_library_symbol symbols[] = {FUNCTIONS(SYMBOL, SYMBOL){NULL, NULL}};
    TRY(shared_library_find("libcudnn.so." SHARED_LIBRARY_VERSION(CUDNN_MAJOR), symbols));
    const int version = (int)cudnnGetVersion();
    if (version < OLDEST_VERSION)
        return error_new(ERROR_DEVICE, "cuDNN %d.%d.%d is older than %d.%d.%d", version / 10000,
                         version / 100 % 100, version % 100, OLDEST_VERSION / 10000,
                         OLDEST_VERSION / 100 % 100, OLDEST_VERSION % 100);
    return NULL;
}
