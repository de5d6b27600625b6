/* run_tokenizer.c - finds or learns the vocabulary on rank 0, and shares it. */
#include "train/run_tokenizer.h"

#include "base/log.h"
#include "data/vocabulary.h"
#include "text/tokenizer_files.h"

#include <stdlib.h>
#include <string.h>

static struct wordpiece_options wordpiece_options(const struct config *c)
{
    return (struct wordpiece_options){
        .lowercase = c->tokenizer.lowercase, .strip_accents = c->tokenizer.strip_accents,
        .split = true, .split_on_cjk = c->tokenizer.split_on_cjk,
    };
}

/* What the configuration says, without the texts. */
static struct error *wanted(struct tokenizer_definition *d, const struct config *c)
{
    const char *path = c->tokenizer.vocabulary;
    *d = (struct tokenizer_definition){
        .name = *path ? path : "the vocabulary", .wordpiece = wordpiece_options(c),
        .bpe = {.special_as_text = c->tokenizer.special_as_text},
    };
    return tokenizer_kind_parse(&d->kind, c->tokenizer.kind);
}

static bool same_options(const struct tokenizer_definition *a, const struct tokenizer_definition *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == TOKENIZER_BPE)
        return a->bpe.special_as_text == b->bpe.special_as_text;
    return a->wordpiece.lowercase == b->wordpiece.lowercase &&
           a->wordpiece.strip_accents == b->wordpiece.strip_accents &&
           a->wordpiece.split_on_cjk == b->wordpiece.split_on_cjk;
}

static struct error *learn(struct tokenizer_definition *d, const struct config *c, int threads)
{
    struct vocabulary learned;
    TRY(vocabulary_learn(&(struct vocabulary_options){
        .kind = d->kind, .end_token_last = true,
        .inputs = (const char *const *)c->data.train.items, .input_count = c->data.train.count,
        .field = c->data.field, .min_bytes = config_min_bytes(c),
        .size = (int)c->model.vocabulary_size,
        .reserved = (const char *const *)c->tokenizer.reserved.items,
        .reserved_count = c->tokenizer.reserved.count, .wordpiece = d->wordpiece,
        .threads = threads}, &learned));
    d->vocabulary = learned.text;
    d->vocabulary_bytes = learned.bytes;
    d->merges = learned.merges;
    d->merges_bytes = learned.merges_bytes;
    log_info("vocabulary  %d entries learned from %lld words, %lld different", learned.entries,
             (long long)learned.words, (long long)learned.distinct_words);
    return NULL;
}

/* Both may be NULL. */
static bool same_text(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    if (!a || !b)
        return a == b;
    return a_bytes == b_bytes && !memcmp(a, b, a_bytes);
}

static bool same_entries(const struct tokenizer *a, const struct tokenizer *b)
{
    bool same = tokenizer_size(a) == tokenizer_size(b);
    for (int id = 0; same && id < tokenizer_size(a); id++) {
        size_t a_bytes, b_bytes;
        const char *a_text = tokenizer_entry(a, id, &a_bytes);
        const char *b_text = tokenizer_entry(b, id, &b_bytes);
        same = same_text(a_text, a_bytes, b_text, b_bytes);
    }
    return same;
}

/* Whether they differ only in that earlier versions left added tokens out, or made them entries of
 * the vocabulary. The merges are the same. */
static struct error *is_of_earlier_version(bool *earlier, const struct tokenizer *own,
                                           const struct tokenizer_definition *files)
{
    const struct tokenizer_definition *d = tokenizer_definition(own);
    struct tokenizer *other;
    *earlier = false;
    if (d->added || !files->added)
        return NULL;
    TRY(tokenizer_create(&other, files));
    *earlier = same_entries(own, other) || same_text(files->vocabulary, files->vocabulary_bytes,
                                                     d->vocabulary, d->vocabulary_bytes);
    tokenizer_destroy(other);
    return NULL;
}

static struct error *compare(const struct tokenizer *own, const struct tokenizer_definition *files,
                             const char *checkpoint)
{
    const struct tokenizer_definition *d = tokenizer_definition(own);
    bool earlier = false;
    if (same_text(files->merges, files->merges_bytes, d->merges, d->merges_bytes)) {
        if (same_text(files->vocabulary, files->vocabulary_bytes, d->vocabulary,
                      d->vocabulary_bytes) &&
            same_text(files->added, files->added_bytes, d->added, d->added_bytes))
            return NULL;
        TRY(is_of_earlier_version(&earlier, own, files));
    }
    if (earlier)
        return error_new(ERROR_INPUT, "%s is of a run begun by an earlier version, which did not "
                         "find the added tokens of %s in texts; leave tokenizer.vocabulary out, "
                         "and the run goes on with the vocabulary that the checkpoint holds",
                         checkpoint, files->name);
    return error_new(ERROR_INPUT, "%s was trained with another vocabulary than %s; set "
                     "tokenizer.vocabulary back, or choose another run.folder", checkpoint,
                     files->name);
}

/* Files that are configured must be the ones the checkpoint was made with. */
static struct error *check_files(const struct tokenizer *own, const char *checkpoint,
                                 const struct config *c)
{
    struct tokenizer_definition files = *tokenizer_definition(own);
    files.name = c->tokenizer.vocabulary;
    TRY(tokenizer_files_read(&files, files.name, c->tokenizer.merges));
    struct error *e = compare(own, &files, checkpoint);
    tokenizer_files_release(&files);
    return e;
}

/* That of the model the run starts from. */
static struct error *copy(struct tokenizer **out, const struct config *c,
                          const struct model_source *source)
{
    struct tokenizer_definition d;
    const struct tokenizer *own = model_source_tokenizer(source);
    if (!own)
        return error_new(ERROR_USAGE, "%s, which run.start_from names, has no tokenizer; name its "
                         "vocabulary as tokenizer.vocabulary", model_source_path(source));
    TRY(wanted(&d, c));
    if (!same_options(&d, tokenizer_definition(own)))
        return error_new(ERROR_USAGE, "the keys of section tokenizer do not fit the tokenizer of "
                         "%s; leave them out, or name another vocabulary as tokenizer.vocabulary",
                         model_source_path(source));
    return tokenizer_create(out, tokenizer_definition(own));
}

static struct error *open_on_rank_0(struct tokenizer **out, const struct config *c, int threads,
                                    const struct checkpoint_file *file,
                                    const struct model_source *source)
{
    const char *path = c->tokenizer.vocabulary;
    if (file) {    /* a tokenizer made before a failure is the caller's to destroy */
        TRY(checkpoint_tokenizer(file, out));
        return *path ? check_files(*out, checkpoint_path(file), c) : NULL;
    }
    if (source && !*path)
        return copy(out, c, source);
    struct tokenizer_definition d;
    TRY(wanted(&d, c));
    TRY(*path ? tokenizer_files_read(&d, path, c->tokenizer.merges) : learn(&d, c, threads));
    struct error *e = tokenizer_create(out, &d);
    tokenizer_files_release(&d);
    return e;
}

/* From rank 0's tokenizer one of the same texts on every other rank. */
static struct error *share(struct tokenizer **tokenizer, struct comm *comm, const char *name)
{
    struct tokenizer_definition d = {0};
    if (*tokenizer)
        d = *tokenizer_definition(*tokenizer);
    TRY(comm_broadcast(comm, &d, sizeof d));
    const char **const texts[] = {&d.vocabulary, &d.merges, &d.added};
    const size_t bytes[] = {d.vocabulary_bytes, d.merges_bytes, d.added_bytes};
    char *all = malloc(bytes[0] + bytes[1] + bytes[2] + 1), *to = all;
    struct error *e = comm_agree(comm, all ? NULL : error_new(ERROR_MEMORY, "no memory for the "
                                                              "vocabulary"));
    for (int i = 0; i < 3 && !e; i++) {
        if (!*texts[i])    /* of rank 0's pointers this is all that the others use */
            continue;
        if (*tokenizer)
            memcpy(to, *texts[i], bytes[i]);
        *texts[i] = to;
        to += bytes[i];
    }
    if (!e)
        e = comm_broadcast(comm, all, (size_t)(to - all));
    d.name = name;
    if (!e)
        e = comm_agree(comm, *tokenizer ? NULL : tokenizer_create(tokenizer, &d));
    free(all);
    return e;
}

static struct error *check(const struct tokenizer *t, const struct config *c)
{
    const char *path = c->tokenizer.vocabulary;
    if (tokenizer_start_id(t) < 0)
        return error_new(ERROR_INPUT, "%s has no entry %s, which every sample begins with",
                         *path ? path : "tokenizer.reserved", tokenizer_start_name(t));
    if (tokenizer_size(t) > c->model.vocabulary_size)
        return error_new(ERROR_USAGE, "%s has %d entries, more than model.vocabulary_size %lld; "
                         "raise it", *path ? path : "the vocabulary", tokenizer_size(t),
                         (long long)c->model.vocabulary_size);
    return NULL;
}

struct error *run_tokenizer_open(struct tokenizer **out, struct comm *comm,
                                 const struct config *config, const struct checkpoint_file *file,
                                 const struct model_source *source)
{
    struct tokenizer *t = NULL;
    const int threads = (int)config->data.threads * comm_local_size(comm);
    struct error *e = comm_agree(
        comm, comm_rank(comm) == 0 ? open_on_rank_0(&t, config, threads, file, source) : NULL);
    if (!e)
        e = share(&t, comm, *config->tokenizer.vocabulary ? config->tokenizer.vocabulary
                                                          : "the vocabulary");
    if (!e)
        e = check(t, config);
    if (e) {
        tokenizer_destroy(t);
        return e;
    }
    *out = t;
    return NULL;
}
