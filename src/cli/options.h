/*
 * options.h - the --options of a verb as one table: what each is called, and where its value goes.
 *
 *     static const struct cli_option flags[] = {
 *         CLI_TEXT("output", struct request, output),
 *         CLI_INT("size", struct request, size, 4, 1 << 24),
 *         CLI_FLAG("lowercase", struct request, wordpiece.lowercase),
 *         CLI_READ("to", read_target),
 *         {.name = NULL},
 *     };
 */
#ifndef GALLEY_CLI_OPTIONS_H
#define GALLEY_CLI_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { CLI_MOST_OPTIONS = 32 };

enum cli_value {
    CLI_VALUE_NONE,         /* bool; set to true */
    CLI_VALUE_UNSET,        /* bool; set to false */
    CLI_VALUE_TEXT,         /* const char *, which points into argv */
    CLI_VALUE_INT,          /* a signed integer of 4 or 8 bytes */
    CLI_VALUE_DOUBLE,
    CLI_VALUE_PRECISION,    /* enum dtype; "fp32" or "bf16" */
    CLI_VALUE_READ,         /* whatever the function makes of it */
};

struct cli_option {
    const char *name;                                         /* without the dashes */
    enum cli_value value;
    size_t offset, bytes;                                     /* of the field in the request */
    long long low, high;                                      /* CLI_VALUE_INT */
    double least, most;                                       /* CLI_VALUE_DOUBLE */
    struct error *(*read)(void *request, const char *text);    /* CLI_VALUE_READ */
};

#define CLI_FIELD(type, field) .offset = offsetof(type, field), .bytes = sizeof(((type *)0)->field)
#define CLI_FLAG(name_, type, field) \
    {.name = (name_), .value = CLI_VALUE_NONE, CLI_FIELD(type, field)}
#define CLI_UNSET(name_, type, field) \
    {.name = (name_), .value = CLI_VALUE_UNSET, CLI_FIELD(type, field)}
#define CLI_TEXT(name_, type, field) \
    {.name = (name_), .value = CLI_VALUE_TEXT, CLI_FIELD(type, field)}
#define CLI_INT(name_, type, field, low_, high_) \
    {.name = (name_), .value = CLI_VALUE_INT, CLI_FIELD(type, field), .low = (low_),               \
     .high = (high_)}
#define CLI_DOUBLE(name_, type, field, least_, most_) \
    {.name = (name_), .value = CLI_VALUE_DOUBLE, CLI_FIELD(type, field), .least = (least_),        \
     .most = (most_)}
#define CLI_PRECISION(name_, type, field) \
    {.name = (name_), .value = CLI_VALUE_PRECISION, CLI_FIELD(type, field)}
#define CLI_READ(name_, function) {.name = (name_), .value = CLI_VALUE_READ, .read = (function)}

/* What a command line says beside the values of its options. */
struct cli_arguments {
    int count;                        /* what is no option, in its order */
    char **list;
    bool given[CLI_MOST_OPTIONS];     /* by the option's place in the table */
};

/*
 * Reads the options of `galley verb` into `request`; the table ends with a row without a name.
 * Local. An error names the option and the range, or, where there is none of that name, the
 * nearest.
 */
MUST_USE struct error *cli_read_options(struct cli_arguments *out, const char *verb,
                                        const struct cli_option *options, void *request, int argc,
                                        char **argv);

#endif
