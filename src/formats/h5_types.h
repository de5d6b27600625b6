/* h5_types.h - our number formats as HDF5's types; for src/formats only. */
#ifndef GALLEY_FORMATS_H5_TYPES_H
#define GALLEY_FORMATS_H5_TYPES_H

#include "formats/elements.h"

#include <hdf5.h>

/* As h5py writes it, for H5Tclose: bfloat16, which HDF5 does not know, is opaque pairs of bytes. */
hid_t h5_element_type(enum element_type type);

#endif
