/*
 * error.h - errors as values.
 *
 * A function that can fail returns `struct error *`: NULL is success. The function that first
 * decides that something is wrong words the message (what was found, where, what was expected, how
 * to mend it); callers only pass it on, adding where they were with error_context(). Nothing below
 * `main` prints an error: in a distributed program the text must reach the user once, from one
 * rank.
 *
 *     if ((e = shards_open(&s->shards, path)))
 *         goto fail;
 *
 * Ownership: whoever receives an error owns it, and returns it, or ends it with error_destroy().
 * A dropped error is a leak, so LeakSanitizer finds it. Errors are not shared between threads; a
 * thread hands its error over by storing it where its owner looks.
 */
#ifndef GALLEY_BASE_ERROR_H
#define GALLEY_BASE_ERROR_H

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(at, first) __attribute__((format(printf, at, first)))

/* What kind of thing went wrong; it decides the exit code (error_exit_code). */
enum error_kind {
    ERROR_USAGE,         /* command line or configuration: exit 2 */
    ERROR_INPUT,         /* a file's content is not what it must be: exit 1 */
    ERROR_IO,            /* the system refused a file operation: exit 1 */
    ERROR_MEMORY,        /* out of memory: exit 1 */
    ERROR_DEVICE,        /* a device or a library that drives it failed: exit 1 */
    ERROR_COMMUNICATION, /* ranks disagree or cannot reach each other: exit 1 */
    ERROR_INTERRUPTED,   /* asked to stop; the state was saved: exit 75 */
};

struct error;

/* A new error with a printf-style message, one sentence without a final stop. Never NULL: when
 * there is no memory for the message, a static "out of memory" error is returned. */
MUST_USE struct error *error_new(enum error_kind kind, const char *format, ...) PRINTF_LIKE(2, 3);

/* The same, with ": " and the text of errno (as it stands at the call) added. */
MUST_USE struct error *error_errno(enum error_kind kind, const char *format, ...)
    PRINTF_LIKE(2, 3);

/* Takes `cause` and returns it with "while ..." words: "opening the training data: <cause>". */
MUST_USE struct error *error_context(struct error *cause, const char *format, ...)
    PRINTF_LIKE(2, 3);

/* The whole message; valid until the error is destroyed. */
const char *error_message(const struct error *error);
enum error_kind error_kind(const struct error *error);
/* The process exit code that goes with the kind: 2, 75 or 1. */
int error_exit_code(const struct error *error);

/* Ends an error; NULL is fine. */
void error_destroy(struct error *error);

/* Returns a failure to the caller at once; only for functions that hold nothing to release. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        struct error *try_error_ = (call);                                                         \
        if (try_error_)                                                                            \
            return try_error_;                                                                     \
    } while (0)

/* A broken invariant of ours, never bad input: prints file and line and aborts. */
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
__attribute__((noreturn)) void bug_at(const char *file, int line, const char *format,
                                      ...) PRINTF_LIKE(3, 4);

#endif
