/* resume.c - compares a checkpoint's configuration with the one at hand. */
#include "train/resume.h"

#include <string.h>

static struct error *check_number(const struct checkpoint_file *file, const char *key, int64_t was,
                                  int64_t is)
{
    if (was == is)
        return NULL;
    return error_new(ERROR_USAGE, "%s was trained with %s %lld, now it is %lld, which changes the "
                     "samples of every step; set it back, or choose another run.folder",
                     checkpoint_path(file), key, (long long)was, (long long)is);
}

static struct error *check_bool(const struct checkpoint_file *file, const char *key, bool was,
                                bool is)
{
    if (was == is)
        return NULL;
    return error_new(ERROR_USAGE, "%s was trained with %s %s, now it is %s, which changes the "
                     "samples of every step; set it back, or choose another run.folder",
                     checkpoint_path(file), key, was ? "true" : "false", is ? "true" : "false");
}

/* Whether its data came through a pipe; of files the fingerprint says what they are read as. */
static bool is_stream(const struct checkpoint_file *file)
{
    const struct pipe_position *const at = &checkpoint_progress(file)->stream;
    return at->window > 0 || at->taken > 0;
}

static struct error *compare(const struct checkpoint_file *file, const struct config *was,
                             const struct config *is)
{
    TRY(check_number(file, "run.seed", was->run.seed, is->run.seed));
    TRY(check_number(file, "train.global_batch", was->train.global_batch, is->train.global_batch));
    TRY(check_number(file, "data.sequence_length", was->data.sequence_length,
                     is->data.sequence_length));
    TRY(check_number(file, "data.min_bytes", config_min_bytes(was), config_min_bytes(is)));
    TRY(check_bool(file, "data.start_token", was->data.start_token, is->data.start_token));
    TRY(check_bool(file, "data.end_token", was->data.end_token, is->data.end_token));
    TRY(check_bool(file, "data.shuffle", was->data.shuffle, is->data.shuffle));
    TRY(check_bool(file, "data.mask_documents", was->data.mask_documents,
                   is->data.mask_documents));
    TRY(check_bool(file, "data.restart_positions", was->data.restart_positions,
                   is->data.restart_positions));
    if (is_stream(file))
        TRY(check_number(file, "data.pipe_window", was->data.pipe_window, is->data.pipe_window));
    TRY(check_bool(file, "data.drop_last", was->data.drop_last, is->data.drop_last));
    if (is_stream(file) && strcmp(was->data.kind, is->data.kind))
        return error_new(ERROR_USAGE, "%s was trained with data.kind %s, now it is %s; set it "
                         "back, or choose another run.folder", checkpoint_path(file),
                         was->data.kind, is->data.kind);
    if (strcmp(was->tokenizer.kind, is->tokenizer.kind))
        return error_new(ERROR_USAGE, "%s was trained with tokenizer.kind %s, now it is %s; set it "
                         "back, or choose another run.folder", checkpoint_path(file),
                         was->tokenizer.kind, is->tokenizer.kind);
    TRY(check_bool(file, "tokenizer.special_as_text", was->tokenizer.special_as_text,
                   is->tokenizer.special_as_text));
    TRY(check_bool(file, "tokenizer.lowercase", was->tokenizer.lowercase,
                   is->tokenizer.lowercase));
    TRY(check_bool(file, "tokenizer.strip_accents", was->tokenizer.strip_accents,
                   is->tokenizer.strip_accents));
    return check_bool(file, "tokenizer.split_on_cjk", was->tokenizer.split_on_cjk,
                      is->tokenizer.split_on_cjk);
}

struct error *resume_check(const struct checkpoint_file *file, const struct config *config)
{
    struct config *was;
    TRY(config_parse(&was, checkpoint_config(file), checkpoint_path(file), NULL, 0));
    struct error *e = compare(file, was, config);
    config_destroy(was);
    return e;
}
