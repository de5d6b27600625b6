/* words.c - cutting and folding; ASCII by a table, the rest by utf8proc. */
#include "text/words.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum character { LETTER, SEPARATOR, ALONE };    /* part of a word; dropped; a word of its own */

static bool is_cjk(int32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static enum character ascii_character(unsigned char c)
{
    if (c <= ' ' || c == 0x7F)
        return SEPARATOR;
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                              (c >= 'a' && c <= 'z');
    return alphanumeric ? LETTER : ALONE;
}

static enum character unicode_character(int32_t c, bool split_on_cjk)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
        return SEPARATOR;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return ALONE;
    default:
        return split_on_cjk && is_cjk(c) ? ALONE : LETTER;
    }
}

/* One code point at `at`; an invalid byte counts as U+FFFD of one byte. */
static int32_t decode(const char *at, const char *end, size_t *bytes)
{
    utf8proc_int32_t c;
    const utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)at, (utf8proc_ssize_t)(end - at), &c);
    *bytes = n > 0 ? (size_t)n : 1;
    return n > 0 ? c : 0xFFFD;
}

static enum character classify(const struct words *w, const char *at, size_t *bytes)
{
    const unsigned char c = (unsigned char)*at;
    *bytes = 1;
    if (c < 0x80)
        return ascii_character(c);
    return unicode_character(decode(at, w->end, bytes), w->split_on_cjk);
}

struct words words_begin(const char *text, size_t bytes, const struct wordpiece_options *options)
{
    const char *nul = bytes > 0 ? memchr(text, '\0', bytes) : NULL;
    return (struct words){
        .at = text, .end = nul ? nul : text + bytes,
        .split = options->split, .split_on_cjk = options->split_on_cjk,
    };
}

bool words_next(struct words *words, const char **word, size_t *bytes, bool *ascii)
{
    struct words *w = words;
    size_t n = 0;
    *ascii = true;
    if (!w->split) {
        *word = w->at;
        *bytes = (size_t)(w->end - w->at);
        for (const char *c = w->at; c < w->end; c++)
            *ascii &= (unsigned char)*c < 0x80;
        w->at = w->end;
        return *bytes > 0;
    }

    enum character kind = SEPARATOR;
    while (w->at < w->end && (kind = classify(w, w->at, &n)) == SEPARATOR)
        w->at += n;
    if (w->at == w->end)
        return false;

    *word = w->at;
    *ascii = (unsigned char)*w->at < 0x80;
    w->at += n;
    if (kind == LETTER) {
        while (w->at < w->end && classify(w, w->at, &n) == LETTER) {
            *ascii &= (unsigned char)*w->at < 0x80;
            w->at += n;
        }
    }
    *bytes = (size_t)(w->at - *word);
    return true;
}

/* Room for `codes` code points. */
static struct error *reserve(struct fold *f, size_t codes)
{
    if (codes <= f->capacity)
        return NULL;
    const size_t capacity = codes + codes / 2 + 64;
    int32_t *new_codes = realloc(f->codes, capacity * sizeof *new_codes);
    if (new_codes)
        f->codes = new_codes;
    char *text = realloc(f->text, 4 * capacity + 1);
    if (text)
        f->text = text;
    if (!new_codes || !text)
        return error_new(ERROR_MEMORY, "no memory to fold a word of %zu characters", codes);
    f->capacity = capacity;
    return NULL;
}

/* Code points of the text under `options`, in f->codes; `*count` of them. */
static struct error *decompose(struct fold *f, const char *text, size_t bytes, int options,
                               size_t *count)
{
    TRY(reserve(f, bytes + 16));
    for (;;) {
        const utf8proc_ssize_t n = utf8proc_decompose(
            (const utf8proc_uint8_t *)text, (utf8proc_ssize_t)bytes, f->codes,
            (utf8proc_ssize_t)f->capacity, (utf8proc_option_t)options);
        if (n < 0)
            return error_new(ERROR_INPUT, "text cannot be normalised: %s", utf8proc_errmsg(n));
        *count = (size_t)n;
        if ((size_t)n <= f->capacity)
            return NULL;
        TRY(reserve(f, (size_t)n));
    }
}

/* f->codes, normalised again under `options`, to f->text. */
static void encode(struct fold *f, size_t count, int options)
{
    const utf8proc_ssize_t n = utf8proc_normalize_utf32(f->codes, (utf8proc_ssize_t)count,
                                                        (utf8proc_option_t)options);
    f->bytes = 0;
    for (utf8proc_ssize_t i = 0; i < n; i++)
        f->bytes += (size_t)utf8proc_encode_char(f->codes[i],
                                                 (utf8proc_uint8_t *)f->text + f->bytes);
}

struct error *fold_word(struct fold *fold, const char *word, size_t bytes)
{
    enum {
        OPTIONS = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                  UTF8PROC_IGNORE
    };
    size_t count = 0;
    TRY(decompose(fold, word, bytes, OPTIONS, &count));
    encode(fold, count, OPTIONS);
    return NULL;
}

struct error *fold_strip_accents(struct fold *fold, const char *text, size_t bytes)
{
    enum { OPTIONS = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE };
    size_t count = 0, kept = 0;
    const char *nul = bytes > 0 ? memchr(text, '\0', bytes) : NULL;
    TRY(decompose(fold, text, nul ? (size_t)(nul - text) : bytes, OPTIONS, &count));
    for (size_t i = 0; i < count; i++)
        if (utf8proc_category(fold->codes[i]) != UTF8PROC_CATEGORY_MN)
            fold->codes[kept++] = fold->codes[i];
    encode(fold, kept, OPTIONS);
    return NULL;
}

void fold_release(struct fold *fold)
{
    free(fold->text);
    free(fold->codes);
    *fold = (struct fold){0};
}
