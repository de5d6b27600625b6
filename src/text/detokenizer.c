/* detokenizer.c - holds back the bytes of a character that is not whole yet: three at most. */
#include "text/detokenizer.h"

#include "text/tokenizer_kind.h"

#include <stdlib.h>
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD";

struct detokenizer {
    const struct tokenizer *tokenizer;
    bool begun;                 /* a token was added to the text */
    unsigned char held[4];
    size_t held_bytes;
    char *text;
    size_t capacity;
};

struct error *detokenizer_create(struct detokenizer **out, const struct tokenizer *tokenizer)
{
    struct detokenizer *d = calloc(1, sizeof *d);
    if (!d)
        return error_new(ERROR_MEMORY, "no memory to decode tokens (%zu bytes)", sizeof *d);
    d->tokenizer = tokenizer;
    *out = d;
    return NULL;
}

void detokenizer_destroy(struct detokenizer *detokenizer)
{
    if (!detokenizer)
        return;
    free(detokenizer->text);
    free(detokenizer);
}

/* Bytes of the character that begins with `first`; 0: none does. */
static size_t character_bytes(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* Whether `c` can follow the held bytes: Unicode's table of well-formed sequences (3-7). */
static bool can_follow(const struct detokenizer *d, unsigned char c)
{
    if (d->held_bytes == 1) {
        switch (d->held[0]) {
        case 0xE0:
            return c >= 0xA0 && c <= 0xBF;
        case 0xED:
            return c >= 0x80 && c <= 0x9F;
        case 0xF0:
            return c >= 0x90 && c <= 0xBF;
        case 0xF4:
            return c >= 0x80 && c <= 0x8F;
        default:
            break;
        }
    }
    return c >= 0x80 && c <= 0xBF;
}

/* One byte more; what it makes whole goes to `to`. Returns where the text ends now. */
static char *take_byte(struct detokenizer *d, unsigned char c, char *to)
{
    if (d->held_bytes > 0 && !can_follow(d, c)) {
        memcpy(to, replacement, 3);
        to += 3;
        d->held_bytes = 0;
    }
    d->held[d->held_bytes++] = c;
    const size_t whole = character_bytes(d->held[0]);
    if (whole == 0) {
        memcpy(to, replacement, 3);
        to += 3;
        d->held_bytes = 0;
    } else if (d->held_bytes == whole) {
        memcpy(to, d->held, whole);
        to += whole;
        d->held_bytes = 0;
    }
    return to;
}

struct error *detokenizer_add(struct detokenizer *detokenizer, int32_t id, const char **text)
{
    struct detokenizer *d = detokenizer;
    const struct tokenizer *t = d->tokenizer;
    if (id < 0 || id >= t->size)
        return error_new(ERROR_INPUT, "token id %d is outside the vocabulary of %d", (int)id,
                         t->size);
    const struct token_text x = t->ops->text(t, id, !d->begun);
    const size_t most = 3 * (x.bytes + 1) + 5;    /* every byte U+FFFD, the held ones, a NUL */
    if (most > d->capacity) {
        char *larger = realloc(d->text, 2 * most);
        if (!larger)
            return error_new(ERROR_MEMORY, "no memory for a token of %zu bytes", x.bytes);
        d->text = larger;
        d->capacity = 2 * most;
    }
    d->begun = true;
    char *to = d->text;
    if (x.space)
        to = take_byte(d, ' ', to);
    for (size_t i = 0; i < x.bytes; i++)
        to = take_byte(d, (unsigned char)x.text[i], to);
    *to = '\0';
    *text = d->text;
    return NULL;
}

const char *detokenizer_finish(struct detokenizer *detokenizer)
{
    const bool cut = detokenizer->held_bytes > 0;
    detokenizer->held_bytes = 0;
    detokenizer->begun = false;
    return cut ? replacement : "";
}
