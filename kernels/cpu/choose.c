/*
 * choose.c - which tokens follow: distributions, cut as KerasHub cuts them, draws by inverse CDF,
 * and the largest for searches.
 *
 * The largest probabilities come from a binary heap of ids: building it costs V, each of those kept
 * log V, whether k of them are wanted or as many as top-p's mass takes. Sums are taken in double
 * and in one order, so a text depends on the logits and the uniform numbers alone. A search's few
 * candidates come from a list of the best so far instead: most values fail at its last entry.
 */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

/* Whether threads are worth waking; rows are what they share. */
static bool is_work(int B, int V)
{
    const int64_t some = 1 << 14;
    return B > 1 && (int64_t)B * V >= some;
}

/* The largest of the first `ids` over the temperature; not finite where the row has no p. (Division
 * by a positive number keeps the order, so the largest is divided alone.) */
static float scaled_maximum(const float *logits, int V, int ids, float temperature)
{
    int finite = 1;
    for (int v = 0; v < V; v++)
        finite &= isfinite(logits[v]) != 0;
    if (!finite)
        return INFINITY;
    float largest = logits[0];
    for (int v = 1; v < ids; v++)
        if (logits[v] > largest)
            largest = logits[v];
    return largest / temperature;
}

/* Writes p; false where there is none. */
static bool softmax(const float *logits, int V, int ids, float temperature, float *probabilities)
{
    const float largest = scaled_maximum(logits, V, ids, temperature);
    if (!isfinite(largest))
        return false;
    double sum = 0;
    for (int v = 0; v < ids; v++) {
        probabilities[v] = expf(logits[v] / temperature - largest);
        sum += (double)probabilities[v];
    }
    for (int v = 0; v < ids; v++)
        probabilities[v] /= (float)sum;
    return true;
}

static void keep_first_maximum(float *probabilities, int ids)
{
    int best = 0;
    for (int v = 1; v < ids; v++)
        if (probabilities[v] > probabilities[best])
            best = v;
    memset(probabilities, 0, (size_t)ids * sizeof *probabilities);
    probabilities[best] = 1;
}

/* ---- the largest, one after the other ---- */

static bool comes_before(const float *probabilities, int a, int b)
{
    return probabilities[a] > probabilities[b] || (probabilities[a] == probabilities[b] && a < b);
}

static void sift_down(const float *probabilities, int *heap, int n, int at)
{
    const int id = heap[at];
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && comes_before(probabilities, heap[child + 1], heap[child]))
            child++;
        if (!comes_before(probabilities, heap[child], id))
            break;
        heap[at] = heap[child];
    }
    heap[at] = id;
}

static void build_heap(const float *probabilities, int *heap, int n)
{
    for (int v = 0; v < n; v++)
        heap[v] = v;
    for (int at = n / 2 - 1; at >= 0; at--)
        sift_down(probabilities, heap, n, at);
}

/* Takes the first of a heap of n; it then stands behind the n - 1 that are left. */
static int take_first(const float *probabilities, int *heap, int n)
{
    const int id = heap[0];
    heap[0] = heap[n - 1];
    sift_down(probabilities, heap, n - 1, 0);
    heap[n - 1] = id;
    return id;
}

static void keep_largest(float *probabilities, int ids, int most, float mass, int *order)
{
    build_heap(probabilities, order, ids);
    double sum = 0;
    int left = ids;
    while (left > 0 && ids - left < most && (left == ids || (float)sum <= mass))
        sum += (double)probabilities[take_first(probabilities, order, left--)];

    for (int i = 0; i < left; i++)
        probabilities[order[i]] = 0;
    for (int i = left; i < ids; i++)
        probabilities[order[i]] /= (float)sum;
}

/* ---- a draw ---- */

static int32_t draw_id(const float *probabilities, int ids, double uniform)
{
    double total = 0;
    for (int v = 0; v < ids; v++)
        total += (double)probabilities[v];

    const double point = total * uniform;
    double sum = 0;
    int drawn = 0;
    for (int v = 0; v < ids; v++) {
        if (probabilities[v] > 0) {
            drawn = v;    /* stays the last possible one should rounding put the point at the end */
            sum += (double)probabilities[v];
            if (point < sum)
                break;
        }
    }
    return drawn;
}

static void draw_row(const struct draw *a, int64_t b, int *order)
{
    float *const probabilities = a->probabilities + b * a->ids;
    if (!softmax(a->logits + b * a->V, a->V, a->ids, a->temperature, probabilities)) {
        a->chosen[b] = NOT_FINITE;
        return;
    }
    if (a->most == 1)
        keep_first_maximum(probabilities, a->ids);
    else if (a->most > 0)
        keep_largest(probabilities, a->ids, a->most, a->mass, order);
    a->chosen[b] = draw_id(probabilities, a->ids, a->uniforms[b]);
}

void cpu_draw(struct device *device, enum dtype act, const struct draw *a)
{
    (void)act;
#pragma omp parallel for schedule(dynamic) if (is_work(a->B, a->V))
    for (int64_t b = 0; b < a->B; b++) {
        const float *logits = a->logits + b * a->V;
        if (a->uniforms[b] >= 0)
            draw_row(a, b, (int *)(void *)cpu_thread_scratch(device, a->ids));
        else
            a->chosen[b] = isfinite(scaled_maximum(logits, a->V, a->ids, a->temperature))
                               ? 0
                               : NOT_FINITE;
    }
}

/* ---- candidates of a search ---- */

/* Puts a value into a list of n, at most k, behind its equals; returns the list's new length. */
static int insert(int32_t *ids, float *values, int n, int k, int32_t id, float value)
{
    int at = n;
    while (at > 0 && value > values[at - 1])
        at--;
    if (n == k)
        n--;
    memmove(ids + at + 1, ids + at, (size_t)(n - at) * sizeof *ids);
    memmove(values + at + 1, values + at, (size_t)(n - at) * sizeof *values);
    ids[at] = id;
    values[at] = value;
    return n + 1;
}

static void largest_of_row(const struct largest *a, int64_t b)
{
    const int64_t row = a->rows ? a->rows[b] : b;
    int32_t *const chosen = a->chosen + b * a->k;
    float *const values = a->values + b * a->k, *const all = a->all + b * a->ids;
    if (!softmax(a->logits + row * a->V, a->V, a->ids, a->temperature, all)) {
        chosen[0] = NOT_FINITE;
        return;
    }
    int n = 0;
    for (int v = 0; v < a->ids; v++) {
        if (a->scores)
            all[v] = logf(all[v]) + a->scores[b];
        if (n < a->k || all[v] > values[n - 1])
            n = insert(chosen, values, n, a->k, v, all[v]);
    }
}

void cpu_largest(struct device *device, enum dtype act, const struct largest *a)
{
    (void)device;
    (void)act;
#pragma omp parallel for schedule(dynamic) if (is_work(a->B, a->V))
    for (int64_t b = 0; b < a->B; b++)
        largest_of_row(a, b);
}
