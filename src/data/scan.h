/*
 * scan.h - reads text once from beginning to end: checks it, unpacks it, finds its samples.
 */
#ifndef GALLEY_DATA_SCAN_H
#define GALLEY_DATA_SCAN_H

#include "base/error.h"
#include "data/sample_index.h"
#include "data/source.h"

#include <stdbool.h>

struct scan_options {
    const char *name;        /* what errors and progress call the data */
    int64_t min_bytes;       /* shortest line kept */
    bool show_progress;
    const char *folder;      /* where unpacked text goes */
    const char *text_name;   /* its name there; NULL: unnamed */
};

/*
 * Reads all of `source`. Addresses of samples go to `addresses`, whatever was packed to `unpacked`,
 * which is created when the first packed file comes and otherwise stays without a descriptor. Both
 * spools stay the caller's, also on failure. No sample at all is an error.
 */
MUST_USE struct error *scan_text(struct sample_index *out, struct source *source,
                                 const struct scan_options *options, struct spool *addresses,
                                 struct spool *unpacked);

#endif
