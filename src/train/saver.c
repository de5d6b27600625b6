/*
 * saver.c - the thread that writes checkpoints.
 *
 * It runs at a lower priority: a write that takes a little longer costs nobody, but a compute
 * thread that loses its core to it makes all ranks wait.
 */
#include "train/saver.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NICENESS = 10 };

enum state { IDLE, WRITING, OVER };

struct saver {
    const char *run_folder;
    int keep;
    struct checkpoint job;
    struct history_row *history;  /* the job's; grows by doubling: a copy of a few bytes more for each
                                   * checkpoint would leave ever larger holes in memory */
    int history_capacity;
    const struct snapshot *snapshot;
    double stall_s;
    pthread_t thread;
    pthread_mutex_t lock;         /* of what follows */
    pthread_cond_t change;
    enum state state;
    bool quit;
    struct error *failure;        /* of a write that is OVER */
    double last_write_s;
    int64_t last_step;
};

static struct error *write_and_prune(const struct saver *s, double *write_s)
{
    const struct checkpoint *c = &s->job;
    const double start_s = clock_now_s();
    size_t bytes;
    if (s->snapshot)
        TRY(snapshot_fetch(s->snapshot));
    TRY(checkpoint_write(s->run_folder, c, &bytes));
    *write_s = clock_now_s() - start_s;
    const double megabytes = 1e-6 * (double)bytes;
    log_info("checkpoint  step %lld  %.1f MB verified  stall %.0f ms  write %.2f s (%.0f MB/s)",
             (long long)c->progress.step, megabytes, 1e3 * s->stall_s, *write_s,
             megabytes / *write_s);
    return checkpoint_prune(s->run_folder, s->keep, c->progress.step, c->progress.best_step);
}

static void *work(void *self)
{
    struct saver *s = self;
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS);    /* of this thread alone, on Linux */
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->state != WRITING && !s->quit)
            pthread_cond_wait(&s->change, &s->lock);
        if (s->state != WRITING)
            break;
        pthread_mutex_unlock(&s->lock);
        double write_s = 0;
        struct error *e = write_and_prune(s, &write_s);
        pthread_mutex_lock(&s->lock);
        s->failure = e;
        if (write_s > 0) {
            s->last_write_s = write_s;
            s->last_step = s->job.progress.step;
        }
        s->state = OVER;
        pthread_cond_broadcast(&s->change);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

struct error *saver_create(struct saver **out, const char *run_folder, int keep)
{
    struct saver *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory for the checkpoint writer (%zu bytes)",
                         sizeof *s);
    s->run_folder = run_folder;
    s->keep = keep;
    s->last_step = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->change, NULL);
    if (pthread_create(&s->thread, NULL, work, s)) {
        pthread_mutex_destroy(&s->lock);
        pthread_cond_destroy(&s->change);
        free(s);
        return error_new(ERROR_MEMORY, "cannot start the thread that writes checkpoints");
    }
    *out = s;
    return NULL;
}

void saver_destroy(struct saver *saver)
{
    if (!saver)
        return;
    error_destroy(saver_wait(saver));
    pthread_mutex_lock(&saver->lock);
    saver->quit = true;
    pthread_cond_broadcast(&saver->change);
    pthread_mutex_unlock(&saver->lock);
    pthread_join(saver->thread, NULL);
    pthread_mutex_destroy(&saver->lock);
    pthread_cond_destroy(&saver->change);
    free(saver->history);
    free(saver);
}

/* The saver is idle. */
static struct error *copy_history(struct saver *s, const struct history_row *rows, int count)
{
    if (count > s->history_capacity) {
        const int capacity = 2 * count;
        struct history_row *history = realloc(s->history, (size_t)capacity * sizeof *history);
        if (!history)
            return error_new(ERROR_MEMORY, "no memory for a history of %d rows", capacity);
        s->history = history;
        s->history_capacity = capacity;
    }
    if (count > 0)
        memcpy(s->history, rows, (size_t)count * sizeof *rows);
    return NULL;
}

struct error *saver_begin(struct saver *saver, const struct checkpoint *checkpoint,
                         const struct snapshot *snapshot, double stall_s)
{
    pthread_mutex_lock(&saver->lock);
    if (saver->state != IDLE)
        BUG("a checkpoint was begun while another is being written");
    struct error *e = copy_history(saver, checkpoint->history, checkpoint->history_rows);
    if (e) {
        pthread_mutex_unlock(&saver->lock);
        return e;
    }
    saver->job = *checkpoint;
    saver->job.history = saver->history;
    saver->snapshot = snapshot;
    saver->stall_s = stall_s;
    saver->state = WRITING;
    pthread_cond_broadcast(&saver->change);
    pthread_mutex_unlock(&saver->lock);
    return NULL;
}

/* With the lock held: a write that is over is forgotten, and its error handed out. */
static struct error *collect(struct saver *s)
{
    struct error *e = NULL;
    if (s->state == OVER) {
        e = s->failure;
        s->failure = NULL;
        s->state = IDLE;
    }
    return e;
}

struct error *saver_wait(struct saver *saver)
{
    pthread_mutex_lock(&saver->lock);
    while (saver->state == WRITING)
        pthread_cond_wait(&saver->change, &saver->lock);
    struct error *e = collect(saver);
    pthread_mutex_unlock(&saver->lock);
    return e;
}

struct error *saver_check(struct saver *saver)
{
    pthread_mutex_lock(&saver->lock);
    struct error *e = collect(saver);
    pthread_mutex_unlock(&saver->lock);
    return e;
}

int64_t saver_last_step(struct saver *saver)
{
    pthread_mutex_lock(&saver->lock);
    const int64_t last_step = saver->last_step;
    pthread_mutex_unlock(&saver->lock);
    return last_step;
}

double saver_last_write_s(struct saver *saver)
{
    pthread_mutex_lock(&saver->lock);
    const double last_write_s = saver->last_write_s;
    pthread_mutex_unlock(&saver->lock);
    return last_write_s;
}
