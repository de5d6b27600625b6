/*
 * output.h - a file or folder that appears whole under its name, or not at all.
 *
 *     struct output output;
 *     TRY(output_begin(&output, "models/gpt2", true, overwrite));
 *     struct error *e = write_into(output.partial);
 *     return output_end(&output, e);
 *
 * Everything is written to .NAME.partial beside it, which output_end renames or, after an error,
 * removes. A process that is killed leaves the partial one, which the next output_begin removes.
 */
#ifndef GALLEY_FORMATS_OUTPUT_H
#define GALLEY_FORMATS_OUTPUT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct output {
    char *path;
    char *partial;    /* a new empty folder, or a path where no file is */
};

/* Something at `path` is an error unless `overwrite`; what is neither file nor folder (a device, a
 * fifo) always. A folder is overwritten only where all it holds are files that models consist
 * of. */
MUST_USE struct error *output_begin(struct output *output, const char *path, bool folder,
                                    bool overwrite);
/* Takes `e`, the outcome of writing; returns it, or what goes wrong in the end. Everything is on
 * disk when it has its name. */
MUST_USE struct error *output_end(struct output *output, struct error *e);
/* Ends it without a file or folder; fine on a zeroed one. */
void output_discard(struct output *output);

/* All of that for a file of these bytes, in place of one that may be there. */
MUST_USE struct error *output_write(const char *path, const void *data, size_t bytes);

#endif
