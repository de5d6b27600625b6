/* adam.cu - the update of the flat parameter buffers, and their copy in the activation type. */
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/gpu.cuh"

namespace {

constexpr int THREADS = 256, PER_THREAD = 4;

/* What is the same for all elements. */
struct adam_constants {
    float epsilon, rest1, rest2;
    bool decayed;
};

__device__ inline void update(const struct adam_constants &k, const struct update_plan *plan,
                              float &p, float &m, float &v, float gradient, const float *square)
{
    const float scale = plan->gradient_scale;
    const float g = gradient * scale;
    const float g2 = square ? *square * scale * scale : g * g;
    const float keep = k.decayed ? 1.0f - plan->decay : 1.0f;
    m += (g - m) * k.rest1;
    v += (g2 - v) * k.rest2;
    p = p * keep - plan->alpha * m / (sqrtf(v) + k.epsilon);
}

template <typename T>
__global__ void adam_kernel(float *weights, float *m, float *v, T *copy, const float *gradient,
                            const float *squares, const struct update_plan *plan, int64_t count,
                            struct adam_constants constants)
{
    if (plan->skip)
        return;
    const int64_t first = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * PER_THREAD;
    if (first + PER_THREAD <= count) {
        float p4[PER_THREAD], m4[PER_THREAD], v4[PER_THREAD], g4[PER_THREAD], s4[PER_THREAD];
        load<float, PER_THREAD>(p4, weights + first);
        load<float, PER_THREAD>(m4, m + first);
        load<float, PER_THREAD>(v4, v + first);
        load<float, PER_THREAD>(g4, gradient + first);
        if (squares)
            load<float, PER_THREAD>(s4, squares + first);
        for (int i = 0; i < PER_THREAD; i++)
            update(constants, plan, p4[i], m4[i], v4[i], g4[i], squares ? &s4[i] : nullptr);
        store<float, PER_THREAD>(weights + first, p4);
        store<float, PER_THREAD>(m + first, m4);
        store<float, PER_THREAD>(v + first, v4);
        if (copy)
            store<T, PER_THREAD>(copy + first, p4);
        return;
    }
    for (int64_t i = first; i < count; i++) {
        update(constants, plan, weights[i], m[i], v[i], gradient[i],
                  squares ? squares + i : nullptr);
        if (copy)
            copy[i] = from_float<T>(weights[i]);
    }
}

__global__ void add_kernel(float *y, const float *x, int64_t count)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < count)
        y[i] += x[i];
}

} // namespace

void cuda_add(struct device *device, enum dtype, const struct add *a)
{
    if (a->count == 0)
        return;
    const unsigned blocks = (unsigned)((a->count + THREADS - 1) / THREADS);
    cuda_launched(device,
                  launch(device_cuda_stream(device), dim3(blocks), dim3(THREADS), 0, add_kernel,
                         a->y, a->x, a->count),
                  "add", "%lld elements", (long long)a->count);
}

void cuda_adam(struct device *device, enum dtype act, const struct adam *a)
{
    if (a->count == 0)
        return;
    const struct adam_constants constants = {a->epsilon, (float)(1.0 - a->beta1),
                                             (float)(1.0 - a->beta2), a->decayed};
    const int64_t per_block = THREADS * PER_THREAD;
    const unsigned blocks = (unsigned)((a->count + per_block - 1) / per_block);
    with_type(act, [&](auto zero) {
        using T = decltype(zero);
        cuda_launched(device,
                      launch(device_cuda_stream(device), dim3(blocks), dim3(THREADS), 0,
                             adam_kernel<T>, a->weights, a->m, a->v, static_cast<T *>(a->copy),
                             a->gradient, a->squares, a->plan, a->count, constants),
                      "adam", "%lld elements", (long long)a->count);
    });
}
