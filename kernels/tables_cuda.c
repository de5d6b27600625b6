/* tables_cuda.c - the kernel tables of a build with GPU kernels. */
#include "kernels/tables.h"

#include <string.h>

struct error *kernels_for(const struct kernels **out, struct device *device, enum dtype activation)
{
    return strcmp(device_kind(device), "cuda") ? kernels_for_cpu(out, device, activation)
                                               : kernels_for_cuda(out, device, activation);
}
