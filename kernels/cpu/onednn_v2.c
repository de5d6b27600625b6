/* onednn_v2.c - preparing products with oneDNN 2.x: operation descriptors, memory descriptors by
 * value. */
#include "kernels/cpu/onednn.h"

#include <string.h>

static dnnl_data_type_t onednn_type(enum dtype type)
{
    return type == DTYPE_F32 ? dnnl_f32 : dnnl_bf16;
}

static dnnl_status_t describe(dnnl_memory_desc_t *out, int64_t rows, int64_t columns,
                              bool transposed, dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {rows, columns};
    const dnnl_dims_t strides = {transposed ? 1 : columns, transposed ? rows : 1};
    return dnnl_memory_desc_init_by_strides(out, 2, dims, type, strides);
}

static dnnl_status_t make_attributes(dnnl_primitive_attr_t *out, const struct matmul *shape)
{
    dnnl_post_ops_t after = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(out);
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    if (s == dnnl_success)
        s = dnnl_post_ops_create(&after);
    if (s == dnnl_success && shape->accumulate)
        s = dnnl_post_ops_append_sum(after, 1.0f);
    if (s == dnnl_success && shape->relu)
        s = dnnl_post_ops_append_eltwise(after, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_post_ops(*out, after);
    if (after)
        dnnl_post_ops_destroy(after);
    return s;
}

dnnl_status_t onednn_prepare(struct onednn_product *out, dnnl_engine_t engine,
                             const struct matmul *shape)
{
    dnnl_memory_desc_t a, b, c, bias;
    dnnl_matmul_desc_t operation;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t plan = NULL;
    const dnnl_data_type_t operands = onednn_type(shape->operands);
    memset(out, 0, sizeof *out);

    dnnl_status_t s = describe(&a, shape->M, shape->K, shape->transpose_a, operands);
    if (s == dnnl_success)
        s = describe(&b, shape->K, shape->N, shape->transpose_b, operands);
    if (s == dnnl_success)
        s = describe(&c, shape->M, shape->N, false, onednn_type(shape->result));
    if (s == dnnl_success)
        s = describe(&bias, 1, shape->N, false, dnnl_f32);
    if (s == dnnl_success)
        s = dnnl_matmul_desc_init(&operation, &a, &b, shape->bias ? &bias : NULL, &c);
    if (s == dnnl_success)
        s = make_attributes(&attributes, shape);
    if (s == dnnl_success)
        s = dnnl_primitive_desc_create(&plan, &operation, attributes, engine, NULL);
    if (s == dnnl_success)
        s = dnnl_primitive_create(&out->primitive, plan);
    if (s == dnnl_success)
        s = dnnl_memory_create(&out->a, &a, engine, DNNL_MEMORY_NONE);
    if (s == dnnl_success)
        s = dnnl_memory_create(&out->b, &b, engine, DNNL_MEMORY_NONE);
    if (s == dnnl_success)
        s = dnnl_memory_create(&out->c, &c, engine, DNNL_MEMORY_NONE);
    if (s == dnnl_success && shape->bias)
        s = dnnl_memory_create(&out->bias, &bias, engine, DNNL_MEMORY_NONE);
    if (s == dnnl_success) {
        const dnnl_memory_desc_t *scratch =
            dnnl_primitive_desc_query_md(plan, dnnl_query_scratchpad_md, 0);
        out->scratch_bytes = dnnl_memory_desc_get_size(scratch);
        s = dnnl_memory_create(&out->scratch, scratch, engine, DNNL_MEMORY_NONE);
    }

    if (plan)
        dnnl_primitive_desc_destroy(plan);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    if (s != dnnl_success)
        onednn_release(out);
    return s;
}

void onednn_release(struct onednn_product *product)
{
    dnnl_memory_t *const memories[] = {&product->a, &product->b, &product->c, &product->bias,
                                       &product->scratch};
    for (size_t i = 0; i < sizeof memories / sizeof memories[0]; i++)
        if (*memories[i])
            dnnl_memory_destroy(*memories[i]);
    if (product->primitive)
        dnnl_primitive_destroy(product->primitive);
    memset(product, 0, sizeof *product);
}
