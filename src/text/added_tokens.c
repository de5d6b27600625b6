/* added_tokens.c - reads the list of added tokens, and finds them in texts. */
#include "text/added_tokens.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TOKENS = 1 << 16, SHOWN = 40 };    /* bytes of a text that an error shows */

static const char end_token[] = "<|endoftext|>";

/* ---- reading ---- */

static struct error *read_flag(bool *flag, const cJSON *item, const char *key, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, key);
    if (value && !cJSON_IsBool(value))
        return error_new(ERROR_INPUT, "%s: \"%s\" of an added token must be true or false", name,
                         key);
    *flag = cJSON_IsTrue(value);
    return NULL;
}

/* The content of the item stays where it is. */
static struct error *read_token(struct added_token *token, const cJSON *item, const char *name)
{
    bool normalized = false;
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(item, "content");
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "id");
    if (!cJSON_IsString(content) || !*content->valuestring || !cJSON_IsNumber(id) ||
        id->valuedouble != id->valueint || id->valueint < 0)
        return error_new(ERROR_INPUT, "%s: each of added_tokens must have \"content\", a text, and "
                         "\"id\", a whole number", name);
    *token = (struct added_token){
        .content = content->valuestring, .bytes = strlen(content->valuestring), .id = id->valueint,
    };
    TRY(read_flag(&token->special, item, "special", name));
    TRY(read_flag(&token->single_word, item, "single_word", name));
    TRY(read_flag(&token->lstrip, item, "lstrip", name));
    TRY(read_flag(&token->rstrip, item, "rstrip", name));
    TRY(read_flag(&normalized, item, "normalized", name));
    token->pass = normalized ? ADDED_NORMALIZED : ADDED_AS_WRITTEN;
    return NULL;
}

static struct error *read_list(struct added_tokens *a, const cJSON *list, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        TRY(read_token(&a->tokens[a->count], item, name));
        a->count++;
    }
    return NULL;
}

static int compare_contents(const struct added_token *a, const struct added_token *b)
{
    const int order = memcmp(a->content, b->content, a->bytes < b->bytes ? a->bytes : b->bytes);
    return order ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int by_pass_and_content(const void *x, const void *y)
{
    const struct added_token *a = x, *b = y;
    return a->pass != b->pass ? (a->pass > b->pass) - (a->pass < b->pass) : compare_contents(a, b);
}

/* From contents that lie in the parsed list to a text of our own. */
static struct error *keep_contents(struct added_tokens *a)
{
    size_t bytes = 0;
    for (int i = 0; i < a->count; i++)
        bytes += a->tokens[i].bytes;
    char *to = a->text = malloc(bytes + 1);
    if (!to)
        return error_new(ERROR_MEMORY, "no memory for added tokens of %zu bytes", bytes);
    for (int i = 0; i < a->count; i++) {
        memcpy(to, a->tokens[i].content, a->tokens[i].bytes);
        a->tokens[i].content = to;
        to += a->tokens[i].bytes;
    }
    return NULL;
}

static struct error *make_sets(struct added_tokens *a, const char *name)
{
    qsort(a->tokens, (size_t)a->count, sizeof *a->tokens, by_pass_and_content);
    for (int i = 0; i < a->count; i++) {
        const struct added_token *t = &a->tokens[i];
        struct added_set *set = &a->sets[t->pass];
        const int first = (unsigned char)t->content[0];
        if (set->count == 0)
            *set = (struct added_set){.tokens = t, .only = first};
        else if (!compare_contents(t - 1, t))
            return error_new(ERROR_INPUT, "%s has the added token \"%.*s\" twice", name,
                             (int)(t->bytes < SHOWN ? t->bytes : SHOWN), t->content);
        if (set->only != first)
            set->only = -1;
        set->begins[first] = true;
        set->count++;
    }
    return NULL;
}

static struct error *read_all(struct added_tokens *a, const cJSON *list, int end_id,
                              const char *name)
{
    const int n = cJSON_GetArraySize(list);
    if (list && (!cJSON_IsArray(list) || n > MOST_TOKENS))
        return error_new(ERROR_INPUT, "%s: added_tokens must be a list, of %d tokens at most", name,
                         MOST_TOKENS);
    a->tokens = calloc((size_t)n + 1, sizeof *a->tokens);
    if (!a->tokens)
        return error_new(ERROR_MEMORY, "no memory for %d added tokens", n);
    TRY(read_list(a, list, name));
    bool listed = end_id < 0;
    for (int i = 0; i < a->count; i++)
        listed |= !strcmp(a->tokens[i].content, end_token);
    if (!listed)
        a->tokens[a->count++] = (struct added_token){
            .content = end_token, .bytes = sizeof end_token - 1, .id = end_id, .special = true,
        };
    TRY(keep_contents(a));
    return make_sets(a, name);
}

struct error *added_tokens_read(struct added_tokens *added,
                                const struct tokenizer_definition *definition, int end_id)
{
    const struct tokenizer_definition *d = definition;
    cJSON *list = d->added ? cJSON_ParseWithLength(d->added, d->added_bytes) : NULL;
    if (d->added && !list)
        return error_new(ERROR_INPUT, "%s: its added tokens are not valid JSON (or "
                         "nested too deeply)",
                         d->name);
    struct error *e = read_all(added, list, end_id, d->name);
    cJSON_Delete(list);
    return e;
}

void added_tokens_release(struct added_tokens *added)
{
    free(added->tokens);
    free(added->text);
}

/* ---- finding ---- */

/* The first token of [low, high), which are alike up to byte n, whose byte n is `byte` or more. */
static int first_from(const struct added_set *s, int low, int high, size_t n, int byte)
{
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if ((unsigned char)s->tokens[middle].content[n] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest token that the text at `at` begins with, or NULL. */
static const struct added_token *longest_at(const struct added_set *s, const char *at,
                                            const char *end)
{
    const struct added_token *longest = NULL;
    int low = 0, high = s->count;
    for (size_t n = 0; low < high; n++) {
        if (s->tokens[low].bytes == n)
            longest = &s->tokens[low++];
        if (at + n == end)
            break;
        const int byte = (unsigned char)at[n];
        low = first_from(s, low, high, n, byte);
        high = first_from(s, low, high, n, byte + 1);
    }
    return longest;
}

const struct added_token *added_tokens_find(const struct added_tokens *added, const char *content,
                                            size_t bytes)
{
    for (int pass = 0; pass < ADDED_PASSES; pass++) {
        const struct added_token *t = longest_at(&added->sets[pass], content, content + bytes);
        if (t && t->bytes == bytes)
            return t;
    }
    return NULL;
}

/* Where a token could begin, from `at` on; `end` if nowhere. */
static const char *candidate(const struct added_set *s, const char *at, const char *end)
{
    if (s->only >= 0) {
        const char *found = memchr(at, s->only, (size_t)(end - at));
        return found ? found : end;
    }
    while (at < end && !s->begins[(unsigned char)*at])
        at++;
    return at;
}

static bool is_alone(const struct added_scan *scan, const char *start, const char *stop)
{
    const bool before =
        start > scan->text && character_is_of_word(character_before(scan->text, start), start);
    return !before && !(stop < scan->end && character_is_of_word(stop, scan->end));
}

static bool is_space(const struct characters *c, const char *at, const char *end, size_t *bytes)
{
    return character_class(c, at, end, bytes) == CHARACTER_SPACE;
}

/* Back over white space, but not into what has been given. */
static const char *strip_left(const struct characters *c, const struct added_scan *scan,
                              const char *start)
{
    size_t bytes;
    while (start > scan->done) {
        const char *before = character_before(scan->text, start);
        if (!is_space(c, before, start, &bytes))
            break;
        start = before;
    }
    return start < scan->done ? scan->done : start;
}

static const char *strip_right(const struct characters *c, const struct added_scan *scan,
                               const char *stop)
{
    size_t bytes;
    while (stop < scan->end && is_space(c, stop, scan->end, &bytes))
        stop += bytes;
    return stop;
}

struct added_scan added_scan_begin(const char *text, const char *end)
{
    return (struct added_scan){.text = text, .end = end, .at = text, .done = text};
}

bool added_scan_next(struct added_scan *scan, const struct added_tokens *added,
                     enum added_pass pass, const struct characters *characters,
                     bool special_as_text, struct added_match *match)
{
    const struct added_set *s = &added->sets[pass];
    if (s->count == 0)
        return false;
    while ((scan->at = candidate(s, scan->at, scan->end)) < scan->end) {
        const char *start = scan->at;
        const struct added_token *t = longest_at(s, start, scan->end);
        if (!t) {
            scan->at++;
            continue;
        }
        const char *stop = scan->at = start + t->bytes;
        if ((special_as_text && t->special) || (t->single_word && !is_alone(scan, start, stop)))
            continue;
        if (t->lstrip)
            start = strip_left(characters, scan, start);
        if (t->rstrip)
            stop = strip_right(characters, scan, stop);
        if (start >= stop)    /* white space that the token before has taken already */
            continue;
        *match = (struct added_match){.before = scan->done, .start = start, .id = t->id};
        scan->done = stop;
        return true;
    }
    return false;
}
