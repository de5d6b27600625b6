/* table.c - fills the kernel tables of a CUDA device and holds what they share. */
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/matmul.h"
#include "kernels/tables.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TYPES = 3,         /* of activations, by enum dtype */
    ROW_BYTES = 16,    /* what rows of operands should begin at multiples of */
};

_Static_assert(CUDA_LARGEST_HEAD % ROW_BYTES == 0, "padding makes a head that fits too large");

struct cuda_state {
    struct matmul_plans *plans;
    struct attention_plans *attention;
    void *scratch;
    size_t scratch_bytes;
    size_t shared_bytes;    /* of shared memory, that the GPU gives a block */
    struct kernels tables[TYPES];
    char names[TYPES][64];
};

static struct cuda_state *state_of(struct device *device)
{
    return device_attached(device);
}

struct matmul_plans *cuda_matmul_plans(struct device *device)
{
    return state_of(device)->plans;
}

struct attention_plans *cuda_attention_plans(struct device *device)
{
    return state_of(device)->attention;
}

void *cuda_scratch(struct device *device, size_t bytes)
{
    const struct cuda_state *s = state_of(device);
    if (bytes > s->scratch_bytes)
        BUG("a kernel needs %zu bytes of scratch, %zu are reserved", bytes, s->scratch_bytes);
    return s->scratch;
}

void cuda_launched(struct device *device, cudaError_t status, const char *kernel,
                   const char *shape, ...)
{
    if (status == cudaSuccess)
        return;
    char text[128];
    va_list arguments;
    va_start(arguments, shape);
    vsnprintf(text, sizeof text, shape, arguments);
    va_end(arguments);
    device_fail(device, error_context(device_cuda_check(device, status, "launch"),
                                      "in kernel %s of %s", kernel, text));
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* fp32 gradients of the largest weight. */
static size_t largest_weight_bytes(const struct kernel_limits *l)
{
    size_t columns = larger((size_t)l->V, (size_t)l->F);
    columns = larger(columns, 3 * (size_t)l->NH * (size_t)l->HS);
    return columns * (size_t)l->C * sizeof(float);
}

/* What no kernel could be launched for is refused here, before there is anything to lose. */
static struct error *check_limits(const struct cuda_state *s, const struct kernel_limits *limits)
{
    if (limits->HS > CUDA_LARGEST_HEAD)
        return error_new(ERROR_USAGE, "heads of %d channels, padding included: a GPU takes at most "
                         "%d; set model.heads higher", limits->HS, CUDA_LARGEST_HEAD);
    const size_t wanted = cuda_layernorm_shared_bytes(limits->C);
    if (wanted > s->shared_bytes)
        return error_new(ERROR_USAGE, "rows of %d channels take %zu bytes of shared memory to "
                         "normalise, and this GPU gives a block %zu; set model.channels to at most "
                         "%zu", limits->C, wanted, s->shared_bytes,
                         s->shared_bytes / cuda_layernorm_shared_bytes(1));
    return NULL;
}

static struct error *reserve(struct device *device, const struct kernel_limits *limits,
                             enum dtype act)
{
    struct cuda_state *s = state_of(device);
    TRY(check_limits(s, limits));
    size_t bytes = cuda_classifier_scratch_bytes(limits, act);
    bytes = larger(bytes, cuda_layernorm_scratch_bytes(limits));
    bytes = larger(bytes, cuda_linear_scratch_bytes(limits));
    bytes = larger(bytes, cuda_attention_scratch_bytes(limits));
    bytes = larger(bytes, cuda_attention_reserve(s->attention, limits, act));
    bytes = larger(bytes, cuda_sums_scratch_bytes());
    if (bytes > s->scratch_bytes) {
        void *memory;
        TRY(device_allocate(device, &memory, bytes, "kernel scratch"));
        s->scratch = memory;    /* the smaller one stays with the device: graphs may use it */
        s->scratch_bytes = bytes;
    }
    return cuda_matmul_reserve(s->plans, device, largest_weight_bytes(limits));
}

/* Every slot in each type: SLOT(name) makes the three instances of cuda_name, SLOT_BY(name,
 * function) those of cuda_function. */
#define SLOT(slot) SLOT_BY(slot, slot)
#define SLOT_BY(slot, function)                                                                    \
    static void slot##_f32(struct device *d, const struct slot *a)                                 \
    {                                                                                              \
        cuda_##function(d, DTYPE_F32, a);                                                          \
    }                                                                                              \
    static void slot##_bf16(struct device *d, const struct slot *a)                                \
    {                                                                                              \
        cuda_##function(d, DTYPE_BF16, a);                                                         \
    }                                                                                              \
    static void slot##_f16(struct device *d, const struct slot *a)                                 \
    {                                                                                              \
        cuda_##function(d, DTYPE_F16, a);                                                          \
    }

SLOT(embed_forward)
SLOT(embed_backward)
SLOT(layernorm_forward)
SLOT(layernorm_backward)
SLOT(linear_forward)
SLOT(linear_backward)
SLOT_BY(attention_forward, fastest_attention_forward)
SLOT_BY(attention_backward, fastest_attention_backward)
SLOT(attention_decode)
SLOT(classifier)
SLOT(sum_losses)
SLOT(logits_forward)
SLOT(draw)
SLOT(largest)
SLOT(plan_update)
SLOT(adam)
SLOT(add)
SLOT(convert)
SLOT(sum_of_squares)
SLOT(checksum)

static struct error *reserve_f32(struct device *device, const struct kernel_limits *limits)
{
    return reserve(device, limits, DTYPE_F32);
}

static struct error *reserve_bf16(struct device *device, const struct kernel_limits *limits)
{
    return reserve(device, limits, DTYPE_BF16);
}

static struct error *reserve_f16(struct device *device, const struct kernel_limits *limits)
{
    return reserve(device, limits, DTYPE_F16);
}

#define TABLE(type)                                                                                \
    {                                                                                              \
        .reserve = reserve_##type, .embed_forward = embed_forward_##type,                          \
        .embed_backward = embed_backward_##type, .layernorm_forward = layernorm_forward_##type,    \
        .layernorm_backward = layernorm_backward_##type, .linear_forward = linear_forward_##type,  \
        .linear_backward = linear_backward_##type, .attention_forward = attention_forward_##type,  \
        .attention_backward = attention_backward_##type,                                           \
        .attention_decode = attention_decode_##type, .classifier = classifier_##type,              \
        .sum_losses = sum_losses_##type, .logits_forward = logits_forward_##type,                  \
        .draw = draw_##type, .largest = largest_##type,                                        \
        .plan_update = plan_update_##type, .adam = adam_##type, .convert = convert_##type,         \
        .sum_of_squares = sum_of_squares_##type, .checksum = checksum_##type, .add = add_##type,   \
    }

static const struct kernels tables[TYPES] = {
    [DTYPE_F32] = TABLE(f32), [DTYPE_BF16] = TABLE(bf16), [DTYPE_F16] = TABLE(f16)};

static void destroy_state(void *self)
{
    struct cuda_state *s = self;
    cuda_attention_close(s->attention);
    cuda_matmul_close(s->plans);
    free(s);
}

/* Every GPU that there is gives enough; but one to come, or a part of one, may not. */
static struct error *ask_shared_bytes(size_t *out, struct device *device)
{
    int ordinal = 0, bytes = 0;
    TRY(device_cuda_check(device, cudaGetDevice(&ordinal), "cudaGetDevice"));
    TRY(device_cuda_check(device,
                          cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                                 ordinal), "cudaDeviceGetAttribute"));
    if (bytes < CUDA_SHARED_BYTES)
        return error_new(ERROR_DEVICE, "GPU %d gives a block %d bytes of shared memory, and the "
                         "kernels need %d; use another GPU, or set device.kind to cpu", ordinal,
                         bytes, CUDA_SHARED_BYTES);
    *out = (size_t)bytes;
    return NULL;
}

static struct error *attach_state(struct device *device)
{
    struct cuda_state *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory for the CUDA kernels (%zu bytes)", sizeof *s);
    struct error *e = ask_shared_bytes(&s->shared_bytes, device);
    if (!e)
        e = cuda_matmul_open(&s->plans, device);
    if (!e)
        e = cuda_attention_open(&s->attention, device);
    if (e) {
        destroy_state(s);
        return e;
    }
    for (int type = 0; type < TYPES; type++) {
        const bool tf32 = type == DTYPE_F32 && device_cuda_options(device)->tf32;
        snprintf(s->names[type], sizeof s->names[type], "cuda %s%s",
                 dtype_name((enum dtype)type), tf32 ? " (products in TF32)" : "");
        s->tables[type] = tables[type];
        s->tables[type].name = s->names[type];
        s->tables[type].activation = (enum dtype)type;
        /* For cuBLASLt's fast algorithms, and attention's loads. */
        s->tables[type].head_alignment = ROW_BYTES / (int)dtype_bytes((enum dtype)type);
    }
    device_attach(device, s, destroy_state);
    return NULL;
}

struct error *kernels_for_cuda(const struct kernels **out, struct device *device,
                               enum dtype activation)
{
    if (!device_attached(device))
        TRY(attach_state(device));
    *out = &state_of(device)->tables[activation];
    return NULL;
}
