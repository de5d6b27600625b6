/* settings.cpp - reads the environment. */
#include "settings.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace simgpu {

namespace {

[[noreturn]] void refuse(const char *name, const char *value)
{
    fprintf(stderr, "simgpu: %s=%s is not understood\n", name, value);
    exit(2);
}

long long number(const char *name, long long otherwise)
{
    const char *const value = getenv(name);
    if (!value)
        return otherwise;
    char *end;
    const long long n = strtoll(value, &end, 0);
    if (end == value || *end || n < 0)
        refuse(name, value);
    return n;
}

void read_failure(settings_of_process &s)
{
    const char *const value = getenv("SIMGPU_FAIL");
    if (!value)
        return;
    char name[64];
    int rank = s.rank, length = 0;
    const int read = sscanf(value, "%63[^:]:%ld:%d%n@%d%n", name, &s.fail_number, &s.fail_error,
                            &length, &rank, &length);
    if (read < 3 || s.fail_number < 1 || (size_t)length != strlen(value))
        refuse("SIMGPU_FAIL", value);
    s.fail_name = name;
    if (rank != s.rank)
        s.fail_number = 0;
}

void read_devices(settings_of_process &s)
{
    const char *const devices = getenv("SIMGPU_DEVICES"),
        *const visible = getenv("CUDA_VISIBLE_DEVICES");
    s.driver = !devices || strcmp(devices, "none");
    const int count = s.driver ? (int)number("SIMGPU_DEVICES", 8) : 0;
    if (!visible) {
        for (int i = 0; i < count; i++)
            s.devices.push_back(i);
        return;
    }
    /* The first number that is no device hides those behind it. */
    for (const char *at = visible; *at;) {
        char *end;
        const long i = strtol(at, &end, 10);
        if (end == at || i < 0 || i >= count)
            return;
        s.devices.push_back((int)i);
        at = *end == ',' ? end + 1 : end;
    }
}

settings_of_process read_settings()
{
    settings_of_process s = {};
    s.rank = (int)number("OMPI_COMM_WORLD_RANK", -1);
    s.seed = (uint64_t)number("SIMGPU_SEED", 1) * 1000003u + (uint64_t)(s.rank + 1);
    read_devices(s);
    s.memory_bytes = (size_t)number("SIMGPU_MEMORY", 8LL << 30);
    s.shared_bytes = (size_t)number("SIMGPU_SHARED", 99 * 1024);
    s.ignored_event = (long)number("SIMGPU_IGNORE", 0);
    const char *const calls = getenv("SIMGPU_CALLS");
    s.calls_file = calls ? calls : "";
    const char *const epilogues = getenv("SIMGPU_EPILOGUES");
    s.epilogues = epilogues ? epilogues : "";
    if (epilogues && s.epilogues != "fast" && s.epilogues != "slow")
        refuse("SIMGPU_EPILOGUES", epilogues);
    const char *const slow = getenv("SIMGPU_SLOW");
    s.slow_kernels = slow ? slow : "";
    read_failure(s);
    return s;
}

}    // namespace

const settings_of_process &settings()
{
    static const settings_of_process &s = *new settings_of_process(read_settings());
    return s;
}

}    // namespace simgpu
