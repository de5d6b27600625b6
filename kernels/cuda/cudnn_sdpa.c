/* cudnn_sdpa.c - plans of attention by cuDNN, and running them. */
#include "kernels/cuda/cudnn_sdpa.h"

#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/cudnn_sdpa_graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEAD_MULTIPLE = 8, LARGEST_CUDNN_HEAD = 128, SCRATCH_ALIGNMENT = 256 };

struct cudnn_sdpa {
    struct cudnn_target target;
    cudaStream_t stream;
    char name[32];
};

struct sdpa_plan {
    struct sdpa_shape shape;
    struct cudnn_graph graph;
    size_t dq_sum_bytes, D_bytes;    /* of backward; cuDNN's own workspace stands behind them */
};

bool cudnn_sdpa_takes(const struct sdpa_shape *shape)
{
    return (shape->act == DTYPE_BF16 || shape->act == DTYPE_F16) &&
           shape->HS % HEAD_MULTIPLE == 0 && shape->HS <= LARGEST_CUDNN_HEAD;
}

struct error *cudnn_sdpa_open(struct cudnn_sdpa **out, cudaStream_t stream)
{
    TRY(cudnn_load());
    struct cudnn_sdpa *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory for cuDNN (%zu bytes)", sizeof *s);
    const int version = (int)cudnnGetVersion();
    snprintf(s->name, sizeof s->name, "cuDNN %d.%d.%d", version / 10000, version / 100 % 100,
             version % 100);
    s->stream = stream;
    struct error *e = cudnn_check(cudnnCreate(&s->target.handle), "cudnnCreate");
    if (!e)
        e = cudnn_check(cudnnSetStream(s->target.handle, stream), "cudnnSetStream");
    if (e) {
        cudnn_sdpa_close(s);
        return e;
    }
    *out = s;
    return NULL;
}

void cudnn_sdpa_close(struct cudnn_sdpa *sdpa)
{
    if (!sdpa)
        return;
    if (sdpa->target.handle)
        cudnnDestroy(sdpa->target.handle);
    free(sdpa);
}

const char *cudnn_sdpa_name(const struct cudnn_sdpa *sdpa)
{
    return sdpa->name;
}

static size_t aligned(size_t bytes)
{
    return (bytes + SCRATCH_ALIGNMENT - 1) / SCRATCH_ALIGNMENT * SCRATCH_ALIGNMENT;
}

struct error *cudnn_sdpa_plan(struct sdpa_plan **out, const struct cudnn_sdpa *sdpa,
                              enum sdpa_pass pass, const struct sdpa_shape *shape)
{
    struct sdpa_plan *p = calloc(1, sizeof *p);
    if (!p)
        return error_new(ERROR_MEMORY, "no memory for a plan of attention (%zu bytes)", sizeof *p);
    const size_t rows = (size_t)shape->B * (size_t)shape->NH * (size_t)shape->T;
    p->shape = *shape;
    if (pass == SDPA_BACKWARD) {
        p->dq_sum_bytes = aligned(rows * (size_t)shape->HS * sizeof(float));
        p->D_bytes = aligned(rows * sizeof(float));
    }
    sdpa_describe(&p->graph, pass, shape);
    struct error *e = cudnn_graph_plan(&p->graph, &sdpa->target);
    if (e) {
        cudnn_sdpa_destroy(p);
        return e;
    }
    *out = p;
    return NULL;
}

void cudnn_sdpa_destroy(struct sdpa_plan *plan)
{
    if (!plan)
        return;
    cudnn_graph_destroy(&plan->graph);
    free(plan);
}

int cudnn_sdpa_engines(const struct sdpa_plan *plan)
{
    return plan->graph.plan_count;
}

void cudnn_sdpa_take_engine(struct sdpa_plan *plan, int engine)
{
    plan->graph.chosen = engine;
}

size_t cudnn_sdpa_scratch_bytes(const struct sdpa_plan *plan)
{
    return plan->dq_sum_bytes + plan->D_bytes + (size_t)plan->graph.workspace_bytes;
}

/* ---- running ---- */

/* The tensors of a call: ids and where they are. */
struct tensors {
    int64_t ids[16];
    void *pointers[16];
    int n;
};

/* cuDNN takes all pointers as to memory that may be written. */
static void add(struct tensors *t, int64_t id, const void *pointer)
{
    t->ids[t->n] = id;
    t->pointers[t->n++] = (void *)pointer;
}

static void check_shape(const struct sdpa_plan *plan, int B, int T, int NH, int HS)
{
    const struct sdpa_shape *s = &plan->shape;
    if (B != s->B || T != s->T || NH != s->NH || HS != s->HS)
        BUG("attention of %d x %d x %d heads of %d by a plan for %d x %d x %d of %d", B, T, NH, HS,
            s->B, s->T, s->NH, s->HS);
}

/* Queries, keys and values stand beside each other in each position of qkv, and of dqkv. */
static void add_parts(struct tensors *t, enum sdpa_tensor first, const void *qkv,
                      const struct sdpa_shape *s)
{
    const size_t part_bytes = (size_t)s->NH * (size_t)s->HS * dtype_bytes(s->act);
    for (int part = 0; part < 3; part++)
        add(t, (int64_t)first + part, (const char *)qkv + (size_t)part * part_bytes);
}

struct error *cudnn_sdpa_forward(const struct cudnn_sdpa *sdpa, const struct sdpa_plan *plan,
                                 const struct attention_forward *a, void *scratch)
{
    check_shape(plan, a->B, a->T, a->NH, a->HS);
    const float hidden = -INFINITY;
    struct tensors t = {.n = 0};
    add_parts(&t, SDPA_Q, a->qkv, &plan->shape);
    add(&t, SDPA_OUT, a->out);
    add(&t, SDPA_LSE, a->lse);
    add(&t, SDPA_SCALE, &a->scale);
    add(&t, SDPA_HIDDEN, &hidden);
    return cudnn_graph_run(&plan->graph, sdpa->target.handle, t.ids, t.pointers, t.n, scratch);
}

struct error *cudnn_sdpa_backward(const struct cudnn_sdpa *sdpa, const struct sdpa_plan *plan,
                                  const struct attention_backward *a, void *scratch)
{
    check_shape(plan, a->B, a->T, a->NH, a->HS);
    const float hidden = -INFINITY, one = 1;
    char *dq_sum = scratch, *D = dq_sum + plan->dq_sum_bytes;
    struct tensors t = {.n = 0};
    add_parts(&t, SDPA_Q, a->qkv, &plan->shape);
    add_parts(&t, SDPA_DQ, a->dqkv, &plan->shape);
    add(&t, SDPA_OUT, a->out);
    add(&t, SDPA_DOUT, a->dout);
    add(&t, SDPA_LSE, a->lse);
    add(&t, SDPA_D, D);
    add(&t, SDPA_DQ_SUM, dq_sum);
    add(&t, SDPA_SCALE, &a->scale);
    add(&t, SDPA_HIDDEN, &hidden);
    add(&t, SDPA_ONE, &one);
    const cudaError_t zeroed = cudaMemsetAsync(dq_sum, 0, plan->dq_sum_bytes, sdpa->stream);
    if (zeroed != cudaSuccess)
        return error_new(ERROR_DEVICE, "cudaMemsetAsync of dq's sums: %s",
                         cudaGetErrorString(zeroed));
    return cudnn_graph_run(&plan->graph, sdpa->target.handle, t.ids, t.pointers, t.n,
                           D + plan->D_bytes);
}
