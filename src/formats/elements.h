/*
 * elements.h - the number formats of weight files, to and from float.
 *
 * Reading is exact: every half-precision number is a float. Writing rounds to nearest, ties to
 * even; NaN stays NaN. All are little-endian in files, as on every machine this program is built
 * for.
 */
#ifndef GALLEY_FORMATS_ELEMENTS_H
#define GALLEY_FORMATS_ELEMENTS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum element_type { ELEMENT_F32, ELEMENT_F16, ELEMENT_BF16 };

/* 4 or 2. */
size_t element_bytes(enum element_type type);
/* "fp32", "fp16", "bf16"; the error of the parser lists them. */
const char *element_name(enum element_type type);
MUST_USE struct error *element_parse(enum element_type *out, const char *name);

/* `n` elements from packed bytes to floats, and back. The two must not overlap. */
void elements_to_floats(enum element_type type, const void *packed, float *out, int64_t n);
void elements_from_floats(enum element_type type, const float *in, void *packed, int64_t n);

#endif
