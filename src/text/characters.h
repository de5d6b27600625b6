/*
 * characters.h - what kinds of characters there are, for cutting text.
 *
 * Classes are utf8proc's, so those of its version of Unicode. A byte that is no UTF-8 counts as a
 * character of its own that is neither letter, number nor space. They stand in a table in two
 * stages: equal blocks of 256 characters are stored once.
 */
#ifndef GALLEY_TEXT_CHARACTERS_H
#define GALLEY_TEXT_CHARACTERS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <utf8proc.h>

enum { CHARACTER_BLOCK = 256, CHARACTER_BLOCKS = 0x110000 / CHARACTER_BLOCK };

/* Unicode's categories L and N, its White_Space, and all else. */
enum character_class { CHARACTER_OTHER, CHARACTER_LETTER, CHARACTER_NUMBER, CHARACTER_SPACE };

/* The classes of all characters; immutable, shared by threads. */
struct characters {
    uint16_t block_of[CHARACTER_BLOCKS];
    uint8_t (*blocks)[CHARACTER_BLOCK];
};

MUST_USE struct error *characters_create(struct characters **out);
void characters_destroy(struct characters *characters);

/* The class of the character at `at`, which is before `end`, and its bytes. */
static inline enum character_class character_class(const struct characters *c, const char *at,
                                                   const char *end, size_t *bytes)
{
    *bytes = 1;
    const unsigned char first = (unsigned char)*at;
    if (first < 0x80)
        return (enum character_class)c->blocks[0][first];
    utf8proc_int32_t code;
    const utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)at, (utf8proc_ssize_t)(end - at), &code);
    if (n <= 0)
        return CHARACTER_OTHER;
    *bytes = (size_t)n;
    return (enum character_class)c->blocks[c->block_of[code / CHARACTER_BLOCK]]
                                          [code % CHARACTER_BLOCK];
}

/* Where the last character of the text before `end` begins; the text is not empty. */
const char *character_before(const char *text, const char *end);
/* Whether the character at `at` is one of words: \w of a regular expression, as Unicode's technical
 * standard 18 has it. */
bool character_is_of_word(const char *at, const char *end);

#endif
