/*
 * manifest.h - a list, in front of an HDF5 file, of where its arrays stand and what they hash to.
 *
 * HDF5 gives a file's first bytes to its user. There a checkpoint or shard keeps lines of text: how
 * long the file is, the place and XXH3-64 of every array, and of all the bytes between them. So a
 * damaged file is found, and the damaged array named, before HDF5 reads a byte of it; a reader of
 * damaged structures cannot crash on what it never sees. `head -c 4096 step-00001234.h5` shows it.
 *
 *     galley checkpoint 1
 *     bytes 39123456
 *     array /weights/token_embedding 16384 5120000 0123456789abcdef
 *     ...
 *     rest 0123456789abcdef
 *     end 0123456789abcdef
 */
#ifndef GALLEY_FORMATS_MANIFEST_H
#define GALLEY_FORMATS_MANIFEST_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { MANIFEST_NAME_BYTES = 128, MANIFEST_MOST_EXTENTS = (1 << 18) - 5 };

/* One array of the file. */
struct extent {
    char name[MANIFEST_NAME_BYTES];
    uint64_t offset, bytes, xxh3;
};

struct manifest {
    struct extent *extents;
    int count;
};

/* Bytes to leave for a manifest of so many extents, at most MANIFEST_MOST_EXTENTS: a power of two,
 * at least 512. */
size_t manifest_room(int extents);
/* Hashes what is between the extents and writes the manifest into the file's first `room` bytes.
 * Sorts the extents by offset. `kind` is what the file is: "checkpoint", "shard". */
MUST_USE struct error *manifest_write(const char *path, const char *kind, struct manifest *manifest,
                                      size_t room);
/* Reads and checks the manifest, the file's length and what is between the extents: after it HDF5
 * may open the file. A file of another kind is an error. Release with manifest_release. */
MUST_USE struct error *manifest_read(const char *path, const char *kind, struct manifest *out);
/* Checks every extent's bytes; an error names the array, what was expected and found. */
MUST_USE struct error *manifest_verify(const char *path, const struct manifest *manifest);
/* The extent of that name, or NULL. */
const struct extent *manifest_find(const struct manifest *manifest, const char *name);
void manifest_release(struct manifest *manifest);

#endif
