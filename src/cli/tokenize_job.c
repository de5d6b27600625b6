/* tokenize_job.c - tokenizing shared by ranks. */
#include "cli/tokenize_job.h"

#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

enum { MOST_PIECES = 1 << 14 };    /* of larger inputs the pieces are larger */

static const double report_every_s = 5;

struct tokenize_job {
    struct comm *comm;
    const struct tokenize_job_options *options;
    struct tokenize_options tokenize;
    struct inputs inputs;
    int64_t piece_bytes;
    struct pieces pieces;
    char *folder;                 /* OUTPUT/unfinished */
    int lock;                     /* rank 0's, of that folder; -1: none */
    uint64_t key;                 /* of what the shards hold */
    uint64_t state;               /* key, and which inputs exactly: paths and times */
    int finished;                 /* all is there already */
    int resumed;                  /* pieces may be */

    struct piece_summary *summaries;    /* of all pieces, the same on every rank after work */
    int64_t *there;                     /* 1: from a run before */
    double start_s;

    atomic_llong text_bytes;      /* read by this rank */
    atomic_llong input_bytes;     /* of its pieces that are done, on disk */
    int64_t share_bytes;          /* of its pieces, on disk */
    pthread_t reporter;
    pthread_mutex_t report_lock;
    pthread_cond_t report_end;
    bool reporting, ended;
};

/* ---- the plan ---- */

static struct error *plan(struct tokenize_job *j)
{
    TRY(inputs_expand(&j->inputs, j->options->inputs, j->options->input_count, "input"));
    int64_t bytes = 0;
    for (int i = 0; i < j->inputs.count; i++)
        bytes += j->inputs.files[i].bytes;
    j->piece_bytes = j->options->piece_bytes;
    if (bytes / MOST_PIECES > j->piece_bytes)
        j->piece_bytes = bytes / MOST_PIECES;
    TRY(pieces_plan(&j->pieces, &j->inputs, j->piece_bytes, j->tokenize.whole_files));
    j->tokenize.inputs = &j->inputs;
    if (asprintf(&j->folder, "%s/unfinished", j->options->output) < 0)
        j->folder = NULL;
    j->tokenize.folder = j->folder;
    j->summaries = calloc((size_t)j->pieces.count, sizeof *j->summaries);
    j->there = calloc((size_t)j->pieces.count, sizeof *j->there);
    if (!j->folder || !j->summaries || !j->there)
        return error_new(ERROR_MEMORY, "no memory for %d pieces of the input", j->pieces.count);
    return NULL;
}

/* The content is looked at by one rank; that all have the same input, paths, sizes and times tell.
 * Tokenizer and options every rank hashes for itself. */
static struct error *find_state(struct tokenize_job *j)
{
    uint64_t inputs = 0;
    TRY(comm_agree(j->comm, comm_rank(j->comm) == 0 ? inputs_hash(&j->inputs, &inputs) : NULL));
    TRY(comm_broadcast(j->comm, &inputs, sizeof inputs));
    j->key = tokenize_key(&j->tokenize, j->options->shard_tokens, inputs);
    j->state = j->key;
    for (int i = 0; i < j->inputs.count; i++) {
        const struct input *const f = &j->inputs.files[i];
        j->state = XXH3_64bits_withSeed(f->path, strlen(f->path), j->state);
        j->state = XXH3_64bits_withSeed(&f->bytes, sizeof f->bytes, j->state);
        j->state = XXH3_64bits_withSeed(&f->modified_ns, sizeof f->modified_ns, j->state);
    }
    /* Pieces cut otherwise are other pieces, by the same numbers. */
    j->state = XXH3_64bits_withSeed(&j->piece_bytes, sizeof j->piece_bytes, j->state);
    return comm_check_equal(j->comm, "the input, the tokenizer or an option", j->state);
}

/* ---- rank 0: the output folder ---- */

/* Whether the shards of a part are all there; `*any`: at least one is. Those of something else are
 * an error. */
static struct error *find_shards(const struct tokenize_job *j, enum part part, bool *all, bool *any)
{
    int64_t shards = 1;
    *all = true;
    *any = false;
    for (int64_t i = 0; i < shards && *all; i++) {
        char name[64], *path;
        struct shard *shard;
        shard_file_name(name, sizeof name, part, i);
        if (asprintf(&path, "%s/%s", j->options->output, name) < 0)
            return error_new(ERROR_MEMORY, "no memory for the name of a shard");
        struct error *e = NULL;
        if (access(path, F_OK)) {
            *all = false;
        } else if (!(e = shard_open(&shard, path))) {
            *any = true;
            shards = shard_facts(shard)->shards;
            if (shard_facts(shard)->made_from != j->key)
                e = error_new(ERROR_INPUT, "%s holds other input, or was made with another "
                              "tokenizer or other options; choose another --output, or remove "
                              "what is there",
                              path);
            shard_close(shard);
        }
        free(path);
        TRY(e);
    }
    return NULL;
}

static struct error *open_lock(struct tokenize_job *j)
{
    char path[4400];
    snprintf(path, sizeof path, "%s/lock", j->folder);
    j->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (j->lock < 0)
        return error_errno(ERROR_IO, "cannot create %s", path);
    /* Where the file system knows no locks nobody is kept out. */
    if (flock(j->lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return error_new(ERROR_IO, "another galley tokenize is writing to %s", j->options->output);
    return NULL;
}

/* The state file says what the folder's pieces are of. */
static struct error *open_state(struct tokenize_job *j)
{
    char path[4400];
    uint64_t state;
    snprintf(path, sizeof path, "%s/state", j->folder);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return error_errno(ERROR_IO, "cannot create %s", path);
    struct error *e = NULL;
    const ssize_t n = pread(fd, &state, sizeof state, 0);
    j->resumed = n == sizeof state && state == j->state;
    if (n == sizeof state && state != j->state)
        e = error_new(ERROR_INPUT, "%s is left from other input, another tokenizer or other "
                      "options; remove it, or choose another --output", j->folder);
    else if (n != sizeof state && pwrite(fd, &j->state, sizeof j->state, 0) != sizeof j->state)
        e = error_errno(ERROR_IO, "cannot write %s", path);
    close(fd);
    return e;
}

static struct error *open_output(struct tokenize_job *j)
{
    const char *const output = j->options->output;
    bool all, any, validation, any_validation;
    if (mkdir(output, 0777) && errno != EEXIST)
        return error_errno(ERROR_IO, "cannot create the folder %s", output);
    TRY(find_shards(j, PART_TRAINING, &all, &any));
    TRY(find_shards(j, PART_VALIDATION, &validation, &any_validation));
    const bool unfinished = !access(j->folder, F_OK);
    j->finished = !unfinished && (any || any_validation) && (all || !any) &&
                  (validation || !any_validation);
    if (j->finished)
        return NULL;
    if (mkdir(j->folder, 0777) && errno != EEXIST)
        return error_errno(ERROR_IO, "cannot create the folder %s", j->folder);
    TRY(open_lock(j));
    return open_state(j);
}

/* The pieces are in the shards now. */
static struct error *remove_pieces(struct tokenize_job *j)
{
    DIR *const folder = opendir(j->folder);
    if (!folder)
        return error_errno(ERROR_IO, "cannot open %s", j->folder);
    const struct dirent *entry;
    while ((entry = readdir(folder)))
        if (!strncmp(entry->d_name, "piece-", 6) || !strcmp(entry->d_name, "state") ||
            !strcmp(entry->d_name, "lock"))
            (void)unlinkat(dirfd(folder), entry->d_name, 0);    /* rmdir tells of what stays */
    closedir(folder);
    return rmdir(j->folder) ? error_errno(ERROR_IO, "cannot remove %s", j->folder) : NULL;
}

/* ---- progress ---- */

static void *report(void *self)
{
    struct tokenize_job *const j = self;
    pthread_mutex_lock(&j->report_lock);
    while (!j->ended) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (time_t)report_every_s;
        pthread_cond_timedwait(&j->report_end, &j->report_lock, &until);
        if (j->ended)
            break;
        const double seconds = clock_now_s() - j->start_s;
        log_info("tokenizing: %.0f %% of this rank's %.1f MB, %.1f MB/s of text a rank",
                 100 * (double)j->input_bytes / (double)j->share_bytes,
                 1e-6 * (double)j->share_bytes, 1e-6 * (double)j->text_bytes / seconds);
    }
    pthread_mutex_unlock(&j->report_lock);
    return NULL;
}

static void start_report(struct tokenize_job *j)
{
    j->reporting = comm_rank(j->comm) == 0 && !pthread_create(&j->reporter, NULL, report, j);
}

static void end_report(struct tokenize_job *j)
{
    if (!j->reporting)
        return;
    pthread_mutex_lock(&j->report_lock);
    j->ended = true;
    pthread_cond_signal(&j->report_end);
    pthread_mutex_unlock(&j->report_lock);
    pthread_join(j->reporter, NULL);
    j->reporting = false;
}

/* ---- the work ---- */

/* Which pieces an interrupted run has left, whole; each rank looks at some. */
static struct error *find_pieces(struct tokenize_job *j)
{
    struct error *e = NULL;
    for (int i = comm_rank(j->comm); j->resumed && i < j->pieces.count && !e;
         i += comm_world_size(j->comm)) {
        bool found = false;
        e = piece_find(j->folder, i, tokenize_width(j->tokenize.tokenizer), &found,
                       &j->summaries[i]);
        j->there[i] = found;
    }
    TRY(comm_agree(j->comm, e));
    return comm_sum_int64(j->comm, j->there, j->pieces.count);
}

/* This rank's share of the pieces that are not there. A failure ends all ranks: it is not
 * agreed. */
static struct error *make_pieces(struct tokenize_job *j)
{
    const int rank = comm_rank(j->comm), world_size = comm_world_size(j->comm);
    int missing = 0;
    for (int i = 0; i < j->pieces.count; i++)
        if (!j->there[i] && missing++ % world_size == rank)
            j->share_bytes += j->pieces.list[i].bytes;
    start_report(j);
    missing = 0;
    for (int i = 0; i < j->pieces.count; i++) {
        if (j->there[i] || missing++ % world_size != rank)
            continue;
        TRY(tokenize_piece(&j->tokenize, &j->pieces.list[i], i, &j->summaries[i]));
        j->input_bytes += j->pieces.list[i].bytes;
    }
    end_report(j);
    const int words = (int)(sizeof(struct piece_summary) / sizeof(int64_t));
    return comm_sum_int64(j->comm, (int64_t *)(void *)j->summaries, words * j->pieces.count);
}

static struct error *make_shards(struct tokenize_job *j, int64_t *tokens, int64_t *shards)
{
    int64_t number = 0;
    for (int part = 0; part < PARTS; part++) {
        const struct shard_plan plan_of_part = shard_plan_of(
            j->summaries, j->pieces.count, (enum part)part, j->options->shard_tokens);
        tokens[part] = plan_of_part.tokens;
        shards[part] = plan_of_part.shards;
        for (int64_t i = 0; i < plan_of_part.shards; i++, number++)
            if (number % comm_world_size(j->comm) == comm_rank(j->comm))
                TRY(shard_assemble(&plan_of_part, i, &j->tokenize, j->key, j->options->output));
    }
    return NULL;
}

static struct error *work(struct tokenize_job *j)
{
    int64_t tokens[PARTS], shards[PARTS], text_bytes = 0, documents = 0, there = 0;
    TRY(find_pieces(j));
    for (int i = 0; i < j->pieces.count; i++)
        there += j->there[i];
    if (there)
        log_info("going on: %lld of %d pieces of the input are there", (long long)there,
                 j->pieces.count);
    TRY(make_pieces(j));
    const double tokenized_s = clock_now_s() - j->start_s;
    TRY(make_shards(j, tokens, shards));
    TRY(comm_barrier(j->comm));
    TRY(comm_agree(j->comm, comm_rank(j->comm) == 0 ? remove_pieces(j) : NULL));
    for (int i = 0; i < j->pieces.count; i++) {
        text_bytes += j->summaries[i].text_bytes;
        for (int part = 0; part < PARTS; part++)
            documents += j->summaries[i].parts[part].documents;
    }
    const double seconds = clock_now_s() - j->start_s;
    log_info("%.1f MB of text, %lld documents: %lld tokens in %lld shards to train on, %lld in "
             "%lld to validate", 1e-6 * (double)text_bytes, (long long)documents,
             (long long)tokens[PART_TRAINING], (long long)shards[PART_TRAINING],
             (long long)tokens[PART_VALIDATION], (long long)shards[PART_VALIDATION]);
    log_info("%.1f s, of these %.1f to write the shards: %.1f MB/s", seconds, seconds - tokenized_s,
             1e-6 * (double)text_bytes / seconds);
    return NULL;
}

static struct error *run(struct tokenize_job *j)
{
    TRY(comm_agree(j->comm, plan(j)));
    TRY(find_state(j));
    TRY(comm_agree(j->comm, comm_rank(j->comm) == 0 ? open_output(j) : NULL));
    TRY(comm_broadcast(j->comm, &j->finished, sizeof j->finished));
    TRY(comm_broadcast(j->comm, &j->resumed, sizeof j->resumed));
    if (j->finished) {
        log_info("%s holds these tokens already, by tokenizer, options, and lengths and "
                 "samples of the input",
                 j->options->output);
        return NULL;
    }
    return work(j);
}

struct error *tokenize_job_run(struct comm *comm, const struct tokenize_job_options *options)
{
    struct tokenize_job *j = calloc(1, sizeof *j);
    if (!j)
        return error_new(ERROR_MEMORY, "no memory to tokenize");
    j->comm = comm;
    j->options = options;
    j->tokenize = options->tokenize;
    j->tokenize.text_bytes = &j->text_bytes;
    j->lock = -1;
    j->start_s = clock_now_s();
    pthread_mutex_init(&j->report_lock, NULL);
    pthread_cond_init(&j->report_end, NULL);
    struct error *e = run(j);
    end_report(j);
    pthread_cond_destroy(&j->report_end);
    pthread_mutex_destroy(&j->report_lock);
    if (j->lock >= 0)
        close(j->lock);
    pieces_release(&j->pieces);
    inputs_release(&j->inputs);
    free(j->summaries);
    free(j->there);
    free(j->folder);
    free(j);
    return e;
}
