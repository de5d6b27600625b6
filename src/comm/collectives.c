/* collectives.c - which collectives fit a device. */
#include "comm/collectives.h"

#include <string.h>

struct error *collectives_for(const struct collectives **out, const struct device *device,
                              bool in_tree)
{
    if (in_tree && !strcmp(collectives_tree.device_kind, device_kind(device))) {
        *out = &collectives_tree;
        return NULL;
    }
    for (int i = 0; collectives_list[i]; i++) {
        if (!strcmp(collectives_list[i]->device_kind, device_kind(device))) {
            *out = collectives_list[i];
            return NULL;
        }
    }
    return error_new(ERROR_USAGE, "this build cannot sum over ranks on device \"%s\": it was made "
                     "without NCCL; build again where nccl.h is, or start one rank",
                     device_kind(device));
}

struct error *collectives_prepare(struct comm *comm, struct device *device)
{
    const struct collectives *collectives = NULL;
    if (comm_world_size(comm) == 1)
        return NULL;
    uint64_t kind = 0;
    for (const char *c = device_kind(device); *c; c++)
        kind = kind * 257 + (unsigned char)*c;
    TRY(comm_check_equal(comm, "the kind of device to compute on", kind));
    TRY(collectives_for(&collectives, device, false));
    return collectives->prepare ? collectives->prepare(comm, device) : NULL;
}
