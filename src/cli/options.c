/* options.c - reads the --options of a verb as its table says. */
#include "cli/options.h"

#include "base/distance.h"
#include "cli/verbs.h"
#include "device/dtype.h"

#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool takes_value(const struct cli_option *o)
{
    return o->value != CLI_VALUE_NONE && o->value != CLI_VALUE_UNSET;
}

static struct error *read_int(const struct cli_option *o, const char *name, void *field,
                              const char *text)
{
    long long value;
    TRY(cli_parse_int(&value, name, text, o->low, o->high));
    if (o->bytes == sizeof(int32_t))
        *(int32_t *)field = (int32_t)value;
    else if (o->bytes == sizeof(int64_t))
        memcpy(field, &value, sizeof value);    /* long or long long */
    else
        BUG("%s goes to a field of %zu bytes", name, o->bytes);
    return NULL;
}

static struct error *read_precision(enum dtype *out, const char *name, const char *text)
{
    if (strcmp(text, "fp32") && strcmp(text, "bf16"))
        return error_new(ERROR_USAGE, "%s is \"%s\"; it must be fp32 or bf16", name, text);
    *out = strcmp(text, "bf16") ? DTYPE_F32 : DTYPE_BF16;
    return NULL;
}

static struct error *read_value(const struct cli_option *o, void *request, const char *text)
{
    char name[64];
    void *const field = (char *)request + o->offset;
    snprintf(name, sizeof name, "--%s", o->name);
    switch (o->value) {
    case CLI_VALUE_NONE:
    case CLI_VALUE_UNSET:
        *(bool *)field = o->value == CLI_VALUE_NONE;
        return NULL;
    case CLI_VALUE_TEXT:
        *(const char **)field = text;
        return NULL;
    case CLI_VALUE_INT:
        return read_int(o, name, field, text);
    case CLI_VALUE_DOUBLE:
        return cli_parse_double(field, name, text, o->least, o->most);
    case CLI_VALUE_PRECISION:
        return read_precision(field, name, text);
    case CLI_VALUE_READ:
        return o->read(request, text);
    }
    BUG("%s has a value of the kind %d", name, (int)o->value);
}

static struct error *unknown(const char *verb, const struct cli_option *options, const char *text)
{
    const struct cli_option *nearest = &options[0];
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(text, "="), text);
    for (const struct cli_option *o = options; o->name; o++)
        if (name_distance(name, o->name) < name_distance(name, nearest->name))
            nearest = o;
    const bool near = 2 * name_distance(name, nearest->name) <= (int)strlen(name);
    return error_new(ERROR_USAGE, "galley %s has no option --%s%s%s; galley %s --help lists all",
                     verb, name,
                     near ? "; the nearest is --" : "", near ? nearest->name : "", verb);
}

/*
 * The error for what getopt_long could not take. It tells apart by optopt: the number of an option,
 * whose value is missing (it returned ':') or one too many; 0 for a long option that it does not
 * know, or knows several of; else the character of a short one, of which we have none.
 */
static struct error *bad_option(const char *verb, const struct cli_option *options,
                                bool value_missing, char **argv)
{
    if (optopt > CLI_MOST_OPTIONS)
        return error_new(ERROR_USAGE, "galley %s cannot take \"-%c\"; galley %s --help "
                         "lists its options",
                         verb, optopt, verb);
    if (optopt == 0)
        return unknown(verb, options, argv[optind - 1] + strlen("--"));
    return error_new(ERROR_USAGE, value_missing ? "--%s needs a value; galley %s --help tells which"
                                                : "--%s takes no value; see galley %s --help",
                     options[optopt - 1].name, verb);
}

struct error *cli_read_options(struct cli_arguments *out, const char *verb,
                               const struct cli_option *options, void *request, int argc,
                               char **argv)
{
    struct option names[CLI_MOST_OPTIONS + 1] = {{NULL, 0, NULL, 0}};
    for (int i = 0; options[i].name; i++) {
        if (i == CLI_MOST_OPTIONS)
            BUG("galley %s has more than %d options", verb, CLI_MOST_OPTIONS);
        names[i] = (struct option){
            options[i].name, takes_value(&options[i]) ? required_argument : no_argument, NULL,
                i + 1};
    }
    *out = (struct cli_arguments){.count = 0};
    opterr = 0;
    for (int number; (number = getopt_long(argc, argv, ":", names, NULL)) != -1;) {
        if (number == '?' || number == ':')
            return bad_option(verb, options, number == ':', argv);
        TRY(read_value(&options[number - 1], request, optarg));
        out->given[number - 1] = true;
    }
    out->count = argc - optind;
    out->list = argv + optind;
    return NULL;
}
