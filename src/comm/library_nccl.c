/*
 * library_nccl.c - stands in for NCCL at link time, and loads it when ranks sum on GPUs.
 *
 * Linked in the ordinary way, its 200 megabytes would be mapped by every start of the program, and
 * a machine without it could not start the program at all. So its functions are defined here, each
 * passing on to the loaded library's. What stands below is every function that Galley calls.
 */
#include "comm/library_nccl.h"

#include "device/shared_library.h"

#include <nccl.h>

/* F(result type, name, parameters, arguments) */
#define FUNCTIONS(F)                                                                               \
    F(ncclResult_t, ncclGetVersion, (int *version), (version))                                     \
    F(const char *, ncclGetErrorString, (ncclResult_t result), (result))                           \
    F(const char *, ncclGetLastError, (ncclComm_t comm), (comm))                                   \
    F(ncclResult_t, ncclGetUniqueId, (ncclUniqueId * id), (id))                                    \
    F(ncclResult_t, ncclCommInitRankConfig,                                                        \
      (ncclComm_t * comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config),             \
      (comm, ranks, id, rank, config))                                                             \
    F(ncclResult_t, ncclCommGetAsyncError, (ncclComm_t comm, ncclResult_t *result),                \
      (comm, result))                                                                              \
    F(ncclResult_t, ncclCommFinalize, (ncclComm_t comm), (comm))                                   \
    F(ncclResult_t, ncclCommDestroy, (ncclComm_t comm), (comm))                                    \
    F(ncclResult_t, ncclCommAbort, (ncclComm_t comm), (comm))                                      \
    F(ncclResult_t, ncclAllReduce,                                                                 \
      (const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t op,              \
       ncclComm_t comm, cudaStream_t stream),                                                      \
      (from, to, count, type, op, comm, stream))                                                   \
    F(ncclResult_t, ncclGroupStart, (void), ())                                                    \
    F(ncclResult_t, ncclGroupEnd, (void), ())                                                      \
    F(ncclResult_t, ncclMemAlloc, (void **memory, size_t bytes), (memory, bytes))                  \
    F(ncclResult_t, ncclMemFree, (void *memory), (memory))                                         \
    F(ncclResult_t, ncclCommRegister,                                                              \
      (const ncclComm_t comm, void *memory, size_t bytes, void **handle),                          \
      (comm, memory, bytes, handle))                                                               \
    F(ncclResult_t, ncclCommDeregister, (const ncclComm_t comm, void *handle), (comm, handle))

/* Written once, by nccl_load, as the loader would write the program's own table. */
#define POINTER(result, name, parameters, arguments) result(*name) parameters;
static struct {
    FUNCTIONS(POINTER)
} library;

/* The header declares them without a prototype. */
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);

#define PASS_ON(result, name, parameters, arguments)                                               \
    result name parameters                                                                         \
    {                                                                                              \
        return library.name arguments;                                                             \
    }
FUNCTIONS(PASS_ON)

#define SYMBOL(result, name, parameters, arguments) {#name, &library.name},

struct error *nccl_load(void)
{
    static const struct shared_library_symbol symbols[] = {FUNCTIONS(SYMBOL){NULL, NULL}};
    return shared_library_load("libnccl.so." SHARED_LIBRARY_VERSION(NCCL_MAJOR), symbols);
}
