/* stream_text.c - prints each token's text as it comes, or its id. */
#include "cli/stream_text.h"

#include "text/detokenizer.h"

#include <stdlib.h>

struct text_stream {
    FILE *file;
    const struct tokenizer *tokenizer;
    struct detokenizer *detokenizer;    /* NULL: ids are printed */
    const struct text_generation *generation;
    int printed;                        /* tokens */
    bool stopped;
    struct error *failure;
};

/* A stripped prompt is decoded, too: a word piece or a byte may belong to what it began. */
static struct error *print(struct text_stream *s, int32_t token, int position)
{
    const bool stripped =
        s->generation->strip_prompt && position < s->generation->prompts->count;
    const char *text;
    if (!s->detokenizer) {
        if (!stripped)
            fprintf(s->file, s->printed++ > 0 ? " %d" : "%d", (int)token);
        return NULL;
    }
    if (generate_is_special(s->tokenizer, token, position))
        return NULL;
    TRY(detokenizer_add(s->detokenizer, token, &text));
    if (!stripped)
        fputs(text, s->file);
    return NULL;
}

struct error *text_stream_begin(struct text_stream **out, FILE *file,
                                const struct tokenizer *tokenizer,
                                const struct text_generation *generation)
{
    const struct prompt *prompt = generation->prompts;
    struct text_stream *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory to print a text (%zu bytes)", sizeof *s);
    s->file = file;
    s->tokenizer = tokenizer;
    s->generation = generation;
    struct error *e = tokenizer ? detokenizer_create(&s->detokenizer, tokenizer) : NULL;
    for (int i = 0; !e && i < prompt->count; i++)
        e = print(s, prompt->ids[i], i);
    fflush(file);
    if (e) {
        detokenizer_destroy(s->detokenizer);
        free(s);
        return e;
    }
    *out = s;
    return NULL;
}

void text_stream_token(void *stream, int row, int position, int32_t token)
{
    struct text_stream *s = stream;
    (void)row;
    if (s->stopped || s->failure)
        return;
    for (int i = 0; i < s->generation->stop_count; i++)
        s->stopped |= token == s->generation->stop_ids[i];
    if (s->stopped && s->detokenizer)
        return;    /* a text ends before its stop token, a list of ids behind it */
    s->failure = print(s, token, position);
    fflush(s->file);
}

struct error *text_stream_end(struct text_stream *stream)
{
    struct error *e = stream->failure;
    if (stream->detokenizer)
        fputs(detokenizer_finish(stream->detokenizer), stream->file);
    putc('\n', stream->file);
    fflush(stream->file);
    detokenizer_destroy(stream->detokenizer);
    free(stream);
    return e;
}
