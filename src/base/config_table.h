/* config_table.h - the table of configuration keys; for src/base/config*.c only. */
#ifndef GALLEY_BASE_CONFIG_TABLE_H
#define GALLEY_BASE_CONFIG_TABLE_H

#include "base/config.h"

#include <stddef.h>

enum config_type { CONFIG_INT, CONFIG_DOUBLE, CONFIG_BOOL, CONFIG_STRING, CONFIG_CHOICE,
    CONFIG_LIST };

struct config_key {
    const char *name;           /* "section.key"; keys of a sample have no section */
    enum config_type type;
    const char *otherwise;      /* the default, as text */
    double low, high;           /* range of numbers, both ends included */
    const char *choices;        /* "a|b|c" */
    const char *help;
    size_t offset;              /* in struct config, or in struct config_sample */
};

/* A named model: "key=value" for each key of the section model that it sets. */
enum { CONFIG_PRESET_VALUES = 8 };
struct config_preset {
    const char *name;
    const char *values[CONFIG_PRESET_VALUES];    /* the rest NULL */
};

extern const struct config_preset config_presets[];
extern const int config_preset_count;
extern const struct config_key config_keys[];
extern const int config_key_count;
extern const struct config_key config_sample_keys[];
extern const int config_sample_key_count;

/* Sets one value from text. `where` begins every message: "mini-gpt.yaml:12: " or "--a.b=c: ". */
MUST_USE struct error *config_set(void *base, const struct config_key *key, const char *text,
                                  const char *where);
/* Replaces a list. */
MUST_USE struct error *config_set_list(void *base, const struct config_key *key,
                                       const char *const *items, int count);
/* All defaults. */
MUST_USE struct error *config_set_defaults(void *base, const struct config_key *keys, int count);
void config_release_values(void *base, const struct config_key *keys, int count);
/* NULL if there is none. */
const struct config_key *config_find(const struct config_key *keys, int count, const char *name);
/* The error for a key that is not there; names the nearest. */
MUST_USE struct error *config_unknown(const struct config_key *keys, int count, const char *name,
                                      const char *where);
/* The sample a new value belongs to, made with defaults if it is the next one. */
MUST_USE struct error *config_sample_at(struct config *config, int index, const char *where,
                                        struct config_sample **out);

/* YAML text over what `config` holds. */
MUST_USE struct error *config_read_yaml(struct config *config, const char *yaml, size_t bytes,
                                        const char *name);
/* What single keys cannot tell. */
MUST_USE struct error *config_check(const struct config *config);

#endif
