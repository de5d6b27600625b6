/*
 * utf8.c - is this text?
 *
 * Most text is mostly ASCII, so blocks of BLOCK bytes are first tested as a whole, in loops that
 * compilers turn into vector code; only a block with another byte in it is read by characters.
 */
#include "data/utf8.h"

#include <stdbool.h>
#include <string.h>

enum { BLOCK = 128 };    /* bytes; a count of line feeds in one must fit a byte */

static bool is_ascii_text(const uint8_t *p)
{
    uint8_t high = 0, nul = 0;
    for (int i = 0; i < BLOCK; i++) {
        high |= p[i];
        nul |= p[i] == 0;
    }
    return !(high & 0x80) && !nul;
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Bytes of the character at p, `left` bytes before the end; 0 if it is none. */
static size_t character_bytes(const uint8_t *p, size_t left)
{
    const uint8_t lead = p[0];
    if (lead < 0x80)
        return lead != 0;
    if (lead < 0xC2)    /* a continuation, or an overlong form of ASCII */
        return 0;
    if (lead < 0xE0)
        return left >= 2 && is_continuation(p[1]) ? 2 : 0;
    if (lead < 0xF0) {
        if (left < 3 || !is_continuation(p[1]) || !is_continuation(p[2]))
            return 0;
        if ((lead == 0xE0 && p[1] < 0xA0) || (lead == 0xED && p[1] > 0x9F))
            return 0;    /* overlong, surrogate */
        return 3;
    }
    if (lead > 0xF4 || left < 4)
        return 0;
    if (!is_continuation(p[1]) || !is_continuation(p[2]) || !is_continuation(p[3]))
        return 0;
    if ((lead == 0xF0 && p[1] < 0x90) || (lead == 0xF4 && p[1] > 0x8F))
        return 0;    /* overlong, beyond U+10FFFF */
    return 4;
}

size_t utf8_valid_prefix(const char *text, size_t bytes)
{
    const uint8_t *const p = (const uint8_t *)text;
    size_t at = 0;
    while (at < bytes) {
        if (bytes - at >= BLOCK && is_ascii_text(p + at)) {
            at += BLOCK;
            continue;
        }
        const size_t stop = bytes - at >= BLOCK ? at + BLOCK : bytes;
        while (at < stop) {
            const size_t length = character_bytes(p + at, bytes - at);
            if (!length)
                return at;
            at += length;
        }
    }
    return bytes;
}

int64_t count_line_feeds(const char *text, size_t bytes)
{
    int64_t count = 0;
    size_t at = 0;
    for (; bytes - at >= BLOCK; at += BLOCK) {
        uint8_t in_block = 0;
        for (int i = 0; i < BLOCK; i++)
            in_block = (uint8_t)(in_block + (text[at + (size_t)i] == '\n'));
        count += in_block;
    }
    for (; at < bytes; at++)
        count += text[at] == '\n';
    return count;
}
