/*
 * bpe_learner.h - a byte-level BPE vocabulary from text, exactly Hugging Face's BpeTrainer's.
 *
 * Pieces (bpe_split.h) are counted first: each thread fills a counter of its own from texts, which
 * no piece crosses. Then one call learns from all counters; the result does not depend on how text
 * was spread over them. Memory grows with the distinct pieces, not with the text.
 *
 * Source: tokenizers 0.23, models/bpe/trainer.rs: byte alphabet first, minimum frequency 2, of all
 * pairs the most frequent becomes an entry, of equally frequent ones that of the smaller ids.
 */
#ifndef GALLEY_TEXT_BPE_LEARNER_H
#define GALLEY_TEXT_BPE_LEARNER_H

#include "text/tokenizer.h"

struct piece_counter;

MUST_USE struct error *piece_counter_create(struct piece_counter **out);
void piece_counter_destroy(struct piece_counter *counter);
/* Counts the pieces of a text. One thread a counter. */
MUST_USE struct error *piece_counter_add(struct piece_counter *counter, const char *text,
                                         size_t bytes);
/* How many bytes of a text can be counted now, were the rest and what follows it counted as the
 * next text: no piece crosses the cut. May be 0. */
size_t piece_counter_cut(const struct piece_counter *counter, const char *text, size_t bytes);

struct bpe_learning {
    int64_t pieces;             /* counted */
    int64_t distinct_pieces;
    int entries;
};

/* The texts of vocab.json and merges.txt, for the caller to free. */
struct bpe_files {
    char *vocabulary, *merges;
    size_t vocabulary_bytes, merges_bytes;
};

/*
 * At most `size` entries: "<|endoftext|>", the 256 bytes, pairs; fewer where no pair stands twice.
 * `end_token_last`: "<|endoftext|>" behind all others, as GPT-2 has it, so that it is not the id 0
 * that padding has. `report` may be NULL.
 */
MUST_USE struct error *bpe_learn(struct piece_counter *const *counters, int counter_count, int size,
                                 bool end_token_last, struct bpe_files *files,
                                 struct bpe_learning *report);

#endif
