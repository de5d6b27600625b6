/* dtype.c - sizes and names of the number formats. */
#include "device/dtype.h"

size_t dtype_bytes(enum dtype type)
{
    return type == DTYPE_F32 ? 4 : 2;
}

const char *dtype_name(enum dtype type)
{
    return type == DTYPE_F32 ? "fp32" : "bf16";
}
