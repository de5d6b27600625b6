/* evaluation.c - one pass over a dataset, shared by all ranks. */
#include "train/evaluation.h"

#include "base/clock.h"
#include "data/stream.h"

#include <math.h>

enum text_format text_format_of(enum model_family family)
{
    return family == MODEL_GPT2 ? TEXT_CAUSAL_LM : TEXT_MINI_GPT;
}

/* Of the text that the targets decode to. */
static double count_bytes(const struct tokenizer *tokenizer, const struct batch *batch)
{
    size_t bytes = 0;
    for (int64_t n = 0; tokenizer && n < (int64_t)batch->rows * batch->T; n++)
        if (batch->metric_mask[n])
            bytes += tokenizer_text_bytes(tokenizer, batch->targets[n], n % batch->T == 0);
    return (double)bytes;
}

/* This rank's share. */
static struct error *sum_stream(const struct evaluation_options *options, struct stream *stream,
                                struct loss_sums *sums, double *samples, double *bytes)
{
    for (;;) {
        struct batch batch;
        double waited_s;
        TRY(stream_read(stream, &batch, &waited_s));
        if (batch.rows < 0)
            return NULL;
        *samples += batch.rows;
        *bytes += count_bytes(options->tokenizer, &batch);
        if (batch.rows > 0)
            TRY(model_evaluate(options->model, &batch, sums));
    }
}

struct error *evaluate_dataset(const struct evaluation_options *options,
                               struct evaluation *result)
{
    const double start_s = clock_now_s();
    const int world_size = comm_world_size(options->comm);
    struct stream *stream = NULL;
    struct loss_sums sums = {0};
    double samples = 0, bytes = 0;
    struct error *e = stream_open(&stream, &(struct stream_options){
        .blend = options->data, .T = options->T, .global_batch = options->micro_batch * world_size,
        .micro_batch = options->micro_batch, .rank = comm_rank(options->comm),
        .world_size = world_size, .threads = options->threads, .prefetch = options->prefetch,
        .epochs = 1,
    }, 0, 0);
    if (!e)
        e = sum_stream(options, stream, &sums, &samples, &bytes);
    stream_close(stream);
    TRY(comm_agree(options->comm, e));

    double totals[] = {sums.loss, sums.loss_tokens, sums.metric_loss, sums.metric_tokens,
                       sums.correct, samples, bytes};
    TRY(comm_sum(options->comm, totals, 7));
    const struct loss_sums all = {.loss = totals[0], .loss_tokens = totals[1]};
    *result = (struct evaluation){
        .loss = totals[0] * loss_mean_factor(&all, totals[5], options->sample_positions),
        .perplexity = totals[3] > 0 ? exp(totals[2] / totals[3]) : 0,
        .bits_per_byte = totals[6] > 0 ? totals[2] / log(2) / totals[6] : 0,
        .accuracy = totals[1] > 0 ? totals[4] / totals[1] : 0,
        .samples = (int64_t)totals[5],
        .tokens = (int64_t)totals[1],
        .seconds = clock_now_s() - start_s,
    };
    return NULL;
}
