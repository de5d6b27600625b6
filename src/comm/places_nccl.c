/* places_nccl.c - the library, and a GPU for every rank. */
#include "comm/places_nccl.h"

#include "comm/library_nccl.h"
#include "device/device_cuda.h"
#include "device/shared_library.h"

#include <nccl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a rank brings; compared byte by byte. */
struct place {
    char host[128];
    unsigned char gpu[16];    /* its UUID */
    int version;
    int multicast;            /* whether the GPU's switches can add */
};

/* The runtime has no name for this attribute of the driver's. */
enum { MULTICAST_SUPPORTED = 132 };

static struct error *check_driver(const struct device *device, int result, const char *call)
{
    return result == 0 ? NULL
                       : error_new(ERROR_DEVICE, "%s of the NVIDIA driver on %s: error %d", call,
                                   device_description(device), result);
}

/* The driver knows an attribute that is younger than it as an invalid value. */
static struct error *find_multicast(int *multicast, const struct device *device, int ordinal)
{
    enum { INVALID_VALUE = 1 };
    int (*get)(int *gpu, int ordinal);
    int (*get_attribute)(int *value, int attribute, int gpu);
    const struct shared_library_symbol symbols[] = {
        {"cuDeviceGet", &get}, {"cuDeviceGetAttribute", &get_attribute}, {NULL, NULL}};
    int gpu, value = 0;
    TRY(shared_library_load("libcuda.so.1", symbols));
    TRY(check_driver(device, get(&gpu, ordinal), "cuDeviceGet"));
    const int result = get_attribute(&value, MULTICAST_SUPPORTED, gpu);
    *multicast = result == 0 && value;
    return result == INVALID_VALUE ? NULL : check_driver(device, result, "cuDeviceGetAttribute");
}

static struct error *find_place(struct place *place, const struct comm *comm,
                                const struct device *device)
{
    struct cudaDeviceProp properties;
    int ordinal;
    TRY(nccl_load());
    const ncclResult_t result = ncclGetVersion(&place->version);
    if (result != ncclSuccess)
        return error_new(ERROR_COMMUNICATION, "ncclGetVersion: %s", ncclGetErrorString(result));
    TRY(device_cuda_check(device, cudaGetDevice(&ordinal), "cudaGetDevice"));
    TRY(device_cuda_check(device, cudaGetDeviceProperties(&properties, ordinal),
                          "cudaGetDeviceProperties"));
    memcpy(place->gpu, &properties.uuid, sizeof place->gpu);
    snprintf(place->host, sizeof place->host, "%s", comm_host(comm));
    return find_multicast(&place->multicast, device, ordinal);
}

/* NCCL lets ranks share a GPU only if it takes them for different hosts, or is told to. */
static bool may_share_gpu(void)
{
    return getenv("NCCL_HOSTID") || getenv("NCCL_MULTI_RANK_GPU_ENABLE");
}

static struct error *compare_places(const struct place *all, int n)
{
    for (int r = 0; r < n; r++) {
        if (all[r].version != all[0].version)
            return error_new(ERROR_COMMUNICATION, "rank 0 (%s) has NCCL %d, rank %d (%s) has %d; "
                             "the same libnccl.so must be found on every host", all[0].host,
                             all[0].version, r, all[r].host, all[r].version);
        for (int other = 0; other < r && !may_share_gpu(); other++)
            if (!memcmp(all[r].gpu, all[other].gpu, sizeof all[r].gpu))
                return error_new(ERROR_USAGE, "ranks %d and %d (host %s) have the same GPU: every "
                                 "rank needs its own; start at most as many ranks a host as it has "
                                 "GPUs, and look at CUDA_VISIBLE_DEVICES", other, r, all[r].host);
    }
    return NULL;
}

/* Whether NCCL's settings file at `path` says anything of NVLS. It goes before NCCL's own choice,
 * but not before the environment. */
static bool file_chooses_nvls(const char *path)
{
    char line[1024];
    bool found = false;
    FILE *const file = fopen(path, "re");
    if (!file)
        return false;
    while (!found && fgets(line, sizeof line, file))
        found = !strncmp(line, "NCCL_NVLS_ENABLE", strlen("NCCL_NVLS_ENABLE"));
    fclose(file);
    return found;
}

static bool user_chooses_nvls(void)
{
    char path[4096];
    const char *const named = getenv("NCCL_CONF_FILE"), *const home = getenv("HOME");
    snprintf(path, sizeof path, "%s/.nccl.conf", home ? home : "");
    return getenv("NCCL_NVLS_ENABLE") || file_chooses_nvls(named ? named : path) ||
           file_chooses_nvls("/etc/nccl.conf");
}

/*
 * NVLS, sums within NVLink's switches: by NCCL's own choice (2) a rank that fails to set them up
 * goes on without, and in versions before 2.29 (it was seen in 2.27 and 2.28) the others then hang.
 * With 1 failing is an error; but the GPUs are not asked any more whether they can. So they are
 * asked here, and all ranks do the same.
 */
static void choose_nvls(const struct place *all, int n)
{
    bool everywhere = true;
    if (all[0].version >= NCCL_VERSION(2, 29, 0) || user_chooses_nvls())
        return;
    for (int r = 0; r < n; r++)
        everywhere &= all[r].multicast != 0;
    setenv("NCCL_NVLS_ENABLE", everywhere ? "1" : "0", 1);
}

struct error *places_nccl_prepare(struct comm *comm, struct device *device)
{
    const int n = comm_world_size(comm);
    struct place mine = {0};
    TRY(comm_agree(comm, find_place(&mine, comm, device)));
    struct place *all = calloc((size_t)n, sizeof *all);
    if (!all)
        return error_new(ERROR_MEMORY, "no memory for the places of %d ranks", n);
    struct error *e = comm_all_gather(comm, &mine, all, sizeof mine);
    if (!e)
        e = comm_agree(comm, compare_places(all, n));
    if (!e)
        choose_nvls(all, n);
    free(all);
    return e;
}
