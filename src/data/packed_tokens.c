/* packed_tokens.c - token files as samples. */
#include "data/packed_tokens.h"

#include "data/rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <xxhash.h>

/* Tokens that stand together and are best read by one rank, see order.h: some chunks of a shard,
 * each of which is read whole by whoever touches it first. A block and its neighbour share one at
 * most. Part of the order, and so of a run: change it and no older run can resume. */
enum { BLOCK_TOKENS = 1 << 19, SPARE_DESCRIPTORS = 256 };

struct packed_tokens {
    struct packed_tokens_options options;
    char *name;
    struct token_file **files;
    int64_t *starts;    /* number of each file's first token, and of all tokens at the end */
    int count;
    uint64_t fingerprint;
    struct document_tokens documents;
};

struct token_reader {
    const struct packed_tokens *from;
    int T;
    int32_t *window;    /* (T + 1) */
    void *scratch;
};

/* ---- opening ---- */

static struct error *no_memory(const char *name)
{
    return error_new(ERROR_MEMORY, "no memory to open the %s data", name);
}

/* A descriptor a file may be more than the soft limit, often 1024, allows. */
static void allow_descriptors(int files)
{
    const rlim_t need = (rlim_t)files + SPARE_DESCRIPTORS;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= need)
        return;
    limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);    /* if refused, open will say so */
}

/* A shard must come from the tokenizer that the model is trained with. */
static struct error *check_tokenizer(const struct packed_tokens *p, const struct token_file *file)
{
    struct shard *const shard = token_file_shard(file);
    if (!shard || !p->options.tokenizer)
        return NULL;
    const uint64_t found = shard_facts(shard)->tokenizer;
    const uint64_t expected = tokenizer_fingerprint(p->options.tokenizer);
    if (found == expected)
        return NULL;
    return error_new(ERROR_INPUT, "%s was made with another tokenizer (%s %016" PRIx64 ") than the "
                     "run's (%016" PRIx64 "); give that one, with the options it had (case, "
                     "accents), as tokenizer.vocabulary, or tokenize the text anew",
                     token_file_path(file), shard_facts(shard)->tokenizer_kind, found, expected);
}

static struct error *open_files(struct packed_tokens *p)
{
    const struct inputs *const inputs = p->options.inputs;
    p->files = calloc((size_t)inputs->count, sizeof *p->files);
    p->starts = calloc((size_t)inputs->count + 1, sizeof *p->starts);
    if (!p->files || !p->starts)
        return no_memory(p->name);
    allow_descriptors(inputs->count);
    for (int i = 0; i < inputs->count; i++) {
        uint64_t hash[2] = {p->fingerprint};
        TRY(token_file_open(&p->files[i], inputs->files[i].path, p->options.vocabulary_size));
        p->count++;
        p->starts[i + 1] = p->starts[i] + token_file_tokens(p->files[i]);
        TRY(check_tokenizer(p, p->files[i]));
        TRY(token_file_fingerprint(p->files[i], &hash[1]));
        p->fingerprint = XXH3_64bits(hash, sizeof hash);
    }
    return NULL;
}

struct error *packed_tokens_open(struct packed_tokens **out,
                                 const struct packed_tokens_options *options)
{
    struct packed_tokens *p = calloc(1, sizeof *p);
    if (!p)
        return no_memory(options->name);
    p->options = *options;
    p->documents = document_tokens_of(options->tokenizer);
    p->name = strdup(options->name);
    struct error *e = p->name ? open_files(p) : no_memory(options->name);
    p->options.inputs = NULL;    /* the caller's, and no longer needed */
    if (!e && p->starts[p->count] < options->T + 1)
        e = error_new(ERROR_INPUT, "the %s data has %lld tokens, fewer than one sample of "
                      "data.sequence_length %d and the token after it", options->name,
                      (long long)p->starts[p->count], options->T);
    if (e) {
        packed_tokens_close(p);
        return e;
    }
    *out = p;
    return NULL;
}

void packed_tokens_close(struct packed_tokens *tokens)
{
    if (!tokens)
        return;
    for (int i = 0; i < tokens->count; i++)
        token_file_close(tokens->files[i]);
    free(tokens->files);
    free(tokens->starts);
    free(tokens->name);
    free(tokens);
}

uint64_t packed_tokens_fingerprint(const struct packed_tokens *tokens)
{
    return tokens->fingerprint;
}

int64_t packed_tokens_count(const struct packed_tokens *tokens)
{
    return tokens->starts[tokens->count];
}

static int file_of(const struct packed_tokens *p, int64_t token)
{
    int low = 0, high = p->count;
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        if (p->starts[middle] <= token)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void packed_tokens_where(const struct packed_tokens *tokens, int64_t sample, const char **path,
                         int64_t *place)
{
    const int64_t token = sample * tokens->options.T;
    const int file = file_of(tokens, token);
    *path = token_file_path(tokens->files[file]);
    *place = token - tokens->starts[file];
}

/* ---- samples ---- */

static void close_reader(void *self)
{
    struct token_reader *const r = self;
    if (!r)
        return;
    free(r->window);
    free(r->scratch);
    free(r);
}

static struct error *open_reader(void **out, const void *self, int T)
{
    const struct packed_tokens *const p = self;
    struct token_reader *r = calloc(1, sizeof *r);
    if (!r)
        return no_memory(p->name);
    if (T != p->options.T)
        BUG("rows of %d tokens from samples of %d", T, p->options.T);
    r->from = p;
    r->T = T;
    r->window = malloc(((size_t)T + 1) * sizeof *r->window);
    r->scratch = malloc(token_file_scratch_bytes(T + 1));
    if (!r->window || !r->scratch) {
        close_reader(r);
        return no_memory(p->name);
    }
    *out = r;
    return NULL;
}

static struct error *read_sample(void *self, int64_t sample, const struct row *row)
{
    struct token_reader *const r = self;
    const struct packed_tokens *const p = r->from;
    int64_t token = sample * r->T, left = r->T + 1;
    int32_t *to = r->window;
    for (int i = file_of(p, token); left; i++) {
        const int64_t in_file = p->starts[i + 1] - token;
        const int64_t n = left < in_file ? left : in_file;
        TRY(token_file_read(p->files[i], token - p->starts[i], n, to, r->scratch));
        to += n;
        token += n;
        left -= n;
    }
    window_fill_row(&p->documents, r->window, r->T, row);
    return NULL;
}

struct samples packed_tokens_samples(const struct packed_tokens *tokens)
{
    static const struct samples_operations operations = {
        .open_reader = open_reader, .read = read_sample, .close_reader = close_reader,
    };
    const struct packed_tokens_options *const o = &tokens->options;
    return (struct samples){
        .operations = &operations, .self = tokens, .name = tokens->name,
        .count = (packed_tokens_count(tokens) - 1) / o->T,
        .block = o->T < BLOCK_TOKENS ? BLOCK_TOKENS / o->T : 1,
        .has_first_key = o->mask_documents, .has_positions = o->restart_positions,
    };
}
