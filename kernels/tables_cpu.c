/* tables_cpu.c - the kernel tables of a build without GPU kernels. */
#include "kernels/tables.h"

struct error *kernels_for(const struct kernels **out, struct device *device, enum dtype activation)
{
    return kernels_for_cpu(out, device, activation);
}
