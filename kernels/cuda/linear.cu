/*
 * linear.cu - linear layers: matrix products with what goes before and after them.
 *
 * Bias, activation and GELU's derivative go into the product's epilogue where that is the better
 * way (cuda_matmul_fuses); otherwise the same is done by a kernel of ours behind the plain product.
 * An epilogue's bias must have the type of its result, so fp32 biases are rounded first: M elements.
 */
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/gpu.cuh"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/weight_gradient.h"

namespace {

constexpr int THREADS = 256;

/* sqrt(8/pi) (x + 0.044715 x^3), twice the argument of GELU's tanh. Source: Hendrycks & Gimpel
 * 2016, section 2, the tanh form of GPT-2: gelu(x) = 0.5 x (1 + tanh(u)) = x - x / (exp(2u) +
 * 1). */
__device__ inline float gelu_argument(float x)
{
    return 1.5957691216f * (x + 0.044715f * x * x * x);
}

__device__ inline float gelu(float x)
{
    return x - x / (expf(gelu_argument(x)) + 1.0f);
}

__device__ inline float gelu_derivative(float x)
{
    const float s = 1.0f - 1.0f / (expf(gelu_argument(x)) + 1.0f);
    return s + x * s * (1.0f - s) * 1.5957691216f * (1.0f + 3.0f * 0.044715f * x * x);
}

/* y = activation(y + bias), `pre` keeps what the activation got. count = N * M. */
template <typename T, int W>
__global__ void epilogue_kernel(T *y, T *pre, const float *bias, enum activation activation,
                                int64_t count, int M)
{
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * W;
    if (at >= count)
        return;
    float v[W], b[W] = {};
    load<T, W>(v, y + at);
    if (bias)
        load<float, W>(b, bias + at % M);
    for (int i = 0; i < W; i++)
        v[i] += b[i];
    if (pre)
        store<T, W>(pre + at, v);
    for (int i = 0; i < W; i++)
        v[i] = activation == ACTIVATION_GELU   ? gelu(v[i])
               : activation == ACTIVATION_RELU ? fmaxf(v[i], 0.0f)
                                               : v[i];
    store<T, W>(y + at, v);
}

/* dx *= derivative of the activation at `saved` (RELU: its output, GELU: its input). */
template <typename T, int W>
__global__ void activation_backward_kernel(T *dx, const T *saved, enum activation activation,
                                           int64_t count)
{
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * W;
    if (at >= count)
        return;
    float d[W], x[W];
    load<T, W>(d, dx + at);
    load<T, W>(x, saved + at);
    for (int i = 0; i < W; i++)
        d[i] = activation == ACTIVATION_RELU ? (x[i] > 0 ? d[i] : 0.0f)
                                             : d[i] * gelu_derivative(x[i]);
    store<T, W>(dx + at, d);
}

unsigned blocks_for(int64_t count, int width)
{
    const int64_t per_block = (int64_t)THREADS * width;
    return (unsigned)((count + per_block - 1) / per_block);
}

void run_epilogue(struct device *device, enum dtype type, const struct linear_forward *a)
{
    if (!a->bias && a->activation == ACTIVATION_NONE)
        return;
    with_type(type, [&](auto zero) {
        using T = decltype(zero);
        with_width<T>(rows_are_aligned<T>(a->M, a->y, a->pre, a->bias), [&](auto width) {
            constexpr int W = decltype(width)::value;
            cuda_launched(device,
                          launch(device_cuda_stream(device), dim3(blocks_for(a->N * a->M, W)),
                                 dim3(THREADS), 0, epilogue_kernel<T, W>, static_cast<T *>(a->y),
                                 static_cast<T *>(a->pre), a->bias, a->activation, a->N * a->M,
                                 a->M),
                          "linear_forward", "%lld x %d", (long long)a->N, a->M);
        });
    });
}

void activation_backward(struct device *device, enum dtype act, const struct linear_backward *a)
{
    const void *saved = a->x_activation == ACTIVATION_GELU ? a->x_pre : a->x;
    with_type(act, [&](auto zero) {
        using T = decltype(zero);
        with_width<T>(rows_are_aligned<T>(a->N * a->K, a->dx, saved), [&](auto width) {
            constexpr int W = decltype(width)::value;
            cuda_launched(device,
                          launch(device_cuda_stream(device), dim3(blocks_for(a->N * a->K, W)),
                                 dim3(THREADS), 0, activation_backward_kernel<T, W>,
                                 static_cast<T *>(a->dx), static_cast<const T *>(saved),
                                 a->x_activation, a->N * a->K),
                          "linear_backward", "%lld x %d", (long long)a->N, a->K);
        });
    });
}

/* A linear layer's arguments, and its bias in the type of the result: `rounded` in scratch, NULL
 * where it has that type. */
struct forward_call {
    struct device *device;
    enum dtype type;
    const struct linear_forward *a;
    void *rounded;
};

void round_bias(void *self)
{
    const forward_call &call = *static_cast<const forward_call *>(self);
    if (!call.rounded)
        return;
    struct convert convert = {};
    convert.to = call.rounded;
    convert.from = call.a->bias;
    convert.count = call.a->M;
    cuda_convert(call.device, call.type, &convert);
}

void finish_forward(void *self)
{
    const forward_call &call = *static_cast<const forward_call *>(self);
    run_epilogue(call.device, call.type, call.a);
}

/* `product` has all but its epilogue, which is what `a` wants. */
void run_linear(struct device *device, const char *kernel, struct cuda_matmul *product,
                const struct linear_forward *a)
{
    forward_call call = {device, product->result, a, nullptr};
    if (a->bias && call.type != DTYPE_F32)
        call.rounded = cuda_scratch(device, (size_t)a->M * dtype_bytes(call.type));
    product->activation = a->activation;
    product->pre = a->activation == ACTIVATION_GELU ? a->pre : nullptr;
    product->bias = call.rounded ? call.rounded : a->bias;
    const struct cuda_matmul_ways ways = {call.rounded ? round_bias : nullptr, finish_forward,
                                          &call};
    if (cuda_matmul_fuses(device, product, &ways)) {
        round_bias(&call);
        cuda_matmul_run(device, kernel, product);
        return;
    }
    product->activation = ACTIVATION_NONE;
    product->pre = nullptr;
    product->bias = nullptr;
    cuda_matmul_run(device, kernel, product);
    finish_forward(&call);
}

struct backward_call {
    struct device *device;
    enum dtype act;
    const struct linear_backward *a;
};

void finish_backward(void *self)
{
    const backward_call &call = *static_cast<const backward_call *>(self);
    activation_backward(call.device, call.act, call.a);
}

/* dx = dy . weight^T, times the activation's derivative. */
void backward_input(struct device *device, enum dtype act, const struct linear_backward *a)
{
    struct cuda_matmul product = {};
    product.c = a->dx;
    product.a = a->dy;
    product.b = a->weight;
    product.transpose_b = true;
    product.M = a->N;
    product.N = a->K;
    product.K = a->M;
    product.operands = product.result = act;
    if (a->x_activation == ACTIVATION_GELU) {
        backward_call call = {device, act, a};
        const struct cuda_matmul_ways ways = {nullptr, finish_backward, &call};
        product.gelu_input = a->x_pre;
        if (cuda_matmul_fuses(device, &product, &ways)) {
            cuda_matmul_run(device, "linear_backward dx", &product);
            return;
        }
        product.gelu_input = nullptr;
    }
    cuda_matmul_run(device, "linear_backward dx", &product);
    if (a->x_activation != ACTIVATION_NONE)
        activation_backward(device, act, a);
}

} // namespace

size_t cuda_linear_scratch_bytes(const struct kernel_limits *limits)
{
    const size_t qkv = 3 * (size_t)limits->NH * (size_t)limits->HS;
    size_t widest = (size_t)limits->F > qkv ? (size_t)limits->F : qkv;
    widest = widest > (size_t)limits->C ? widest : (size_t)limits->C;
    return cuda_weight_gradient_floats(widest) * sizeof(float);
}

void cuda_linear_forward(struct device *device, enum dtype act, const struct linear_forward *a)
{
    struct cuda_matmul product = {};
    product.c = a->y;
    product.a = a->x;
    product.b = a->weight;
    product.M = a->N;
    product.N = a->M;
    product.K = a->K;
    product.operands = product.result = act;
    run_linear(device, "linear_forward", &product, a);
}

void cuda_logits_forward(struct device *device, enum dtype act, const struct logits_forward *a)
{
    struct cuda_matmul product = {};
    product.c = a->logits;
    product.a = a->x;
    product.b = a->weight;
    product.transpose_b = a->transposed;
    product.M = a->N;
    product.N = a->V;
    product.K = a->C;
    product.operands = act;
    product.result = DTYPE_F32;
    struct linear_forward linear = {};
    linear.y = a->logits;
    linear.bias = a->bias;
    linear.N = a->N;
    linear.M = a->V;
    run_linear(device, "logits_forward", &product, &linear);
}

void cuda_linear_backward(struct device *device, enum dtype act, const struct linear_backward *a)
{
    if (a->dx)
        backward_input(device, act, a);

    struct cuda_weight_gradient gradient = {};
    gradient.dweight = a->dweight;
    gradient.dbias = a->dbias;
    gradient.x = a->x;
    gradient.dy = a->dy;
    gradient.N = a->N;
    gradient.ld = a->M;
    gradient.K = a->K;
    gradient.M = a->M;
    gradient.scratch = static_cast<float *>(cuda_scratch(
        device, cuda_weight_gradient_floats((size_t)a->M) * sizeof(float)));
    cuda_add_weight_gradient(device, "linear_backward dweight", act, &gradient);
}
