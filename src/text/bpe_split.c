/*
 * bpe_split.c - GPT-2's split pattern by hand.
 *
 * Most of English is " ?[A-Za-z]+": such a piece is measured eight bytes at a time in the bits of a
 * word. All else goes character by character.
 */
#include "text/bpe_split.h"

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Where the run of characters of a class that goes on at `at` ends. */
static const char *run_end(const struct characters *c, const char *at, const char *end,
                           enum character_class class)
{
    size_t n;
    while (at < end && character_class(c, at, end, &n) == class)
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
    while (stop < end && character_class(c, stop, end, &n) == CHARACTER_SPACE) {
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
    const enum character_class class = character_class(c, word, end, &n);
    if (class == CHARACTER_SPACE)
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
        return (size_t)(run_end(characters, stop, end, CHARACTER_LETTER) - at);
    return any_piece(characters, at, end);
}
