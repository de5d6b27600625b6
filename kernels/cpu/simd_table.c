/* simd_table.c - the kernels of one instruction set, collected; compiled once for each. */
#include "kernels/cpu/simd.h"

#define SIMD_STRING_(isa) #isa
#define SIMD_STRING(isa) SIMD_STRING_(isa)

/* Whether this processor has the instructions; a function, so that baseline code asks. */
bool SIMD(simd_supported)(void);

const struct simd_kernels SIMD(simd_kernels) = {
    .isa = SIMD_STRING(KERNELS_ISA),
    .supported = SIMD(simd_supported),
    .embed_forward = simd_embed_forward,
    .embed_backward = simd_embed_backward,
    .layernorm_forward = simd_layernorm_forward,
    .layernorm_backward = simd_layernorm_backward,
    .attention_forward = simd_attention_forward,
    .attention_backward = simd_attention_backward,
    .attention_decode = simd_attention_decode,
    .adam = simd_adam,
    .convert = simd_convert,
    .sum_of_squares = simd_sum_of_squares,
    .checksum = simd_checksum,
    .add = simd_add,
    .gelu = simd_gelu,
    .activation_backward = simd_activation_backward,
    .column_sums = simd_column_sums,
    .add_transposed = simd_add_transposed,
    .cross_entropy = simd_cross_entropy,
    .few_rows = simd_few_rows,
};
