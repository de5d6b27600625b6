/* pieces.c - input files cut into pieces. */
#include "data/pieces.h"

#include "data/json_documents.h"
#include "data/reader.h"

#include <stdlib.h>

static struct error *append(struct pieces *pieces, const struct piece *piece)
{
    /* Capacity is the next power of two: grow whenever the count is one. */
    if ((pieces->count & (pieces->count - 1)) == 0) {
        const size_t capacity = pieces->count ? 2 * (size_t)pieces->count : 1;
        struct piece *const grown = realloc(pieces->list, capacity * sizeof *grown);
        if (!grown)
            return error_new(ERROR_MEMORY, "no memory for a list of %zu pieces of the input",
                             capacity);
        pieces->list = grown;
    }
    pieces->list[pieces->count++] = *piece;
    return NULL;
}

static struct error *can_be_cut(const struct input *file, bool *cut)
{
    struct reader *reader;
    TRY(reader_open(&reader, file->path));
    *cut = reader_facts(reader)->packing == PACKING_NONE &&
           json_layout_of(file->path) != JSON_VALUES;
    reader_close(reader);
    return NULL;
}

static struct error *add_ranges(struct pieces *pieces, int file, int64_t bytes, int64_t piece_bytes)
{
    for (int64_t from = 0; from < bytes; from += piece_bytes) {
        const int64_t to = bytes - from < piece_bytes ? bytes : from + piece_bytes;
        TRY(append(pieces, &(struct piece){
            .file = file, .files = 1, .from = from, .to = to, .bytes = to - from}));
    }
    return NULL;
}

static struct error *add_file(struct pieces *pieces, const struct inputs *inputs, int file,
                              int64_t piece_bytes, bool whole_files)
{
    const int64_t bytes = inputs->files[file].bytes;
    bool cut = false;
    if (bytes > piece_bytes && !whole_files)
        TRY(can_be_cut(&inputs->files[file], &cut));
    if (cut)
        return add_ranges(pieces, file, bytes, piece_bytes);
    /* Small neighbours share a piece. */
    struct piece *const last = pieces->count ? &pieces->list[pieces->count - 1] : NULL;
    if (last && !last->to && last->bytes + bytes <= piece_bytes) {
        last->files++;
        last->bytes += bytes;
        return NULL;
    }
    return append(pieces, &(struct piece){.file = file, .files = 1, .bytes = bytes});
}

struct error *pieces_plan(struct pieces *out, const struct inputs *inputs, int64_t piece_bytes,
                          bool whole_files)
{
    struct pieces pieces = {0};
    for (int i = 0; i < inputs->count; i++) {
        struct error *e = add_file(&pieces, inputs, i, piece_bytes, whole_files);
        if (e) {
            pieces_release(&pieces);
            return e;
        }
    }
    *out = pieces;
    return NULL;
}

void pieces_release(struct pieces *pieces)
{
    free(pieces->list);
    *pieces = (struct pieces){0};
}
