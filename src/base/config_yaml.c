/*
 * config_yaml.c - reads the configuration from YAML, through libyaml's events.
 *
 * The shape is fixed: sections of keys, lists of strings, and sampling.samples, a list of maps. So
 * one function per level reads events; whatever does not fit is an error with file and line.
 */
#include "base/config_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { WHERE_BYTES = 512, NAME_BYTES = 256, LIST_ITEMS = 4096 };

struct reader {
    struct config *config;
    const char *name;
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    bool *seen;                  /* by index into config_keys: a key may stand only once */
    char where[WHERE_BYTES];     /* "file:line: " of the current event */
};

static struct error *next(struct reader *r)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = false;
    if (!yaml_parser_parse(&r->parser, &r->event))
        return error_new(ERROR_USAGE, "%s:%zu:%zu: this is not YAML: %s", r->name,
                         r->parser.problem_mark.line + 1, r->parser.problem_mark.column + 1,
                         r->parser.problem ? r->parser.problem : "unreadable");
    r->has_event = true;
    snprintf(r->where, sizeof r->where, "%s:%zu: ", r->name, r->event.start_mark.line + 1);
    if (r->event.type == YAML_ALIAS_EVENT)
        return error_new(ERROR_USAGE, "%saliases (*name) are not taken; write the value", r->where);
    return NULL;
}

/* The scalar the reader stands at, null-terminated; a NUL inside it is an error. */
static struct error *scalar(struct reader *r, const char *what, const char **out)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return error_new(ERROR_USAGE, "%s%s must be a single value", r->where, what);
    const char *text = (const char *)r->event.data.scalar.value;
    if (strlen(text) != r->event.data.scalar.length)
        return error_new(ERROR_USAGE, "%s%s holds a NUL character", r->where, what);
    /* An empty plain value ("key:") and ~ are YAML's null: here the empty text. */
    const bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    *out = plain && (!strcmp(text, "~") || !strcmp(text, "null")) ? "" : text;
    return NULL;
}

static struct error *read_sequence(struct reader *r, const struct config_key *key)
{
    const char **items = calloc(LIST_ITEMS, sizeof *items);
    struct error *e = items ? NULL : error_new(ERROR_MEMORY, "no memory for a list");
    int n = 0;
    while (!e) {
        const char *text = "";
        if ((e = next(r)) || r->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if ((e = scalar(r, key->name, &text)))
            break;
        if (n == LIST_ITEMS)
            e = error_new(ERROR_USAGE, "%s%s has more than %d items", r->where, key->name,
                          LIST_ITEMS);
        else if (!(items[n] = strdup(text)))
            e = error_new(ERROR_MEMORY, "no memory for a list");
        else
            n++;
    }
    if (!e)
        e = config_set_list(r->config, key, items, n);
    for (int i = 0; i < n; i++) {
        union {
            const char *constant;
            char *plain;
        } u = {.constant = items[i]};
        free(u.plain);
    }
    free(items);
    return e;
}

static struct error *read_sample(struct reader *r, int index)
{
    struct config_sample *sample = NULL;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return error_new(ERROR_USAGE, "%ssampling.samples must be a list of maps (- prompt: ...)",
                         r->where);
    TRY(config_sample_at(r->config, index, r->where, &sample));
    for (;;) {
        const char *text = "";
        char name[NAME_BYTES];
        TRY(next(r));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return NULL;
        TRY(scalar(r, "a key", &text));
        snprintf(name, sizeof name, "%s", text);
        const struct config_key *key =
            config_find(config_sample_keys, config_sample_key_count, name);
        if (!key)
            return config_unknown(config_sample_keys, config_sample_key_count, name, r->where);
        TRY(next(r));
        TRY(scalar(r, name, &text));
        TRY(config_set(sample, key, text, r->where));
    }
}

static struct error *read_samples(struct reader *r)
{
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return error_new(ERROR_USAGE, "%ssampling.samples must be a list of maps (- prompt: ...)",
                         r->where);
    for (int i = 0;; i++) {
        TRY(next(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return NULL;
        TRY(read_sample(r, i));
    }
}

static struct error *read_key(struct reader *r, const char *section)
{
    const char *text = "";
    char name[NAME_BYTES];
    TRY(scalar(r, "a key", &text));
    if (snprintf(name, sizeof name, "%s.%s", section, text) >= (int)sizeof name)
        return error_new(ERROR_USAGE, "%sthe key is too long", r->where);
    if (!strcmp(name, "sampling.samples")) {
        TRY(next(r));
        return read_samples(r);
    }
    const struct config_key *key = config_find(config_keys, config_key_count, name);
    if (!key)
        return config_unknown(config_keys, config_key_count, name, r->where);
    bool *seen = &r->seen[key - config_keys];
    if (*seen)
        return error_new(ERROR_USAGE, "%s%s stands here a second time", r->where, name);
    *seen = true;
    TRY(next(r));
    if (key->type == CONFIG_LIST && r->event.type == YAML_SEQUENCE_START_EVENT)
        return read_sequence(r, key);
    TRY(scalar(r, name, &text));
    if (key->type == CONFIG_LIST)    /* one item, commas and all */
        return config_set_list(r->config, key, &text, *text ? 1 : 0);
    return config_set(r->config, key, text, r->where);
}

static struct error *read_section(struct reader *r)
{
    const char *text = "";
    char section[NAME_BYTES];
    TRY(scalar(r, "a section", &text));
    snprintf(section, sizeof section, "%s", text);
    bool known = false;
    const size_t length = strlen(section);
    for (int i = 0; i < config_key_count; i++)
        known |= !strncmp(config_keys[i].name, section, length) &&
                 config_keys[i].name[length] == '.';
    if (!known)
        return error_new(ERROR_USAGE, "%sthere is no section %s; there are: run, model, tokenizer, "
                         "data, train, optimizer, schedule, validation, sampling, checkpoint, "
                         "device, comm", r->where, section);
    TRY(next(r));
    if (r->event.type == YAML_SCALAR_EVENT && r->event.data.scalar.length == 0)
        return NULL;    /* "section:" with nothing in it */
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return error_new(ERROR_USAGE, "%ssection %s must hold keys (%s:\\n    key: value)",
                         r->where, section, section);
    for (;;) {
        TRY(next(r));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return NULL;
        TRY(read_key(r, section));
    }
}

static struct error *read_document(struct reader *r)
{
    TRY(next(r));    /* stream start */
    TRY(next(r));
    if (r->event.type == YAML_STREAM_END_EVENT)
        return NULL;    /* an empty file: all defaults */
    TRY(next(r));
    if (r->event.type == YAML_SCALAR_EVENT && r->event.data.scalar.length == 0)
        return NULL;    /* only comments */
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return error_new(ERROR_USAGE, "%sa configuration is made of sections (model:, data:, ...)",
                         r->where);
    for (;;) {
        TRY(next(r));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            break;
        TRY(read_section(r));
    }
    TRY(next(r));    /* document end */
    TRY(next(r));
    if (r->event.type != YAML_STREAM_END_EVENT)
        return error_new(ERROR_USAGE, "%sonly one document may stand in a configuration", r->where);
    return NULL;
}

struct error *config_read_yaml(struct config *config, const char *yaml, size_t bytes,
                               const char *name)
{
    struct reader r = {.config = config, .name = name};
    if (!yaml_parser_initialize(&r.parser))
        return error_new(ERROR_MEMORY, "no memory for the YAML parser");
    r.seen = calloc((size_t)config_key_count, sizeof *r.seen);
    struct error *e = r.seen ? NULL : error_new(ERROR_MEMORY, "no memory for the YAML parser");
    if (!e) {
        yaml_parser_set_input_string(&r.parser, (const unsigned char *)yaml, bytes);
        e = read_document(&r);
    }
    if (r.has_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    for (int i = 0; r.seen && i < config_key_count; i++)
        config->given[i] |= r.seen[i];
    free(r.seen);
    return e;
}
