/* error.c - errors as values: a kind and one message. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct error {
    enum error_kind kind;
    char *message;
};

static struct error out_of_memory = {
    .kind = ERROR_MEMORY,
    .message = "out of memory (not even enough for the message that says for what)",
};

/* "prefix" + "suffix" in new memory, either may be empty; NULL if there is none. */
static char *join(const char *format, va_list arguments, const char *separator, const char *suffix)
{
    va_list again;
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0)
        return NULL;

    const size_t bytes = (size_t)length + strlen(separator) + strlen(suffix) + 1;
    char *message = malloc(bytes);
    if (!message)
        return NULL;
    vsnprintf(message, (size_t)length + 1, format, arguments);
    strcat(message, separator);
    strcat(message, suffix);
    return message;
}

static struct error *make(enum error_kind kind, char *message)
{
    struct error *e = message ? malloc(sizeof *e) : NULL;
    if (!e) {
        free(message);
        return &out_of_memory;
    }
    *e = (struct error){.kind = kind, .message = message};
    return e;
}

struct error *error_new(enum error_kind kind, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *message = join(format, arguments, "", "");
    va_end(arguments);
    return make(kind, message);
}

struct error *error_errno(enum error_kind kind, const char *format, ...)
{
    char reason[256];
    const char *text = strerror_r(errno, reason, sizeof reason);
    va_list arguments;
    va_start(arguments, format);
    char *message = join(format, arguments, ": ", text);
    va_end(arguments);
    return make(kind, message);
}

struct error *error_context(struct error *cause, const char *format, ...)
{
    if (cause == &out_of_memory)
        return cause;
    va_list arguments;
    va_start(arguments, format);
    char *message = join(format, arguments, ": ", cause->message);
    va_end(arguments);
    if (!message)
        return cause;    /* the cause alone says more than "out of memory" */
    free(cause->message);
    cause->message = message;
    return cause;
}

const char *error_message(const struct error *error)
{
    return error->message;
}

enum error_kind error_kind(const struct error *error)
{
    return error->kind;
}

int error_exit_code(const struct error *error)
{
    switch (error->kind) {
    case ERROR_USAGE:
        return 2;
    case ERROR_INTERRUPTED:
        return 75;    /* EX_TEMPFAIL: run me again */
    default:
        return 1;
    }
}

void error_destroy(struct error *error)
{
    if (!error || error == &out_of_memory)
        return;
    free(error->message);
    free(error);
}

void bug_at(const char *file, int line, const char *format, ...)
{
    fprintf(stderr, "galley: broken invariant at %s:%d: ", file, line);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}
