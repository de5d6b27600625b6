/* dtype.c - sizes and names of the number formats. */
#include "device/dtype.h"

size_t dtype_bytes(enum dtype type)
{
    return type == DTYPE_F32 ? 4 : 2;
}

const char *dtype_name(enum dtype type)
{
    static const char *const names[] = {
        [DTYPE_F32] = "fp32", [DTYPE_BF16] = "bf16", [DTYPE_F16] = "fp16"};
    return names[type];
}
