/* sample_row.c - a generated text as a JSON object. */
#include "train/sample_row.h"

#include <cjson/cJSON.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* cJSON's numbers are doubles: whole numbers are written as they are. */
static bool add_int(cJSON *object, const char *key, int64_t value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    return cJSON_AddRawToObject(object, key, digits);
}

static bool add_sampler(cJSON *object, const struct sampler *s)
{
    const bool random = sampler_is_random(s->kind), beam = s->kind == SAMPLER_BEAM;
    const bool contrastive = s->kind == SAMPLER_CONTRASTIVE;
    const bool k = s->kind == SAMPLER_TOP_K || (s->kind == SAMPLER_TOP_P && s->k > 0) || contrastive;
    char seed[32];
    snprintf(seed, sizeof seed, "%" PRIu64, s->seed);
    return cJSON_AddStringToObject(object, "sampler", sampler_name(s->kind)) &&
           (!k || add_int(object, "k", s->k)) &&
           (s->kind != SAMPLER_TOP_P || cJSON_AddNumberToObject(object, "p", s->p)) &&
           (!beam || add_int(object, "beams", s->beams)) &&
           (!contrastive || cJSON_AddNumberToObject(object, "alpha", s->alpha)) &&
           (s->kind == SAMPLER_GREEDY ||
            cJSON_AddNumberToObject(object, "temperature", s->temperature)) &&
           (!random || cJSON_AddRawToObject(object, "seed", seed));
}

/* As KerasHub's dictionaries: padded with 0 to the length, 1 where a position is part of the
 * text. */
static bool add_ids(cJSON *object, const struct generated *written, int length)
{
    cJSON *ids = cJSON_AddArrayToObject(object, "token_ids");
    cJSON *mask = cJSON_AddArrayToObject(object, "padding_mask");
    bool good = ids && mask;
    for (int i = 0; good && i < length; i++) {
        const bool part = i < written->count;
        good = cJSON_AddItemToArray(ids, cJSON_CreateNumber(part ? written->ids[i] : 0)) &&
               cJSON_AddItemToArray(mask, cJSON_CreateNumber(part));
    }
    return good;
}

static bool add_row(cJSON *object, const struct sample_row *r)
{
    return (r->step < 0 || add_int(object, "step", r->step)) &&
           (isnan(r->epoch) || cJSON_AddNumberToObject(object, "epoch", r->epoch)) &&
           add_sampler(object, r->sampler) && add_int(object, "row", r->row) &&
           add_int(object, "max_length", r->max_length) &&
           (r->sampler->kind != SAMPLER_BEAM ||
            cJSON_AddNumberToObject(object, "log_probability", r->written->score)) &&
           (!r->prompt || cJSON_AddStringToObject(object, "prompt", r->prompt)) &&
           (!r->written->text || cJSON_AddStringToObject(object, "text", r->written->text)) &&
           (!r->ids || add_ids(object, r->written, r->max_length));
}

struct error *sample_row_json(const struct sample_row *row, char **json)
{
    cJSON *object = cJSON_CreateObject();
    char *text = object && add_row(object, row) ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    if (!text)
        return error_new(ERROR_MEMORY, "no memory for a sample as JSON");
    *json = text;
    return NULL;
}
