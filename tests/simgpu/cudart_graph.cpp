/* cudart_graph.cpp - the simulated CUDA runtime: capturing streams, launching graphs. */
#include "cudart.h"

#include "device.h"
#include "fault.h"
#include "stream.h"

#include <cuda_runtime_api.h>

using namespace simgpu;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    return leave(capture_begin(stream, mode));
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    const cudaError_t status = enter(__func__);
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    const cudaError_t ended = capture_end(stream, graph);
    if (status != cudaSuccess) {    /* nobody gets the graph */
        delete *graph;
        *graph = nullptr;
        return status;
    }
    return leave(ended);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *answer)
{
    const cudaError_t status = enter(__func__);
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    *answer = !stream->capture          ? cudaStreamCaptureStatusNone
              : stream->capture->broken ? cudaStreamCaptureStatusInvalidated
                                        : cudaStreamCaptureStatusActive;
    return status;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    *exec = new CUgraphExec_st{*graph, nullptr};
    return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo *info)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    const bool same = graph_same_shape(exec->graph, *graph);
    if (info)
        info->result = same ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateErrorTopologyChanged;
    if (!same)
        return leave(cudaErrorGraphExecUpdateFailure);
    exec->graph = *graph;
    return cudaSuccess;
}

/* Launches of one graph run one after another, whatever their streams. */
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    const cudaError_t status = enter(__func__);
    if (status != cudaSuccess)
        return status;
    const std::unique_lock<std::mutex> hold = stream_lock();
    stream_check(stream, __func__);
    if (stream->capture)
        fault("%s on a stream that is being captured", __func__);
    graph_launch(*exec, stream);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return enter(__func__);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return enter(__func__);
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
    const cudaError_t status = enter(__func__);
    if (nodes)
        fault("%s: only the number of nodes is simulated", __func__);
    *count = graph->nodes.size();
    return status;
}

}    // extern "C"
