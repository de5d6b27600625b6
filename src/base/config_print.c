/* config_print.c - the configuration as YAML, as help, as a reference page. */
#include "base/config_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A double-quoted YAML string; what is not printable ASCII stays, but for control characters. */
static void print_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (const char *c = text; *c; c++) {
        const unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (byte == '\n')
            fputs("\\n", out);
        else if (byte == '\t')
            fputs("\\t", out);
        else if (byte < 0x20 || byte == 0x7f)
            fprintf(out, "\\x%02x", byte);
        else
            fputc(byte, out);
    }
    fputc('"', out);
}

static void print_value(FILE *out, const void *base, const struct config_key *key)
{
    const void *value = (const char *)base + key->offset;
    switch (key->type) {
    case CONFIG_INT:
        fprintf(out, "%" PRId64, *(const int64_t *)value);
        break;
    case CONFIG_DOUBLE: {
        /* The shortest of the forms that read back to the same number. */
        const double number = *(const double *)value;
        char text[32];
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, number);
            if (strtod(text, NULL) >= number && strtod(text, NULL) <= number)
                break;
        }
        fputs(text, out);
        break;
    }
    case CONFIG_BOOL:
        fputs(*(const bool *)value ? "true" : "false", out);
        break;
    case CONFIG_CHOICE:
        fputs(*(char *const *)value, out);
        break;
    case CONFIG_STRING:
        print_quoted(out, *(char *const *)value);
        break;
    case CONFIG_LIST: {
        const struct config_list *list = value;
        fputc('[', out);
        for (int i = 0; i < list->count; i++) {
            fputs(i ? ", " : "", out);
            print_quoted(out, list->items[i]);
        }
        fputc(']', out);
        break;
    }
    }
}

static void print_samples(FILE *out, const struct config *config)
{
    if (config->sampling.sample_count == 0)
        return;
    fputs("    samples:\n", out);
    for (int i = 0; i < config->sampling.sample_count; i++) {
        for (int k = 0; k < config_sample_key_count; k++) {
            fprintf(out, "        %s %s: ", k ? " " : "-", config_sample_keys[k].name);
            print_value(out, &config->sampling.samples[i], &config_sample_keys[k]);
            fputc('\n', out);
        }
    }
}

static int section_length(const char *name)
{
    return (int)(strchr(name, '.') - name);
}

/* Whether a section ends after key i. */
static bool section_ends(int i)
{
    const int length = section_length(config_keys[i].name);
    return i + 1 == config_key_count ||
           strncmp(config_keys[i].name, config_keys[i + 1].name, (size_t)length + 1) != 0;
}

struct error *config_print(const struct config *config, char **yaml)
{
    size_t bytes;
    char *text = NULL;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return error_errno(ERROR_MEMORY, "cannot print the configuration");
    for (int i = 0; i < config_key_count; i++) {
        const char *name = config_keys[i].name;
        const int length = section_length(name);
        if (i == 0 || section_ends(i - 1))
            fprintf(out, "%.*s:\n", length, name);
        fprintf(out, "    %s: ", name + length + 1);
        print_value(out, config, &config_keys[i]);
        fputc('\n', out);
        if (section_ends(i) && !strncmp(name, "sampling.", 9))
            print_samples(out, config);
    }
    if (fclose(out)) {
        free(text);
        return error_errno(ERROR_MEMORY, "cannot print the configuration");
    }
    *yaml = text;
    return NULL;
}

static const char *type_name(enum config_type type)
{
    static const char *const names[] = {
        [CONFIG_INT] = "whole number", [CONFIG_DOUBLE] = "number", [CONFIG_BOOL] = "true or false",
        [CONFIG_STRING] = "text", [CONFIG_CHOICE] = "one of", [CONFIG_LIST] = "list of texts",
    };
    return names[type];
}

static void print_type(FILE *out, const struct config_key *key, const char *bar)
{
    fputs(type_name(key->type), out);
    if (key->type == CONFIG_CHOICE) {
        fputc(' ', out);
        for (const char *c = key->choices; *c; c++) {
            if (*c == '|')
                fputs(bar, out);
            else
                fputc(*c, out);
        }
    } else if (key->type == CONFIG_INT || key->type == CONFIG_DOUBLE) {
        fprintf(out, ", %.12g to %.12g", key->low, key->high);
    }
}

static void print_keys(FILE *out, const struct config_key *keys, int count, const char *prefix,
                       bool markdown)
{
    for (int i = 0; i < count; i++) {
        const struct config_key *key = &keys[i];
        if (markdown) {
            fprintf(out, "| `%s%s` | ", prefix, key->name);
            print_type(out, key, ", ");
            fprintf(out, " | `%s` | %s |\n", *key->otherwise ? key->otherwise : " ", key->help);
        } else {
            fprintf(out, "  %s%s\n      %s (", prefix, key->name, key->help);
            print_type(out, key, ", ");
            fprintf(out, "; default %s)\n", *key->otherwise ? key->otherwise : "empty");
        }
    }
}

void config_help(FILE *out, bool markdown)
{
    if (markdown)
        fputs("# Configuration\n\n"
              "Made from the program's own table of keys (`build/bin/print_reference`).\n"
              "Every key can stand in the YAML file or on the command line as "
              "`--section.key=value`.\n\n"
              "| key | type | default | meaning |\n|---|---|---|---|\n", out);
    else
        fputs("\nConfiguration keys (in the file, or as --section.key=value):\n", out);
    print_keys(out, config_keys, config_key_count, "", markdown);
    print_keys(out, config_sample_keys, config_sample_key_count, "sampling.samples.N.", markdown);
}
