/*
 * flat_layout.h - where a model's tensors stand in its flat buffers in device memory.
 *
 * Order, and distances of 64 bytes, are those of parameters.h, which is how the host and files have
 * them; where heads need no padding the places are the same too. Else zeros follow the channels of
 * each head, up to a multiple of what the device's kernels are fast at (kernels.h, head_alignment):
 * 85 channels are 88, (C, 3, NH, 85) is (C, 3, NH, 88). So what is `run` elements after `run`
 * elements on the host begins every `stride` elements here; runs of a tensor without heads are the
 * tensor itself.
 *
 * The zeros stay zeros, and nothing is changed by them: a channel of q, k and v whose weights and
 * bias are 0 is 0, adds nothing to scores and outputs, and its weights' gradient is 0, because the
 * other two factors of every product in it are such channels. Adam, with or without decay, leaves a
 * 0 whose gradient was always 0. Norms and sums over a buffer are those without padding.
 */
#ifndef GALLEY_MODEL_FLAT_LAYOUT_H
#define GALLEY_MODEL_FLAT_LAYOUT_H

#include "device/device.h"
#include "model/parameters.h"

/* Of the tensor with the same index in parameters->list; all in elements. */
struct flat_place {
    int64_t offset;
    int64_t count;           /* padding included */
    int64_t run, stride;
};

struct flat_piece;

struct flat_layout {
    const struct parameters *parameters;    /* borrowed */
    struct flat_place *places;
    int n;
    int64_t flat_count;      /* elements of a flat buffer, gaps and padding included */
    struct flat_piece *pieces;    /* what a copy from or to the host consists of */
    int n_pieces;
};

/* Channels of a head of HS in device memory. */
static inline int flat_head_size(int HS, int head_alignment)
{
    return (HS + head_alignment - 1) / head_alignment * head_alignment;
}

MUST_USE struct error *flat_layout_create(struct flat_layout **out,
                                          const struct parameters *parameters, int head_alignment);
void flat_layout_destroy(struct flat_layout *layout);    /* NULL is fine */
/* Of the tensor of that name, or NULL. */
const struct flat_place *flat_layout_find(const struct flat_layout *layout, const char *name);

/*
 * Copies of one flat buffer, in as device_copy_in, out as device_fetch, in slices of about
 * `slice_bytes`: `host` has the places and the flat_count of the parameters. Padding, and gaps
 * beside padded tensors, are neither written here nor there: both hold zeros from their allocation
 * on. Without padding it is one copy.
 */
void flat_layout_copy_in(const struct flat_layout *layout, struct device *device, float *to,
                         const float *host);
MUST_USE struct error *flat_layout_fetch(const struct flat_layout *layout, struct device *device,
                                         float *host, const float *from, size_t slice_bytes);

#endif
