/* config.c - loading a configuration: defaults, file, command line, checks. */
#include "base/config.h"

#include "base/config_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_BYTES = 1 << 20 };    /* of a configuration file; a larger one is something else */

struct error *config_sample_at(struct config *config, int index, const char *where,
                               struct config_sample **out)
{
    int *count = &config->sampling.sample_count;
    if (index >= CONFIG_SAMPLES)
        return error_new(ERROR_USAGE, "%sthere are at most %d samples", where, CONFIG_SAMPLES);
    if (index > *count)
        return error_new(ERROR_USAGE, "%ssample %d is given, but there are only %d; the next is %d",
                         where, index, *count, *count);
    *out = &config->sampling.samples[index];
    if (index < *count)
        return NULL;
    (*count)++;
    return config_set_defaults(*out, config_sample_keys, config_sample_key_count);
}

/* "sampling.samples.0.prompt" and its value. */
static struct error *override_sample(struct config *config, const char *rest, const char *value,
                                     const char *where)
{
    char *end;
    struct config_sample *sample = NULL;
    const long index = strtol(rest, &end, 10);
    if (end == rest || *end != '.' || index < 0 || index > CONFIG_SAMPLES)
        return error_new(ERROR_USAGE, "%sa sample is set as --sampling.samples.0.prompt=TEXT",
                         where);
    const struct config_key *key =
        config_find(config_sample_keys, config_sample_key_count, end + 1);
    if (!key)
        return config_unknown(config_sample_keys, config_sample_key_count, end + 1, where);
    TRY(config_sample_at(config, (int)index, where, &sample));
    return config_set(sample, key, value, where);
}

/* A setting that was given before stays, where `only_new`. */
static struct error *apply_override(struct config *config, const char *argument, bool only_new)
{
    static const char samples[] = "sampling.samples.";
    char where[512], name[256];
    snprintf(where, sizeof where, "%s: ", argument);
    const char *start = !strncmp(argument, "--", 2) ? argument + 2 : argument;
    const char *equals = strchr(start, '=');
    if (!equals || equals - start >= (long)sizeof name)
        return error_new(ERROR_USAGE, "%swhat follows the configuration file must be "
                         "--section.key=value", where);
    snprintf(name, sizeof name, "%.*s", (int)(equals - start), start);
    if (!strncmp(name, samples, sizeof samples - 1))
        return override_sample(config, name + sizeof samples - 1, equals + 1, where);
    const struct config_key *key = config_find(config_keys, config_key_count, name);
    if (!key)
        return config_unknown(config_keys, config_key_count, name, where);
    bool *given = &config->given[key - config_keys];
    if (only_new && *given)
        return NULL;
    *given = !only_new;
    return config_set(config, key, equals + 1, where);
}

/* Defaults, the preset's values (NULL: none), the file, the command line. */
static struct error *read_layers(struct config **out, const struct config_preset *preset,
                                 const char *yaml, size_t bytes, const char *name,
                                 const char *const *overrides, int override_count)
{
    struct error *e;
    struct config *c = calloc(1, sizeof *c);
    if (!c)
        return error_new(ERROR_MEMORY, "no memory for the configuration (%zu bytes)", sizeof *c);
    c->given = calloc((size_t)config_key_count, sizeof *c->given);
    if (!c->given) {
        e = error_new(ERROR_MEMORY, "no memory for the configuration");
        goto fail;
    }
    if ((e = config_set_defaults(c, config_keys, config_key_count)))
        goto fail;
    for (int i = 0; preset && i < CONFIG_PRESET_VALUES && preset->values[i]; i++)
        if ((e = apply_override(c, preset->values[i], false)))
            goto fail;
    if (yaml && (e = config_read_yaml(c, yaml, bytes, name)))
        goto fail;
    for (int i = 0; i < override_count; i++)
        if ((e = apply_override(c, overrides[i], false)))
            goto fail;
    *out = c;
    return NULL;

fail:
    config_destroy(c);
    return e;
}

static const struct config_preset *find_preset(const char *name)
{
    for (int i = 0; i < config_preset_count; i++)
        if (!strcmp(config_presets[i].name, name))
            return &config_presets[i];
    return NULL;
}

/* The preset is itself a key of the file or the command line, which override what it sets: so these
 * are read once to learn its name, and again over its values. */
static struct error *load(struct config **out, const char *yaml, size_t bytes, const char *name,
                          const char *const *overrides, int override_count)
{
    struct config *c;
    TRY(read_layers(&c, NULL, yaml, bytes, name, overrides, override_count));
    const struct config_preset *preset = find_preset(c->model.preset);
    config_destroy(c);
    TRY(read_layers(&c, preset, yaml, bytes, name, overrides, override_count));
    struct error *e = config_check(c);
    if (e) {
        config_destroy(c);
        return e;
    }
    *out = c;
    return NULL;
}

struct error *config_parse(struct config **out, const char *yaml, const char *name,
                           const char *const *overrides, int override_count)
{
    return load(out, yaml, strlen(yaml), name, overrides, override_count);
}

static struct error *read_file(const char *path, char **text, size_t *bytes)
{
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_errno(ERROR_USAGE, "cannot read the configuration %s", path);
    if (!fstat(fileno(file), &status) && S_ISDIR(status.st_mode)) {
        fclose(file);
        return error_new(ERROR_USAGE, "%s is a folder; the configuration is a YAML file", path);
    }
    char *buffer = malloc(MOST_BYTES + 1);
    if (!buffer) {
        fclose(file);
        return error_new(ERROR_MEMORY, "no memory for the configuration");
    }
    const size_t n = fread(buffer, 1, MOST_BYTES + 1, file);
    fclose(file);
    if (n > MOST_BYTES || memchr(buffer, '\0', n)) {
        free(buffer);
        return error_new(ERROR_USAGE, "%s is not a YAML file of at most %d bytes", path,
                         MOST_BYTES);
    }
    *text = buffer;
    *bytes = n;
    return NULL;
}

struct error *config_load(struct config **out, const char *path, const char *const *overrides,
                          int override_count)
{
    if (!path)
        return load(out, NULL, 0, "", overrides, override_count);
    char *text = NULL;
    size_t bytes = 0;
    TRY(read_file(path, &text, &bytes));
    struct error *e = load(out, text, bytes, path, overrides, override_count);
    free(text);
    return e;
}

void config_destroy(struct config *config)
{
    if (!config)
        return;
    for (int i = 0; i < config->sampling.sample_count; i++)
        config_release_values(&config->sampling.samples[i], config_sample_keys,
                              config_sample_key_count);
    config_release_values(config, config_keys, config_key_count);
    free(config->given);
    free(config);
}

struct error *config_adopt(struct config *config, const char *const *settings, int count)
{
    for (int i = 0; i < count; i++)
        TRY(apply_override(config, settings[i], true));
    return config_check(config);
}

struct error *config_check(const struct config *config)
{
    const struct config *c = config;
    const int64_t T = c->data.sequence_length;
    const int64_t positions = c->model.max_positions > 0 ? c->model.max_positions : T;
    if (c->model.heads > c->model.channels)
        return error_new(ERROR_USAGE, "model.heads is %lld with model.channels %lld; a head needs "
                         "a channel at least", (long long)c->model.heads,
                         (long long)c->model.channels);
    if (!strcmp(c->model.family, "gpt2") && !strcmp(c->optimizer.token_moment, "by_occurrence"))
        return error_new(ERROR_USAGE, "optimizer.token_moment is by_occurrence, but the token "
                         "embedding of model.family gpt2 is also its head, whose gradient has no "
                         "occurrences; set it to dense");
    if (positions < T)
        return error_new(ERROR_USAGE, "model.max_positions is %lld, less than data.sequence_length "
                         "%lld; lower data.sequence_length, or give the model more positions",
                         (long long)positions, (long long)T);
    if (c->train.micro_batch > 0 && c->train.global_batch % c->train.micro_batch != 0)
        return error_new(ERROR_USAGE, "train.global_batch %lld is no multiple of train.micro_batch "
                         "%lld", (long long)c->train.global_batch,
                         (long long)c->train.micro_batch);
    if (c->schedule.decay_steps > 0 && c->schedule.decay_steps <= c->schedule.warmup_steps)
        return error_new(ERROR_USAGE, "schedule.decay_steps %lld must be over "
                         "schedule.warmup_steps %lld: it counts from the start of the run",
                         (long long)c->schedule.decay_steps, (long long)c->schedule.warmup_steps);
    for (int i = 0; i < c->sampling.sample_count; i++)
        if (c->sampling.samples[i].max_length > positions)
            return error_new(ERROR_USAGE, "sampling.samples.%d.max_length is %lld; the model has "
                             "only %lld positions", i,
                             (long long)c->sampling.samples[i].max_length, (long long)positions);
    return NULL;
}

int64_t config_min_bytes(const struct config *config)
{
    enum { OVER_512 = 513 };    /* what the mini-GPT's example keeps */
    if (config->data.min_bytes > 0)
        return config->data.min_bytes;
    return strcmp(config->model.family, "gpt2") ? OVER_512 : 1;
}

static bool is_power_of_two(int64_t n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

/* The tree over micro-batches must be the same for any number of ranks, and each a part of it. */
static struct error *check_reproducible(const struct config *config, int world_size)
{
    const int64_t batch = config->train.global_batch, micro = config->train.micro_batch;
    if (micro == 0 || batch % micro || !is_power_of_two(batch / micro))
        return error_new(ERROR_USAGE, "train.reproducible needs train.micro_batch, so that "
                         "train.global_batch is a power of two of it, found %lld and %lld; set "
                         "train.micro_batch", (long long)micro, (long long)batch);
    if (!is_power_of_two(world_size) || world_size > batch / micro)
        return error_new(ERROR_USAGE, "train.reproducible needs a power of two of ranks, at most "
                         "train.global_batch / train.micro_batch = %lld, found %d",
                         (long long)(batch / micro), world_size);
    if (config->device.threads == 0)
        return error_new(ERROR_USAGE, "train.reproducible needs device.threads, the same for every "
                         "number of ranks: sums within a kernel depend on it; set "
                         "device.threads=1 or more");
    return NULL;
}

struct error *config_check_ranks(const struct config *config, int world_size)
{
    const int64_t batch = config->train.global_batch, micro = config->train.micro_batch;
    if (config->train.reproducible)
        TRY(check_reproducible(config, world_size));
    const int64_t unit = world_size * (micro > 0 ? micro : 1);
    if (batch % unit == 0)
        return NULL;
    const int64_t below = batch / unit * unit, above = below + unit;
    char nearest[64];
    if (below > 0)
        snprintf(nearest, sizeof nearest, "%lld or %lld", (long long)below, (long long)above);
    else
        snprintf(nearest, sizeof nearest, "%lld", (long long)above);
    return error_new(ERROR_USAGE, "train.global_batch %lld cannot be shared evenly by %d ranks%s; "
                     "the nearest that can: %s", (long long)batch, world_size,
                     micro > 0 ? " in micro-batches of train.micro_batch" : "", nearest);
}
