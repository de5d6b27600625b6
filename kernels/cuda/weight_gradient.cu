/*
 * weight_gradient.cu - what a batch adds to the gradients of a weight and of its bias.
 *
 * Both read dy: the weight's as an operand of a product, the bias's as sums over its rows. cuBLASLt
 * can sum in passing; it writes the sums rather than adding them, so they go to scratch first.
 * Where that is not had, or not faster, dy is read once more by column_sums.cu.
 */
#include "kernels/cuda/weight_gradient.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/matmul.h"

namespace {

/* The arguments, and where in scratch the parts of column sums and whole sums lie. */
struct gradient_call {
    struct device *device;
    const char *kernel;
    enum dtype act;
    const struct cuda_weight_gradient *a;
    float *parts, *sums;
};

void add_sums(const gradient_call &call, float *to)
{
    struct add add = {};
    add.y = to;
    add.x = call.sums;
    add.count = call.a->M;
    cuda_add(call.device, call.act, &add);
}

void sum_rows(const gradient_call &call, float *to)
{
    const struct cuda_weight_gradient *a = call.a;
    cuda_column_sums(call.device, call.kernel, call.act, to, a->dy, a->N, a->M, a->ld, call.parts);
}

/* To be timed, sums are added to scratch. */
void try_add(void *self)
{
    const gradient_call &call = *static_cast<const gradient_call *>(self);
    add_sums(call, call.parts);
}

void try_sum_rows(void *self)
{
    const gradient_call &call = *static_cast<const gradient_call *>(self);
    sum_rows(call, call.sums);
}

} // namespace

size_t cuda_weight_gradient_floats(size_t M)
{
    return (COLUMN_SUMS_PARTS + 1) * M;
}

void cuda_add_weight_gradient(struct device *device, const char *kernel, enum dtype act,
                              const struct cuda_weight_gradient *a)
{
    gradient_call call = {device, kernel, act, a, a->scratch,
                          a->scratch + COLUMN_SUMS_PARTS * (int64_t)a->M};
    struct cuda_matmul product = {};
    product.c = a->dweight;
    product.a = a->x;
    product.transpose_a = true;
    product.b = a->dy;
    product.ldb = a->ld;
    product.M = a->K;
    product.N = a->M;
    product.K = a->N;
    product.accumulate = true;
    product.operands = act;
    product.result = DTYPE_F32;
    if (a->dbias) {
        product.bias_gradient = call.sums;
        const struct cuda_matmul_ways ways = {try_add, try_sum_rows, &call};
        if (cuda_matmul_fuses(device, &product, &ways)) {
            cuda_matmul_run(device, kernel, &product);
            add_sums(call, a->dbias);
            return;
        }
        product.bias_gradient = nullptr;
    }
    cuda_matmul_run(device, kernel, &product);
    if (a->dbias)
        sum_rows(call, a->dbias);
}
