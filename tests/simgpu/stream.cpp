/* stream.cpp - orders work by streams and events; records it where a stream is captured. */
#include "stream.h"

#include "calls.h"
#include "fault.h"
#include "settings.h"

#include <algorithm>

namespace simgpu {

namespace {

struct registry {
    std::mutex lock;
    std::set<const CUstream_st *> streams;
    std::set<const CUevent_st *> events;
    std::set<capture *> captures;
    int streams_made = 0, events_made = 0;
};

registry &r = *new registry;

/* The sinks of the graph: nodes nobody comes after. */
std::set<int> last_nodes(const CUgraph_st &graph)
{
    std::set<int> last;
    for (int i = 0; i < (int)graph.nodes.size(); i++) {
        for (const int before : graph.nodes[(size_t)i].after)
            last.erase(before);
        last.insert(i);
    }
    return last;
}

void add_node(CUstream_st *stream, work work, CUevent_st *records)
{
    std::vector<node> &nodes = stream->capture->graph->nodes;
    nodes.push_back({std::move(work), stream->number, stream->tail, records});
    stream->tail = {(int)nodes.size() - 1};
}

/* The event happens when the task is done. */
void record_task(CUevent_st *event, const task_ref &task)
{
    event->was_recorded = true;
    event->capture = nullptr;
    event->recorded = task;
}

void join_capture(CUstream_st *stream, capture *capture, const std::set<int> &nodes)
{
    stream->capture = capture;
    stream->tail.insert(nodes.begin(), nodes.end());
    capture->streams.insert(stream);
}

}    // namespace

std::unique_lock<std::mutex> stream_lock()
{
    return std::unique_lock<std::mutex>(r.lock);
}

CUstream_st *stream_create()
{
    CUstream_st *const stream = new CUstream_st{++r.streams_made, nullptr, nullptr, {}};
    r.streams.insert(stream);
    return stream;
}

void stream_destroy(CUstream_st *stream)
{
    r.streams.erase(stream);
    delete stream;
}

void stream_check(const CUstream_st *stream, const char *call)
{
    if (!stream)
        fault("%s on the default stream, which waits for, and holds up, all others", call);
    if (!r.streams.count(stream))
        fault("%s on a stream that does not exist, or no longer", call);
}

CUevent_st *event_create(bool timed)
{
    CUevent_st *const event = new CUevent_st{++r.events_made, timed, false, nullptr, nullptr, {}};
    r.events.insert(event);
    return event;
}

void event_destroy(CUevent_st *event)
{
    r.events.erase(event);
    delete event;
}

bool event_wait_is_ignored(const CUevent_st *event)
{
    injected_failure(("event " + std::to_string(event->number)).c_str());
    return event->number == settings().ignored_event;
}

void event_check(const CUevent_st *event, const char *call)
{
    if (!r.events.count(event))
        fault("%s with an event that does not exist, or no longer", call);
}

void stream_queue(CUstream_st *stream, work work)
{
    if (!stream->capture) {
        work.kept_by_graph = nullptr;
        stream->last = device_queue(std::move(work), {stream->last}, stream->number);
        return;
    }
    add_node(stream, std::move(work), nullptr);
}

cudaError_t stream_record(CUstream_st *stream, CUevent_st *event)
{
    if (stream->capture) {
        event->was_recorded = true;
        event->capture = stream->capture;
        event->nodes = stream->tail;
        return cudaSuccess;
    }
    stream->last = device_queue({"record of an event", {}, {}, {}}, {stream->last}, stream->number);
    record_task(event, stream->last);
    return cudaSuccess;
}

cudaError_t stream_record_external(CUstream_st *stream, CUevent_st *event)
{
    if (!stream->capture)
        return cudaErrorInvalidValue;
    add_node(stream, {"record of an event", {}, {}, {}}, event);
    return cudaSuccess;
}

cudaError_t stream_wait_event(CUstream_st *stream, CUevent_st *event)
{
    if (!event->was_recorded || event_wait_is_ignored(event))
        return cudaSuccess;
    if (!event->capture) {
        if (stream->capture) {
            stream->capture->broken = true;
            return cudaErrorStreamCaptureIsolation;
        }
        stream->last = device_queue({"wait for an event", {}, {}, {}}, {stream->last,
            event->recorded},
                                    stream->number);
        return cudaSuccess;
    }
    if (!capture_is_live(event->capture))
        return cudaErrorInvalidValue;
    if (stream->capture && stream->capture != event->capture) {
        stream->capture->broken = event->capture->broken = true;
        return cudaErrorStreamCaptureMerge;
    }
    join_capture(stream, event->capture, event->nodes);
    return cudaSuccess;
}

bool capture_is_live(const capture *capture)
{
    return r.captures.count(const_cast<simgpu::capture *>(capture)) > 0;
}

cudaError_t capture_forbids(const CUstream_st *stream)
{
    if (stream && stream->capture) {
        stream->capture->broken = true;
        return cudaErrorStreamCaptureUnsupported;
    }
    for (capture *c : r.captures) {
        const bool hit = c->mode == cudaStreamCaptureModeGlobal ||
                         (c->mode == cudaStreamCaptureModeThreadLocal &&
                          c->thread == std::this_thread::get_id());
        if (hit) {
            c->broken = true;
            return cudaErrorStreamCaptureUnsupported;
        }
    }
    return cudaSuccess;
}

cudaError_t capture_begin(CUstream_st *stream, cudaStreamCaptureMode mode)
{
    if (stream->capture)
        return cudaErrorIllegalState;
    capture *const c = new capture{new CUgraph_st, stream, {}, mode, std::this_thread::get_id()};
    r.captures.insert(c);
    join_capture(stream, c, {});
    return cudaSuccess;
}

cudaError_t capture_end(CUstream_st *stream, CUgraph_st **graph)
{
    capture *const c = stream->capture;
    *graph = nullptr;
    if (!c)
        return cudaErrorIllegalState;
    if (c->origin != stream)
        return cudaErrorStreamCaptureUnmatched;

    cudaError_t status = cudaSuccess;
    const std::set<int> last = last_nodes(*c->graph);
    if (c->broken)
        status = cudaErrorStreamCaptureInvalidated;
    else if (!std::includes(stream->tail.begin(), stream->tail.end(), last.begin(), last.end()))
        status = cudaErrorStreamCaptureUnjoined;
    else if (c->mode != cudaStreamCaptureModeRelaxed && c->thread != std::this_thread::get_id())
        status = cudaErrorStreamCaptureWrongThread;

    for (CUstream_st *s : c->streams) {
        s->capture = nullptr;
        s->tail.clear();
    }
    r.captures.erase(c);
    if (status == cudaSuccess)
        *graph = c->graph;
    else
        delete c->graph;
    delete c;
    return status;
}

void graph_launch(CUgraphExec_st &exec, CUstream_st *stream)
{
    const task_ref begin =
        device_queue({"begin of a graph", {}, {}, {}}, {stream->last, exec.last}, stream->number);
    std::vector<task_ref> tasks;
    for (const node &n : exec.graph.nodes) {
        std::vector<task_ref> after = {begin};
        for (const int before : n.after)
            after.push_back(tasks[(size_t)before]);
        work what = n.what;
        what.kept_by_graph = nullptr;
        tasks.push_back(device_queue(std::move(what), after, n.stream));
        if (n.records) {
            event_check(n.records, "cudaGraphLaunch");
            record_task(n.records, tasks.back());
        }
    }
    std::vector<task_ref> ends = {begin};
    for (const int i : last_nodes(exec.graph))
        ends.push_back(tasks[(size_t)i]);
    stream->last = exec.last = device_queue({"end of a graph", {}, {}, {}}, ends, stream->number);
}

bool graph_same_shape(const CUgraph_st &from, const CUgraph_st &to)
{
    if (from.nodes.size() != to.nodes.size())
        return false;
    for (size_t i = 0; i < from.nodes.size(); i++)
        if (from.nodes[i].what.name != to.nodes[i].what.name || from.nodes[i].after != to.nodes[i].after)
            return false;
    return true;
}

}    // namespace simgpu
