/*
 * examples.h - what a model is asked about token by token: texts, passages whose last word is to be
 * found, and contexts with endings to choose from.
 *
 * Each is one or more sequences of tokens of which the last ones are to be scored:
 *
 *   text       a line, or the field of a JSON object: all tokens, behind the start token where the
 *              vocabulary has one; without, all but the first. {"token_ids": [...]}: the ids as they are,
 *              all but the first.
 *   lambada    the same texts: the tokens of the last word, which begins behind the last space. The text
 *              is encoded whole, as lm-evaluation-harness does.
 *   hellaswag  objects of "ctx", "endings" (a list of texts) and "label" (from 0): a sequence an ending,
 *              ctx and " " + ending encoded each for itself, as llm.c's hellaswag.py does.
 *
 * A context has the start token before it only where it would be empty, or where `always_start`
 * says so.
 */
#ifndef GALLEY_DATA_EXAMPLES_H
#define GALLEY_DATA_EXAMPLES_H

#include "data/dataset.h"
#include "text/tokenizer.h"

enum example_kind { EXAMPLES_AUTO, EXAMPLES_TEXT, EXAMPLES_LAMBADA, EXAMPLES_HELLASWAG };
/* "text", "lambada", "hellaswag". */
const char *example_kind_name(enum example_kind kind);

struct examples;

struct examples_options {
    enum example_kind kind;               /* AUTO: hellaswag where the first object has endings,
                                           * else text */
    struct dataset_options data;          /* inputs; the field is that of texts */
    const struct tokenizer *tokenizer;    /* borrowed; NULL: only token_ids */
    bool always_start;                    /* as the mini-GPT is trained */
    int vocabulary_size;                  /* of the model */
};

MUST_USE struct error *examples_open(struct examples **out, const struct examples_options *options);
/* NULL is fine. */
void examples_close(struct examples *examples);
enum example_kind examples_kind(const struct examples *examples);
int64_t examples_count(const struct examples *examples);

/* ids[first] to ids[count - 1] are to be scored: none where count <= first; first is at least 1. */
struct example_sequence {
    int32_t *ids;
    int count, first;
};

struct example {
    struct example_sequence *sequences;
    int count;
    int label;    /* hellaswag: the right sequence */
};

/* Errors name the file and the line where the example stands. Release after success only. */
MUST_USE struct error *examples_read(struct examples *examples, int64_t index, struct example *out);
void example_release(struct example *example);
/* "FILE, line N"; counts lines, so it takes a while. */
void examples_where(const struct examples *examples, int64_t index, char *out, size_t bytes);

#endif
