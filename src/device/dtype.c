/* dtype.c - sizes and names of the number formats. */
#include "device/dtype.h"

#include "base/error.h"

#include <string.h>

static const char *const names[] = {
    [DTYPE_F32] = "fp32", [DTYPE_BF16] = "bf16", [DTYPE_F16] = "fp16"};

size_t dtype_bytes(enum dtype type)
{
    return type == DTYPE_F32 ? 4 : 2;
}

const char *dtype_name(enum dtype type)
{
    return names[type];
}

enum dtype dtype_named(const char *name)
{
    int i = DTYPE_F32;
    while (i <= DTYPE_F16 && strcmp(names[i], name) != 0)
        i++;
    if (i > DTYPE_F16)
        BUG("there is no number format \"%s\"", name);
    return (enum dtype)i;
}
