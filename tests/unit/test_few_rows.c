/* test_few_rows.c - products of few rows on a CPU are the same bits on any number of threads. */
#include "testing.h"

#include "data_files.h"
#include "device/device.h"
#include "kernels/kernels.h"

/* Sizes that no step of the kernel divides. */
enum { MOST_ROWS = 4, INNER = 75, COLUMNS = 1111 };

struct product {
    float x[MOST_ROWS * INNER], weight[INNER * COLUMNS], y[MOST_ROWS * COLUMNS];    /* or bf16 */
    float bias[COLUMNS];
};

/* Values of `type` in [-1, 1); of fp32 so many bits that the order of a sum can be seen. */
static void fill(void *to, int n, enum dtype type, uint64_t *random)
{
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        const float value = (float)((double)(noise(random) >> 32) / 2147483648.0 - 1);
        memcpy(&bits, &value, sizeof bits);
        if (type == DTYPE_F32)
            ((float *)to)[i] = value;
        else
            ((uint16_t *)to)[i] = (uint16_t)(bits >> 16);
    }
}

static struct error *multiply(struct product *p, enum dtype type, int rows, int threads)
{
    struct device *device;
    const struct kernels *k;
    assert_ok(device_open(&device, &(struct device_options){.kind = "cpu", .threads = threads}));
    struct error *e = kernels_for(&k, device, type);
    if (!e) {
        assert_ok(k->reserve(device, &(struct kernel_limits){
            .N = rows, .T = 1, .C = INNER, .F = COLUMNS, .NH = 1, .HS = 8, .V = 8}));
        memset(p->y, 0xff, sizeof p->y);
        k->linear_forward(device, &(struct linear_forward){
            .y = p->y, .x = p->x, .weight = p->weight, .bias = p->bias, .N = rows, .K = INNER,
            .M = COLUMNS});
        e = device_synchronize(device);
    }
    device_close(device);
    return e;
}

static void check(enum dtype type)
{
    static const int threads[] = {2, 3, 8, 16, 33, 70};
    static struct product one, other;
    uint64_t random = 3;
    fill(one.x, MOST_ROWS * INNER, type, &random);
    fill(one.weight, INNER * COLUMNS, type, &random);
    fill(one.bias, COLUMNS, DTYPE_F32, &random);
    other = one;
    for (int rows = 1; rows <= MOST_ROWS; rows += 3) {
        struct error *e = multiply(&one, type, rows, 1);
        if (e) {
            print_message("no %s: %s\n", dtype_name(type), error_message(e));
            error_destroy(e);
            return;
        }
        for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
            assert_ok(multiply(&other, type, rows, threads[i]));
            if (memcmp(one.y, other.y, sizeof one.y))
                fail_msg("%d rows of %s are others on %d threads", rows, dtype_name(type),
                         threads[i]);
        }
    }
}

static void test_sums_do_not_depend_on_threads(void **state)
{
    (void)state;
    check(DTYPE_F32);
    check(DTYPE_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums_do_not_depend_on_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
