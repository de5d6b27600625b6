/*
 * bpe_learner.h - a byte-level BPE vocabulary from text, exactly Hugging Face's BpeTrainer's.
 *
 * One call learns from all counters of pieces; the result does not depend on how text was spread
 * over them.
 *
 * Source: tokenizers 0.23, models/bpe/trainer.rs: byte alphabet first, minimum frequency 2, of all
 * pairs the most frequent becomes an entry, of equally frequent ones that of the smaller ids.
 */
#ifndef GALLEY_TEXT_BPE_LEARNER_H
#define GALLEY_TEXT_BPE_LEARNER_H

#include "text/piece_counter.h"

#include <stdbool.h>

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
