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

/* "NAME:N:VALUE", with "@R" behind it for rank R alone; *call stays 0 where it is not for this one. */
void read_call(const char *setting, int own_rank, std::string *name, long *call, int *value)
{
    const char *const text = getenv(setting);
    if (!text)
        return;
    char word[64];
    int rank = own_rank, length = 0;
    const int read = sscanf(text, "%63[^:]:%ld:%d%n@%d%n", word, call, value, &length, &rank, &length);
    if (read < 3 || *call < 1 || (size_t)length != strlen(text))
        refuse(setting, text);
    *name = word;
    if (rank != own_rank)
        *call = 0;
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
    read_call("SIMGPU_FAIL", s.rank, &s.fail_name, &s.fail_number, &s.fail_error);
    read_call("SIMGPU_LATE", s.rank, &s.late_name, &s.late_number, &s.late_s);
    const char *const meet = getenv("SIMGPU_MEET");
    s.meet = meet ? meet : "";
    if (meet && s.meet != "always" && s.meet != "first")
        refuse("SIMGPU_MEET", meet);
    s.multicast_devices = (int)number("SIMGPU_MULTICAST", 0);
    return s;
}

}    // namespace

const settings_of_process &settings()
{
    static const settings_of_process &s = *new settings_of_process(read_settings());
    return s;
}

}    // namespace simgpu
