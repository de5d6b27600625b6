/* matmul_openblas.c - matrix products by OpenBLAS: fp32 only, where oneDNN is not to be had. */
#include "kernels/cpu/matmul.h"

#include <cblas.h>
#include <omp.h>
#include <stdlib.h>

struct matmul_engine {
    int threads;
};

struct error *matmul_engine_create(struct matmul_engine **out)
{
    struct matmul_engine *m = calloc(1, sizeof *m);
    if (!m)
        return error_new(ERROR_MEMORY, "no memory for OpenBLAS (%zu bytes)", sizeof *m);
    m->threads = omp_get_max_threads();
    openblas_set_num_threads(m->threads);
    *out = m;
    return NULL;
}

void matmul_engine_destroy(struct matmul_engine *engine)
{
    free(engine);
}

const char *matmul_engine_name(const struct matmul_engine *engine)
{
    (void)engine;
    return "OpenBLAS";
}

bool matmul_engine_has_bf16(const struct matmul_engine *engine)
{
    (void)engine;
    return false;
}

/* What oneDNN does in its epilogue. */
static void finish_rows(const struct matmul *p)
{
    float *c = p->c;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < p->M; i++) {
        float *row = c + i * p->N;
        for (int64_t j = 0; j < p->N; j++) {
            const float sum = p->bias ? row[j] + p->bias[j] : row[j];
            row[j] = p->relu && sum < 0 ? 0 : sum;
        }
    }
}

struct error *matmul_run(struct matmul_engine *engine, const struct matmul *product)
{
    (void)engine;
    const struct matmul *p = product;
    if (p->operands != DTYPE_F32 || p->result != DTYPE_F32)
        return error_new(ERROR_DEVICE, "OpenBLAS has no bf16 products; use train.precision fp32, "
                         "or build with oneDNN");
    cblas_sgemm(CblasRowMajor, p->transpose_a ? CblasTrans : CblasNoTrans,
                p->transpose_b ? CblasTrans : CblasNoTrans, (int)p->M, (int)p->N, (int)p->K, 1.0f,
                p->a, (int)(p->transpose_a ? p->M : p->K), p->b,
                (int)(p->transpose_b ? p->K : p->N), p->accumulate ? 1.0f : 0.0f, p->c, (int)p->N);
    if (p->bias || p->relu)
        finish_rows(p);
    return NULL;
}
