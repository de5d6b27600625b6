/* attention_cudnn_none.c - attention in a build without cuDNN: our own kernels. */
#include "kernels/cuda/attention_cudnn.h"

struct error *cuda_attention_open(struct attention_plans **out, struct device *device)
{
    (void)device;
    *out = NULL;
    return NULL;
}

size_t cuda_attention_reserve(struct attention_plans *plans, const struct kernel_limits *limits,
                              enum dtype act)
{
    (void)plans;
    (void)limits;
    (void)act;
    return 0;
}

void cuda_attention_close(struct attention_plans *plans)
{
    (void)plans;
}

void cuda_fastest_attention_forward(struct device *device, enum dtype act,
                                    const struct attention_forward *a)
{
    cuda_attention_forward(device, act, a);
}

void cuda_fastest_attention_backward(struct device *device, enum dtype act,
                                     const struct attention_backward *a)
{
    cuda_attention_backward(device, act, a);
}
