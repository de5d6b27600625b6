/* choose_twin.c - whether ids that a device chose are those that its twin would choose. */
#include "choose_twin.h"

#include <float.h>

/*
 * How far two right p are apart, relatively. CUDA's expf is within 2 ulp (CUDA C++ Programming
 * Guide, "Mathematical Functions"), glibc's within 1; p is one such value over a sum of such, each
 * rounded to fp32 on the way: 9.6e-7 in all, at worst. Running sums of p, up to 1, are as near.
 */
#define NEAR 1e-6
/* Of a logarithm, by itself: 1 ulp each, and rounding. */
#define LOG_NEAR 2e-7

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return x->id - y->id;
}

const struct entry *sorted(struct bench *b, const float *values, int n)
{
    struct entry *e = bench_host(b, (size_t)n * sizeof *e);
    for (int v = 0; v < n; v++)
        e[v] = (struct entry){values[v], v};
    qsort(e, (size_t)n, sizeof *e, compare_entries);
    return e;
}

/* What a device may have where the twin's probability is p. Rounding keeps order: larger p have
 * larger bounds. */
struct range {
    float low, high;
};

static struct range range_of(float p, const float *score)
{
    const double off = NEAR * fmax((double)p, (double)FLT_MIN);
    const double low = fmax((double)p - off, 0), high = (double)p + off;
    if (!score)
        return (struct range){(float)low, (float)high};
    return (struct range){(float)(log(low) * (1 + LOG_NEAR)) + *score,
                          (float)(log(high) * (1 - LOG_NEAR)) + *score};
}

static bool is_in(struct range r, float value)
{
    return r.low <= value && value <= r.high;
}

static bool overlap(struct range x, struct range y)
{
    return x.low <= y.high && y.low <= x.high;
}

static void check_values(const float *values, const float *twin_p, const float *score, int ids)
{
    for (int v = 0; v < ids; v++) {
        const struct range r = range_of(twin_p[v], score);
        if (!is_in(r, values[v]))
            fail_msg("of %d ids, id %d has %.9g; by the twin's p, %.9g, it is %.9g to %.9g", ids, v,
                     (double)values[v], (double)twin_p[v], (double)r.low, (double)r.high);
    }
}

/* ---- draws ---- */

/*
 * Whether an id with this p of the twin's may be kept by one of the two alone. It is near that
 * which it changes places with: where the device alone has it, the twin's last one, else the first
 * that the twin has not; or near one with which the mass before it is near the one asked for.
 */
static bool is_at_cut(const struct draw_of_two *d, const struct entry *e, int kept, float p,
                      bool by_device)
{
    const struct range r = range_of(p, NULL);
    const int place = by_device ? kept - 1 : kept;
    double before = 0;
    for (int i = 0; i < d->ids; i++) {
        const bool may = i > 0 && fabs(before - (double)d->mass) <= NEAR;
        if ((may || i == place) && overlap(r, range_of(e[i].value, NULL)))
            return true;
        before += (double)e[i].value;
    }
    return false;
}

/* The p, of both, of ids that one keeps and the other does not. Those too small for fp32's full
 * precision do not count. */
static double check_cut(struct bench *b, const struct draw_of_two *d)
{
    const struct entry *e = NULL;
    const float *p = d->got.p, *twin_p = d->twin.p;
    double apart = 0;
    int kept = 0;
    for (int v = 0; v < d->ids; v++)
        kept += twin_p[v] > 0;
    for (int v = 0; v < d->ids && d->most > 0; v++) {
        if ((p[v] > 0) == (twin_p[v] > 0) || d->twin.whole[v] < FLT_MIN)
            continue;
        if (!e)
            e = sorted(b, d->twin.whole, d->ids);
        if (d->exact || (d->exact_order && (isinf(d->mass) || d->most == 1)) ||
            !is_at_cut(d, e, kept, d->twin.whole[v], p[v] > 0))
            fail_msg("of %d ids, most %d, mass %.9g: id %d has %.9g, the twin's %.9g, cut from "
                     "%.9g", d->ids, d->most, (double)d->mass, v, (double)p[v],
                     (double)twin_p[v], (double)d->twin.whole[v]);
        apart += (double)p[v] + (double)twin_p[v];
    }
    return apart;
}

/* How far the point is from the edges, in the running sum of the twin's p, that part two ids. */
static double distance(const struct draw_of_two *d)
{
    const int first = d->got.id < d->twin.id ? d->got.id : d->twin.id;
    const int last = d->got.id < d->twin.id ? d->twin.id : d->got.id;
    double total = 0, behind_first = 0, before_last = 0;
    for (int v = 0; v < d->ids; v++) {
        total += (double)d->twin.p[v];
        if (v <= first)
            behind_first = total;
        if (v < last)
            before_last = total;
    }
    const double point = total * d->uniform;
    return fmax(fabs(behind_first - point), fabs(before_last - point));
}

void check_draw_of_two(struct bench *b, const struct draw_of_two *d)
{
    check_values(d->got.whole, d->twin.whole, NULL, d->ids);
    for (int v = 0; v < d->ids && d->exact; v++)
        if (d->got.p[v] != d->twin.p[v])
            fail_msg("of %d ids, most %d, mass %.9g: id %d has %.9g, not the twin's %.9g", d->ids,
                     d->most, (double)d->mass, v, (double)d->got.p[v], (double)d->twin.p[v]);
    const double apart = check_cut(b, d);
    if (d->got.id != d->twin.id && (d->exact || distance(d) > NEAR + apart))
        fail_msg("of %d ids, most %d, mass %.9g, at %.17g: id %d, the twin's %d, %.3g apart",
                 d->ids, d->most, (double)d->mass, d->uniform, d->got.id, d->twin.id,
                 distance(d));
}

/* ---- candidates ---- */

void check_largest_of_two(struct bench *b, const struct largest_of_two *l)
{
    const struct entry *e = sorted(b, l->twin_p, l->ids);
    check_values(l->all, l->twin_p, l->score, l->ids);
    for (int i = 0; i < l->k; i++) {
        const int id = l->chosen[i];
        const struct range r = range_of(e[i].value, l->score);
        assert_in_range(id, 0, l->ids - 1);
        if (!is_in(r, l->values[i]) ||
            (id != l->twin_chosen[i] &&
             (l->exact_order || !overlap(r, range_of(l->twin_p[id], l->score)))))
            fail_msg("largest of %d, %d of %d: id %d (%.9g), the twin's %d (%.9g to %.9g)", l->ids,
                     i, l->k, id, (double)l->values[i], l->twin_chosen[i], (double)r.low,
                     (double)r.high);
    }
}
