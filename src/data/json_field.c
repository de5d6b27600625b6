/* json_field.c - the text of one field of a JSON object: recursive descent over the bytes. */
#include "data/json_field.h"

#include <stdint.h>
#include <string.h>

enum { MOST_DEPTH = 512 };    /* of nested values; each costs a frame of the stack */

struct cursor {
    const char *text;
    size_t at, bytes;
    const char *expected;    /* set when what stands at `at` is wrong; NULL where the text just ends */
};

/* What follows is not what must be here, or is not there yet. Always false. */
static bool refuse(struct cursor *c, const char *expected)
{
    c->expected = c->at < c->bytes ? expected : NULL;
    return false;
}

static void skip_space(struct cursor *c)
{
    while (c->at < c->bytes && strchr(" \t\n\r", c->text[c->at]) && c->text[c->at])
        c->at++;
}

static bool take(struct cursor *c, char wanted)
{
    if (c->at == c->bytes || c->text[c->at] != wanted)
        return false;
    c->at++;
    return true;
}

/* ---- strings ---- */

/* Bytes of a string from `at` on that stand for themselves. */
static size_t plain_bytes(const struct cursor *c)
{
    const unsigned char *const p = (const unsigned char *)c->text + c->at;
    const size_t left = c->bytes - c->at;
    size_t n = 0;
    for (; n + 16 <= left; n += 16) {    /* a loop that compilers turn into vector code */
        unsigned char special = 0;
        for (size_t i = 0; i < 16; i++)
            special |= (p[n + i] < 0x20) | (p[n + i] == '"') | (p[n + i] == '\\');
        if (special)
            break;
    }
    while (n < left && p[n] >= 0x20 && p[n] != '"' && p[n] != '\\')
        n++;
    return n;
}

/* Four hexadecimal digits at `at`. */
static bool read_unit(struct cursor *c, unsigned *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++, c->at++) {
        const int digit = c->at < c->bytes ? c->text[c->at] : 0;
        if (digit >= '0' && digit <= '9')
            *unit = *unit * 16 + (unsigned)(digit - '0');
        else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
            *unit = *unit * 16 + (unsigned)((digit | 0x20) - 'a' + 10);
        else
            return refuse(c, "four hexadecimal digits after \\u");
    }
    return true;
}

static size_t write_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const int bytes = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(lead[bytes] | c >> (6 * (bytes - 1)));
    for (int i = 1; i < bytes; i++)
        out[i] = (char)(0x80 | (c >> (6 * (bytes - 1 - i)) & 0x3F));
    return (size_t)bytes;
}

/* What follows "\u": one character, of one unit or of a pair of surrogates. */
static bool read_character(struct cursor *c, char *out, size_t *n)
{
    unsigned unit, low;
    const size_t start = c->at;
    if (!read_unit(c, &unit))
        return false;
    if (unit >= 0xD800 && unit < 0xDC00) {
        if (!take(c, '\\') || !take(c, 'u'))
            return refuse(c, "the second half of a surrogate pair");
        if (!read_unit(c, &low))
            return false;
        if (low >= 0xDC00 && low < 0xE000)
            unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    if (unit == 0 || (unit >= 0xD800 && unit < 0xE000)) {
        c->at = start;
        return refuse(c, unit ? "a pair of surrogates" : "a character other than \\u0000");
    }
    *n = write_utf8(out, unit);
    return true;
}

static bool read_escape(struct cursor *c, char *out, size_t *n)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (take(c, 'u'))
        return read_character(c, out, n);
    const char *const name = c->at < c->bytes && c->text[c->at] ? strchr(names, c->text[c->at])
                                                                 : NULL;
    if (!name)
        return refuse(c, "an escape such as \\n, \\\" or \\u00e9");
    c->at++;
    *out = meanings[name - names];
    *n = 1;
    return true;
}

/* A string, its opening quote at `at`; its text goes to `out` unless that is NULL. */
static bool read_string(struct cursor *c, char *out, size_t *out_bytes)
{
    char ignored[4];
    size_t used = 0, n;
    if (!take(c, '"'))
        return refuse(c, "a string");
    for (;;) {
        n = plain_bytes(c);
        if (out)
            memcpy(out + used, c->text + c->at, n);
        used += n;
        c->at += n;
        if (take(c, '"'))
            break;
        if (!take(c, '\\'))
            return refuse(c, "the rest of a string, its control characters escaped");
        if (!read_escape(c, out ? out + used : ignored, &n))
            return false;
        used += n;
    }
    *out_bytes = used;
    return true;
}

/* ---- other values ---- */

static size_t skip_digits(struct cursor *c)
{
    const size_t start = c->at;
    while (c->at < c->bytes && c->text[c->at] >= '0' && c->text[c->at] <= '9')
        c->at++;
    return c->at - start;
}

static bool skip_number(struct cursor *c)
{
    take(c, '-');
    if (!take(c, '0') && !skip_digits(c))
        return refuse(c, "a value");
    if (take(c, '.') && !skip_digits(c))
        return refuse(c, "a digit");
    if (take(c, 'e') || take(c, 'E')) {
        if (!take(c, '+'))
            take(c, '-');
        if (!skip_digits(c))
            return refuse(c, "a digit");
    }
    return true;
}

static bool skip_word(struct cursor *c, const char *word)
{
    for (; *word; word++)
        if (!take(c, *word))
            return refuse(c, "a value");
    return true;
}

/* What comes after a value in a list or object that `closing` ends: true and *more, or the end. */
static bool next_item(struct cursor *c, char closing, bool *more)
{
    skip_space(c);
    *more = take(c, ',');
    if (*more) {
        skip_space(c);
        return true;
    }
    return take(c, closing) ||
           refuse(c, closing == ']' ? "a comma or the end of the list"
                                    : "a comma or the end of the object");
}

static bool skip_value(struct cursor *c, int depth);

/* A member's name, to `out` if not NULL, and the colon after it. */
static bool read_name(struct cursor *c, char *out, size_t *bytes)
{
    if (c->at == c->bytes || c->text[c->at] != '"')
        return refuse(c, "a field's name in quotes");
    if (!read_string(c, out, bytes))
        return false;
    skip_space(c);
    if (!take(c, ':'))
        return refuse(c, "a colon");
    skip_space(c);
    return true;
}

static bool skip_list(struct cursor *c, int depth)
{
    bool more;
    take(c, '[');
    skip_space(c);
    if (take(c, ']'))
        return true;
    do
        if (!skip_value(c, depth + 1) || !next_item(c, ']', &more))
            return false;
    while (more);
    return true;
}

static bool skip_object(struct cursor *c, int depth)
{
    bool more;
    size_t ignored;
    take(c, '{');
    skip_space(c);
    if (take(c, '}'))
        return true;
    do
        if (!read_name(c, NULL, &ignored) || !skip_value(c, depth + 1) ||
            !next_item(c, '}', &more))
            return false;
    while (more);
    return true;
}

static bool skip_value(struct cursor *c, int depth)
{
    size_t ignored;
    if (depth > MOST_DEPTH)
        return refuse(c, "values nested less than 512 deep");
    switch (c->at < c->bytes ? c->text[c->at] : 0) {
    case '{':
        return skip_object(c, depth);
    case '[':
        return skip_list(c, depth);
    case '"':
        return read_string(c, NULL, &ignored);
    case 't':
        return skip_word(c, "true");
    case 'f':
        return skip_word(c, "false");
    case 'n':
        return skip_word(c, "null");
    default:
        return skip_number(c);
    }
}

/* ---- the field ---- */

/* The value of the field: a string, null, or a list of strings. */
static bool read_texts(struct cursor *c, char *out, size_t *bytes)
{
    static const char expected[] = "text: a string, a list of strings or null";
    bool more;
    *bytes = 0;
    const char first = c->at < c->bytes ? c->text[c->at] : '\0';
    if (first == '"')
        return read_string(c, out, bytes);
    if (first == 'n')
        return skip_word(c, "null");
    if (!take(c, '['))
        return refuse(c, expected);
    skip_space(c);
    if (take(c, ']'))
        return true;
    do {
        size_t n;
        if (c->at == c->bytes || c->text[c->at] != '"')
            return refuse(c, expected);
        if (!read_string(c, out + *bytes, &n) || !next_item(c, ']', &more))
            return false;
        *bytes += n;
    } while (more);
    return true;
}

static bool read_object(struct cursor *c, const char *field, char *out, struct json_record *record)
{
    const size_t field_bytes = strlen(field);
    bool more;
    if (!take(c, '{'))
        return refuse(c, "an object {...}");
    skip_space(c);
    if (take(c, '}'))
        return true;
    do {
        size_t bytes;
        /* The name is read to where there is room for it and nothing yet: behind the text. */
        char *const name = out + record->text_bytes;
        if (!read_name(c, name, &bytes))
            return false;
        if (bytes == field_bytes && bytes > 0 && !memcmp(name, field, bytes)) {
            record->found = true;
            if (!read_texts(c, out, &record->text_bytes))
                return false;
        } else if (!skip_value(c, 1)) {
            return false;
        }
        if (!next_item(c, '}', &more))
            return false;
    } while (more);
    return true;
}

enum json_outcome json_read_field(const char *text, size_t bytes, const char *field, char *out,
                                  struct json_record *record)
{
    struct cursor c = {.text = text, .bytes = bytes};
    *record = (struct json_record){0};
    const bool whole = read_object(&c, field, out, record);
    if (whole && !*field) {
        record->found = true;
        record->text_bytes = c.at;
        memcpy(out, text, c.at);
    }
    record->bytes = c.at;
    record->expected = c.expected;
    return whole ? JSON_WHOLE : c.expected ? JSON_WRONG : JSON_CUT;
}

void json_list_fields(const char *text, size_t bytes, char *out, size_t capacity)
{
    struct cursor c = {.text = text, .bytes = bytes};
    size_t used = 0;
    bool more = take(&c, '{');
    skip_space(&c);
    while (more) {
        const size_t name_at = c.at + 1;
        size_t n;
        if (!read_name(&c, NULL, &n))
            break;
        if (used + n + 3 > capacity)
            break;
        memcpy(out + used, text + name_at, n);    /* of a name with escapes the beginning */
        used += n;
        if (!skip_value(&c, 1) || !next_item(&c, '}', &more))
            break;
        if (more) {
            out[used++] = ',';
            out[used++] = ' ';
        }
    }
    out[used] = '\0';
}
