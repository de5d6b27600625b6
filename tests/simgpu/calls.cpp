/* calls.cpp - counts calls and lets the chosen one fail. */
#include "calls.h"

#include "device.h"
#include "fault.h"
#include "settings.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace simgpu {

namespace {

struct counts {
    std::mutex lock;
    std::map<std::string, long> calls;
};

counts &c = *new counts;

void write_counts()
{
    FILE *const f = fopen(settings().calls_file.c_str(), "a");
    if (!f)
        fault("cannot append to SIMGPU_CALLS=%s", settings().calls_file.c_str());
    for (const auto &[name, n] : c.calls)
        fprintf(f, "%s %ld\n", name.c_str(), n);
    fclose(f);
}

}    // namespace

namespace {

long count_call(const char *name)
{
    const std::lock_guard<std::mutex> hold(c.lock);
    if (c.calls.empty() && !settings().calls_file.empty())
        atexit(write_counts);
    return ++c.calls[name];
}

}    // namespace

int injected_failure(const char *name)
{
    const settings_of_process &s = settings();
    const long n = count_call(name);
    if (n == s.late_number && s.late_name == name)
        std::this_thread::sleep_for(std::chrono::seconds(s.late_s));
    return n == s.fail_number && s.fail_name == name ? s.fail_error : 0;
}

int enter_call(const char *name)
{
    device_breathe();
    return injected_failure(name);
}

}    // namespace simgpu
