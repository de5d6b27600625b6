/*
 * bpe_vocabulary.h - GPT-2's vocabulary files: entries by id, merges by pair.
 *
 * vocab.json writes the bytes of an entry as printable characters: those of Latin-1 that are
 * printable stand for themselves, the others for U+0100 and on. An entry with other characters (a
 * special token) stands for its own UTF-8. Immutable once read.
 */
#ifndef GALLEY_TEXT_BPE_VOCABULARY_H
#define GALLEY_TEXT_BPE_VOCABULARY_H

#include "text/tokenizer_kind.h"

/* What a pair without a merge has for its rank. Ranks are line numbers of merges.txt, from 0. */
#define BPE_NO_MERGE UINT32_MAX

struct bpe_merge {
    uint32_t left, right;    /* ids */
    uint32_t rank;           /* BPE_NO_MERGE: a free slot */
};

struct bpe_vocabulary {
    struct string_table *written;     /* entries as vocab.json writes them */
    int32_t *written_ids;             /* by number in that table */
    char *bytes;                      /* the text of all entries */
    uint32_t byte_ids[256];
    uint32_t *byte_pair_ranks;        /* (65536): of two single bytes, by first * 256 + second */
    struct bpe_merge *slots;          /* by hash of the pair, linear probing */
    uint32_t slot_mask;
    uint32_t *merged;                 /* by rank: the id that the pair becomes */
    uint32_t ranks;
};

/* Entries go to `entries` (for the caller to free, `*size` of them) and stay valid as long as the
 * vocabulary. Releases with bpe_vocabulary_release, after an error too. */
MUST_USE struct error *bpe_vocabulary_read(struct bpe_vocabulary *vocabulary,
                                           const struct tokenizer_definition *definition,
                                           struct tokenizer_entry **entries, int *size);
void bpe_vocabulary_release(struct bpe_vocabulary *vocabulary);

/* The characters that stand for the 256 bytes, as UTF-8: one or two bytes and a NUL. */
void bpe_byte_characters(char characters[256][3]);

static inline uint32_t bpe_pair_hash(uint32_t left, uint32_t right)
{
    const uint64_t h = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32) ^ (uint32_t)(h >> 47);
}

static inline uint32_t bpe_rank(const struct bpe_vocabulary *v, uint32_t left, uint32_t right)
{
    for (uint32_t s = bpe_pair_hash(left, right) & v->slot_mask;; s = (s + 1) & v->slot_mask) {
        const struct bpe_merge *m = &v->slots[s];
        if ((m->left == left && m->right == right) || m->rank == BPE_NO_MERGE)
            return m->rank;
    }
}

#endif
