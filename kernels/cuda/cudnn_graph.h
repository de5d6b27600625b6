/*
 * cudnn_graph.h - a graph of cuDNN's operations, described one by one, and the plan that runs it.
 *
 * The first call that fails is kept in the graph, and what follows it does nothing; so a graph is
 * described without looking at errors, and cudnn_graph_plan says what was wrong.
 */
#ifndef GALLEY_KERNELS_CUDA_CUDNN_GRAPH_H
#define GALLEY_KERNELS_CUDA_CUDNN_GRAPH_H

#include "base/error.h"

#include <cudnn.h>
#include <stdbool.h>
#include <stdint.h>

enum { CUDNN_GRAPH_DESCRIPTORS = 160, CUDNN_GRAPH_OPERATIONS = 32, CUDNN_GRAPH_CANDIDATES = 8,
       CUDNN_GRAPH_PLANS = 3 };

/* Where plans shall run: on the GPU of a handle, or, to describe and propose without one, on that
 * of a CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR. The other is NULL. */
struct cudnn_target {
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t properties;
};

struct cudnn_graph {
    cudnnBackendDescriptor_t all[CUDNN_GRAPH_DESCRIPTORS];    /* what is destroyed with it */
    int count;
    cudnnBackendDescriptor_t operations[CUDNN_GRAPH_OPERATIONS];
    int operation_count;
    int64_t next_id;                   /* of tensors that never reach memory */
    cudnnBackendDescriptor_t candidates[CUDNN_GRAPH_CANDIDATES];    /* configurations of engines */
    int candidate_count;
    cudnnBackendDescriptor_t plans[CUDNN_GRAPH_PLANS];
    int plan_count;
    int chosen;                        /* the plan that cudnn_graph_run takes */
    int64_t workspace_bytes;           /* that the plans need at most */
    struct error *error;               /* the first failure */
};

/* A graph begins as zeroes. The plans go with it. */
void cudnn_graph_destroy(struct cudnn_graph *graph);

/* A tensor of four dimensions, and from one element of each to the next, in elements. */
struct cudnn_layout {
    int64_t dimensions[4], strides[4];
};
/* Dense, the last dimension without gaps. */
struct cudnn_layout cudnn_dense(int64_t a, int64_t b, int64_t c, int64_t d);

enum cudnn_place { CUDNN_IN_MEMORY, CUDNN_BY_VALUE, CUDNN_VIRTUAL };
/* `id` is what cudnn_graph_run calls it, from 1 to CUDNN_FIRST_VIRTUAL - 1; 0 for a virtual one.
 * Memory is aligned to 16 bytes at least; a value is one fp32 in host memory. */
enum { CUDNN_FIRST_VIRTUAL = 100 };
cudnnBackendDescriptor_t cudnn_tensor(struct cudnn_graph *graph, int64_t id, cudnnDataType_t type,
                                      struct cudnn_layout layout, enum cudnn_place place);

/* y = mode(x, b); b may be NULL. t: the mask of CUDNN_POINTWISE_BINARY_SELECT, which is x where it
 * holds, else b. Computed in fp32; comparisons in booleans. */
void cudnn_pointwise(struct cudnn_graph *graph, cudnnPointwiseMode_t mode,
                     cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                     cudnnBackendDescriptor_t t, cudnnBackendDescriptor_t y);
/* y = each element's index along `axis`; x only says how many there are. */
void cudnn_index(struct cudnn_graph *graph, int64_t axis, cudnnBackendDescriptor_t x,
                 cudnnBackendDescriptor_t y);
/* c = a . b, over the last two dimensions, summed in fp32. */
void cudnn_matmul(struct cudnn_graph *graph, cudnnBackendDescriptor_t a,
                  cudnnBackendDescriptor_t b, cudnnBackendDescriptor_t c);
/* y = x reduced along the dimensions that are 1 in y. */
void cudnn_reduction(struct cudnn_graph *graph, cudnnReduceTensorOp_t operation,
                     cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t y);
/* y = x, seen as of another layout. */
void cudnn_reshape(struct cudnn_graph *graph, cudnnBackendDescriptor_t x,
                   cudnnBackendDescriptor_t y);

/* Asks for the engines that can run the graph, the best first. None is an error. */
MUST_USE struct error *cudnn_graph_propose(struct cudnn_graph *graph,
                                           const struct cudnn_target *target);
/* Makes plans of the first candidates that have one, each a second of compiling, perhaps, and need
 * not much more workspace than those before; the first is chosen. None is an error. */
MUST_USE struct error *cudnn_graph_plan(struct cudnn_graph *graph,
                                        const struct cudnn_target *target);
/* Queues the chosen plan on the handle's stream, with pointers[i] for the tensor ids[i]. */
MUST_USE struct error *cudnn_graph_run(const struct cudnn_graph *graph, cudnnHandle_t handle,
                                       const int64_t *ids, void *const *pointers, int n,
                                       void *workspace);

/* NULL for CUDNN_STATUS_SUCCESS, else an error that names the call and what cuDNN says. */
MUST_USE struct error *cudnn_check(cudnnStatus_t status, const char *call);

#endif
