/* texts.c - prompts into tokens, and generated tokens into texts. */
#include "generate/generate.h"

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
        e = error_new(ERROR_USAGE, "the prompt has no words and the vocabulary no %s to begin with; "
                      "give a prompt", tokenizer_start_name(tokenizer));
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

/* A row of tokens as text: from behind [BOS] to before the first [PAD] that was generated. */
static struct error *decode_row(const struct tokenizer *tokenizer, const int32_t *tokens,
                                int prompt_length, int length, char **text)
{
    const int begin = tokens[0] == tokenizer_start_id(tokenizer);
    int end = prompt_length;
    while (end < length && tokens[end] != tokenizer_pad_id(tokenizer))
        end++;
    return tokenizer_decode(tokenizer, tokens + begin, end - begin, text, NULL);
}

struct error *generate_texts(const struct text_generation *generation, char **texts,
                             double *scores)
{
    const struct text_generation *t = generation;
    const int ids = tokenizer_size(t->tokenizer), V = model_spec(t->model)->V;
    if (ids > V)
        return error_new(ERROR_INPUT, "the vocabulary has %d entries, more than the %d the model "
                         "was made for", ids, V);

    const size_t count = (size_t)t->count, length = (size_t)t->length;
    struct error *e = NULL;
    memset(texts, 0, count * sizeof *texts);
    int32_t *tokens = calloc(count * length, sizeof *tokens);
    int *lengths = calloc(count, sizeof *lengths);
    if (!tokens || !lengths) {
        e = error_new(ERROR_MEMORY, "no memory for %zu texts of %zu tokens", count, length);
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(tokens + i * length, t->prompt->ids, (size_t)t->prompt->count * sizeof *tokens);
        lengths[i] = t->prompt->count;
    }
    /* The model may have more ids than the vocabulary has entries; those have no text. */
    if ((e = generate_tokens(&(struct generation){
             .model = t->model, .sampler = t->sampler, .rows = t->count, .length = t->length,
             .prompt_lengths = lengths, .first_row = t->first_row, .ids = ids}, tokens, NULL, scores)))
        goto done;
    for (size_t i = 0; !e && i < count; i++)
        e = decode_row(t->tokenizer, tokens + i * length, lengths[i], t->length, &texts[i]);

done:
    for (size_t i = 0; e && i < count; i++) {
        free(texts[i]);
        texts[i] = NULL;
    }
    free(lengths);
    free(tokens);
    return e;
}
