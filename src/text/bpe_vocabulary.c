/* bpe_vocabulary.c - reads vocab.json and merges.txt, and refuses what is not whole. */
#include "text/bpe_vocabulary.h"

#include "text/string_table.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ENTRIES = 1 << 24, SHOWN = 40 };    /* bytes of a text that an error shows */

/* ---- bytes as characters ---- */

static bool stands_for_itself(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

void bpe_byte_characters(char characters[256][3])
{
    int next = 0x100;
    for (int b = 0; b < 256; b++) {
        const int c = stands_for_itself(b) ? b : next++;
        char *to = characters[b];
        memset(to, 0, 3);
        if (c < 0x80) {
            to[0] = (char)c;
        } else {
            to[0] = (char)(0xC0 | c >> 6);
            to[1] = (char)(0x80 | (c & 0x3F));
        }
    }
}

/* From a character below U+0144 to the byte it stands for; -1: none. */
static void byte_of_characters(int16_t bytes[0x144])
{
    int next = 0x100;
    for (int c = 0; c < 0x144; c++)
        bytes[c] = -1;
    for (int b = 0; b < 256; b++)
        bytes[stands_for_itself(b) ? b : next++] = (int16_t)b;
}

/* The bytes an entry stands for, to `to` (at most as many as it is written with). */
static size_t entry_bytes(const int16_t bytes[0x144], const char *written, size_t length, char *to)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        int c = (unsigned char)written[i];
        if (c >= 0xC2 && c < 0xE0 && i + 1 < length)
            c = (c & 0x1F) << 6 | ((unsigned char)written[++i] & 0x3F);
        if (c >= 0x144 || bytes[c] < 0) {
            memcpy(to, written, length);
            return length;
        }
        to[n++] = (char)bytes[c];
    }
    return n;
}

/* ---- vocab.json ---- */

static struct error *parse_object(const struct tokenizer_definition *d, cJSON **out)
{
    const char *stop = d->vocabulary;
    cJSON *json = cJSON_ParseWithLengthOpts(d->vocabulary, d->vocabulary_bytes, &stop, 0);
    if (!json)
        return error_new(ERROR_INPUT, "%s is not valid JSON at byte %zu of %zu (or nested too "
                         "deeply); it must be an object of \"entry\": id", d->name,
                         (size_t)(stop - d->vocabulary), d->vocabulary_bytes);
    if (!cJSON_IsObject(json) || !json->child) {
        cJSON_Delete(json);
        return error_new(ERROR_INPUT, "%s must be a JSON object of \"entry\": id, with at least "
                         "one entry", d->name);
    }
    *out = json;
    return NULL;
}

static struct error *add_entry(struct bpe_vocabulary *v, const char *name, const cJSON *item,
                               struct tokenizer_entry *entries, int size)
{
    int32_t number;
    const int32_t before = string_table_count(v->written);
    if (!cJSON_IsNumber(item) || item->valuedouble != item->valueint || item->valueint < 0 ||
        item->valueint >= size)
        return error_new(ERROR_INPUT, "%s: the id of \"%.*s\" must be a whole number from 0 to %d, "
                         "one for each of the %d entries", name, SHOWN, item->string, size - 1,
                         size);
    TRY(string_table_add(v->written, item->string, strlen(item->string), &number));
    if (number != before)
        return error_new(ERROR_INPUT, "%s has the entry \"%.*s\" twice", name, SHOWN, item->string);
    struct tokenizer_entry *entry = &entries[item->valueint];
    if (entry->text)
        return error_new(ERROR_INPUT, "%s gives the id %d twice, to \"%.*s\" as well", name,
                         item->valueint, SHOWN, item->string);
    entry->text = string_table_get(v->written, number, &entry->bytes);
    v->written_ids[number] = item->valueint;
    return NULL;
}

/* entries[id] as they are written; all ids are there, since none is there twice. */
static struct error *read_entries(struct bpe_vocabulary *v, const char *name, const cJSON *json,
                                  struct tokenizer_entry **out, int *size)
{
    const int n = cJSON_GetArraySize(json);
    if (n > MOST_ENTRIES)
        return error_new(ERROR_INPUT, "%s has %d entries, more than %d", name, n, MOST_ENTRIES);
    struct tokenizer_entry *entries = calloc((size_t)n, sizeof *entries);
    v->written_ids = calloc((size_t)n, sizeof *v->written_ids);
    *out = entries;
    *size = n;
    if (!entries || !v->written_ids)
        return error_new(ERROR_MEMORY, "no memory for a vocabulary of %d entries", n);
    const cJSON *item;
    cJSON_ArrayForEach(item, json)
        TRY(add_entry(v, name, item, entries, n));
    return NULL;
}

/* From entries as they are written to the bytes they stand for. */
static struct error *translate(struct bpe_vocabulary *v, const char *name,
                               struct tokenizer_entry *entries, int size)
{
    size_t length = 0;
    int16_t bytes[0x144];
    byte_of_characters(bytes);
    for (int i = 0; i < size; i++)
        length += entries[i].bytes;
    v->bytes = malloc(length + 1);
    if (!v->bytes)
        return error_new(ERROR_MEMORY, "no memory for a vocabulary of %zu bytes", length);
    char *to = v->bytes;
    for (int i = 0; i < size; i++) {
        const size_t n = entry_bytes(bytes, entries[i].text, entries[i].bytes, to);
        entries[i] = (struct tokenizer_entry){to, n};
        to += n;
    }

    char characters[256][3];
    bpe_byte_characters(characters);
    for (int b = 0; b < 256; b++) {
        const int32_t number =
            string_table_find(v->written, characters[b], strlen(characters[b]));
        if (number < 0)
            return error_new(ERROR_INPUT, "%s has no entry \"%s\" for the byte 0x%02X; a "
                             "byte-level vocabulary has one for each byte", name, characters[b],
                             (unsigned)b);
        v->byte_ids[b] = (uint32_t)v->written_ids[number];
    }
    return NULL;
}

static struct error *read_vocabulary(struct bpe_vocabulary *v,
                                     const struct tokenizer_definition *d,
                                     struct tokenizer_entry **entries, int *size)
{
    cJSON *json = NULL;
    TRY(string_table_create(&v->written));
    TRY(parse_object(d, &json));
    struct error *e = read_entries(v, d->name, json, entries, size);
    cJSON_Delete(json);
    return e ? e : translate(v, d->name, *entries, *size);
}

/* ---- merges.txt ---- */

/* One line of merges.txt, the text `bytes` long at `text`. */
struct merges_line {
    const char *text;
    size_t bytes;
    long long number;    /* from 1 */
};

static struct error *find_id(const struct bpe_vocabulary *v, const char *name,
                             const struct merges_line *line, const char *text, size_t bytes,
                             uint32_t *id)
{
    const int32_t number = string_table_find(v->written, text, bytes);
    if (number < 0)
        return error_new(ERROR_INPUT, "%s: line %lld of the merges, \"%.*s\", needs \"%.*s\", "
                         "which the vocabulary does not have", name, line->number,
                         (int)(line->bytes < SHOWN ? line->bytes : SHOWN), line->text,
                         (int)(bytes < SHOWN ? bytes : SHOWN), text);
    *id = (uint32_t)v->written_ids[number];
    return NULL;
}

/* Of equal pairs the last one counts, as where a dictionary is filled from the file. */
static void add_merge(struct bpe_vocabulary *v, uint32_t left, uint32_t right)
{
    uint32_t s = bpe_pair_hash(left, right) & v->slot_mask;
    while (v->slots[s].rank != BPE_NO_MERGE &&
           (v->slots[s].left != left || v->slots[s].right != right))
        s = (s + 1) & v->slot_mask;
    v->slots[s] = (struct bpe_merge){left, right, v->ranks};
}

static struct error *read_merge(struct bpe_vocabulary *v, const char *name,
                                const struct merges_line *line, char *joined)
{
    const char *space = memchr(line->text, ' ', line->bytes);
    const size_t left_bytes = space ? (size_t)(space - line->text) : 0;
    const size_t right_bytes = space ? line->bytes - left_bytes - 1 : 0;
    if (left_bytes == 0 || right_bytes == 0 || memchr(space + 1, ' ', right_bytes))
        return error_new(ERROR_INPUT, "%s: line %lld of the merges is \"%.*s\"; it must be two "
                         "entries with a space between", name, line->number,
                         (int)(line->bytes < SHOWN ? line->bytes : SHOWN), line->text);
    uint32_t left = 0, right = 0;
    memcpy(joined, line->text, left_bytes);
    memcpy(joined + left_bytes, space + 1, right_bytes);
    TRY(find_id(v, name, line, line->text, left_bytes, &left));
    TRY(find_id(v, name, line, space + 1, right_bytes, &right));
    TRY(find_id(v, name, line, joined, left_bytes + right_bytes, &v->merged[v->ranks]));
    add_merge(v, left, right);
    v->ranks++;
    return NULL;
}

static struct error *reserve_merges(struct bpe_vocabulary *v, size_t lines)
{
    uint32_t slots = 1024;
    if (lines > MOST_ENTRIES)
        return error_new(ERROR_INPUT, "the merges have %zu lines, more than %d", lines,
                         MOST_ENTRIES);
    while (slots < 2 * lines)
        slots *= 2;
    v->merged = calloc(lines + 1, sizeof *v->merged);
    v->slots = malloc(slots * sizeof *v->slots);
    v->byte_pair_ranks = malloc(65536 * sizeof *v->byte_pair_ranks);
    if (!v->merged || !v->slots || !v->byte_pair_ranks)
        return error_new(ERROR_MEMORY, "no memory for %zu merges", lines);
    v->slot_mask = slots - 1;
    for (uint32_t s = 0; s < slots; s++)
        v->slots[s] = (struct bpe_merge){.rank = BPE_NO_MERGE};
    return NULL;
}

static struct error *read_lines(struct bpe_vocabulary *v, const struct tokenizer_definition *d,
                                char *joined)
{
    static const char header[] = "#version";
    const char *at = d->merges, *end = d->merges + d->merges_bytes;
    for (long long number = 1; at < end; number++) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        struct merges_line line = {at, (size_t)((feed ? feed : end) - at), number};
        at = feed ? feed + 1 : end;
        if (line.bytes > 0 && line.text[line.bytes - 1] == '\r')
            line.bytes--;
        const bool is_header = number == 1 && line.bytes >= sizeof header - 1 &&
                               !memcmp(line.text, header, sizeof header - 1);
        if (line.bytes > 0 && !is_header)
            TRY(read_merge(v, d->name, &line, joined));
    }
    return NULL;
}

static struct error *read_merges(struct bpe_vocabulary *v, const struct tokenizer_definition *d)
{
    size_t lines = 1;
    for (size_t i = 0; i < d->merges_bytes; i++)
        lines += d->merges[i] == '\n';
    TRY(reserve_merges(v, lines));
    char *joined = malloc(d->merges_bytes + 1);
    if (!joined)
        return error_new(ERROR_MEMORY, "no memory for the merges (%zu bytes)", d->merges_bytes);
    struct error *e = read_lines(v, d, joined);
    free(joined);
    for (uint32_t pair = 0; pair < 65536 && !e; pair++)
        v->byte_pair_ranks[pair] = bpe_rank(v, v->byte_ids[pair >> 8], v->byte_ids[pair & 255]);
    return e;
}

struct error *bpe_vocabulary_read(struct bpe_vocabulary *vocabulary,
                                  const struct tokenizer_definition *definition,
                                  struct tokenizer_entry **entries, int *size)
{
    if (!definition->merges || definition->merges_bytes == 0)
        return error_new(ERROR_INPUT, "%s has no merges (an empty merges.txt); byte-level BPE "
                         "needs them", definition->name);
    TRY(read_vocabulary(vocabulary, definition, entries, size));
    return read_merges(vocabulary, definition);
}

void bpe_vocabulary_release(struct bpe_vocabulary *vocabulary)
{
    string_table_destroy(vocabulary->written);
    free(vocabulary->written_ids);
    free(vocabulary->bytes);
    free(vocabulary->byte_pair_ranks);
    free(vocabulary->slots);
    free(vocabulary->merged);
}
