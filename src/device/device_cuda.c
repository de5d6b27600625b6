/*
 * device_cuda.c - an NVIDIA GPU as a device: kernels and copies are queued on streams.
 *
 * The CUDA runtime is linked statically and looks for the driver when it is first called, so a
 * program with GPU kernels starts on a machine without a GPU as fast as one without them.
 *
 * A process drives one GPU: that of its local rank where several are visible, or the only one where
 * a launcher shows each rank its own (Slurm's --gpus-per-task). Memory is allocated with
 * cudaMalloc, which costs nothing in the loop, as all of it is asked for before the first step.
 */
#include "device/device_cuda.h"

#include "device/backend.h"
#include "device/events_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST_MAJOR = 8 };    /* compute capability: what the kernels' tensor-core products need */

struct cuda_device {
    struct device_options options;
    int ordinal;
    char name[64];                       /* "NVIDIA H200" */
    cudaStream_t streams[DEVICE_STREAMS];
    cudaStream_t fetch;                  /* for device_fetch, of any thread */
};

/* ---- errors ---- */

static struct error *check(const struct cuda_device *c, cudaError_t status, const char *call)
{
    if (status == cudaSuccess)
        return NULL;
    (void)cudaGetLastError();    /* or a later check would see it again */
    return error_new(ERROR_DEVICE, "%s on GPU %d (%s, local rank %d): %s (%s)", call, c->ordinal,
                     c->name, c->options.local_rank, cudaGetErrorString(status),
                     cudaGetErrorName(status));
}

struct error *device_cuda_check(const struct device *device, cudaError_t status, const char *call)
{
    return check(device_self(device), status, call);
}

void device_cuda_latch(struct device *device, cudaError_t status, const char *call)
{
    if (status != cudaSuccess)
        device_fail(device, device_cuda_check(device, status, call));
}

/* ---- which GPU ---- */

/* True also where there is a driver but something is wrong with it: cuda_open says what. */
static bool cuda_available(void)
{
    int driver = 0, count = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return false;
    const cudaError_t e = cudaGetDeviceCount(&count);
    (void)cudaGetLastError();
    return e == cudaSuccess ? count > 0 : e != cudaErrorNoDevice;
}

static struct error *choose_gpu(int *ordinal, const struct device_options *options)
{
    int driver = 0, count = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return error_new(ERROR_DEVICE, "no NVIDIA driver is loaded (libcuda.so.1); run where there "
                         "is one, or set device.kind to cpu");
    const cudaError_t e = cudaGetDeviceCount(&count);
    if (e != cudaSuccess || count == 0)
        return error_new(ERROR_DEVICE, "no GPU is visible (driver for CUDA %d.%d): %s; look at "
                         "CUDA_VISIBLE_DEVICES and nvidia-smi, or set device.kind to cpu",
                         driver / 1000, driver % 1000 / 10, cudaGetErrorString(e));
    if (count > 1 && options->local_rank >= count)
        return error_new(ERROR_USAGE, "%d ranks on this node, but %d GPUs are visible: start at "
                         "most as many ranks a node as it has GPUs", options->local_size, count);
    *ordinal = count > 1 ? options->local_rank : 0;
    return NULL;
}

/* ---- life ---- */

static struct error *create_streams(struct cuda_device *c)
{
    int lowest = 0, highest = 0;
    TRY(check(c, cudaDeviceGetStreamPriorityRange(&lowest, &highest),
              "cudaDeviceGetStreamPriorityRange"));
    for (int i = 0; i < DEVICE_STREAMS; i++) {
        /* Sums over ranks are short and others wait for them: they go first. */
        const int priority = i == STREAM_COMMUNICATION ? highest : lowest;
        TRY(check(c, cudaStreamCreateWithPriority(&c->streams[i], cudaStreamNonBlocking, priority),
                  "cudaStreamCreateWithPriority"));
    }
    return check(c, cudaStreamCreateWithPriority(&c->fetch, cudaStreamNonBlocking, lowest),
                 "cudaStreamCreateWithPriority");
}

static void cuda_close(void *self)
{
    struct cuda_device *c = self;
    for (int i = 0; i < DEVICE_STREAMS; i++)
        if (c->streams[i])
            cudaStreamDestroy(c->streams[i]);
    if (c->fetch)
        cudaStreamDestroy(c->fetch);
    free(c);
}

static struct error *set_up(struct cuda_device *c, char *description, size_t bytes)
{
    struct cudaDeviceProp properties;
    TRY(choose_gpu(&c->ordinal, &c->options));
    TRY(check(c, cudaGetDeviceProperties(&properties, c->ordinal), "cudaGetDeviceProperties"));
    snprintf(c->name, sizeof c->name, "%.63s", properties.name);
    if (properties.major < OLDEST_MAJOR)
        return error_new(ERROR_DEVICE, "GPU %d (%s) has compute capability %d.%d; %d.0 is the "
                         "least that the kernels run on; set device.kind to cpu", c->ordinal,
                         c->name, properties.major, properties.minor, OLDEST_MAJOR);
    TRY(check(c, cudaSetDevice(c->ordinal), "cudaSetDevice"));
    TRY(create_streams(c));
    snprintf(description, bytes, "cuda, GPU %d, %s, %.0f GiB", c->ordinal, c->name,
             (double)properties.totalGlobalMem / (1 << 30));
    return NULL;
}

static struct error *cuda_open(void **self, int *threads, char *description, size_t bytes,
                               const struct device_options *options)
{
    struct cuda_device *c = calloc(1, sizeof *c);
    if (!c)
        return error_new(ERROR_MEMORY, "no memory for the GPU's device (%zu bytes)", sizeof *c);
    c->options = *options;
    struct error *e = set_up(c, description, bytes);
    if (e) {
        cuda_close(c);
        return e;
    }
    *threads = options->threads > 0 ? options->threads : 1;
    *self = c;
    return NULL;
}

cudaStream_t device_cuda_stream_of(const struct device *device, enum device_stream stream)
{
    const struct cuda_device *c = device_self(device);
    return c->streams[stream];
}

cudaStream_t device_cuda_stream(const struct device *device)
{
    return device_cuda_stream_of(device, STREAM_COMPUTE);
}

const struct device_options *device_cuda_options(const struct device *device)
{
    const struct cuda_device *c = device_self(device);
    return &c->options;
}

/* ---- memory ---- */

static struct error *cuda_allocate(void *self, void **out, size_t bytes, const char *purpose)
{
    const struct cuda_device *c = self;
    const size_t some = bytes > 0 ? bytes : 1;
    void *memory = NULL;
    const cudaError_t status = cudaMalloc(&memory, some);
    if (status == cudaErrorMemoryAllocation) {
        size_t unused = 0, total = 0;
        (void)cudaMemGetInfo(&unused, &total);
        (void)cudaGetLastError();
        return error_new(ERROR_MEMORY, "GPU %d (%s) has no memory for %s: %.1f MB wanted, %.1f of "
                         "%.1f MB free; use a smaller micro-batch or model", c->ordinal, c->name,
                         purpose, 1e-6 * (double)bytes, 1e-6 * (double)unused,
                         1e-6 * (double)total);
    }
    TRY(check(c, status, "cudaMalloc"));
    struct error *e = check(c, cudaMemsetAsync(memory, 0, some, c->streams[STREAM_COMPUTE]),
                            "cudaMemsetAsync");
    if (!e)
        e = check(c, cudaStreamSynchronize(c->streams[STREAM_COMPUTE]), "cudaStreamSynchronize");
    if (e) {
        cudaFree(memory);
        return e;
    }
    *out = memory;
    return NULL;
}

static void cuda_release(void *self, void *memory, size_t bytes)
{
    (void)self;
    (void)bytes;
    cudaFree(memory);
}

static struct error *cuda_allocate_host(void *self, void **out, size_t bytes, const char *purpose)
{
    void *memory = NULL;
    struct error *e = check(self, cudaHostAlloc(&memory, bytes > 0 ? bytes : 1,
                                                cudaHostAllocDefault), "cudaHostAlloc");
    if (e)
        return error_context(e, "no pinned memory for %s (%zu bytes)", purpose, bytes);
    memset(memory, 0, bytes);
    *out = memory;
    return NULL;
}

static void cuda_release_host(void *self, void *memory, size_t bytes)
{
    (void)self;
    (void)bytes;
    cudaFreeHost(memory);
}

static void copy_on(struct device *device, enum device_stream stream, void *to, const void *from,
                    size_t bytes, enum cudaMemcpyKind kind)
{
    if (bytes > 0)
        device_cuda_latch(device, cudaMemcpyAsync(to, from, bytes, kind,
                                                  device_cuda_stream_of(device, stream)),
                          "cudaMemcpyAsync");
}

static void cuda_copy_in(struct device *device, void *to, const void *host, size_t bytes)
{
    copy_on(device, STREAM_COMPUTE, to, host, bytes, cudaMemcpyHostToDevice);
}

static void cuda_copy_out(struct device *device, void *host, const void *from, size_t bytes)
{
    copy_on(device, STREAM_COMPUTE, host, from, bytes, cudaMemcpyDeviceToHost);
}

static void cuda_copy(struct device *device, void *to, const void *from, size_t bytes)
{
    copy_on(device, STREAM_COMPUTE, to, from, bytes, cudaMemcpyDeviceToDevice);
}

static void cuda_upload(struct device *device, void *to, const void *host, size_t bytes)
{
    copy_on(device, STREAM_UPLOAD, to, host, bytes, cudaMemcpyHostToDevice);
}

static void cuda_zero(struct device *device, void *memory, size_t bytes)
{
    if (bytes > 0)
        device_cuda_latch(device, cudaMemsetAsync(memory, 0, bytes, device_cuda_stream(device)),
                          "cudaMemsetAsync");
}

static void cuda_copy_rows_in(struct device *device, void *to, const void *host,
                              const struct device_rows *r)
{
    device_cuda_latch(device, cudaMemcpy2DAsync(to, r->stride, host, r->bytes, r->bytes, r->count,
                                                cudaMemcpyHostToDevice,
                                                device_cuda_stream(device)),
                      "cudaMemcpy2DAsync");
}

static struct error *cuda_fetch_rows(void *self, void *host, const void *from,
                                     const struct device_rows *r)
{
    const struct cuda_device *c = self;
    TRY(check(c, cudaSetDevice(c->ordinal), "cudaSetDevice"));    /* it is the thread's own */
    TRY(check(c, cudaMemcpy2DAsync(host, r->bytes, from, r->stride, r->bytes, r->count,
                                   cudaMemcpyDeviceToHost, c->fetch), "cudaMemcpy2DAsync"));
    return check(c, cudaStreamSynchronize(c->fetch), "cudaStreamSynchronize");
}

static struct error *cuda_fetch(void *self, void *host, const void *from, size_t bytes)
{
    const struct cuda_device *c = self;
    TRY(check(c, cudaSetDevice(c->ordinal), "cudaSetDevice"));    /* it is the thread's own */
    TRY(check(c, cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, c->fetch),
              "cudaMemcpyAsync"));
    return check(c, cudaStreamSynchronize(c->fetch), "cudaStreamSynchronize");
}

static struct error *cuda_synchronize(void *self)
{
    const struct cuda_device *c = self;
    for (int i = 0; i < DEVICE_STREAMS; i++)
        TRY(check(c, cudaStreamSynchronize(c->streams[i]), "cudaStreamSynchronize"));
    return NULL;
}

const struct backend backend_cuda = {
    .kind = "cuda",
    .available = cuda_available,
    .open = cuda_open,
    .close = cuda_close,
    .allocate = cuda_allocate,
    .release = cuda_release,
    .allocate_host = cuda_allocate_host,
    .release_host = cuda_release_host,
    .copy_in = cuda_copy_in,
    .copy_out = cuda_copy_out,
    .copy = cuda_copy,
    .zero = cuda_zero,
    .upload = cuda_upload,
    .fetch = cuda_fetch,
    .copy_rows_in = cuda_copy_rows_in,
    .fetch_rows = cuda_fetch_rows,
    .synchronize = cuda_synchronize,
    .runs_behind = true,
    .event_create = cuda_event_create,
    .event_destroy = cuda_event_destroy,
    .event_record = cuda_event_record,
    .event_wait = cuda_event_wait,
    .event_done = cuda_event_done,
    .event_seconds = cuda_event_seconds,
    .graph_begin = cuda_graph_begin,
    .graph_end = cuda_graph_end,
    .graph_launch = cuda_graph_launch,
    .graph_destroy = cuda_graph_destroy,
};
