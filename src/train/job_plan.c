/* job_plan.c - a run told before it is run: the same stages, on a device that only counts. */
#include "train/job_inside.h"

#include "base/log.h"
#include "base/memory.h"
#include "train/origin.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

struct error *job_tell_memory(const struct job *job, double *bytes)
{
    const struct job *j = job;
    int64_t count;
    size_t copies;
    (void)model_summed(j->model, &count);
    TRY(buckets_extra_bytes(&copies, j->device, count, j->ranks, j->config->train.reproducible));
    const double model = (double)device_allocated_bytes(j->device), summing = (double)copies;
    const double ahead = (double)job_feed_bytes(j), before = (double)j->resident_before;
    log_info("memory  %.1f MB a rank planned: %.1f MB for the model and its training, %.1f MB to "
             "sum gradients over ranks, %.1f MB of samples read ahead, %.1f MB there before",
             1e-6 * (before + model + summing + ahead), 1e-6 * model, 1e-6 * summing, 1e-6 * ahead,
             1e-6 * before);
    if (bytes)
        *bytes = before + model + summing + ahead;
    return NULL;
}

/* ---- what is told ---- */

static void tell_buffer(void *self, const char *purpose, size_t bytes)
{
    (void)self;
    printf("    %12.3f MB  %s\n", 1e-6 * (double)bytes, purpose);
}

static void tell_run(const struct job *j)
{
    const struct config *c = j->config;
    const struct parameters *p = model_parameters(j->model);
    char data[160];
    job_describe_data(j, data, sizeof data);
    const double step_tokens = (double)c->train.global_batch * (double)c->data.sequence_length;
    printf("ranks         %d, %d on a node; %d micro-batches of %d samples a step and rank\n",
           j->ranks, j->local_ranks, j->micro_batches, j->micro_batch);
    printf("model         %lld parameters\n", (long long)p->count);
    printf("data          %s\n", data);
    printf("steps         %lld an epoch, %lld in all\n", (long long)j->steps_per_epoch,
           (long long)j->last_step);
    printf("tokens        %.0f a step, %.0f in all, padding included\n", step_tokens,
           step_tokens * (double)j->last_step);
    printf("checkpoint    %.1f MB at most, beside tokenizer and history\n",
           1e-6 * (double)checkpoint_planned_bytes(p));
    printf("buffers of a rank on %s, kernels %s\n", device_description(j->device),
           j->kernels->name);
    device_each_allocation(j->device, tell_buffer, NULL);
    fflush(stdout);
}

/* ---- what must fit ---- */

static struct error *check_memory(const struct job *j, double rank_bytes)
{
    const double need = rank_bytes * j->local_ranks, available = (double)memory_available_bytes();
    if (need <= available)
        return NULL;
    return error_new(ERROR_MEMORY, "the run needs %.1f MB on a node (%d ranks of %.1f MB), %.1f MB "
                     "are free here; lower train.micro_batch or the model's sizes, or start fewer "
                     "ranks a node", 1e-6 * need, j->local_ranks, 1e-6 * rank_bytes,
                     1e-6 * available);
}

/* The run folder, or what there is of the way to it. */
static struct error *find_disk(struct statvfs *disk, const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s", folder);
    while (statvfs(path, disk)) {
        char *slash = strrchr(path, '/');
        if (slash && slash > path)
            *slash = '\0';
        else if (strcmp(path, slash ? "/" : "."))
            snprintf(path, sizeof path, "%s", slash ? "/" : ".");
        else
            return error_errno(ERROR_IO, "cannot ask for the free space of %s", folder);
    }
    return NULL;
}

/* Those that are kept, the best, and the one that is being written. */
static struct error *check_disk(const struct job *j)
{
    const struct config *c = j->config;
    struct statvfs disk;
    TRY(find_disk(&disk, c->run.folder));
    const double files = c->checkpoint.keep > 0 ? (double)c->checkpoint.keep + 2 : 1;
    const double need = files * (double)checkpoint_planned_bytes(model_parameters(j->model));
    const double available = (double)disk.f_bavail * (double)disk.f_frsize;
    if (need <= available)
        return NULL;
    return error_new(ERROR_IO, "%.0f checkpoints of the run need %.1f MB in %s, %.1f MB are free; "
                     "delete something, or set checkpoint.keep lower", files, 1e-6 * need,
                     c->run.folder, 1e-6 * available);
}

/* ---- the whole ---- */

static struct error *open_source(struct job *j)
{
    const char *path = j->config->run.start_from;
    return *path ? model_source_open(&j->source,
                                     &(struct model_source_options){.path = path}) : NULL;
}

static struct error *open_stages(struct job *j, struct config *config)
{
    double rank_bytes;
    TRY(config_check_ranks(config, j->ranks));
    TRY(comm_agree(j->comm, j->is_rank_0 ? open_source(j) : NULL));
    TRY(comm_agree(j->comm, origin_complete(config, j->comm, NULL, j->source)));
    const struct model_spec wanted = job_wanted_spec(config);
    if (j->source)
        TRY(origin_check(j->source, &wanted));
    TRY(job_find_pipe(j));
    TRY(job_open_corpora(j));
    TRY(job_check_data(j));
    TRY(job_plan_steps(j));
    TRY(job_open_device(j));
    TRY(job_make_model(j));
    TRY(job_make_trainer(j));
    if (j->is_rank_0)
        tell_run(j);
    TRY(job_tell_memory(j, &rank_bytes));
    TRY(check_memory(j, rank_bytes));
    return check_disk(j);
}

struct error *job_plan(struct comm *comm, struct config *config, const struct job_ranks *ranks)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return error_new(ERROR_MEMORY, "no memory for the plan (%zu bytes)", sizeof *j);
    j->comm = comm;
    j->config = config;
    j->is_rank_0 = comm_rank(comm) == 0;
    j->ranks = ranks->ranks;
    j->local_ranks = ranks->per_node;
    j->plan_only = true;
    j->end_s = (double)INFINITY;
    history_init(&j->history);
    struct error *e = comm_agree(comm, open_stages(j, config));
    job_close(j);
    return e;
}
