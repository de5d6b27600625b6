/*
 * bench_model.c - how fast the model trains and decodes on this machine's CPU, with random weights.
 *
 *     bench_model [--python PYTHON] [CASE...]
 *
 * Cases: mini-fp32 mini-bf16 (the mini-GPT, 64 x 128 tokens a step), gpt2-fp32 gpt2-bf16 (GPT-2
 * 124M, 4 x 64), decode-fp32 decode-bf16 (GPT-2 124M, one sequence, 64 tokens with a cache); all
 * without arguments. A training step is forward, backward, gradient norm and AdamW. One JSON line a
 * figure: {"bench", "value", "unit", "config"}; with a Python that has torch, bench_model_torch.py
 * computes the same there and adds {"peer", "peer_value", "ratio"}.
 */
#include "base/clock.h"
#include "device/device.h"
#include "kernels/kernels.h"
#include "model/gpt.h"
#include "train/optimizer.h"
#include "train/step_slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 8, WARM_UP = 2, DECODED = 64, DECODE_RUNS = 3 };

struct bench_case {
    const char *name;
    struct model_spec spec;
    enum dtype type;
    int B, T;
    bool decode;
};

#define MINI {.family = MODEL_MINI_GPT, .V = 5000, .positions = 128, .C = 256, .NH = 3, .F = 128, .L = 2}
#define BASE                                                                                       \
    {.family = MODEL_GPT2, .V = 50257, .positions = 1024, .C = 768, .NH = 12, .F = 3072, .L = 12}

static const struct bench_case cases[] = {
    {"mini-fp32", MINI, DTYPE_F32, 64, 128, false}, {"mini-bf16", MINI, DTYPE_BF16, 64, 128, false},
    {"gpt2-fp32", BASE, DTYPE_F32, 4, 64, false},   {"gpt2-bf16", BASE, DTYPE_BF16, 4, 64, false},
    {"decode-fp32", BASE, DTYPE_F32, 1, 1, true},   {"decode-bf16", BASE, DTYPE_BF16, 1, 1, true},
};

static struct error *time_training(struct device *device, const struct kernels *kernels,
                                   struct model *model, const struct bench_case *c, double *best_s)
{
    const size_t N = (size_t)c->B * (size_t)c->T;
    int32_t *ids = calloc(N, sizeof *ids);
    uint8_t *ones = malloc(N);
    struct optimizer *optimizer = NULL;
    struct step_block *block = NULL;
    void *memory = NULL;
    struct error *e = NULL;
    if (!ids || !ones) {
        e = error_new(ERROR_MEMORY, "no memory for a batch");
        goto done;
    }
    memset(ones, 1, N);
    for (size_t i = 0; i < N; i++)
        ids[i] = (int32_t)(1 + i * 7919 % (size_t)(c->spec.V - 1));
    const struct batch batch = {
        .B = c->B, .T = c->T, .rows = c->B, .tokens = ids, .targets = ids, .key_mask = ones,
        .loss_mask = ones, .metric_mask = ones,
    };
    if ((e = optimizer_create(&optimizer, device, kernels, model, &(struct optimizer_options){
             .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01})))
        goto done;
    if ((e = device_allocate(device, &memory, sizeof *block, "a step's scalars")))
        goto done;
    block = memory;
    for (int step = 0; step < WARM_UP + STEPS; step++) {
        const double start_s = clock_now_s();
        const struct step_block start = {
            .rates = {.first = step, .of = {optimizer_rate(optimizer, step, 1e-4)}},
        };
        device_copy_in(device, block, &start, sizeof start);
        model_zero_gradients(model);
        const struct batch loaded = model_load(model, &batch);
        model_train(model, &loaded, &block->sums.losses, NULL, NULL, NULL);
        optimizer_update(optimizer, &block->sums, &block->rates, &block->plan);
        if ((e = device_synchronize(device)))
            goto done;
        const double took_s = clock_now_s() - start_s;
        if (step >= WARM_UP && took_s < *best_s)
            *best_s = took_s;
    }
done:
    device_release(device, memory);
    optimizer_destroy(optimizer);
    free(ids);
    free(ones);
    return e;
}

static struct error *time_decoding(struct model *model, double *best_s)
{
    struct decoder *decoder;
    const double uniform = 0;
    const struct decoder_draw greedy = {.ids = model_spec(model)->V, .temperature = 1, .most = 1,
                                          .uniforms = &uniform};
    TRY(decoder_create(&decoder, model, 1, DECODED, 0));
    struct error *e = NULL;
    for (int run = 0; run < 1 + DECODE_RUNS && !e; run++) {
        int32_t token = 1;
        decoder_reset(decoder);
        const double start_s = clock_now_s();
        for (int i = 0; i < DECODED && !e; i++) {
            const int32_t *chosen;
            if (!(e = decoder_append(decoder, &token)) &&
                !(e = decoder_draw(decoder, &greedy, &chosen)))
                token = *chosen;
        }
        const double took_s = (clock_now_s() - start_s) / (double)DECODED;
        if (run > 0 && took_s < *best_s)
            *best_s = took_s;
    }
    decoder_destroy(decoder);
    return e;
}

/* Tokens a second of this case by PyTorch; 0 where it cannot. */
static double peer_rate(const char *python, const char *name)
{
    char command[1200], line[256];
    double rate = 0;
    snprintf(command, sizeof command, "'%s' '%s' %s", python, BENCH_MODEL_TORCH, name);
    FILE *pipe = popen(command, "r");
    if (!pipe)
        return 0;
    while (fgets(line, sizeof line, pipe))
        if (strtod(line, NULL) > 0)
            rate = strtod(line, NULL);
    pclose(pipe);
    return rate;
}

static struct error *run_case(const struct bench_case *c, const char *python)
{
    struct device *device;
    const struct kernels *kernels;
    struct model *model = NULL;
    double best_s = 1e9;
    TRY(device_open(&device, &(struct device_options){.kind = "cpu"}));
    struct error *e = kernels_for(&kernels, device, c->type);
    if (e)
        goto done;
    if ((e = model_create(&model, device, kernels, &c->spec,
                          &(struct model_options){.B = c->B, .T = c->T, .training = !c->decode})))
        goto done;
    parameters_initialize(model_parameters(model), 1, model_weights(model));
    model_weights_changed(model);
    e = c->decode ? time_decoding(model, &best_s)
                  : time_training(device, kernels, model, c, &best_s);
    if (e)
        goto done;
    const double rate = (double)c->B * c->T / best_s;
    printf("{\"bench\": \"%s\", \"value\": %.5g, \"unit\": \"tokens/s\", \"config\": \"%s, %d x %d "
           "tokens, %.4g ms, %d threads, %s\"", c->name, rate, c->decode ? "decoding" : "training",
           c->B, c->decode ? DECODED : c->T, 1e3 * best_s, device_threads(device), kernels->name);
    const double peer = python ? peer_rate(python, c->name) : 0;
    if (peer > 0)
        printf(", \"peer\": \"PyTorch\", \"peer_value\": %.5g, \"ratio\": %.3g", peer, rate / peer);
    puts("}");
    fflush(stdout);
done:
    model_destroy(model);
    device_close(device);
    return e;
}

int main(int argc, char **argv)
{
    const char *python = NULL;
    int first = 1;
    if (argc > 2 && !strcmp(argv[1], "--python")) {
        python = argv[2];
        first = 3;
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool wanted = first >= argc;
        for (int a = first; a < argc; a++)
            wanted = wanted || !strcmp(argv[a], cases[i].name);
        if (!wanted)
            continue;
        struct error *e = run_case(&cases[i], python);
        if (e) {
            fprintf(stderr, "%s: %s\n", cases[i].name, error_message(e));
            error_destroy(e);
            return 1;
        }
    }
    return 0;
}
