/* checkpoint_read.c - opening a checkpoint: the manifest first, then what HDF5 holds. */
#include "train/checkpoint.h"

#include "formats/h5.h"
#include "formats/manifest.h"
#include "train/checkpoint_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { MOST_HISTORY = 1 << 24 };

struct checkpoint_file {
    char *path;
    struct manifest manifest;
    struct h5_file *file;
    struct model_spec spec;
    struct progress progress;
    struct spike_window spikes;
    char *config;
    char *vocabulary, *merges, *added;
    struct tokenizer_definition tokenizer;    /* of these texts */
    struct history_row *history;
    int history_rows;
};

static struct error *read_model(struct checkpoint_file *c)
{
    char *family = NULL;
    TRY(h5_get_text(c->file, "/model", "family", &family));
    struct error *e = NULL;
    if (!spec_family_find(&c->spec.family, family))
        e = error_new(ERROR_INPUT, "%s holds a model of family \"%s\", which this version does not "
                      "know", c->path, family);
    free(family);
    TRY(e);
    for (int i = 0; i < checkpoint_size_count; i++) {
        int64_t value = 0;
        TRY(h5_get_int(c->file, "/model", checkpoint_sizes[i].name, &value));
        if (value < 1 || value > 1 << 24)
            return error_new(ERROR_INPUT, "%s: /model says %s %" PRId64, c->path,
                             checkpoint_sizes[i].name, value);
        *(int *)(void *)((char *)&c->spec + checkpoint_sizes[i].offset) = (int)value;
    }
    double dropout = 0;    /* what files of before there was any do not say */
    if (h5_has_attribute(c->file, "/model", "dropout"))
        TRY(h5_get_double(c->file, "/model", "dropout", &dropout));
    if (!(dropout >= 0 && dropout < 1))
        return error_new(ERROR_INPUT, "%s: /model says dropout %g", c->path, dropout);
    c->spec.dropout = (float)dropout;
    return NULL;
}

static struct error *read_updates(struct checkpoint_file *c, int64_t format)
{
    struct progress *p = &c->progress;
    if (format < 2) {    /* from before losses were scaled: every step was an update */
        p->updates = p->step;
        return NULL;
    }
    TRY(h5_get_int(c->file, "/progress", "updates", &p->updates));
    TRY(h5_get_double(c->file, "/progress", "loss_scale", &p->loss_scale));
    TRY(h5_get_int(c->file, "/progress", "finite_steps", &p->finite_steps));
    if (format < 3)
        return NULL;    /* a step that was not finite ended the run */
    TRY(h5_get_int(c->file, "/progress", "nan_in_a_row", &p->nan_in_a_row));
    return h5_get_int(c->file, "/progress", "rollbacks", &p->rollbacks);
}

static struct error *read_spikes(struct checkpoint_file *c)
{
    struct spike_window *w = &c->spikes;
    double *values = NULL;
    if (!h5_has_attribute(c->file, "/spikes", "steps"))
        return NULL;
    TRY(h5_get_int(c->file, "/spikes", "steps", &w->steps));
    TRY(h5_read_rows(c->file, "/spikes", CHECKPOINT_SPIKE_COLUMNS, SPIKE_WINDOW_MOST, &values,
                     &w->length));
    for (int64_t i = 0; i < w->length; i++) {
        w->loss[i] = values[i * CHECKPOINT_SPIKE_COLUMNS];
        w->norm[i] = values[i * CHECKPOINT_SPIKE_COLUMNS + 1];
    }
    free(values);
    if (w->steps < 0)
        return error_new(ERROR_INPUT, "%s: /spikes says %" PRId64 " steps", c->path, w->steps);
    return NULL;
}

static struct error *read_stream(struct checkpoint_file *c, int64_t format)
{
    struct pipe_position *const s = &c->progress.stream;
    int64_t hash = 0, end_hash = 0;
    if (format < 3)    /* from before data came through pipes */
        return NULL;
    TRY(h5_get_int(c->file, "/progress", "stream_bytes", &s->start.bytes));
    TRY(h5_get_int(c->file, "/progress", "stream_tokens", &s->start.tokens));
    TRY(h5_get_int(c->file, "/progress", "stream_hash", &hash));
    TRY(h5_get_int(c->file, "/progress", "stream_window", &s->window));
    TRY(h5_get_int(c->file, "/progress", "stream_samples", &s->samples));
    TRY(h5_get_int(c->file, "/progress", "stream_end_hash", &end_hash));
    TRY(h5_get_int(c->file, "/progress", "stream_taken", &s->taken));
    s->start.hash = (uint64_t)hash;
    s->end_hash = (uint64_t)end_hash;
    if (s->start.bytes < 0 || s->start.tokens < 0 || s->window < 0 || s->samples < 0 || s->taken < 0)
        return error_new(ERROR_INPUT, "%s: /progress has a negative place in the stream", c->path);
    return NULL;
}

static struct error *read_progress(struct checkpoint_file *c)
{
    struct progress *p = &c->progress;
    int64_t fingerprint = 0, seed = 0, world_size = 0;
    static const char path[] = "/progress";
    TRY(h5_get_int(c->file, path, "step", &p->step));
    TRY(h5_get_int(c->file, path, "epoch", &p->epoch));
    TRY(h5_get_int(c->file, path, "step_in_epoch", &p->step_in_epoch));
    TRY(h5_get_int(c->file, path, "samples", &p->samples));
    TRY(h5_get_int(c->file, path, "tokens", &p->tokens));
    TRY(h5_get_int(c->file, path, "train_fingerprint", &fingerprint));
    TRY(h5_get_int(c->file, path, "seed", &seed));
    TRY(h5_get_int(c->file, path, "world_size", &world_size));
    TRY(h5_get_double(c->file, path, "best_perplexity", &p->best_perplexity));
    TRY(h5_get_int(c->file, path, "best_step", &p->best_step));
    p->train_fingerprint = (uint64_t)fingerprint;
    p->seed = (uint64_t)seed;
    p->world_size = (int)world_size;
    return NULL;
}

static struct error *read_bpe(struct checkpoint_file *c)
{
    struct tokenizer_definition *d = &c->tokenizer;
    int64_t special_as_text = 0;
    TRY(h5_read_text(c->file, "/tokenizer/merges", &c->merges, &d->merges_bytes));
    TRY(h5_get_int(c->file, "/tokenizer", "special_as_text", &special_as_text));
    if (h5_has_attribute(c->file, "/tokenizer", "has_added_tokens"))
        TRY(h5_read_text(c->file, "/tokenizer/added_tokens", &c->added, &d->added_bytes));
    d->merges = c->merges;
    d->added = c->added;
    d->bpe.special_as_text = special_as_text != 0;
    return NULL;
}

static struct error *read_wordpiece(struct checkpoint_file *c)
{
    int64_t lowercase = 0, strip_accents = 0, split_on_cjk = 0;
    TRY(h5_get_int(c->file, "/tokenizer", "lowercase", &lowercase));
    TRY(h5_get_int(c->file, "/tokenizer", "strip_accents", &strip_accents));
    TRY(h5_get_int(c->file, "/tokenizer", "split_on_cjk", &split_on_cjk));
    c->tokenizer.wordpiece = (struct wordpiece_options){
        .lowercase = lowercase != 0, .strip_accents = strip_accents != 0, .split = true,
        .split_on_cjk = split_on_cjk != 0,
    };
    return NULL;
}

static struct error *read_tokenizer(struct checkpoint_file *c)
{
    struct tokenizer_definition *d = &c->tokenizer;
    char *kind = NULL;
    TRY(h5_get_text(c->file, "/tokenizer", "kind", &kind));
    struct error *e = tokenizer_kind_parse(&d->kind, kind);
    free(kind);
    TRY(e);
    TRY(h5_read_text(c->file, "/tokenizer/vocabulary", &c->vocabulary, &d->vocabulary_bytes));
    d->name = c->path;
    d->vocabulary = c->vocabulary;
    return d->kind == TOKENIZER_BPE ? read_bpe(c) : read_wordpiece(c);
}

static struct error *read_history(struct checkpoint_file *c)
{
    double *values = NULL;
    int64_t rows = 0;
    if (c->progress.best_step < 0)
        return NULL;    /* never validated: no history was written */
    TRY(h5_read_rows(c->file, "/history", CHECKPOINT_HISTORY_COLUMNS, MOST_HISTORY, &values,
                     &rows));
    c->history = calloc((size_t)rows + 1, sizeof *c->history);
    if (!c->history) {
        free(values);
        return error_new(ERROR_MEMORY, "no memory for the history of %s", c->path);
    }
    for (int64_t i = 0; i < rows; i++) {
        const double *row = values + i * CHECKPOINT_HISTORY_COLUMNS;
        c->history[i] = (struct history_row){
            .step = (int64_t)row[0], .epoch = row[1], .validation_loss = row[2],
            .validation_perplexity = row[3], .validation_accuracy = row[4],
        };
    }
    c->history_rows = (int)rows;
    free(values);
    return NULL;
}

static struct error *read_content(struct checkpoint_file *c)
{
    int64_t format = 0;
    size_t bytes;
    TRY(h5_get_int(c->file, "/", "format", &format));
    if (format < 1 || format > CHECKPOINT_FORMAT)
        return error_new(ERROR_INPUT, "%s has checkpoint format %" PRId64 "; this version reads 1 "
                         "to %d",
                         c->path, format, CHECKPOINT_FORMAT);
    TRY(read_model(c));
    TRY(read_progress(c));
    c->progress.older_order = format < 4;
    TRY(read_updates(c, format));
    TRY(read_stream(c, format));
    TRY(read_spikes(c));
    TRY(read_tokenizer(c));
    TRY(read_history(c));
    return h5_read_text(c->file, "/config", &c->config, &bytes);
}

struct error *checkpoint_open(struct checkpoint_file **out, const char *path)
{
    struct error *e;
    struct checkpoint_file *c = calloc(1, sizeof *c);
    if (c)
        c->path = strdup(path);
    if (!c || !c->path) {
        free(c);
        return error_new(ERROR_MEMORY, "no memory to open %s", path);
    }
    if ((e = manifest_read(path, "checkpoint", &c->manifest)) || (e = h5_open(&c->file, path)) ||
        (e = read_content(c))) {
        checkpoint_close(c);
        return e;
    }
    *out = c;
    return NULL;
}

void checkpoint_close(struct checkpoint_file *file)
{
    if (!file)
        return;
    error_destroy(h5_close(file->file));    /* only read: nothing can be lost */
    manifest_release(&file->manifest);
    free(file->config);
    free(file->vocabulary);
    free(file->merges);
    free(file->added);
    free(file->history);
    free(file->path);
    free(file);
}

const char *checkpoint_path(const struct checkpoint_file *file)
{
    return file->path;
}

const struct model_spec *checkpoint_spec(const struct checkpoint_file *file)
{
    return &file->spec;
}

const struct progress *checkpoint_progress(const struct checkpoint_file *file)
{
    return &file->progress;
}

const char *checkpoint_config(const struct checkpoint_file *file)
{
    return file->config;
}

const struct spike_window *checkpoint_spikes(const struct checkpoint_file *file)
{
    return &file->spikes;
}

const struct history_row *checkpoint_history(const struct checkpoint_file *file, int *rows)
{
    *rows = file->history_rows;
    return file->history;
}

struct error *checkpoint_tokenizer(const struct checkpoint_file *file, struct tokenizer **out)
{
    return tokenizer_create(out, &file->tokenizer);
}

static struct error *read_tensor(struct checkpoint_file *c, const char *group,
                                 const struct parameter *t, float *flat)
{
    char name[MANIFEST_NAME_BYTES];
    float *data = flat + t->offset;
    snprintf(name, sizeof name, "%s/%s", group, t->name);
    const struct extent *x = manifest_find(&c->manifest, name);
    if (!x)
        return error_new(ERROR_INPUT, "%s has no %s", c->path, name);
    TRY(h5_read_floats(c->file, name, t->shape, t->dimensions, data));
    const uint64_t found = XXH3_64bits(data, (size_t)t->count * sizeof *data);
    if (found != x->xxh3)
        return error_new(ERROR_INPUT, "%s is damaged: %s (%" PRIu64 " bytes at %" PRIu64
                         ") hashes to %016" PRIx64 ", expected %016" PRIx64, c->path, name,
                         x->bytes, x->offset, found, x->xxh3);
    return NULL;
}

struct error *checkpoint_read(struct checkpoint_file *file, const struct parameters *parameters,
                              float *weights, float *m, float *v)
{
    float *const flats[CHECKPOINT_TENSOR_KINDS] = {weights, m, v};
    for (int k = 0; k < CHECKPOINT_TENSOR_KINDS; k++) {
        if (!flats[k])
            continue;
        memset(flats[k], 0, (size_t)parameters->flat_count * sizeof *flats[k]);
        for (int i = 0; i < parameters->n; i++)
            TRY(read_tensor(file, checkpoint_tensor_groups[k], &parameters->list[i], flats[k]));
    }
    return NULL;
}

struct error *checkpoint_verify(const char *path)
{
    struct checkpoint_file *c = NULL;
    TRY(checkpoint_open(&c, path));
    struct error *e = manifest_verify(path, &c->manifest);
    checkpoint_close(c);
    return e;
}
