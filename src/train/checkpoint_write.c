/*
 * checkpoint_write.c - a run's state to one HDF5 file, whole or not at all.
 *
 * 1. .step-N.h5.partial is written by HDF5 and closed; 2. the manifest goes into its first bytes;
 * 3. fsync of the file; 4. it is read back, from the disk, and every byte checked; 5. rename to its
 * name; 6. fsync of the folder. A process that dies before 5 leaves a file nobody takes for a
 * checkpoint, after 5 a whole one.
 */
#include "train/checkpoint.h"

#include "formats/h5.h"
#include "formats/manifest.h"
#include "train/checkpoint_format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

const struct checkpoint_size checkpoint_sizes[] = {
    {"vocabulary_size", offsetof(struct model_spec, V)},
    {"max_positions", offsetof(struct model_spec, positions)},
    {"channels", offsetof(struct model_spec, C)},
    {"heads", offsetof(struct model_spec, NH)},
    {"feed_forward", offsetof(struct model_spec, F)},
    {"layers", offsetof(struct model_spec, L)},
};
const int checkpoint_size_count = sizeof checkpoint_sizes / sizeof checkpoint_sizes[0];

const char *const checkpoint_tensor_groups[CHECKPOINT_TENSOR_KINDS] = {
    "/weights", "/optimizer/m", "/optimizer/v",
};

/* One kind of tensor for all parameters: arrays in the file, extents in the manifest. */
static struct error *write_tensors(struct h5_file *file, const struct parameters *parameters,
                                   const char *group, const float *flat,
                                   struct manifest *manifest)
{
    for (int i = 0; i < parameters->n; i++) {
        const struct parameter *t = &parameters->list[i];
        struct extent *x = &manifest->extents[manifest->count++];
        const float *data = flat + t->offset;
        snprintf(x->name, sizeof x->name, "%s/%s", group, t->name);
        TRY(h5_write_floats(file, x->name, t->shape, t->dimensions, data, &x->offset));
        x->bytes = (uint64_t)t->count * sizeof *data;
        x->xxh3 = XXH3_64bits(data, x->bytes);
    }
    return NULL;
}

static struct error *write_model(struct h5_file *file, const struct model_spec *spec)
{
    TRY(h5_make_group(file, "/model"));
    TRY(h5_set_text(file, "/model", "description", "The sizes that define the model."));
    TRY(h5_set_text(file, "/model", "family", spec_family_name(spec->family)));
    for (int i = 0; i < checkpoint_size_count; i++) {
        const int *value =
            (const void *)((const char *)spec + checkpoint_sizes[i].offset);
        TRY(h5_set_int(file, "/model", checkpoint_sizes[i].name, *value));
    }
    return h5_set_double(file, "/model", "dropout", (double)spec->dropout);
}

static struct error *write_tokenizer(struct h5_file *file, const struct tokenizer *tokenizer)
{
    const struct tokenizer_definition *d = tokenizer_definition(tokenizer);
    TRY(h5_write_text(file, "/tokenizer/vocabulary", d->vocabulary, d->vocabulary_bytes));
    TRY(h5_set_text(file, "/tokenizer", "kind", tokenizer_kind_name(d->kind)));
    if (d->kind == TOKENIZER_BPE) {
        TRY(h5_write_text(file, "/tokenizer/merges", d->merges, d->merges_bytes));
        TRY(h5_set_text(file, "/tokenizer", "description", "Byte-level BPE: vocab.json and "
                        "merges.txt as GPT-2 has them; tokens added to them as tokenizer.json of "
                        "Hugging Face lists them."));
        if (d->added) {
            TRY(h5_write_text(file, "/tokenizer/added_tokens", d->added, d->added_bytes));
            TRY(h5_set_int(file, "/tokenizer", "has_added_tokens", 1));
        }
        return h5_set_int(file, "/tokenizer", "special_as_text", d->bpe.special_as_text);
    }
    TRY(h5_set_text(file, "/tokenizer", "description", "The vocabulary, one entry a line, the id "
                    "is the line's number from 0; the attributes say how text is cut into words."));
    TRY(h5_set_int(file, "/tokenizer", "lowercase", d->wordpiece.lowercase));
    TRY(h5_set_int(file, "/tokenizer", "strip_accents", d->wordpiece.strip_accents));
    return h5_set_int(file, "/tokenizer", "split_on_cjk", d->wordpiece.split_on_cjk);
}

static struct error *write_stream(struct h5_file *file, const char *path,
                                  const struct pipe_position *stream)
{
    TRY(h5_set_int(file, path, "stream_bytes", stream->start.bytes));
    TRY(h5_set_int(file, path, "stream_tokens", stream->start.tokens));
    TRY(h5_set_int(file, path, "stream_hash", (int64_t)stream->start.hash));
    TRY(h5_set_int(file, path, "stream_window", stream->window));
    TRY(h5_set_int(file, path, "stream_samples", stream->samples));
    TRY(h5_set_int(file, path, "stream_end_hash", (int64_t)stream->end_hash));
    return h5_set_int(file, path, "stream_taken", stream->taken);
}

static struct error *write_progress(struct h5_file *file, const struct progress *p)
{
    static const char path[] = "/progress";
    TRY(h5_make_group(file, path));
    TRY(h5_set_text(file, path, "description", "Where the run stands: step steps are done; the "
                    "next global batch is number step_in_epoch of epoch, both from 0."));
    TRY(h5_set_int(file, path, "step", p->step));
    TRY(h5_set_int(file, path, "epoch", p->epoch));
    TRY(h5_set_int(file, path, "step_in_epoch", p->step_in_epoch));
    TRY(h5_set_int(file, path, "updates", p->updates));
    TRY(h5_set_double(file, path, "loss_scale", p->loss_scale));
    TRY(h5_set_int(file, path, "finite_steps", p->finite_steps));
    TRY(h5_set_int(file, path, "nan_in_a_row", p->nan_in_a_row));
    TRY(h5_set_int(file, path, "rollbacks", p->rollbacks));
    TRY(h5_set_int(file, path, "samples", p->samples));
    TRY(h5_set_int(file, path, "tokens", p->tokens));
    TRY(h5_set_int(file, path, "train_fingerprint", (int64_t)p->train_fingerprint));
    TRY(h5_set_int(file, path, "seed", (int64_t)p->seed));
    TRY(h5_set_int(file, path, "world_size", p->world_size));
    TRY(h5_set_double(file, path, "best_perplexity", p->best_perplexity));
    TRY(h5_set_int(file, path, "best_step", p->best_step));
    return write_stream(file, path, &p->stream);
}

static struct error *write_history(struct h5_file *file, const struct history_row *rows, int n)
{
    if (n == 0)
        return NULL;
    const int64_t shape[] = {n, CHECKPOINT_HISTORY_COLUMNS};
    double *values = calloc((size_t)n, CHECKPOINT_HISTORY_COLUMNS * sizeof *values);
    if (!values)
        return error_new(ERROR_MEMORY, "no memory for a history of %d rows", n);
    for (int i = 0; i < n; i++) {
        double *row = values + (ptrdiff_t)i * CHECKPOINT_HISTORY_COLUMNS;
        row[0] = (double)rows[i].step;
        row[1] = rows[i].epoch;
        row[2] = rows[i].validation_loss;
        row[3] = rows[i].validation_perplexity;
        row[4] = rows[i].validation_accuracy;
    }
    struct error *e = h5_write_doubles(file, "/history", shape, 2, values);
    free(values);
    TRY(e);
    return h5_set_text(file, "/history", "columns", "step, epoch, validation_loss, "
                       "validation_perplexity, validation_accuracy");
}

static struct error *write_spikes(struct h5_file *file, const struct spike_window *w)
{
    double values[SPIKE_WINDOW_MOST][CHECKPOINT_SPIKE_COLUMNS];
    if (!w || w->length == 0)
        return NULL;
    const int64_t shape[] = {w->length, CHECKPOINT_SPIKE_COLUMNS};
    for (int64_t i = 0; i < w->length; i++) {
        values[i][0] = w->loss[i];
        values[i][1] = w->norm[i];
    }
    TRY(h5_write_doubles(file, "/spikes", shape, 2, &values[0][0]));
    TRY(h5_set_text(file, "/spikes", "description", "Loss and gradient norm of the last finite "
                    "steps, step i of them in row i modulo their number; a step far above "
                    "them is skipped."));
    return h5_set_int(file, "/spikes", "steps", w->steps);
}

static struct error *write_content(struct h5_file *file, const struct checkpoint *c,
                                   struct manifest *manifest)
{
    const float *const flats[CHECKPOINT_TENSOR_KINDS] = {c->weights, c->m, c->v};
    TRY(h5_set_text(file, "/", "description", "A checkpoint of Galley, a GPT trainer. Tensors are "
                    "float32 arrays; in Python: h5py.File(path)['weights/token_embedding'][()]"));
    TRY(h5_set_int(file, "/", "format", CHECKPOINT_FORMAT));
    for (int i = 0; i < CHECKPOINT_TENSOR_KINDS; i++)
        TRY(write_tensors(file, c->parameters, checkpoint_tensor_groups[i], flats[i], manifest));
    TRY(h5_set_text(file, "/weights", "description", "The model's parameters; kernels are (in, "
                    "out), qkv is (channels, query|key|value, heads, head size)."));
    TRY(h5_set_text(file, "/optimizer", "description", "Adam's moments m and v of "
                    "every parameter."));
    TRY(write_model(file, c->spec));
    TRY(write_tokenizer(file, c->tokenizer));
    TRY(h5_write_text(file, "/config", c->config_yaml, strlen(c->config_yaml)));
    TRY(h5_set_text(file, "/config", "description", "The run's effective configuration, YAML."));
    TRY(write_progress(file, &c->progress));
    TRY(write_spikes(file, c->spikes));
    return write_history(file, c->history, c->history_rows);
}

static struct error *write_file(const char *path, const struct checkpoint *c)
{
    struct h5_file *file = NULL;
    struct manifest manifest = {0};
    const int extents = CHECKPOINT_TENSOR_KINDS * c->parameters->n;
    manifest.extents = calloc((size_t)extents, sizeof *manifest.extents);
    if (!manifest.extents)
        return error_new(ERROR_MEMORY, "no memory for a manifest of %d arrays", extents);
    const size_t room = manifest_room(extents);
    struct error *e = h5_create(&file, path, room);
    if (!e) {
        e = write_content(file, c, &manifest);
        struct error *close_error = h5_close(file);
        if (e)
            error_destroy(close_error);
        else
            e = close_error;
    }
    if (!e)
        e = manifest_write(path, "checkpoint", &manifest, room);
    manifest_release(&manifest);
    return e;
}

static struct error *sync_path(const char *path, int flags)
{
    const int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return error_errno(ERROR_IO, "cannot open %s", path);
    struct error *e = fsync(fd) ? error_errno(ERROR_IO, "cannot flush %s to disk", path) : NULL;
    if (!(flags & O_DIRECTORY))
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);    /* so that a check reads the disk */
    close(fd);
    return e;
}

static struct error *checkpoints_folder(char *folder, size_t bytes, const char *run_folder)
{
    if (snprintf(folder, bytes, "%s/checkpoints", run_folder) >= (int)bytes)
        return error_new(ERROR_USAGE, "the path of the run folder is too long: %s", run_folder);
    return NULL;
}

size_t checkpoint_planned_bytes(const struct parameters *parameters)
{
    return CHECKPOINT_TENSOR_KINDS * sizeof(float) * (size_t)parameters->count + (1 << 20);
}

struct error *checkpoint_check_space(const char *run_folder, const struct parameters *parameters)
{
    char folder[4096];
    TRY(checkpoints_folder(folder, sizeof folder, run_folder));
    struct statvfs status;
    if (statvfs(folder, &status))
        return error_errno(ERROR_IO, "cannot ask for the free space of %s", folder);
    const double need = (double)checkpoint_planned_bytes(parameters);
    const double available = (double)status.f_bavail * (double)status.f_frsize;
    if (available < need)
        return error_new(ERROR_IO, "no space for a checkpoint in %s: it needs %.1f MB, %.1f MB are "
                         "free; delete something, or set checkpoint.keep lower", folder,
                         1e-6 * need, 1e-6 * available);
    return NULL;
}

struct error *checkpoint_write(const char *run_folder, const struct checkpoint *checkpoint,
                               size_t *bytes)
{
    char folder[4096], partial[4400], path[4400];
    const long long step = (long long)checkpoint->progress.step;
    TRY(checkpoints_folder(folder, sizeof folder, run_folder));
    snprintf(partial, sizeof partial, "%s/.step-%08lld.h5" CHECKPOINT_PARTIAL_SUFFIX, folder, step);
    snprintf(path, sizeof path, "%s/step-%08lld.h5", folder, step);

    /* Known before anything is written, rather than found half-way. */
    struct error *e = checkpoint_check_space(run_folder, checkpoint->parameters);
    if (!e)
        e = write_file(partial, checkpoint);
    if (!e)
        e = sync_path(partial, O_RDONLY);
    if (!e)
        e = checkpoint_verify(partial);
    struct stat status;
    if (!e && stat(partial, &status))
        e = error_errno(ERROR_IO, "cannot read %s", partial);
    if (!e && rename(partial, path))
        e = error_errno(ERROR_IO, "cannot rename %s to %s", partial, path);
    if (!e)
        e = sync_path(folder, O_RDONLY | O_DIRECTORY);
    if (e) {
        unlink(partial);
        return error_context(e, "writing the checkpoint of step %lld", step);
    }
    *bytes = (size_t)status.st_size;
    return NULL;
}
