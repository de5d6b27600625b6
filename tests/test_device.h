/* test_device.h - the device that a test program is told to try: "cpu", or "cuda" where there is
 * one. */
#ifndef GALLEY_TESTS_TEST_DEVICE_H
#define GALLEY_TESTS_TEST_DEVICE_H

#include "testing.h"

#include "device/device.h"

enum { TEST_SKIPPED = 77 };

/* `name`; the test ends as skipped where no GPU is visible, with code 2 where there is no such
 * device. */
static inline const char *test_device(const char *name)
{
    struct device *best;
    if (!strcmp(name, "cpu"))
        return name;
    if (strcmp(name, "cuda")) {
        fprintf(stderr, "the device is cpu or cuda, not %s\n", name);
        exit(2);
    }
    assert_ok(device_open(&best, &(struct device_options){.kind = "auto"}));
    const bool there = !strcmp(device_kind(best), "cuda");
    device_close(best);
    if (!there) {
        puts("skipped: no GPU is visible, or this build has no kernels for one");
        exit(TEST_SKIPPED);
    }
    return name;
}

#endif
