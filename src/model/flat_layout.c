/* flat_layout.c - places of tensors whose heads are padded, and the copies between those and the
 * host's. */
#include "model/flat_layout.h"

#include <stdlib.h>

/* Rows that are dense on the host; a stretch of tensors without padding is one row. */
struct flat_piece {
    int64_t host, device;    /* of the first element in either buffer */
    int64_t rows, row, stride;
};

static struct flat_place find_place(const struct parameter *t, int head_alignment)
{
    struct flat_place place = {.count = t->count, .run = t->count, .stride = t->count};
    if (t->head_axis < 0)
        return place;
    int64_t after = 1;
    for (int i = t->head_axis + 1; i < t->dimensions; i++)
        after *= t->shape[i];
    const int HS = (int)t->shape[t->head_axis];
    place.run = HS * after;
    place.stride = flat_head_size(HS, head_alignment) * after;
    place.count = t->count / place.run * place.stride;
    return place;
}

/* The next tensor's piece, or more of the one before, from `host` to `end` there. */
static void add_piece(struct flat_layout *l, const struct flat_place *place, int64_t host,
                      int64_t end)
{
    struct flat_piece *last = l->n_pieces > 0 ? &l->pieces[l->n_pieces - 1] : NULL;
    if (place->stride > place->run)
        l->pieces[l->n_pieces++] = (struct flat_piece){
            .host = host, .device = place->offset, .rows = place->count / place->stride,
            .row = place->run, .stride = place->stride};
    else if (last && last->rows == 1 && last->row == last->stride &&
             last->host + last->row == host)
        last->row = last->stride = end - last->host;
    else
        l->pieces[l->n_pieces++] = (struct flat_piece){
            .host = host, .device = place->offset, .rows = 1, .row = end - host,
            .stride = end - host};
}

static void fill(struct flat_layout *l, const struct parameters *p, int head_alignment)
{
    for (int i = 0; i < p->n; i++) {
        const struct parameter *t = &p->list[i];
        const int64_t end = i + 1 < p->n ? p->list[i + 1].offset : p->flat_count;
        struct flat_place *place = &l->places[l->n++];
        *place = find_place(t, head_alignment);
        place->offset = l->flat_count;
        l->flat_count += parameters_room(place->count);
        add_piece(l, place, t->offset, end);
    }
}

struct error *flat_layout_create(struct flat_layout **out, const struct parameters *parameters,
                                 int head_alignment)
{
    const size_t n = (size_t)parameters->n;
    struct flat_layout *l = calloc(1, sizeof *l);
    if (!l)
        return error_new(ERROR_MEMORY, "no memory for the layout of %zu tensors", n);
    l->places = calloc(n, sizeof *l->places);
    l->pieces = calloc(n, sizeof *l->pieces);
    if (!l->places || !l->pieces) {
        flat_layout_destroy(l);
        return error_new(ERROR_MEMORY, "no memory for the layout of %zu tensors", n);
    }
    l->parameters = parameters;
    fill(l, parameters, head_alignment);
    *out = l;
    return NULL;
}

void flat_layout_destroy(struct flat_layout *layout)
{
    if (!layout)
        return;
    free(layout->places);
    free(layout->pieces);
    free(layout);
}

const struct flat_place *flat_layout_find(const struct flat_layout *layout, const char *name)
{
    const struct parameter *t = parameters_find(layout->parameters, name);
    return t ? &layout->places[t - layout->parameters->list] : NULL;
}

/* ---- copies ---- */

static struct device_rows rows_of(const struct flat_piece *piece)
{
    return (struct device_rows){
        .count = (size_t)piece->rows, .bytes = (size_t)piece->row * sizeof(float),
        .stride = (size_t)piece->stride * sizeof(float)};
}

void flat_layout_copy_in(const struct flat_layout *layout, struct device *device, float *to,
                         const float *host)
{
    for (int i = 0; i < layout->n_pieces; i++) {
        const struct flat_piece *piece = &layout->pieces[i];
        const struct device_rows rows = rows_of(piece);
        if (rows.count == 1)
            device_copy_in(device, to + piece->device, host + piece->host, rows.bytes);
        else
            device_copy_rows_in(device, to + piece->device, host + piece->host, &rows);
    }
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct error *fetch_bytes(struct device *device, char *host, const char *from, size_t bytes,
                                 size_t slice)
{
    for (size_t at = 0; at < bytes; at += slice)
        TRY(device_fetch(device, host + at, from + at, smaller(slice, bytes - at)));
    return NULL;
}

static struct error *fetch_rows(struct device *device, char *host, const char *from,
                                const struct device_rows *all, size_t slice)
{
    const size_t most = slice > all->bytes ? slice / all->bytes : 1;
    for (size_t at = 0; at < all->count; at += most) {
        struct device_rows rows = *all;
        rows.count = smaller(most, all->count - at);
        TRY(device_fetch_rows(device, host + at * all->bytes, from + at * all->stride, &rows));
    }
    return NULL;
}

struct error *flat_layout_fetch(const struct flat_layout *layout, struct device *device,
                                float *host, const float *from, size_t slice_bytes)
{
    for (int i = 0; i < layout->n_pieces; i++) {
        const struct flat_piece *piece = &layout->pieces[i];
        const struct device_rows rows = rows_of(piece);
        char *to = (char *)(host + piece->host);
        const char *at = (const char *)(from + piece->device);
        TRY(rows.count == 1 ? fetch_bytes(device, to, at, rows.bytes, slice_bytes)
                            : fetch_rows(device, to, at, &rows, slice_bytes));
    }
    return NULL;
}
