/*
 * matmul_onednn.c - matrix products by oneDNN.
 *
 * Preparing a primitive takes milliseconds (it compiles code), running one does not: so prepared
 * products are kept, in a short list searched from the front, and moved there when found. All share
 * one scratch buffer.
 */
#include "kernels/cpu/onednn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct product {
    struct product *next;
    struct matmul shape;             /* pointers only tell whether there is a bias */
    struct onednn_product prepared;
};

struct matmul_engine {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct product *products;
    void *scratch;
    size_t scratch_bytes;
    char name[32];
};

struct error *matmul_engine_create(struct matmul_engine **out)
{
    struct matmul_engine *m = calloc(1, sizeof *m);
    if (!m)
        return error_new(ERROR_MEMORY, "no memory for oneDNN (%zu bytes)", sizeof *m);
    if (dnnl_engine_create(&m->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&m->stream, m->engine, dnnl_stream_default_flags) != dnnl_success) {
        matmul_engine_destroy(m);
        return error_new(ERROR_DEVICE, "oneDNN cannot open the CPU engine");
    }
    const dnnl_version_t *v = dnnl_version();
    snprintf(m->name, sizeof m->name, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    *out = m;
    return NULL;
}

void matmul_engine_destroy(struct matmul_engine *engine)
{
    if (!engine)
        return;
    while (engine->products) {
        struct product *p = engine->products;
        engine->products = p->next;
        onednn_release(&p->prepared);
        free(p);
    }
    if (engine->stream)
        dnnl_stream_destroy(engine->stream);
    if (engine->engine)
        dnnl_engine_destroy(engine->engine);
    free(engine->scratch);
    free(engine);
}

const char *matmul_engine_name(const struct matmul_engine *engine)
{
    return engine->name;
}

/* oneDNN computes bf16 from AVX-512 on; without the bf16 instructions it is right but slower. */
bool matmul_engine_has_bf16(const struct matmul_engine *engine)
{
    (void)engine;
    const struct matmul shape = {
        .M = 16, .N = 16, .K = 16, .operands = DTYPE_BF16, .result = DTYPE_BF16,
    };
    struct onednn_product probe;
    if (onednn_prepare(&probe, engine->engine, &shape) != dnnl_success)
        return false;
    onednn_release(&probe);
    return true;
}

static bool same_shape(const struct matmul *x, const struct matmul *y)
{
    return x->M == y->M && x->N == y->N && x->K == y->K && x->transpose_a == y->transpose_a &&
           x->transpose_b == y->transpose_b && x->accumulate == y->accumulate &&
           x->relu == y->relu && x->operands == y->operands && x->result == y->result &&
           !x->bias == !y->bias;
}

/* The prepared product for this shape, made if it is new; NULL if oneDNN cannot. */
static struct error *find_product(struct matmul_engine *engine, const struct matmul *shape,
                                  struct onednn_product **out)
{
    for (struct product **at = &engine->products; *at; at = &(*at)->next) {
        struct product *p = *at;
        if (same_shape(&p->shape, shape)) {
            *at = p->next;
            p->next = engine->products;
            engine->products = p;
            *out = &p->prepared;
            return NULL;
        }
    }

    struct product *p = calloc(1, sizeof *p);
    if (!p)
        return error_new(ERROR_MEMORY, "no memory for a matrix product (%zu bytes)", sizeof *p);
    p->shape = *shape;
    const dnnl_status_t s = onednn_prepare(&p->prepared, engine->engine, shape);
    if (s != dnnl_success) {
        free(p);
        return error_new(ERROR_DEVICE, "oneDNN cannot prepare a %s product of %lld x %lld x %lld "
                         "(status %d)", dtype_name(shape->operands), (long long)shape->M,
                         (long long)shape->N, (long long)shape->K, (int)s);
    }
    p->next = engine->products;
    engine->products = p;
    *out = &p->prepared;

    if (p->prepared.scratch_bytes > engine->scratch_bytes) {
        const size_t bytes = (p->prepared.scratch_bytes + 4095) & ~(size_t)4095;
        free(engine->scratch);
        engine->scratch = aligned_alloc(4096, bytes);
        engine->scratch_bytes = engine->scratch ? bytes : 0;
        if (!engine->scratch)
            return error_new(ERROR_MEMORY, "no memory for matrix products (%zu bytes)", bytes);
    }
    return NULL;
}

/* oneDNN's handles are not const, though operands are only read. */
static void point_at(dnnl_memory_t memory, const void *data)
{
    union {
        const void *constant;
        void *handle;
    } u = {.constant = data};
    dnnl_memory_set_data_handle(memory, u.handle);
}

struct error *matmul_run(struct matmul_engine *engine, const struct matmul *product)
{
    struct onednn_product *p = NULL;
    TRY(find_product(engine, product, &p));

    point_at(p->a, product->a);
    point_at(p->b, product->b);
    point_at(p->c, product->c);
    dnnl_exec_arg_t arguments[5] = {
        {DNNL_ARG_SRC, p->a},
        {DNNL_ARG_WEIGHTS, p->b},
        {DNNL_ARG_DST, p->c},
    };
    int n = 3;
    if (product->bias) {
        point_at(p->bias, product->bias);
        arguments[n++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, p->bias};
    }
    if (p->scratch_bytes > 0) {
        point_at(p->scratch, engine->scratch);
        arguments[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, p->scratch};
    }
    dnnl_status_t s = dnnl_primitive_execute(p->primitive, engine->stream, n, arguments);
    if (s == dnnl_success)
        s = dnnl_stream_wait(engine->stream);
    if (s != dnnl_success)
        return error_new(ERROR_DEVICE, "oneDNN failed in a %s product of %lld x %lld x %lld "
                         "(status %d)", dtype_name(product->operands), (long long)product->M,
                         (long long)product->N, (long long)product->K, (int)s);
    return NULL;
}
