/*
 * communicator.h - a communicator of the simulated NCCL: ranks that have met, and the collectives
 * that the device runs for them, one after another.
 *
 * Before a collective moves data, the ranks compare what each is about to do; a difference, which
 * would hang or corrupt a real one, ends the process with both sides in one message. Sums are taken
 * in the order of ranks.
 */
#ifndef SIMGPU_COMMUNICATOR_H
#define SIMGPU_COMMUNICATOR_H

#include "device.h"
#include "exchange.h"

#include <nccl.h>

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace simgpu {

enum class collective_kind : int32_t { all_reduce, all_gather, broadcast };

struct collective {
    collective_kind kind;
    const void *send;
    void *receive;
    size_t count;    /* elements this rank sends */
    ncclDataType_t type;
    ncclRedOp_t op;
    int root;
};

size_t nccl_type_bytes(ncclDataType_t type);

class communicator {
public:
    /* Begins to meet the others; `bus`: of this rank's GPU. */
    communicator(int rank, int size, const ncclUniqueId &id, int bus);

    const int rank, size;

    /* Whether all ranks have met; looks for them. */
    bool has_met();
    /* This rank makes a call that is done when all ranks have made it. */
    void begin_meeting();
    /* Whether they have; looks for them. */
    bool meets();
    /* Whether NCCL connects ranks for it: it had none like it before. */
    bool connects(const collective &what);
    /* Work for a stream. */
    static work work_of(const std::shared_ptr<communicator> &self, const collective &what);
    /* Ends all its collectives, whatever they were doing. */
    void abort();
    /* What went wrong behind the calls' backs, or ncclSuccess. */
    ncclResult_t failure();
    std::string failure_text();

    /* Memory that is registered, by start; false: not this device's, or registered already. */
    bool register_memory(void *start, size_t bytes);
    bool deregister_memory(void *start);

    const std::shared_ptr<chain> order = std::make_shared<chain>();
    /* Every graph with a collective in it has one too. */
    const std::shared_ptr<int> in_graphs = std::make_shared<int>(0);

private:
    struct announcement;

    void check_greetings();
    announcement announce(const collective &what);
    void begin(const collective &what);
    bool advance(const collective &what);
    void compare(const collective &what);
    void combine(const collective &what);
    bool is_aborted();
    void fail(ncclResult_t status, const std::string &text);

    const int number;    /* of this communicator in this process; the same on all ranks */
    std::unique_ptr<exchange> greeting, meeting, headers, data;
    bool met = false;
    uint64_t begun = 0;    /* collectives */
    std::set<std::array<int, 3>> connected;    /* kinds, types, binary digits of the count */

    std::mutex lock;       /* of what follows, which both the host and the device touch */
    std::map<const char *, size_t> registered;    /* bytes by start */
    bool aborted = false;
    ncclResult_t failed = ncclSuccess;
    std::string failed_text;
};

}    // namespace simgpu

#endif
