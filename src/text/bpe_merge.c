/*
 * bpe_merge.c - short pieces by scanning for the first rank, long ones by a list of places a rank.
 *
 * A scan of all ranks for each merge is the fastest there is for a word, and quadratic. In a long
 * piece every rank has a list of the places where its pair stands, and a set of bits tells the
 * first rank whose list holds any. A merge takes three pairs off their lists and puts two on, so
 * all merges take a time in proportion to the bytes, whatever they are, where a heap would add a
 * logarithm.
 */
#include "text/bpe_merge.h"

#include <stdlib.h>
#include <string.h>

/* ---- short pieces ---- */

/* ids[at] and ids[at + 1] become one; `*n` tokens are left. ranks[i] is of the pair (i, i + 1). */
static void merge_at(const struct bpe_vocabulary *v, uint32_t *ids, uint32_t *ranks, int *n, int at)
{
    const size_t behind = (size_t)(*n - at - 2);
    ids[at] = v->merged[ranks[at]];
    memmove(ids + at + 1, ids + at + 2, behind * sizeof *ids);
    memmove(ranks + at + 1, ranks + at + 2, behind * sizeof *ranks);
    --*n;
    ranks[at] = at + 1 < *n ? bpe_rank(v, ids[at], ids[at + 1]) : BPE_NO_MERGE;
    if (at > 0)
        ranks[at - 1] = bpe_rank(v, ids[at - 1], ids[at]);
}

static int merge_short(const struct bpe_vocabulary *v, const unsigned char *piece, int bytes,
                       int32_t *out)
{
    uint32_t ids[BPE_SHORT_PIECE], ranks[BPE_SHORT_PIECE];
    int n = bytes;
    for (int i = 0; i + 1 < n; i++)
        ranks[i] = v->byte_pair_ranks[piece[i] << 8 | piece[i + 1]];
    ranks[n - 1] = BPE_NO_MERGE;
    for (int i = 0; i < n; i++)
        ids[i] = v->byte_ids[piece[i]];

    for (;;) {
        uint32_t first = BPE_NO_MERGE;
        for (int i = 0; i < n; i++)
            first = ranks[i] < first ? ranks[i] : first;
        if (first == BPE_NO_MERGE)
            break;
        for (int i = 0; i + 1 < n; i++)
            if (ranks[i] == first)
                merge_at(v, ids, ranks, &n, i);
    }
    for (int i = 0; i < n; i++)
        out[i] = (int32_t)ids[i];
    return n;
}

/* ---- a set of ranks ---- */

/* A bit a rank; in the level above a bit a word of 64 that is not zero; and so on. */
enum { LEVELS = 4 };    /* 64^4 = 2^24 ranks */

struct rank_set {
    uint64_t *levels[LEVELS];
};

static void rank_set_add(struct rank_set *s, uint32_t rank)
{
    for (int l = 0; l < LEVELS; l++, rank >>= 6)
        s->levels[l][rank >> 6] |= (uint64_t)1 << (rank & 63);
}

static void rank_set_remove(struct rank_set *s, uint32_t rank)
{
    for (int l = 0; l < LEVELS; l++, rank >>= 6)
        if ((s->levels[l][rank >> 6] &= ~((uint64_t)1 << (rank & 63))))
            return;
}

/* The lowest rank in it, or BPE_NO_MERGE. */
static uint32_t rank_set_first(const struct rank_set *s)
{
    uint32_t rank = 0;
    if (!s->levels[LEVELS - 1][0])
        return BPE_NO_MERGE;
    for (int l = LEVELS - 1; l >= 0; l--)
        rank = rank << 6 | (uint32_t)__builtin_ctzll(s->levels[l][rank]);
    return rank;
}

static struct error *rank_set_create(struct rank_set *s, uint32_t ranks)
{
    for (int l = 0; l < LEVELS; l++) {
        ranks = (ranks >> 6) + 1;
        s->levels[l] = calloc(ranks, sizeof *s->levels[l]);
        if (!s->levels[l])
            return error_new(ERROR_MEMORY, "no memory for a set of %u merges", ranks);
    }
    return NULL;
}

/* ---- long pieces ---- */

/*
 * A token is known by the place of its first byte. The arrays hold, at a token's first byte: its
 * id, the rank of its pair with the next token, the pairs before and behind it in the list of that
 * rank; `other_end` at its first byte the place of its last one, and at its last byte that of its
 * first.
 */
struct bpe_long_piece {
    uint32_t *ids, *pair_ranks, *before, *behind, *other_end;
    size_t capacity;
    uint32_t *lists;           /* by rank: the first place; NOWHERE for an empty list */
    struct rank_set filled;    /* ranks whose list is not empty */
    uint32_t bytes;            /* of the piece */
};

#define NOWHERE UINT32_MAX

static void list_remove(struct bpe_long_piece *p, uint32_t at)
{
    const uint32_t rank = p->pair_ranks[at], before = p->before[at], behind = p->behind[at];
    if (rank == BPE_NO_MERGE)
        return;
    p->pair_ranks[at] = BPE_NO_MERGE;
    if (behind != NOWHERE)
        p->before[behind] = before;
    if (before != NOWHERE)
        p->behind[before] = behind;
    else if ((p->lists[rank] = behind) == NOWHERE)
        rank_set_remove(&p->filled, rank);
}

static void list_add(struct bpe_long_piece *p, uint32_t at, uint32_t rank)
{
    p->pair_ranks[at] = rank;
    if (rank == BPE_NO_MERGE)
        return;
    const uint32_t behind = p->lists[rank];
    p->before[at] = NOWHERE;
    p->behind[at] = behind;
    p->lists[rank] = at;
    if (behind != NOWHERE)
        p->before[behind] = at;
    else
        rank_set_add(&p->filled, rank);
}

static uint32_t next_token(const struct bpe_long_piece *p, uint32_t at)
{
    return p->other_end[at] + 1;
}

/* The token at `at` and the next one become the token `id`. */
static void join(struct bpe_long_piece *p, const struct bpe_vocabulary *v, uint32_t at, uint32_t id)
{
    const uint32_t right = next_token(p, at), last = p->other_end[right];
    const uint32_t left = at > 0 ? p->other_end[at - 1] : NOWHERE;
    list_remove(p, at);
    list_remove(p, right);
    p->ids[at] = id;
    p->other_end[at] = last;
    p->other_end[last] = at;
    if (last + 1 < p->bytes)
        list_add(p, at, bpe_rank(v, id, p->ids[last + 1]));
    if (left != NOWHERE) {
        list_remove(p, left);
        list_add(p, left, bpe_rank(v, p->ids[left], id));
    }
}

static void begin_piece(struct bpe_long_piece *p, const struct bpe_vocabulary *v,
                        const unsigned char *piece, uint32_t bytes)
{
    p->bytes = bytes;
    for (uint32_t i = bytes; i-- > 0;) {
        p->ids[i] = v->byte_ids[piece[i]];
        p->other_end[i] = i;
        list_add(p, i, i + 1 < bytes ? v->byte_pair_ranks[piece[i] << 8 | piece[i + 1]]
                                     : BPE_NO_MERGE);
    }
}

static int merge_long(struct bpe_long_piece *p, const struct bpe_vocabulary *v,
                      const unsigned char *piece, uint32_t bytes, int32_t *out)
{
    begin_piece(p, v, piece, bytes);
    for (uint32_t rank; (rank = rank_set_first(&p->filled)) != BPE_NO_MERGE;) {
        while (p->lists[rank] != NOWHERE) {
            uint32_t at = p->lists[rank];
            /* Pairs of a rank can only overlap in a run of one token: that is paired from its
             * left. */
            while (at > 0 && p->pair_ranks[p->other_end[at - 1]] == rank)
                at = p->other_end[at - 1];
            for (; at < bytes && p->pair_ranks[at] == rank; at = next_token(p, at))
                join(p, v, at, v->merged[rank]);
        }
    }
    int n = 0;
    for (uint32_t at = 0; at < bytes; at = next_token(p, at))
        out[n++] = (int32_t)p->ids[at];
    return n;
}

static struct error *create_memory(struct bpe_merger *m)
{
    const uint32_t ranks = m->vocabulary->ranks;
    struct bpe_long_piece *p = m->memory = calloc(1, sizeof *p);
    if (p)
        p->lists = malloc((ranks + 1) * sizeof *p->lists);
    if (!p || !p->lists)
        return error_new(ERROR_MEMORY, "no memory for the merges of a long piece");
    for (uint32_t r = 0; r < ranks; r++)
        p->lists[r] = NOWHERE;
    return rank_set_create(&p->filled, ranks);
}

static struct error *reserve(struct bpe_long_piece *p, size_t bytes)
{
    if (bytes <= p->capacity)
        return NULL;
    const size_t capacity = bytes > 2 * p->capacity ? bytes : 2 * p->capacity;
    uint32_t *all = malloc(5 * capacity * sizeof *all);
    if (!all)
        return error_new(ERROR_MEMORY, "no memory for the merges of %zu bytes without a space",
                         bytes);
    free(p->ids);
    p->ids = all;
    p->pair_ranks = all + capacity;
    p->before = all + 2 * capacity;
    p->behind = all + 3 * capacity;
    p->other_end = all + 4 * capacity;
    p->capacity = capacity;
    return NULL;
}

struct error *bpe_merge_piece(struct bpe_merger *merger, const char *piece, size_t bytes,
                              int32_t *ids, int *count)
{
    const struct bpe_vocabulary *v = merger->vocabulary;
    const unsigned char *text = (const unsigned char *)piece;
    if (bytes <= BPE_SHORT_PIECE) {
        *count = merge_short(v, text, (int)bytes, ids);
        return NULL;
    }
    if (!merger->memory)
        TRY(create_memory(merger));
    TRY(reserve(merger->memory, bytes));
    *count = merge_long(merger->memory, v, text, (uint32_t)bytes, ids);
    return NULL;
}

void bpe_merger_release(struct bpe_merger *merger)
{
    struct bpe_long_piece *p = merger->memory;
    if (!p)
        return;
    for (int l = 0; l < LEVELS; l++)
        free(p->filled.levels[l]);
    free(p->lists);
    free(p->ids);
    free(p);
}
