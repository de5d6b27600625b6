/*
 * h5_catalog.h - the arrays of an HDF5 file that nobody vouches for.
 *
 * HDF5's library follows a damaged file's structures wherever they lead: it may crash (1.10.8 on 9
 * of 20,000 files damaged at random), or never end.
 * So it looks at foreign files in a child process only, which tells where the arrays lie; then
 * their bytes are read without it. A child that crashes, or is not done in a minute, means that the
 * file is damaged. (A checkpoint of our own needs no such care: its manifest is checked first.)
 */
#ifndef GALLEY_FORMATS_H5_CATALOG_H
#define GALLEY_FORMATS_H5_CATALOG_H

#include "formats/catalog.h"

/* Adds every array, by its absolute path. Only hard links are followed. Arrays must be contiguous
 * and unfiltered, as h5py writes them unless told otherwise. Local; forks, so call it before
 * threads of this process use HDF5. */
MUST_USE struct error *h5_catalog(struct catalog *catalog, const char *path);

#endif
