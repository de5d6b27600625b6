/* async_copy.cpp - the copies each thread of the running block has under way. */
#include "simgpu/async_copy.h"

#include "simgpu/block.h"

#include "fault.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace simgpu {

namespace {

struct copy {
    void *to;
    const void *from;    /* NULL: zeros */
    size_t bytes;
};

struct copies {
    std::vector<copy> list;         /* oldest first */
    std::vector<size_t> groups;     /* copies in each committed group, oldest first */
    size_t open = 0;                /* copies behind the last commit */
};

std::vector<copies> &under_way = *new std::vector<copies>;
bool any;

copies &mine()
{
    return under_way[(size_t)(running->warp * WARP + running->lane)];
}

}    // namespace

void copy_async(void *shared, const void *global, size_t bytes, bool valid)
{
    if ((uintptr_t)shared % bytes || (valid && (uintptr_t)global % bytes))
        fault("%s: an asynchronous copy of %zu bytes from %p to %p, which are not "
              "aligned to as many",
              running_place().c_str(), bytes, global, shared);
    memset(shared, 0xff, bytes);
    copies &c = mine();
    c.list.push_back({shared, valid ? global : nullptr, bytes});
    c.open++;
    any = true;
}

void copy_async_commit()
{
    copies &c = mine();
    c.groups.push_back(c.open);
    c.open = 0;
}

void copy_async_wait(int pending)
{
    copies &c = mine();
    size_t done = 0;
    while (c.groups.size() > (size_t)pending) {
        const size_t end = done + c.groups.front();
        for (; done < end; done++) {
            const copy &i = c.list[done];
            if (i.from)
                memcpy(i.to, i.from, i.bytes);
            else
                memset(i.to, 0, i.bytes);
        }
        c.groups.erase(c.groups.begin());
    }
    c.list.erase(c.list.begin(), c.list.begin() + (long)done);
}

void copy_async_reset(size_t threads)
{
    if (under_way.size() < threads)
        under_way.resize(threads);
    if (!any)
        return;
    for (copies &c : under_way)
        c = {};
    any = false;
}

}    // namespace simgpu
