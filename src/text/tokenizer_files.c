/* tokenizer_files.c - finds and reads vocabularies and merges. */
#include "text/tokenizer_files.h"

#include "text/tokenizer_json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 28 };

static struct error *read_text(const char *path, char **text, size_t *bytes)
{
    struct stat status;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return error_errno(ERROR_INPUT, "cannot read the vocabulary %s", path);
    if (fstat(fileno(file), &status) || S_ISDIR(status.st_mode)) {
        fclose(file);
        return error_new(ERROR_INPUT, "cannot read %s as a vocabulary: it is a folder", path);
    }
    char *buffer = NULL;
    size_t used = 0, capacity = 1 << 16;
    bool good = true;
    do {
        capacity *= 2;
        char *larger = capacity <= MOST_BYTES ? realloc(buffer, capacity) : NULL;
        good = larger != NULL;
        if (good) {
            buffer = larger;
            used += fread(buffer + used, 1, capacity - used, file);
        }
    } while (good && used == capacity);
    good = good && !ferror(file);
    fclose(file);
    if (!good) {
        free(buffer);
        return error_new(ERROR_INPUT, "cannot read %s as a vocabulary", path);
    }
    *text = buffer;
    *bytes = used;
    return NULL;
}

static bool is_folder(const char *path)
{
    struct stat status;
    return !stat(path, &status) && S_ISDIR(status.st_mode);
}

struct error *tokenizer_files_kind(enum tokenizer_kind *kind, const char *path)
{
    *kind = TOKENIZER_BPE;
    if (is_folder(path))
        return NULL;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return error_errno(ERROR_INPUT, "cannot read the vocabulary %s", path);
    int c;
    do
        c = fgetc(file);
    while (c == ' ' || c == '\t' || c == '\r');
    if (c != '{')
        *kind = TOKENIZER_WORDPIECE;
    fclose(file);
    return NULL;
}

/* The path of the vocabulary in a folder; false if there is none. */
static bool find_vocabulary(const char *folder, char path[PATH_MAX])
{
    static const char *const names[] = {
        "vocab.json", "vocabulary.json", "assets/tokenizer/vocabulary.json",
        "assets/tokenizer/vocab.json", "tokenizer.json",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (snprintf(path, PATH_MAX, "%s/%s", folder, names[i]) < PATH_MAX && !access(path, F_OK))
            return true;
    return false;
}

bool tokenizer_files_in(const char *folder)
{
    char path[PATH_MAX];
    return is_folder(folder) && find_vocabulary(folder, path);
}

static bool ends_in(const char *text, const char *ending)
{
    const size_t length = strlen(text), n = strlen(ending);
    return length >= n && !strcmp(text + length - n, ending);
}

/* "x-vocab.json" has "x-merges.txt" beside it. */
static struct error *find_merges(const char *vocabulary, char path[PATH_MAX])
{
    static const char *const endings[] = {"vocab.json", "vocabulary.json"};
    const size_t length = strlen(vocabulary);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const int prefix = (int)(length - strlen(endings[i]));
        if (ends_in(vocabulary, endings[i]) &&
            snprintf(path, PATH_MAX, "%.*smerges.txt", prefix, vocabulary) < PATH_MAX)
            return NULL;
    }
    return error_new(ERROR_INPUT, "%s does not end in vocab.json, so its merges have to be named "
                     "as well (tokenizer.merges)", vocabulary);
}

/* All texts of one file, or its added tokens. */
static struct error *read_tokenizer_json(struct tokenizer_definition *d, const char *path,
                                         bool added_only)
{
    char *text;
    size_t bytes;
    TRY(read_text(path, &text, &bytes));
    struct error *e = added_only ? tokenizer_json_read_added(d, text, bytes, path)
                                 : tokenizer_json_read(d, text, bytes, path);
    free(text);
    return e;
}

/* The added tokens of a Hugging Face folder; KerasHub's tokenizer.json is something else, and its
 * vocabulary has another name. */
static struct error *read_added(struct tokenizer_definition *d, const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, PATH_MAX, "%s/vocab.json", folder) >= PATH_MAX || access(path, F_OK) ||
        snprintf(path, PATH_MAX, "%s/tokenizer.json", folder) >= PATH_MAX || access(path, F_OK))
        return NULL;
    return read_tokenizer_json(d, path, true);
}

static struct error *read_pair(struct tokenizer_definition *d, const char *vocabulary,
                               const char *merges)
{
    char path[PATH_MAX], *text = NULL;
    if (!merges || !*merges) {
        TRY(find_merges(vocabulary, path));
        merges = path;
    }
    TRY(read_text(vocabulary, &text, &d->vocabulary_bytes));
    d->vocabulary = text;
    TRY(read_text(merges, &text, &d->merges_bytes));
    d->merges = text;
    return NULL;
}

static struct error *read_bpe(struct tokenizer_definition *d, const char *vocabulary,
                              const char *merges)
{
    char path[PATH_MAX];
    const char *const folder = is_folder(vocabulary) ? vocabulary : NULL;
    if (folder) {
        if (!find_vocabulary(folder, path))
            return error_new(ERROR_INPUT, "%s holds neither vocab.json nor vocabulary.json nor "
                             "tokenizer.json", folder);
        vocabulary = path;
    }
    if (ends_in(vocabulary, "tokenizer.json") && (!merges || !*merges))
        return read_tokenizer_json(d, vocabulary, false);
    TRY(read_pair(d, vocabulary, merges));
    return folder ? read_added(d, folder) : NULL;
}

struct error *tokenizer_files_read(struct tokenizer_definition *definition,
                                   const char *vocabulary, const char *merges)
{
    definition->vocabulary = definition->merges = definition->added = NULL;
    if (definition->kind == TOKENIZER_BPE) {
        struct error *e = read_bpe(definition, vocabulary, merges);
        if (e)
            tokenizer_files_release(definition);
        return e;
    }
    char *text = NULL;
    TRY(read_text(vocabulary, &text, &definition->vocabulary_bytes));
    definition->vocabulary = text;
    return NULL;
}

void tokenizer_files_release(struct tokenizer_definition *definition)
{
    free((void *)(uintptr_t)definition->vocabulary);
    free((void *)(uintptr_t)definition->merges);
    free((void *)(uintptr_t)definition->added);
    definition->vocabulary = definition->merges = definition->added = NULL;
}

struct error *tokenizer_open(struct tokenizer **out, const char *vocabulary, const char *merges,
                             const struct wordpiece_options *wordpiece,
                             const struct bpe_options *bpe)
{
    struct tokenizer_definition d = {.name = vocabulary, .wordpiece = *wordpiece, .bpe = *bpe};
    TRY(tokenizer_files_kind(&d.kind, vocabulary));
    TRY(tokenizer_files_read(&d, vocabulary, merges));
    struct error *e = tokenizer_create(out, &d);
    tokenizer_files_release(&d);
    return e;
}
