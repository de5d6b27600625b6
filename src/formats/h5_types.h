/* h5_types.h - our number formats as HDF5's types, and its handle of a file; for src/formats
 * only. */
#ifndef GALLEY_FORMATS_H5_TYPES_H
#define GALLEY_FORMATS_H5_TYPES_H

#include "formats/elements.h"
#include "formats/h5.h"

#include <hdf5.h>

/* As h5py writes it, for H5Tclose: bfloat16, which HDF5 does not know, is opaque pairs of bytes. */
hid_t h5_element_type(enum element_type type);

hid_t h5_file_id(const struct h5_file *file);
/* The error for a call of HDF5 that failed, with the reason it gave: "cannot WHAT OBJECT in
 * PATH". */
struct error *h5_failed(const struct h5_file *file, const char *what, const char *object);

#endif
