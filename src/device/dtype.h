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

/* IEEE half precision: 5 bits of exponent, 10 of mantissa. Exact. */
static inline float f16_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31,
        mantissa = h & 1023;
    union {
        uint32_t bits;
        float value;
    } u;
    if (exponent == 0) {    /* zero, or below the smallest normal number: mantissa * 2^-24 */
        u.value = (float)mantissa * 0x1p-24f;
        u.bits |= sign;
    } else {
        u.bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13;
    }
    return u.value;
}

/* To nearest, ties to even; too large becomes infinity; NaN stays NaN. */
static inline uint16_t f16_from_float(float f)
{
    union {
        float value;
        uint32_t bits;
    } u = {.value = f};
    const uint32_t sign = u.bits >> 16 & 0x8000, magnitude = u.bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000)    /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude >= 0x38800000)    /* a normal number: 13 bits of mantissa go */
        return (uint16_t)(sign | (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13);
    u.bits = magnitude;
    u.value += 0.5f;                /* the sum's last bit is worth 2^-24, that of the result */
    return (uint16_t)(sign | (u.bits - 0x3f000000));
}

/* Of either type of 16 bits. */
static inline float half_to_float(enum dtype type, uint16_t half)
{
    return type == DTYPE_BF16 ? bf16_to_float(half) : f16_to_float(half);
}

#endif
