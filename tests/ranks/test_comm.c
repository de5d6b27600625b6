/* test_comm.c - collectives, errors agreed on, and gradients summed by buckets, on the device that
 * GALLEY_TEST_DEVICE names (cpu); run on 1, 2 and 4 ranks. A failed assertion on one rank leaves
 * the others waiting: mpirun's timeout ends them. */
#include "testing.h"

#include "comm/buckets.h"
#include "comm/comm.h"
#include "device/device.h"

static struct comm *comm;
static struct device *device;

/* What rank r holds at i in a step: whole numbers, so that sums are exact in every order. */
static float whole(int r, int64_t i, int step)
{
    return (float)((i * 7 + r * 1000 + step * 31) % 4096 - 2048);
}

/* Numbers whose sum depends on the order of the additions. */
static float rough(int r, int64_t i)
{
    return sinf((float)(i + 1) * (float)(r + 3)) * powf(10, (float)((i + r) % 7 - 3));
}

static void test_sums_and_maxima_are_over_all_ranks(void **state)
{
    (void)state;
    const int rank = comm_rank(comm), n = comm_world_size(comm);
    double sums[3] = {rank, 1, 0.5}, most[2] = {rank, -rank};
    int64_t counts[2] = {rank, (int64_t)1 << 60};
    assert_ok(comm_sum(comm, sums, 3));
    assert_ok(comm_max(comm, most, 2));
    assert_ok(comm_sum_int64(comm, counts, 2));
    assert_true(sums[0] == n * (n - 1) / 2 && sums[1] == n && sums[2] == 0.5 * n);
    assert_true(most[0] == n - 1 && most[1] == 0);
    assert_true(counts[0] == n * (n - 1) / 2 && counts[1] == n * ((int64_t)1 << 60));
}

static void test_rank_0_tells_everybody(void **state)
{
    (void)state;
    enum { BYTES = 3 << 20 };
    unsigned char *bytes = malloc(BYTES);
    assert_non_null(bytes);
    for (int i = 0; i < BYTES; i++)
        bytes[i] = (unsigned char)(comm_rank(comm) == 0 ? i * 13 % 251 : 255);
    assert_ok(comm_broadcast(comm, bytes, BYTES));
    for (int i = 0; i < BYTES; i++)
        if (bytes[i] != i * 13 % 251)
            fail_msg("byte %d is %d", i, bytes[i]);
    assert_ok(comm_broadcast(comm, bytes, 0));
    free(bytes);
}

static void test_gathering_keeps_the_order_of_ranks(void **state)
{
    (void)state;
    const int rank = comm_rank(comm), n = comm_world_size(comm);
    const char mine[3] = {(char)('a' + rank), (char)('A' + rank), (char)('0' + rank)};
    char *all = calloc((size_t)n, sizeof mine);
    assert_non_null(all);
    assert_ok(comm_all_gather(comm, mine, all, sizeof mine));
    for (int r = 0; r < n; r++) {
        const char expected[3] = {(char)('a' + r), (char)('A' + r), (char)('0' + r)};
        assert_memory_equal(all + 3 * r, expected, sizeof expected);
    }
    free(all);
    assert_ok(comm_barrier(comm));
}

static void test_places_are_told(void **state)
{
    (void)state;
    assert_in_range(comm_rank(comm), 0, comm_world_size(comm) - 1);
    assert_int_equal(comm_local_rank(comm), comm_rank(comm));    /* mpirun on one host */
    assert_int_equal(comm_local_size(comm), comm_world_size(comm));
    assert_true(*comm_host(comm));
}

static void test_nobody_failed_is_no_error(void **state)
{
    (void)state;
    assert_ok(comm_agree(comm, NULL));
}

static void test_the_error_of_one_rank_becomes_everybodys(void **state)
{
    (void)state;
    const int n = comm_world_size(comm);
    for (int failing = 0; failing < n; failing++) {
        struct error *mine = NULL;
        if (comm_rank(comm) == failing)
            mine = error_new(ERROR_USAGE, "rank %d has no bread", failing);
        struct error *e = comm_agree(comm, mine);
        char expected[512];
        if (n > 1)
            snprintf(expected, sizeof expected, "on rank %d of host %s: rank %d has no bread",
                     failing, comm_host(comm), failing);
        else
            snprintf(expected, sizeof expected, "rank 0 has no bread");
        assert_non_null(e);
        assert_string_equal(error_message(e), expected);
        assert_int_equal(error_kind(e), ERROR_USAGE);
        error_destroy(e);
    }
}

static void test_of_several_errors_the_lowest_rank_speaks(void **state)
{
    (void)state;
    struct error *e = comm_agree(comm, error_new(ERROR_IO, "all ashore, says %d", comm_rank(comm)));
    assert_non_null(e);
    assert_string_equal(error_message(e), "all ashore, says 0");    /* no rank: it is everybody's */
    error_destroy(e);
    if (comm_world_size(comm) < 3)
        return;
    e = comm_agree(comm, comm_rank(comm) == 0 ? NULL : error_new(ERROR_INPUT, "r%d",
        comm_rank(comm)));
    assert_non_null(e);
    assert_non_null(strstr(error_message(e), "on rank 1 of host"));
    assert_non_null(strstr(error_message(e), ": r1"));
    error_destroy(e);
}

static void test_equal_hashes_pass_and_a_different_rank_is_named(void **state)
{
    (void)state;
    const int n = comm_world_size(comm);
    assert_ok(comm_check_equal(comm, "the weather", 42));
    for (int odd = 0; odd < n && n > 1; odd++) {
        struct error *e =
            comm_check_equal(comm, "the weather", comm_rank(comm) == odd ? UINT64_MAX : 42);
        char expected[64];
        /* Of two, nobody is in the majority: the second is named. */
        snprintf(expected, sizeof expected, "rank %d differs", n == 2 ? 1 : odd);
        assert_non_null(e);
        assert_non_null(strstr(error_message(e), "the weather"));
        assert_non_null(strstr(error_message(e), expected));
        error_destroy(e);
    }
}

/* How backward may tell of its progress: whatever falls. */
static void tell_ready(struct buckets *buckets, int pattern, int64_t count)
{
    switch (pattern) {
    case 0:    /* nothing until the end */
        return;
    case 1:    /* all at once */
        buckets_ready(buckets, 0);
        return;
    case 2:    /* small steps across the buckets' bounds, and one twice */
        for (int64_t first = count; first > 0; first -= 997) {
            buckets_ready(buckets, first);
            buckets_ready(buckets, first);
        }
        return;
    case 3:    /* a part, then silence */
        buckets_ready(buckets, count / 3);
        return;
    default:    /* each rank otherwise */
        buckets_ready(buckets, count / (comm_rank(comm) + 1));
        buckets_ready(buckets, comm_rank(comm) % 2 == 0 ? 0 : count / 7);
    }
}

enum { PATTERNS = 5, SCALARS = 7 };

/* Buckets over memory of the device, and the same on the host. */
struct summing {
    struct buckets *buckets;
    int64_t count;
    float *values, *host;
    double *scalars;
};

static void summing_open(struct summing *s, int64_t count, size_t bucket_bytes, bool in_tree)
{
    void *memory;
    s->count = count;
    assert_ok(device_allocate_shared(device, &memory, (size_t)count * sizeof(float), "gradients"));
    s->values = memory;
    assert_ok(device_allocate(device, &memory, SCALARS * sizeof(double), "scalars"));
    s->scalars = memory;
    s->host = malloc((size_t)count * sizeof(float));
    assert_non_null(s->host);
    assert_ok(buckets_create(&s->buckets, comm, device, s->values, count, bucket_bytes,
                             in_tree));
}

static void summing_close(struct summing *s)
{
    assert_ok(buckets_end(s->buckets));
    buckets_destroy(s->buckets);
    device_release(device, s->values);
    device_release(device, s->scalars);
    free(s->host);
}

/* One step: what is on the host becomes the sum. */
static void summing_run(struct summing *s, int pattern, double scalars[SCALARS])
{
    const size_t bytes = (size_t)s->count * sizeof(float), few = SCALARS * sizeof(double);
    device_copy_in(device, s->values, s->host, bytes);
    device_copy_in(device, s->scalars, scalars, few);
    tell_ready(s->buckets, pattern, s->count);
    assert_ok(buckets_finish(s->buckets, s->scalars, SCALARS));
    device_copy_out(device, s->host, s->values, bytes);
    device_copy_out(device, scalars, s->scalars, few);
    assert_ok(device_synchronize(device));
    assert_ok(buckets_check(s->buckets));
}

static void sum_and_check(struct summing *s, int step)
{
    const int rank = comm_rank(comm), n = comm_world_size(comm);
    double scalars[SCALARS];
    for (int64_t i = 0; i < s->count; i++)
        s->host[i] = whole(rank, i, step);
    for (int i = 0; i < SCALARS; i++)
        scalars[i] = rank + i + step;
    summing_run(s, step % PATTERNS, scalars);
    for (int64_t i = 0; i < s->count; i++) {
        float expected = 0;
        for (int r = 0; r < n; r++)
            expected += whole(r, i, step);
        if (s->host[i] != expected)
            fail_msg("step %d, element %lld: %g, expected %g", step, (long long)i,
                     (double)s->host[i], (double)expected);
    }
    for (int i = 0; i < SCALARS; i++)
        assert_true(scalars[i] == n * (n - 1) / 2 + n * (i + step));
}

static void test_buckets_sum_in_every_pattern_of_readiness(void **state)
{
    (void)state;
    const int64_t counts[] = {1, 1023, 1024, 1025, 10007, 300000};
    const size_t bucket_bytes[] = {0, 1, 4096, 50001, 1 << 28};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (size_t b = 0; b < sizeof bucket_bytes / sizeof *bucket_bytes; b++) {
            struct summing s;
            summing_open(&s, counts[c], bucket_bytes[b], false);
            assert_in_range(buckets_count(s.buckets), 1, (counts[c] + 1023) / 1024);
            for (int step = 0; step < PATTERNS; step++)
                sum_and_check(&s, step);
            summing_close(&s);
        }
}

static void test_buckets_serve_many_steps(void **state)
{
    (void)state;
    enum { STEPS = 300 };
    struct summing s;
    summing_open(&s, 5000, 4096, false);
    assert_int_equal(buckets_count(s.buckets), 5);
    for (int step = 0; step < STEPS; step++)
        sum_and_check(&s, step);
    summing_close(&s);
}

static void check_rough(const float *sums, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double exact = 0, size = 0;
        for (int r = 0; r < comm_world_size(comm); r++) {
            exact += (double)rough(r, i);
            size += fabs((double)rough(r, i));
        }
        assert_true(fabs((double)sums[i] - exact) <= 1e-6 * size);
    }
}

/* Of ranks first to first + n - 1: (left half) + (right half), in fp32. */
static float tree_of(int first, int n, int64_t i)
{
    return n == 1 ? rough(first, i) : tree_of(first, n / 2, i) + tree_of(first + n / 2, n / 2, i);
}

static void test_sums_in_a_tree_are_those_of_the_tree(void **state)
{
    (void)state;
    enum { COUNT = 600007 };    /* in pieces */
    const int n = comm_world_size(comm);
    struct summing s;
    if (strcmp(device_kind(device), "cpu"))
        return;
    for (int64_t bucket_bytes = 40000; bucket_bytes <= 1 << 28; bucket_bytes *= 8) {
        double scalars[SCALARS];
        summing_open(&s, COUNT, (size_t)bucket_bytes, true);
        for (int64_t i = 0; i < COUNT; i++)
            s.host[i] = rough(comm_rank(comm), i);
        for (int i = 0; i < SCALARS; i++)
            scalars[i] = comm_rank(comm) + i;
        summing_run(&s, 0, scalars);
        for (int64_t i = 0; i < COUNT; i++)
            assert_true(s.host[i] == tree_of(0, n, i));
        for (int i = 0; i < SCALARS; i++)
            assert_true(scalars[i] == n * (n - 1) / 2 + n * i);
        summing_close(&s);
    }
}

/* Weights stay equal only if every rank adds in the same order. */
static void test_rounded_sums_have_the_same_bits_everywhere(void **state)
{
    (void)state;
    enum { COUNT = 100003 };
    static float first[COUNT];
    struct summing s;
    summing_open(&s, COUNT, 40000, false);
    for (int step = 0; step < PATTERNS; step++) {
        double scalars[SCALARS] = {0};
        for (int64_t i = 0; i < COUNT; i++)
            s.host[i] = rough(comm_rank(comm), i);
        summing_run(&s, step, scalars);
        if (step == 0) {
            memcpy(first, s.host, sizeof first);
            assert_ok(comm_broadcast(comm, first, sizeof first));
            check_rough(first, COUNT);
        }
        /* Rank 0's of the first step: the same on every rank, and however it came to be ready. */
        assert_memory_equal(s.host, first, sizeof first);
    }
    summing_close(&s);
}

static void test_ranks_with_different_gradients_are_refused(void **state)
{
    (void)state;
    struct buckets *buckets = NULL;
    void *memory;
    if (comm_world_size(comm) == 1)
        return;
    assert_ok(device_allocate_shared(device, &memory, 2000 * sizeof(float), "gradients"));
    assert_fails(buckets_create(&buckets, comm, device, memory, 2000 - comm_rank(comm), 4096,
                                false),
                 "number of gradients");
    assert_null(buckets);
    device_release(device, memory);
    assert_ok(comm_barrier(comm));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_are_told),
        cmocka_unit_test(test_sums_and_maxima_are_over_all_ranks),
        cmocka_unit_test(test_rank_0_tells_everybody),
        cmocka_unit_test(test_gathering_keeps_the_order_of_ranks),
        cmocka_unit_test(test_nobody_failed_is_no_error),
        cmocka_unit_test(test_the_error_of_one_rank_becomes_everybodys),
        cmocka_unit_test(test_of_several_errors_the_lowest_rank_speaks),
        cmocka_unit_test(test_equal_hashes_pass_and_a_different_rank_is_named),
        cmocka_unit_test(test_buckets_sum_in_every_pattern_of_readiness),
        cmocka_unit_test(test_buckets_serve_many_steps),
        cmocka_unit_test(test_rounded_sums_have_the_same_bits_everywhere),
        cmocka_unit_test(test_sums_in_a_tree_are_those_of_the_tree),
        cmocka_unit_test(test_ranks_with_different_gradients_are_refused),
    };
    const char *kind = getenv("GALLEY_TEST_DEVICE");
    struct error *e = comm_open(&comm);
    if (!e)
        e = device_open(&device, &(struct device_options){
            .kind = kind ? kind : "cpu", .local_rank = comm_local_rank(comm),
            .local_size = comm_local_size(comm)});
    if (!e)
        e = buckets_prepare(comm, device);
    if (e)
        return comm_end(comm, e);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(device);
    comm_close(comm);
    return failed;
}
