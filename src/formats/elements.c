/* elements.c - float32, float16 and bfloat16 by their bits. */
#include "formats/elements.h"

#include <string.h>

static const char *const names[] = {
    [ELEMENT_F32] = "fp32", [ELEMENT_F16] = "fp16", [ELEMENT_BF16] = "bf16",
};

size_t element_bytes(enum element_type type)
{
    return type == ELEMENT_F32 ? 4 : 2;
}

const char *element_name(enum element_type type)
{
    return names[type];
}

struct error *element_parse(enum element_type *out, const char *name)
{
    for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++) {
        if (!strcmp(names[i], name)) {
            *out = (enum element_type)i;
            return NULL;
        }
    }
    return error_new(ERROR_USAGE, "no number format \"%s\"; there are fp32, fp16 and bf16", name);
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static float half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 31)
        return float_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent > 0)
        return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    const float tiny = (float)fraction * 0x1p-24f;    /* subnormal: exact as a float */
    return float_of_bits(sign | bits_of_float(tiny));
}

/* `bits` shifted right by `n`, to nearest, ties to even. */
static uint32_t round_shift(uint32_t bits, uint32_t n)
{
    const uint32_t kept = bits >> n, half = 1u << (n - 1), rest = bits & ((half << 1) - 1);
    return kept + (rest > half || (rest == half && (kept & 1)));
}

static uint16_t half_from_float(float f)
{
    const uint32_t bits = bits_of_float(f), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (size >> 13 & 1023));    /* NaN, made quiet */
    if (size >= 0x47800000)
        return (uint16_t)(sign | 0x7c00);    /* 65536 and more */
    if (size >= 0x38800000)                  /* 2^-14: normal; a carry may reach infinity, rightly */
        return (uint16_t)(sign | round_shift(size - (112u << 23), 13));
    if (size < 0x33000000)
        return (uint16_t)sign;               /* less than half the smallest subnormal */
    const uint32_t shift = 126 - (size >> 23);
    return (uint16_t)(sign | round_shift((size & 0x7fffff) | 0x800000, shift));
}

static uint16_t brain_from_float(float f)
{
    const uint32_t bits = bits_of_float(f);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)round_shift(bits, 16);
}

void elements_to_floats(enum element_type type, const void *packed, float *out, int64_t n)
{
    const uint16_t *in = packed;
    switch (type) {
    case ELEMENT_F32:
        memcpy(out, packed, (size_t)n * sizeof *out);
        return;
    case ELEMENT_F16:
        for (int64_t i = 0; i < n; i++)
            out[i] = half_to_float(in[i]);
        return;
    case ELEMENT_BF16:
        for (int64_t i = 0; i < n; i++)
            out[i] = float_of_bits((uint32_t)in[i] << 16);
        return;
    }
}

void elements_from_floats(enum element_type type, const float *in, void *packed, int64_t n)
{
    uint16_t *out = packed;
    switch (type) {
    case ELEMENT_F32:
        memcpy(packed, in, (size_t)n * sizeof *in);
        return;
    case ELEMENT_F16:
        for (int64_t i = 0; i < n; i++)
            out[i] = half_from_float(in[i]);
        return;
    case ELEMENT_BF16:
        for (int64_t i = 0; i < n; i++)
            out[i] = brain_from_float(in[i]);
        return;
    }
}
