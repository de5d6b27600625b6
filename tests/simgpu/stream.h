/*
 * stream.h - streams, events and graphs of the simulated device, on top of its tasks.
 *
 * The runtime's opaque types are defined here. Queuing on a stream makes a task after the stream's
 * last; while the stream is captured it makes a node of a graph instead. Launching a graph makes
 * tasks of its nodes again, with just the edges that were captured.
 *
 * Not safe from several threads by itself: stream_lock() guards all of it.
 */
#ifndef SIMGPU_STREAM_H
#define SIMGPU_STREAM_H

#include "device.h"

#include <driver_types.h>

#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace simgpu {

struct node {
    work what;
    int stream;
    std::set<int> after;    /* nodes; all have lower numbers */
    CUevent_st *records;    /* what each launch records anew when this node is done, or NULL */
};

/* A capture in progress. */
struct capture {
    CUgraph_st *graph;
    CUstream_st *origin;
    std::set<CUstream_st *> streams;    /* the origin, and those that joined */
    cudaStreamCaptureMode mode;
    std::thread::id thread;
    bool broken = false;    /* by a call that may not be made meanwhile */
};

}    // namespace simgpu

struct CUgraph_st {
    std::vector<simgpu::node> nodes;
};

struct CUgraphExec_st {
    CUgraph_st graph;
    simgpu::task_ref last;    /* the end of its latest launch */
};

struct CUstream_st {
    int number;
    simgpu::task_ref last;
    simgpu::capture *capture;
    std::set<int> tail;    /* in a capture: the nodes the next one comes after */
};

struct CUevent_st {
    int number;    /* from 1, as they are made */
    bool timed;
    bool was_recorded;
    simgpu::task_ref recorded;
    simgpu::capture *capture;    /* last recorded in a capture, which may be over */
    std::set<int> nodes;
};

namespace simgpu {

std::unique_lock<std::mutex> stream_lock();

CUstream_st *stream_create();
/* Its work still runs. */
void stream_destroy(CUstream_st *stream);
/* Ends the process where this is no stream: NULL, or destroyed. */
void stream_check(const CUstream_st *stream, const char *call);
void event_check(const CUevent_st *event, const char *call);
CUevent_st *event_create(bool timed);
/* Notes that somebody waits for the event; true where the environment wants that ignored. */
bool event_wait_is_ignored(const CUevent_st *event);
void event_destroy(CUevent_st *event);

void stream_queue(CUstream_st *stream, work work);
cudaError_t stream_record(CUstream_st *stream, CUevent_st *event);
/* In a capture: a part of the graph, for the host to ask for. */
cudaError_t stream_record_external(CUstream_st *stream, CUevent_st *event);
cudaError_t stream_wait_event(CUstream_st *stream, CUevent_st *event);

/* What a call returns that may not be made while something is captured; it breaks the capture. */
cudaError_t capture_forbids(const CUstream_st *stream);
cudaError_t capture_begin(CUstream_st *stream, cudaStreamCaptureMode mode);
cudaError_t capture_end(CUstream_st *stream, CUgraph_st **graph);
bool capture_is_live(const capture *capture);

/* After what the stream holds and the graph's launch before. */
void graph_launch(CUgraphExec_st &exec, CUstream_st *stream);
/* Whether `to` has the nodes of `from`, kind by kind, with the same edges. */
bool graph_same_shape(const CUgraph_st &from, const CUgraph_st &to);

}    // namespace simgpu

#endif
