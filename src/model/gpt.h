/*
 * gpt.h - the GPT: parameters on a device, forward, backward, and decoding with a cache.
 *
 * The model knows no ranks, no data source and no optimizer. It adds gradients of the *summed* loss
 * into its flat gradient buffer and tells a callback which part of it is final.
 */
#ifndef GALLEY_MODEL_GPT_H
#define GALLEY_MODEL_GPT_H

#include "data/batch.h"
#include "kernels/kernels.h"
#include "model/flat_layout.h"
#include "model/spec.h"

struct model;

/* What the model is made for; decides the memory it takes. */
struct model_options {
    int B, T;            /* the largest batch, of B x T tokens; one of shorter rows may have more of
                          * them */
    bool training;       /* gradients and what backward needs */
    bool token_squares;  /* also squares of the token embedding's gradients, by occurrence; not of a
                          * family whose head is tied to it */
    uint64_t seed;       /* of dropout */
};

/* All memory is allocated here, on `device`. Weights are zero until set. */
MUST_USE struct error *model_create(struct model **out, struct device *device,
                                    const struct kernels *kernels, const struct model_spec *spec,
                                    const struct model_options *options);
void model_destroy(struct model *model);    /* memory stays until the device closes */

const struct model_spec *model_spec(const struct model *model);
/* Shapes, and places on the host. */
const struct parameters *model_parameters(const struct model *model);
/* Places in device memory, and copies between these and the host's. */
const struct flat_layout *model_layout(const struct model *model);

/* The flat buffers, device memory of layout->flat_count elements. gradients: training only. */
float *model_weights(struct model *model);
void *model_weights_copy(struct model *model);    /* bf16 copy, NULL in fp32 */
float *model_gradients(struct model *model);
/* (V, C) sums over all occurrences of a token of its squared gradient; NULL unless asked for. */
float *model_token_squares(struct model *model);
/* What ranks add up: token squares, if any, then the gradients, in one piece of `*count`
 * elements. */
float *model_summed(struct model *model, int64_t *count);
/* Call after the weights were changed by anything but the `adam` kernel: renews the bf16 copy. */
void model_weights_changed(struct model *model);

/* Told by backward: elements [first, count) of model_summed are final. `first` falls call by call
 * to 0. */
typedef void model_ready(void *self, int64_t first);

void model_zero_gradients(struct model *model);
/* Copies a batch from host memory to the model's own buffers, in order with the kernels; the
 * result, in device memory, is good until the next call, also by model_evaluate and
 * model_logits. */
struct batch model_load(struct model *model, const struct batch *batch);
/*
 * Queues forward and backward of one micro-batch, with spec.dropout drawn from (seed, batch->step,
 * sample): adds to gradients and to `sums`. Batch and sums are in device memory. `gradient_scale`
 * (1, device memory) multiplies all gradients; NULL: 1. `ready` may be NULL (not the last
 * micro-batch of a step).
 */
void model_train(struct model *model, const struct batch *batch, struct loss_sums *sums,
                 const float *gradient_scale, model_ready *ready, void *self);
/* Forward only, of a batch in host memory; adds to `sums` (host), complete when it returns. */
MUST_USE struct error *model_evaluate(struct model *model, const struct batch *batch,
                                      struct loss_sums *sums);
/* Tokens whose probability is asked for: targets[i] as what follows position places[i] = b * T + t
 * of a batch. Host memory; places rise. */
struct model_questions {
    float *losses;          /* (count)  out: -ln of the probability */
    uint8_t *correct;       /* (count)  out: 1 where no token is more probable */
    const int32_t *places, *targets;    /* (count)  in */
    int count;              /* 1 to B * T */
};
/* Forward only, of a batch in host memory of which tokens and key_mask matter; the head is computed
 * at the places alone. The answers are there when it returns. */
MUST_USE struct error *model_score(struct model *model, const struct batch *batch,
                                   const struct model_questions *questions);
/* All logits of a batch, (B, T, V) fp32 in host memory of the caller; tokens and key_mask
 * matter. */
MUST_USE struct error *model_logits(struct model *model, const struct batch *batch, float *logits);

/* ---- decoding: one position after the other, keys and values kept ---- */

struct decoder;

/* Room for `rows` sequences of up to `capacity` positions (at most spec.positions), and for
 * `candidates` answers of decoder_largest, count * k. Each decoder has its own cache and
 * activations, allocated here. The model must outlive it. */
MUST_USE struct error *decoder_create(struct decoder **out, struct model *model, int rows,
                                      int capacity, int64_t candidates);
void decoder_destroy(struct decoder *decoder);
/* Forgets all positions. */
void decoder_reset(struct decoder *decoder);

/*
 * Appends one token to each row (`tokens`, rows of them). The logits that follow stay on the
 * device, and are not computed before one of the functions below asks for them: not for a prompt's
 * inner positions. The family's masking rule holds: a mini-GPT's token 0 is not seen by later
 * positions.
 */
MUST_USE struct error *decoder_append(struct decoder *decoder, const int32_t *tokens);

/* As `draw` of kernels/choose.h, from the last append's logits: an id for each row or NOT_FINITE,
 * (rows) in host memory, valid until the next call. */
struct decoder_draw {
    int ids;
    float temperature;
    int most;
    float mass;
    const double *uniforms;    /* (rows)  in host memory */
};
MUST_USE struct error *decoder_draw(struct decoder *decoder, const struct decoder_draw *how,
                                    const int32_t **chosen);

/* As `largest` there, of `count` rows: ids and values, (count, k) in host memory, valid until the
 * next call. */
struct decoder_largest {
    int ids;
    float temperature;
    int k;
    int count;                 /* at most as many as the decoder has */
    const int32_t *rows;       /* (count)  in host memory; NULL: the first ones */
    const float *scores;       /* (count)  in host memory, may be NULL */
};
MUST_USE struct error *decoder_largest(struct decoder *decoder, const struct decoder_largest *how,
                                       const int32_t **chosen, const float **values);

/* All logits that follow the last append, (rows, V) fp32 into host memory of the caller. */
MUST_USE struct error *decoder_logits(struct decoder *decoder, float *logits);
/* What the head read at the last append, (rows, C) fp32 in host memory, valid until the next
 * append: the hidden states that contrastive search compares. */
MUST_USE struct error *decoder_hidden(struct decoder *decoder, const float **hidden);
/* Row r continues from what was row `from[r]`: how beams move. */
MUST_USE struct error *decoder_reorder(struct decoder *decoder, const int *from);

#endif
