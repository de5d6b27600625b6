/* testing.h - what the unit tests share: cmocka, error checks, comparisons that print what
 * differs. */
#ifndef GALLEY_TESTS_TESTING_H
#define GALLEY_TESTS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The call must succeed; else its message is printed. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        struct error *assert_error_ = (call);                                                      \
        if (assert_error_)                                                                         \
            fail_msg("%s: %s", #call, error_message(assert_error_));                               \
    } while (0)

/* The call must fail with a message that contains `part`. */
#define assert_fails(call, part)                                                                   \
    do {                                                                                           \
        struct error *assert_error_ = (call);                                                      \
        if (!assert_error_)                                                                        \
            fail_msg("%s succeeded, expected an error about \"%s\"", #call, part);                 \
        if (!strstr(error_message(assert_error_), part))                                           \
            fail_msg("%s: \"%s\" does not speak of \"%s\"", #call,                                 \
                     error_message(assert_error_), part);                                          \
        error_destroy(assert_error_);                                                              \
    } while (0)

/* |got - expected| / |expected| by Euclidean norms over n elements; absolute where expected is 0. */
static inline double relative_error(const float *got, const float *expected, int64_t n)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)got[i] - (double)expected[i];
        difference += d * d;
        norm += (double)expected[i] * (double)expected[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

/* Compares by norm; on failure prints the worst element. */
#define assert_close(name, got, expected, n, bound)                                                \
    assert_close_at(name, got, expected, n, bound, __FILE__, __LINE__)
static inline void assert_close_at(const char *name, const float *got, const float *expected,
                                   int64_t n, double bound, const char *file, int line)
{
    const double error = relative_error(got, expected, n);
    if (error <= bound)    /* false for NaN */
        return;
    int64_t worst = 0;
    for (int64_t i = 1; i < n; i++)
        if (!(fabsf(got[i] - expected[i]) <= fabsf(got[worst] - expected[worst])))
            worst = i;
    print_error("%s: relative error %.3g over bound %.3g; worst at %lld: got %.9g, expected %.9g\n",
                name, error, bound, (long long)worst, (double)got[worst], (double)expected[worst]);
    _fail(file, line);
}

/* The folder of fixtures of one family ("mini_gpt"), or NULL: the test must then skip, visibly. */
static inline const char *fixtures_folder(const char *family, char *path, size_t bytes)
{
    const char *root = getenv("GALLEY_FIXTURES");
    snprintf(path, bytes, "%s/%s", root ? root : "../shared/reference/fixtures", family);
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    fclose(f);
    return path;
}

#endif
