/* tables.h - where each back-end's tables come from; for kernels/ only. */
#ifndef GALLEY_KERNELS_TABLES_H
#define GALLEY_KERNELS_TABLES_H

#include "kernels/kernels.h"

/* As kernels_for, for a device of that kind. */
MUST_USE struct error *kernels_for_cpu(const struct kernels **out, struct device *device,
                                       enum dtype activation);
MUST_USE struct error *kernels_for_cuda(const struct kernels **out, struct device *device,
                                        enum dtype activation);

#endif
