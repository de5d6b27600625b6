/* backends_cuda.c - the kinds of device in a build with GPU kernels. */
#include "device/backend.h"

#include <stddef.h>

const struct backend *const device_backends[] = {&backend_cuda, &backend_cpu, NULL};
