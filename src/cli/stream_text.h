/*
 * stream_text.h - a text printed while it is written, token by token.
 *
 * Whole characters only: bytes of one that is not complete wait for the next token.
 */
#ifndef GALLEY_CLI_STREAM_TEXT_H
#define GALLEY_CLI_STREAM_TEXT_H

#include "generate/generate.h"

#include <stdio.h>

struct text_stream;

/* Prints the prompt, unless it is stripped. tokenizer NULL: ids are printed. `generation` has one
 * prompt. */
MUST_USE struct error *text_stream_begin(struct text_stream **out, FILE *file,
                                         const struct tokenizer *tokenizer,
                                         const struct text_generation *generation);
/* A generated_token: what struct text_generation calls. */
void text_stream_token(void *stream, int row, int position, int32_t token);
/* Prints the rest and a line feed; ends the stream. The first failure on the way. */
MUST_USE struct error *text_stream_end(struct text_stream *stream);

#endif
