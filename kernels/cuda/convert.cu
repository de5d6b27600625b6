/* convert.cu - fp32 rounded to the activation type. */
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/gpu.cuh"

namespace {

constexpr int THREADS = 256, PER_THREAD = 4;

template <typename T> __global__ void convert_kernel(T *to, const float *from, int64_t count)
{
    const int64_t first = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * PER_THREAD;
    if (first + PER_THREAD <= count) {
        const pack<float, PER_THREAD> in =
            *reinterpret_cast<const pack<float, PER_THREAD> *>(from + first);
        pack<T, PER_THREAD> out;
        for (int i = 0; i < PER_THREAD; i++)
            out.x[i] = from_float<T>(in.x[i]);
        *reinterpret_cast<pack<T, PER_THREAD> *>(to + first) = out;
    } else {
        for (int64_t i = first; i < count; i++)
            to[i] = from_float<T>(from[i]);
    }
}

} // namespace

/* `to` and `from` begin at multiples of four elements, as all flat buffers do. */
void cuda_convert(struct device *device, enum dtype act, const struct convert *a)
{
    if (a->count == 0)
        return;
    const int64_t per_block = THREADS * PER_THREAD;
    const unsigned blocks = (unsigned)((a->count + per_block - 1) / per_block);
    with_type(act, [&](auto zero) {
        using T = decltype(zero);
        cuda_launched(device,
                      launch(device_cuda_stream(device), dim3(blocks), dim3(THREADS), 0,
                             convert_kernel<T>, static_cast<T *>(a->to), a->from, a->count),
                      "convert", "%lld elements", (long long)a->count);
    });
}
