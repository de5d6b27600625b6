/* backends_cpu.c - the kinds of device in a build without GPU kernels. */
#include "device/backend.h"

#include <stddef.h>

const struct backend *const device_backends[] = {&backend_cpu, NULL};
