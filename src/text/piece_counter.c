/* piece_counter.c - cuts texts as GPT-2 does, and counts. */
#include "text/piece_counter.h"

#include "text/bpe_split.h"

#include <stdlib.h>

struct piece_counter {
    struct characters *characters;
    struct tally pieces;
};

struct error *piece_counter_create(struct piece_counter **out)
{
    struct piece_counter *c = calloc(1, sizeof *c);
    if (!c)
        return error_new(ERROR_MEMORY, "no memory to count pieces (%zu bytes)", sizeof *c);
    struct error *e = characters_create(&c->characters);
    if (e) {
        free(c);
        return e;
    }
    *out = c;
    return NULL;
}

void piece_counter_destroy(struct piece_counter *counter)
{
    if (!counter)
        return;
    characters_destroy(counter->characters);
    tally_release(&counter->pieces);
    free(counter);
}

struct error *piece_counter_add(struct piece_counter *counter, const char *text, size_t bytes)
{
    const char *at = text, *end = text + bytes;
    while (at < end) {
        const size_t n = bpe_piece(counter->characters, at, end);
        TRY(tally_add(&counter->pieces, at, n, 1));
        at += n;
    }
    return NULL;
}

/* Whether the text before `end` ends in a character that is no space. */
static bool ends_solid(const struct characters *characters, const char *text, const char *end)
{
    size_t n;
    return end > text && character_class(characters, character_before(text, end), end, &n) !=
                             CHARACTER_SPACE;
}

size_t piece_counter_cut(const struct piece_counter *counter, const char *text, size_t bytes)
{
    /* A line feed behind a character that is no space begins a piece, whatever follows. */
    for (size_t n = bytes; n > 1; n--)
        if (text[n - 1] == '\n' && ends_solid(counter->characters, text, text + n - 1))
            return n - 1;
    return 0;
}

const struct tally *piece_counter_pieces(const struct piece_counter *counter)
{
    return &counter->pieces;
}
