/* dtype.h - the number formats that tensors are stored in. */
#ifndef GALLEY_DEVICE_DTYPE_H
#define GALLEY_DEVICE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum dtype { DTYPE_F32, DTYPE_BF16, DTYPE_F16 };

/* Bytes of one element: 4 or 2. */
size_t dtype_bytes(enum dtype type);
/* "fp32", "bf16", "fp16": the words of the configuration. */
const char *dtype_name(enum dtype type);
/* The type of that name, which must be one. */
enum dtype dtype_named(const char *name);

/* bfloat16 is the upper half of a float32. Rounding is to nearest, ties to even; NaN stays NaN. */
static inline float bf16_to_float(uint16_t b)
{
    union {
        uint32_t bits;
        float value;
    } u = {.bits = (uint32_t)b << 16};
    return u.value;
}

static inline uint16_t bf16_from_float(float f)
{
    union {
        float value;
        uint32_t bits;
    } u = {.value = f};
    const uint32_t rounded = u.bits + 0x7fff + ((u.bits >> 16) & 1);
    const uint32_t nan = u.bits | 0x400000;    /* quiet, and not rounded to infinity */
    return (uint16_t)((f != f ? nan : rounded) >> 16);
}

#endif
