/*
 * leaf_sums.c - adds like a binary counter: level k keeps the sum of 2^k leaves that wait for the
 * 2^k to their right.
 */
#include "train/leaf_sums.h"

#include <stdlib.h>

enum { MOST_LEVELS = 30 };

struct leaf_sums {
    struct device *device;
    const struct kernels *kernels;
    float *gradients;            /* the model's */
    int64_t count;
    int leaves;
    float *levels[MOST_LEVELS];  /* device memory, (count) each */
};

struct error *leaf_sums_create(struct leaf_sums **out, struct device *device,
                               const struct kernels *kernels, struct model *model, int leaves)
{
    struct leaf_sums *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory to sum micro-batches (%zu bytes)", sizeof *s);
    s->device = device;
    s->kernels = kernels;
    s->leaves = leaves;
    s->gradients = model_summed(model, &s->count);
    for (int k = 0; 1 << k < leaves; k++) {
        void *memory;
        struct error *e = device_allocate(device, &memory, (size_t)s->count * sizeof(float),
                                          "sums of micro-batches' gradients");
        if (e) {
            leaf_sums_destroy(s);
            return e;
        }
        s->levels[k] = memory;
    }
    *out = s;
    return NULL;
}

void leaf_sums_destroy(struct leaf_sums *sums)
{
    if (!sums)
        return;
    for (int k = 0; k < MOST_LEVELS; k++)
        device_release(sums->device, sums->levels[k]);
    free(sums);
}

void leaf_sums_add(struct leaf_sums *sums, int leaf)
{
    const struct leaf_sums *s = sums;
    int k = 0;
    for (; leaf >> k & 1; k++)
        s->kernels->add(s->device, &(struct add){
            .y = s->gradients, .x = s->levels[k], .count = s->count});
    if (leaf < s->leaves - 1)
        device_copy(s->device, s->levels[k], s->gradients, (size_t)s->count * sizeof(float));
}
