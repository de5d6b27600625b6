/* cudnn_program.h - a graph of cuDNN's operations with the memory it runs on, and its arithmetic. */
#ifndef SIMGPU_CUDNN_PROGRAM_H
#define SIMGPU_CUDNN_PROGRAM_H

#include <cudnn.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace simgpu {

using index = std::array<int64_t, 4>;

struct tensor {
    int64_t id;
    cudnnDataType_t type;
    index dimensions, strides;
    bool in_memory;
    char *memory;                 /* of the device, or */
    std::vector<float> values;    /* ours */

    int64_t offset(const index &i) const;    /* of an element; a dimension of 1 is the same
                                              * everywhere */
    int64_t span() const;                    /* elements from the first to behind the last */
    size_t bytes() const;                    /* of them */
};

/* A graph with the memory it runs on. */
struct program {
    std::map<int64_t, tensor> tensors;
    struct step {
        cudnnBackendDescriptorType_t type;
        int mode;
        int64_t axis;
        int64_t x, b, t, y;    /* tensors, 0: none */
    };
    std::vector<step> steps;
};

/* One step after the other. */
void program_run(program &p);
/* Half of each sequence's results are half of what they should be. */
void program_spoil(program &p);
/* Ends the process where a tensor without gaps shares memory with another, or with the workspace. */
void program_check_overlaps(const program &p, const char *workspace, size_t workspace_bytes);

}    // namespace simgpu

#endif
