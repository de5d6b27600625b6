/*
 * column_sums.cu - sums over the rows of a matrix, always in the same order.
 *
 * Rows are cut into parts, whose number depends on the shape alone; a block sums 32 packs of
 * columns of one part, and a second kernel the parts.
 */
#include "kernels/cuda/column_sums.h"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/reduce.cuh"

#include <algorithm>

namespace {

constexpr int ROWS = 8;                 /* that a block reads at a time */
constexpr int64_t ROWS_A_PART = 64;

template <typename T, int W>
__global__ void column_sums_kernel(float *partial, const T *x, int64_t N, int M, int64_t ld,
                                   int64_t rows_a_part)
{
    __shared__ float slices[ROWS][WARP * W];
    const int c = (blockIdx.x * WARP + threadIdx.x) * W;
    const int64_t first = blockIdx.y * rows_a_part;
    const int64_t end = first + rows_a_part < N ? first + rows_a_part : N;
    float total[W] = {};
    if (c < M)
        for (int64_t n = first + threadIdx.y; n < end; n += ROWS) {
            float v[W];
            load<T, W>(v, x + n * ld + c);
            for (int i = 0; i < W; i++)
                total[i] += v[i];
        }
    for (int i = 0; i < W; i++)
        slices[threadIdx.y][threadIdx.x * W + i] = total[i];
    __syncthreads();
    for (int i = threadIdx.y * WARP + threadIdx.x; i < WARP * W; i += ROWS * WARP) {
        const int column = blockIdx.x * WARP * W + i;
        float sum = 0;
        for (int row = 0; row < ROWS; row++)
            sum += slices[row][i];
        if (column < M)
            partial[(int64_t)blockIdx.y * M + column] = sum;
    }
}

/* A block for each 32 columns, 32 parts of it at a time. */
__global__ void add_parts_kernel(float *sums, float *more_sums, int split, const float *partial,
                                 int parts, int columns)
{
    __shared__ float slices[WARP][WARP + 1];
    const int column = blockIdx.x * WARP + threadIdx.x;
    float total = 0;
    if (column < columns)
        for (int part = threadIdx.y; part < parts; part += WARP)
            total += partial[(int64_t)part * columns + column];
    slices[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    total = warp_sum(slices[threadIdx.x][threadIdx.y]);
    const int summed = blockIdx.x * WARP + threadIdx.y;
    if (threadIdx.x == 0 && summed < columns) {
        float *to = summed < split ? sums + summed : more_sums + (summed - split);
        *to += total;
    }
}

} // namespace

void cuda_add_parts(struct device *device, const char *kernel, float *sums, float *more_sums,
                    int split, const float *partial, int parts, int columns)
{
    cuda_launched(device,
                  launch(device_cuda_stream(device), dim3((unsigned)((columns + WARP - 1) / WARP)),
                         dim3(WARP, WARP), 0, add_parts_kernel, sums, more_sums, split, partial,
                         parts, columns),
                  kernel, "%d parts of %d columns", parts, columns);
}

void cuda_column_sums(struct device *device, const char *kernel, enum dtype act, float *sums,
                      const void *x, int64_t N, int M, int64_t ld, float *partial)
{
    if (N == 0)
        return;
    const int64_t parts = std::clamp<int64_t>(N / ROWS_A_PART, 1, COLUMN_SUMS_PARTS);
    const int64_t rows_a_part = (N + parts - 1) / parts;
    with_type(act, [&](auto zero) {
        using T = decltype(zero);
        with_width<T>(rows_are_aligned<T>(M, x) && rows_are_aligned<T>(ld), [&](auto width) {
            constexpr int W = decltype(width)::value;
            const unsigned columns = (unsigned)((M + WARP * W - 1) / (WARP * W));
            cuda_launched(device,
                          launch(device_cuda_stream(device), dim3(columns, (unsigned)parts),
                                 dim3(WARP, ROWS), 0, column_sums_kernel<T, W>, partial,
                                 static_cast<const T *>(x), N, M, ld, rows_a_part),
                          kernel, "%lld x %d", (long long)N, M);
        });
    });
    cuda_add_parts(device, kernel, sums, nullptr, M, partial, (int)parts, M);
}
