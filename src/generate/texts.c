/* texts.c - prompts into tokens, and generated tokens into texts. */
#include "generate/generate.h"

#include "text/detokenizer.h"

#include <stdlib.h>
#include <string.h>

struct error *prompt_encode(struct prompt *out, const struct tokenizer *tokenizer, const char *text,
                            int length)
{
    *out = (struct prompt){0};
    const int start = tokenizer_start_id(tokenizer);
    struct prompt prompt = {.ids = calloc((size_t)length + 2, sizeof *prompt.ids)};
    if (!prompt.ids)
        return error_new(ERROR_MEMORY, "no memory for a prompt of %d tokens", length);
    if (start >= 0)
        prompt.ids[prompt.count++] = start;

    struct encoder *encoder;
    struct error *e = encoder_create(&encoder, tokenizer);
    if (e)
        goto fail;
    int count;
    /* One more than there is room for tells whether the prompt is cut. */
    e = encoder_encode(encoder, text, strlen(text), prompt.ids + prompt.count, length + 1, &count);
    encoder_destroy(encoder);
    if (e)
        goto fail;
    prompt.count += count;
    if (prompt.count == 0) {
        e = error_new(ERROR_USAGE, "the prompt has no words and the vocabulary no %s to begin "
                      "with; give a prompt", tokenizer_start_name(tokenizer));
        goto fail;
    }
    prompt.cut = prompt.count > length;
    if (prompt.cut)
        prompt.count = length;
    *out = prompt;
    return NULL;

fail:
    prompt_release(&prompt);
    return error_context(e, "encoding the prompt");
}

void prompt_release(struct prompt *prompt)
{
    free(prompt->ids);
    *prompt = (struct prompt){0};
}

int32_t generate_default_stop(const struct tokenizer *tokenizer)
{
    const int end = tokenizer_end_id(tokenizer);
    return end >= 0 ? end : tokenizer_pad_id(tokenizer);
}

bool generate_is_special(const struct tokenizer *tokenizer, int32_t id, int position)
{
    return (id == tokenizer_start_id(tokenizer) && position == 0) ||
           id == tokenizer_end_id(tokenizer);
}

/* A text that grows. */
struct growing {
    char *text;
    size_t bytes, capacity;
};

static struct error *grow(struct growing *g, const char *more)
{
    const size_t bytes = strlen(more);
    if (g->bytes + bytes + 1 > g->capacity) {
        const size_t capacity = 2 * (g->bytes + bytes) + 64;
        char *larger = realloc(g->text, capacity);
        if (!larger)
            return error_new(ERROR_MEMORY, "no memory for a text of %zu bytes", capacity);
        g->text = larger;
        g->capacity = capacity;
    }
    memcpy(g->text + g->bytes, more, bytes + 1);
    g->bytes += bytes;
    return NULL;
}

/* What the text of ids [0, end) has from id `first` on, for the caller to free. The ids before are
 * decoded too: a word piece or a byte may belong to what they began. */
static struct error *decode(const struct tokenizer *tokenizer, const int32_t *ids, int first,
                            int end, char **text)
{
    struct detokenizer *detokenizer;
    struct growing g = {0};
    TRY(detokenizer_create(&detokenizer, tokenizer));
    struct error *e = NULL;
    for (int i = 0; !e && i < end; i++) {
        const char *more;
        if (generate_is_special(tokenizer, ids[i], i))
            continue;
        e = detokenizer_add(detokenizer, ids[i], &more);
        if (!e && i >= first)
            e = grow(&g, more);
    }
    if (!e)
        e = grow(&g, detokenizer_finish(detokenizer));
    detokenizer_destroy(detokenizer);
    if (e) {
        free(g.text);
        return e;
    }
    *text = g.text;
    return NULL;
}

void generated_release(struct generated *text)
{
    free(text->ids);
    free(text->text);
    *text = (struct generated){0};
}

/* Rows of tokens on their way to texts. */
struct rows {
    const struct text_generation *t;
    int n;                    /* rows that come out */
    int32_t *prompts;         /* (count, length) */
    int32_t *tokens;          /* (n, length) */
    int *lengths, *ends;      /* (count), (n) */
    double *scores;           /* (n) */
};

static void rows_release(struct rows *rows)
{
    free(rows->prompts);
    free(rows->tokens);
    free(rows->lengths);
    free(rows->ends);
    free(rows->scores);
}

static struct error *rows_prepare(struct rows *rows, const struct text_generation *t)
{
    const size_t count = (size_t)t->count, length = (size_t)t->length;
    *rows = (struct rows){.t = t, .n = t->all_beams ? t->count * t->sampler->beams : t->count};
    const size_t n = (size_t)rows->n;
    rows->prompts = calloc(count * length, sizeof *rows->prompts);
    rows->tokens = calloc(n * length, sizeof *rows->tokens);
    rows->lengths = calloc(count, sizeof *rows->lengths);
    rows->ends = calloc(n, sizeof *rows->ends);
    rows->scores = calloc(n, sizeof *rows->scores);
    if (!rows->prompts || !rows->tokens || !rows->lengths || !rows->ends || !rows->scores)
        return error_new(ERROR_MEMORY, "no memory for %zu texts of %zu tokens", n, length);
    for (size_t i = 0; i < count; i++) {
        rows->lengths[i] = t->prompts[i].count;
        memcpy(rows->prompts + i * length, t->prompts[i].ids,
               (size_t)t->prompts[i].count * sizeof *rows->prompts);
    }
    return NULL;
}

static struct error *rows_generate(struct rows *rows, int ids)
{
    const struct text_generation *t = rows->t;
    const struct generation g = {
        .model = t->model, .sampler = t->sampler, .rows = t->count, .length = t->length,
        .prompt_lengths = rows->lengths, .first_row = t->first_row, .ids = ids,
        .stop_ids = t->stop_ids, .stop_count = t->stop_count, .on_token = t->on_token,
        .self = t->self,
    };
    if (t->all_beams)
        return generate_beams(&g, rows->prompts, rows->tokens, rows->ends, rows->scores);
    memcpy(rows->tokens, rows->prompts,
           (size_t)t->count * (size_t)t->length * sizeof *rows->tokens);
    return generate_tokens(&g, rows->tokens, rows->ends, rows->scores);
}

static bool is_stop(const struct text_generation *t, int32_t id)
{
    for (int i = 0; i < t->stop_count; i++)
        if (t->stop_ids[i] == id)
            return true;
    return false;
}

static struct error *finish_row(const struct rows *rows, int i, struct generated *out)
{
    const struct text_generation *t = rows->t;
    const int32_t *tokens = rows->tokens + (int64_t)i * t->length;
    const int prompt_count = rows->lengths[i * t->count / rows->n];
    int end = rows->ends[i];
    *out = (struct generated){
        .ids = malloc((size_t)t->length * sizeof *out->ids), .count = end,
        .prompt_count = prompt_count, .score = rows->scores[i],
    };
    if (!out->ids)
        return error_new(ERROR_MEMORY, "no memory for a text of %d tokens", t->length);
    memcpy(out->ids, tokens, (size_t)end * sizeof *tokens);
    if (!t->tokenizer)
        return NULL;
    if (end > prompt_count && is_stop(t, tokens[end - 1]))
        end--;
    return decode(t->tokenizer, tokens, t->strip_prompt ? prompt_count : 0, end, &out->text);
}

struct error *generate_texts(const struct text_generation *generation, struct generated *out)
{
    const struct text_generation *t = generation;
    const int V = model_spec(t->model)->V;
    const int ids = t->tokenizer ? tokenizer_size(t->tokenizer) : V;
    if (ids > V)
        return error_new(ERROR_INPUT, "the vocabulary has %d entries, more than the %d the model "
                         "was made for", ids, V);
    struct rows rows;
    struct error *e = rows_prepare(&rows, t);
    /* The model may have more ids than the vocabulary has entries; those have no text. */
    if (!e)
        e = rows_generate(&rows, ids);
    int done = 0;
    for (; !e && done < rows.n; done++)
        e = finish_row(&rows, done, &out[done]);
    while (e && done > 0)
        generated_release(&out[--done]);
    rows_release(&rows);
    return e;
}
