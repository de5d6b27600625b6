/*
 * bpe_split.c - GPT-2's split pattern by hand.
 *
 * Most of English is " ?[A-Za-z]+": such a piece is measured eight bytes at a time in the bits of a
 * word. All else goes character by character through a table of classes in two stages: equal blocks
 * of 256 characters are stored once.
 */
#include "text/bpe_split.h"

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum class { OTHER, LETTER, NUMBER, SPACE };
enum { BLOCK = 256, BLOCKS = 0x110000 / BLOCK };

struct characters {
    uint16_t block_of[BLOCKS];
    uint8_t (*blocks)[BLOCK];
};

/* Unicode's White_Space: category Z and a few control characters. */
static enum class class_of(int32_t c)
{
    if ((c >= '\t' && c <= '\r') || c == 0x85)
        return SPACE;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return SPACE;
    default:
        return OTHER;
    }
}

struct error *characters_create(struct characters **out)
{
    struct characters *c = calloc(1, sizeof *c);
    if (c)
        c->blocks = malloc(BLOCKS * sizeof *c->blocks);
    if (!c || !c->blocks) {
        free(c);
        return error_new(ERROR_MEMORY, "no memory for the classes of characters");
    }
    int count = 0;
    for (int b = 0; b < BLOCKS; b++) {
        for (int i = 0; i < BLOCK; i++)
            c->blocks[count][i] = (uint8_t)class_of(b * BLOCK + i);
        int same = 0;
        while (memcmp(c->blocks[same], c->blocks[count], BLOCK))
            same++;
        c->block_of[b] = (uint16_t)same;
        count += same == count;
    }
    uint8_t (*smaller)[BLOCK] = realloc(c->blocks, (size_t)count * sizeof *c->blocks);
    c->blocks = smaller ? smaller : c->blocks;
    *out = c;
    return NULL;
}

void characters_destroy(struct characters *characters)
{
    if (!characters)
        return;
    free(characters->blocks);
    free(characters);
}

/* The class of the character at `at`, and its bytes. */
static inline enum class classify(const struct characters *c, const char *at, const char *end,
                                  size_t *bytes)
{
    *bytes = 1;
    const unsigned char first = (unsigned char)*at;
    if (first < 0x80)
        return (enum class)c->blocks[0][first];
    utf8proc_int32_t code;
    const utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)at, (utf8proc_ssize_t)(end - at), &code);
    if (n <= 0)
        return OTHER;
    *bytes = (size_t)n;
    return (enum class)c->blocks[c->block_of[code / BLOCK]][code % BLOCK];
}

/* Where the run of characters of a class that goes on at `at` ends. */
static const char *run_end(const struct characters *c, const char *at, const char *end,
                           enum class class)
{
    size_t n;
    while (at < end && classify(c, at, end, &n) == class)
        at += n;
    return at;
}

/* Bytes of "'s" and its like at an apostrophe, or 0. */
static size_t contraction(const char *at, const char *end)
{
    if (end - at < 2)
        return 0;
    switch (at[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd':
        return 2;
    case 'r':
    case 'v':
        return end - at > 2 && at[2] == 'e' ? 3 : 0;
    case 'l':
        return end - at > 2 && at[2] == 'l' ? 3 : 0;
    default:
        return 0;
    }
}

/* White space up to a word leaves its last character to it; up to the end of the text it is
 * whole. */
static size_t white_space(const struct characters *c, const char *at, const char *end)
{
    const char *stop = at, *last = at;
    size_t n;
    while (stop < end && classify(c, stop, end, &n) == SPACE) {
        last = stop;
        stop += n;
    }
    return (size_t)((stop < end && last > at ? last : stop) - at);
}

/* The piece at `at`, whatever it is. */
static size_t any_piece(const struct characters *c, const char *at, const char *end)
{
    size_t n;
    const char *word = at + (*at == ' ');
    if (*at == '\'' && (n = contraction(at, end)) > 0)
        return n;
    if (word == end)
        return 1;
    const enum class class = classify(c, word, end, &n);
    if (class == SPACE)
        return white_space(c, at, end);
    return (size_t)(run_end(c, word + n, end, class) - at);
}

/* How many of the eight bytes at `at` are ASCII letters, from the first on. */
static inline unsigned ascii_letters(const char *at)
{
    const uint64_t every = 0x0101010101010101u, high = 0x80 * every;
    uint64_t x;
    memcpy(&x, at, sizeof x);
    x = le64toh(x);
    const uint64_t lower = (x | 0x20 * every) & ~high;
    const uint64_t from_a = lower + (0x80 - 'a') * every;
    const uint64_t behind_z = lower + (0x80 - 'z' - 1) * every;
    const uint64_t not_letter = ~(from_a & ~behind_z & ~x) & high;
    return not_letter ? (unsigned)__builtin_ctzll(not_letter) / 8 : 8;
}

size_t bpe_piece(const struct characters *characters, const char *at, const char *end)
{
    const char *word = at + (*at == ' ');
    const char *stop = word;
    while (end - stop > 8) {
        const unsigned n = ascii_letters(stop);
        stop += n;
        if (n == 8)
            continue;
        if (stop > word && (unsigned char)*stop < 0x80)
            return (size_t)(stop - at);
        break;
    }
    if (stop > word)
        return (size_t)(run_end(characters, stop, end, LETTER) - at);
    return any_piece(characters, at, end);
}

int bpe_ends_solid(const struct characters *characters, const char *text, const char *end)
{
    if (end == text)
        return 0;
    const char *last = end - 1;
    while (last > text && end - last < 4 && ((unsigned char)*last & 0xC0) == 0x80)
        last--;
    size_t n;
    return classify(characters, last, end, &n) != SPACE;
}
