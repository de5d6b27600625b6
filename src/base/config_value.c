/* config_value.c - single values: text to typed fields, with errors that say what would be
 * right. */
#include "base/config_table.h"
#include "base/distance.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void *field(void *base, const struct config_key *key)
{
    return (char *)base + key->offset;
}

static struct error *out_of_memory(const struct config_key *key)
{
    return error_new(ERROR_MEMORY, "no memory for the value of %s", key->name);
}

static struct error *set_string(char **out, const struct config_key *key, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        return out_of_memory(key);
    free(*out);
    *out = copy;
    return NULL;
}

static struct error *set_int(int64_t *out, const struct config_key *key, const char *text,
                             const char *where)
{
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno == ERANGE)
        return error_new(ERROR_USAGE, "%s%s is \"%s\"; it must be a whole number", where, key->name,
                         text);
    if ((double)value < key->low || (double)value > key->high)
        return error_new(ERROR_USAGE, "%s%s is %lld; it must be from %.0f to %.0f", where,
                         key->name, value, key->low, key->high);
    *out = value;
    return NULL;
}

static struct error *set_double(double *out, const struct config_key *key, const char *text,
                                const char *where)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end)
        return error_new(ERROR_USAGE, "%s%s is \"%s\"; it must be a number", where, key->name,
                         text);
    if (!(value >= key->low && value <= key->high))
        return error_new(ERROR_USAGE, "%s%s is %g; it must be from %g to %g", where, key->name,
                         value, key->low, key->high);
    *out = value;
    return NULL;
}

static struct error *set_bool(bool *out, const struct config_key *key, const char *text,
                              const char *where)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (int i = 0; i < 6; i++) {
        if (!strcasecmp(text, words[i])) {
            *out = i % 2;
            return NULL;
        }
    }
    return error_new(ERROR_USAGE, "%s%s is \"%s\"; it must be true or false", where, key->name,
                     text);
}

static struct error *set_choice(char **out, const struct config_key *key, const char *text,
                                const char *where)
{
    const size_t length = strlen(text);
    for (const char *at = key->choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (length > 0 && !strncmp(at, text, length) && (at[length] == '|' || !at[length]))
            return set_string(out, key, text);
    return error_new(ERROR_USAGE, "%s%s is \"%s\"; it must be one of %s", where, key->name, text,
                     key->choices);
}

static void release_list(struct config_list *list)
{
    for (int i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct config_list){0};
}

struct error *config_set_list(void *base, const struct config_key *key, const char *const *items,
                              int count)
{
    struct config_list list = {.items = calloc((size_t)count + 1, sizeof *list.items)};
    if (!list.items)
        return out_of_memory(key);
    for (; list.count < count; list.count++) {
        list.items[list.count] = strdup(items[list.count]);
        if (!list.items[list.count]) {
            release_list(&list);
            return out_of_memory(key);
        }
    }
    release_list(field(base, key));
    *(struct config_list *)field(base, key) = list;
    return NULL;
}

/* Commas separate; spaces around an item are not part of it. */
static struct error *set_list_from_text(void *base, const struct config_key *key, const char *text)
{
    char *copy = strdup(text);
    const char **items = calloc(strlen(text) + 1, sizeof *items);
    struct error *e = copy && items ? NULL : out_of_memory(key);
    if (!e) {
        int n = 0;
        char *rest = copy;
        for (char *item = strsep(&rest, ","); item; item = strsep(&rest, ",")) {
            while (isspace((unsigned char)*item))
                item++;
            size_t length = strlen(item);
            while (length > 0 && isspace((unsigned char)item[length - 1]))
                item[--length] = '\0';
            if (length > 0)
                items[n++] = item;
        }
        e = config_set_list(base, key, items, n);
    }
    free(items);
    free(copy);
    return e;
}

struct error *config_set(void *base, const struct config_key *key, const char *text,
                         const char *where)
{
    switch (key->type) {
    case CONFIG_INT:
        return set_int(field(base, key), key, text, where);
    case CONFIG_DOUBLE:
        return set_double(field(base, key), key, text, where);
    case CONFIG_BOOL:
        return set_bool(field(base, key), key, text, where);
    case CONFIG_STRING:
        return set_string(field(base, key), key, text);
    case CONFIG_CHOICE:
        return set_choice(field(base, key), key, text, where);
    case CONFIG_LIST:
        return set_list_from_text(base, key, text);
    }
    BUG("a key of no type: %s", key->name);
}

struct error *config_set_defaults(void *base, const struct config_key *keys, int count)
{
    for (int i = 0; i < count; i++)
        TRY(config_set(base, &keys[i], keys[i].otherwise, "default: "));
    return NULL;
}

void config_release_values(void *base, const struct config_key *keys, int count)
{
    for (int i = 0; i < count; i++) {
        if (keys[i].type == CONFIG_STRING || keys[i].type == CONFIG_CHOICE)
            free(*(char **)field(base, &keys[i]));
        else if (keys[i].type == CONFIG_LIST)
            release_list(field(base, &keys[i]));
    }
}

const struct config_key *config_find(const struct config_key *keys, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(keys[i].name, name))
            return &keys[i];
    return NULL;
}

/* What follows the section; the name itself where there is none. */
static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

struct error *config_unknown(const struct config_key *keys, int count, const char *name,
                             const char *where)
{
    const struct config_key *nearest = &keys[0];
    int least = 1 << 30;
    for (int i = 0; i < count; i++) {
        /* The right key in the wrong section is nearer than another key of that section. */
        const int whole = 2 * name_distance(name, keys[i].name);
        const int key_only = 2 * name_distance(last_part(name), last_part(keys[i].name)) + 3;
        const int d = whole < key_only ? whole : key_only;
        if (d < least) {
            least = d;
            nearest = &keys[i];
        }
    }
    return error_new(ERROR_USAGE, "%sthere is no key %s; the nearest is %s", where, name,
                     nearest->name);
}
