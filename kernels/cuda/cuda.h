/*
 * cuda.h - what the CUDA kernels share: their state on the device, and the functions table.c
 * collects.
 *
 * One file a family of kernels: its entry points, below, choose the launch geometry, queue the
 * kernels on the device's stream and latch what fails. `act` is the type of the activations.
 */
#ifndef GALLEY_KERNELS_CUDA_CUDA_H
#define GALLEY_KERNELS_CUDA_CUDA_H

#ifdef __cplusplus
extern "C" {
#endif

#include "device/device_cuda.h"
#include "kernels/kernels.h"

struct matmul_plans;
struct matmul_plans *cuda_matmul_plans(struct device *device);
/* The scratch memory that all kernels of the device share one after the other, aligned to 256
 * bytes; asking for more than was reserved is a bug. */
void *cuda_scratch(struct device *device, size_t bytes);
/* Latches a failed launch, named by its kernel and the shape it was asked for. */
void cuda_launched(struct device *device, cudaError_t status, const char *kernel,
                   const char *shape, ...) PRINTF_LIKE(4, 5);

/* The largest head that attention takes. */
enum { CUDA_LARGEST_HEAD = 128 };
/* Of shared memory, what kernels may ask of every GPU for a block: 8.6, 8.9 and 12.0 have no more.
 * A GPU that gives less is refused. */
enum { CUDA_SHARED_BYTES = 99 * 1024 };

void cuda_embed_forward(struct device *, enum dtype act, const struct embed_forward *);
void cuda_embed_backward(struct device *, enum dtype act, const struct embed_backward *);
void cuda_layernorm_forward(struct device *, enum dtype act, const struct layernorm_forward *);
void cuda_layernorm_backward(struct device *, enum dtype act, const struct layernorm_backward *);
void cuda_linear_forward(struct device *, enum dtype act, const struct linear_forward *);
void cuda_linear_backward(struct device *, enum dtype act, const struct linear_backward *);
void cuda_attention_forward(struct device *, enum dtype act, const struct attention_forward *);
void cuda_attention_backward(struct device *, enum dtype act, const struct attention_backward *);
void cuda_attention_decode(struct device *, enum dtype act, const struct attention_decode *);
void cuda_classifier(struct device *, enum dtype act, const struct classifier *);
void cuda_logits_forward(struct device *, enum dtype act, const struct logits_forward *);
void cuda_draw(struct device *, enum dtype act, const struct draw *);
void cuda_largest(struct device *, enum dtype act, const struct largest *);
void cuda_sum_losses(struct device *, enum dtype act, const struct sum_losses *);
void cuda_plan_update(struct device *, enum dtype act, const struct plan_update *);
void cuda_adam(struct device *, enum dtype act, const struct adam *);
void cuda_convert(struct device *, enum dtype act, const struct convert *);
void cuda_sum_of_squares(struct device *, enum dtype act, const struct sum_of_squares *);
void cuda_checksum(struct device *, enum dtype act, const struct checksum *);
void cuda_add(struct device *, enum dtype act, const struct add *);

/* The scratch each family needs at most, for reserve. */
size_t cuda_layernorm_scratch_bytes(const struct kernel_limits *limits);
size_t cuda_linear_scratch_bytes(const struct kernel_limits *limits);
size_t cuda_attention_scratch_bytes(const struct kernel_limits *limits);
size_t cuda_classifier_scratch_bytes(const struct kernel_limits *limits, enum dtype act);
size_t cuda_sums_scratch_bytes(void);
/* Shared memory of a block that normalises rows of C channels: at least this. */
size_t cuda_layernorm_shared_bytes(int C);

#ifdef __cplusplus
}
#endif

#endif
