/* h5_types.c - float32, float16 and bfloat16 in HDF5. */
#include "formats/h5_types.h"

hid_t h5_element_type(enum element_type type)
{
    if (type == ELEMENT_F32)
        return H5Tcopy(H5T_IEEE_F32LE);
    if (type == ELEMENT_BF16)
        return H5Tcreate(H5T_OPAQUE, 2);
    const hid_t half = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(half, 15, 10, 5, 0, 10);    /* sign at bit 15, 5 bits of exponent, 10 of fraction */
    H5Tset_size(half, 2);
    H5Tset_ebias(half, 15);
    return half;
}
