/* prompts.c - prompts from the command line, files and standard input. */
#include "cli/prompts.h"

#include "base/log.h"
#include "formats/json.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct error *no_memory(void)
{
    return error_new(ERROR_MEMORY, "no memory for prompts");
}

static struct error *add(struct prompts *p, const struct prompt_entry *entry)
{
    if (p->count == p->capacity) {
        const int capacity = p->capacity > 0 ? 2 * p->capacity : 8;
        struct prompt_entry *larger = realloc(p->list, (size_t)capacity * sizeof *larger);
        if (!larger)
            return no_memory();
        p->list = larger;
        p->capacity = capacity;
    }
    p->list[p->count++] = *entry;
    p->has_texts |= entry->text != NULL;
    return NULL;
}

struct error *prompts_add_text(struct prompts *prompts, const char *text)
{
    const struct prompt_entry entry = {.text = strdup(text)};
    struct error *e = entry.text ? add(prompts, &entry) : no_memory();
    if (e)
        free(entry.text);
    return e;
}

/* Takes the ids. */
static struct error *add_ids(struct prompts *prompts, int32_t *ids, int count)
{
    const struct prompt_entry entry = {.prompt = {.ids = ids, .count = count}};
    struct error *e = add(prompts, &entry);
    if (e)
        free(ids);
    return e;
}

struct error *prompts_add_ids(struct prompts *prompts, const char *numbers)
{
    int32_t *ids = malloc((strlen(numbers) + 1) * sizeof *ids);    /* more than there can be */
    if (!ids)
        return no_memory();
    int count = 0;
    const char *at = numbers;
    for (;;) {
        char *end;
        errno = 0;
        const long id = strtol(at, &end, 10);
        if (end == at || errno || id < 0 || id > INT32_MAX || (*end && *end != ',')) {
            free(ids);
            return error_new(ERROR_USAGE, "\"%s\" is no list of token ids; write them as 464,2068",
                             numbers);
        }
        ids[count++] = (int32_t)id;
        if (!*end)
            break;
        at = end + 1;
    }
    return add_ids(prompts, ids, count);
}

/* How many positions a mask says are the prompt's: ones, then zeros. */
static struct error *masked_count(const cJSON *mask, int ids, const char *where, int *count)
{
    *count = ids;
    if (!mask)
        return NULL;
    const cJSON *item;
    int n = 0;
    *count = 0;
    bool good = cJSON_IsArray(mask);
    cJSON_ArrayForEach(item, mask)
    {
        const bool one = cJSON_IsTrue(item) || (cJSON_IsNumber(item) && item->valuedouble == 1);
        const bool zero = cJSON_IsFalse(item) || (cJSON_IsNumber(item) && item->valuedouble == 0);
        good = good && (one || zero) && (!one || *count == n);
        *count += one;
        n++;
    }
    if (!good || n != ids || *count == 0)
        return error_new(ERROR_INPUT, "%s: \"padding_mask\" must be as long as \"token_ids\", ones "
                         "and then zeros", where);
    return NULL;
}

static struct error *add_id_object(struct prompts *prompts, const cJSON *object, const char *where)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "token_ids"), *item;
    const int size = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    int count, n = 0;
    if (size == 0)
        return error_new(ERROR_INPUT, "%s: expected \"prompt\" with a text, or \"token_ids\" with "
                         "numbers", where);
    TRY(masked_count(cJSON_GetObjectItemCaseSensitive(object, "padding_mask"), size, where,
                     &count));
    int32_t *ids = malloc((size_t)size * sizeof *ids);
    if (!ids)
        return no_memory();
    cJSON_ArrayForEach(item, list)
    {
        const double id = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!(id >= 0 && id <= INT32_MAX && id == (double)(int32_t)id)) {
            free(ids);
            return error_new(ERROR_INPUT, "%s: entry %d of \"token_ids\" is no token id", where, n);
        }
        ids[n++] = (int32_t)id;
    }
    return add_ids(prompts, ids, count);
}

static struct error *add_line(struct prompts *prompts, char *line, size_t bytes, const char *where)
{
    while (bytes > 0 && (line[bytes - 1] == '\n' || line[bytes - 1] == '\r'))
        line[--bytes] = 0;
    if (strlen(line) != bytes)
        return error_new(ERROR_INPUT, "%s has a zero byte: it is no text", where);
    if (*line != '{')
        return prompts_add_text(prompts, line);

    cJSON *object;
    TRY(json_parse(&object, line, bytes, where));
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(object, "prompt");
    struct error *e = cJSON_IsString(text) ? prompts_add_text(prompts, text->valuestring)
                                           : add_id_object(prompts, object, where);
    cJSON_Delete(object);
    return e;
}

struct error *prompts_read(struct prompts *prompts, const char *path)
{
    const bool standard = !strcmp(path, "-");
    FILE *file = standard ? stdin : fopen(path, "re");
    if (!file)
        return error_errno(ERROR_INPUT, "cannot read the prompts in %s", path);
    char *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;
    struct error *e = NULL;
    const int before = prompts->count;
    for (int number = 1; !e && (bytes = getline(&line, &capacity, file)) >= 0; number++) {
        char where[4400];
        snprintf(where, sizeof where, "%s:%d", standard ? "standard input" : path, number);
        e = add_line(prompts, line, (size_t)bytes, where);
    }
    if (!e && ferror(file))
        e = error_errno(ERROR_INPUT, "cannot read the prompts in %s", path);
    if (!e && prompts->count == before)
        e = error_new(ERROR_INPUT, "%s has no prompt; write one a line",
                      standard ? "standard input" : path);
    free(line);
    if (!standard)
        fclose(file);
    return e;
}

void prompts_release(struct prompts *prompts)
{
    for (int i = 0; i < prompts->count; i++) {
        free(prompts->list[i].text);
        prompt_release(&prompts->list[i].prompt);
    }
    free(prompts->list);
    *prompts = (struct prompts){0};
}

static struct error *check_ids(const struct prompt *prompt, int V)
{
    for (int i = 0; i < prompt->count; i++)
        if (prompt->ids[i] >= V)
            return error_new(ERROR_INPUT, "token id %d is not among the model's %d",
                             (int)prompt->ids[i], V);
    return NULL;
}

struct error *prompts_encode(struct prompts *prompts, const struct tokenizer *tokenizer, int V,
                             int length)
{
    for (int i = 0; i < prompts->count; i++) {
        struct prompt_entry *entry = &prompts->list[i];
        struct error *e = NULL;
        if (entry->text)
            e = prompt_encode(&entry->prompt, tokenizer, entry->text, length);
        if (!e)
            e = check_ids(&entry->prompt, V);
        if (e)
            return error_context(e, "prompt %d", i + 1);
        entry->prompt.cut |= entry->prompt.count > length;
        if (entry->prompt.count > length)
            entry->prompt.count = length;
        if (entry->prompt.cut)
            log_warning("prompt %d is longer than %d tokens: it is cut, and nothing follows it",
                        i + 1, length);
    }
    return NULL;
}
