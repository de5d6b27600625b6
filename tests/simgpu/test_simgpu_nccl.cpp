/*
 * test_simgpu_nccl.cpp - collectives of the simulated NCCL on several ranks (mpirun), and what ends
 * them.
 * usage: test_simgpu_nccl [CASE]      the default: all that must go well; else one that must not
 */
#define OMPI_SKIP_MPICXX
#include "kernels/cuda/gpu.cuh"

#include <mpi.h>
#include <nccl.h>

#include <cstdio>
#include <cstring>
#include <vector>

namespace {

enum { COUNT = 1000, STEPS = 6 };

int world_rank, world_size;

/* Prints what failed and ends all ranks. */
void need(bool good, const char *what, int line)
{
    if (good)
        return;
    fprintf(stderr, "test_simgpu_nccl.cpp:%d: rank %d: %s\n", line, world_rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}
#define NEED(condition) need(condition, #condition, __LINE__)

/* Until the communicator's last call is done; what it then says. */
ncclResult_t settle(ncclComm_t comm)
{
    ncclResult_t answer;
    do
        NEED(ncclCommGetAsyncError(comm, &answer) == ncclSuccess);
    while (answer == ncclInProgress);
    return answer;
}

bool done(ncclComm_t comm, ncclResult_t status)
{
    return status == ncclSuccess || (status == ncclInProgress && settle(comm) == ncclSuccess);
}

ncclComm_t open_communicator(int gpu)
{
    ncclUniqueId id;
    ncclComm_t comm;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    NEED(cudaSetDevice(gpu) == cudaSuccess);
    if (world_rank == 0)
        NEED(ncclGetUniqueId(&id) == ncclSuccess);
    MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    const ncclResult_t status = ncclCommInitRankConfig(&comm, world_size, id, world_rank, &config);
    NEED(status == ncclSuccess || status == ncclInProgress);
    return comm;
}

__global__ void fill_kernel(float *x, float value)
{
    for (int i = (int)threadIdx.x; i < COUNT; i += (int)blockDim.x)
        x[i] = value;
}

/* Two streams; sums run on the second behind what the first has filled. */
struct scene {
    ncclComm_t comm;
    cudaStream_t compute, sums;
    cudaEvent_t filled, summed;
    float *x;
    float *host;

    explicit scene(int gpu) : comm(open_communicator(gpu))
    {
        NEED(settle(comm) == ncclSuccess);
        void *memory, *pinned;
        NEED(!cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking));
        NEED(!cudaStreamCreateWithFlags(&sums, cudaStreamNonBlocking));
        NEED(!cudaEventCreateWithFlags(&filled, cudaEventDisableTiming));
        NEED(!cudaEventCreateWithFlags(&summed, cudaEventDisableTiming));
        NEED(!ncclMemAlloc(&memory, COUNT * sizeof(float)));
        NEED(!cudaMallocHost(&pinned, COUNT * sizeof(float)));
        x = static_cast<float *>(memory);
        host = static_cast<float *>(pinned);
    }

    /* One step: every rank gives its number + `salt`; x is their sum, copied to the host. */
    void queue_step(float salt, int count = COUNT)
    {
        NEED(!launch(compute, dim3(1), dim3(64), 0, fill_kernel, x, (float)world_rank + salt));
        NEED(!cudaEventRecord(filled, compute) && !cudaStreamWaitEvent(sums, filled, 0));
        NEED(done(comm, ncclAllReduce(x, x, (size_t)count, ncclFloat32, ncclSum, comm, sums)));
        NEED(!cudaEventRecord(summed, sums) && !cudaStreamWaitEvent(compute, summed, 0));
        NEED(!cudaMemcpyAsync(host, x, COUNT * sizeof(float), cudaMemcpyDeviceToHost, compute));
    }

    void expect(float salt)
    {
        const float sum = (float)(world_size * (world_size - 1) / 2) + salt * (float)world_size;
        NEED(!cudaStreamSynchronize(compute));
        for (int i = 0; i < COUNT; i++)
            NEED(host[i] == sum);
    }

    void close()
    {
        NEED(done(comm, ncclCommFinalize(comm)));
        NEED(!ncclCommDestroy(comm) && !ncclMemFree(x) && !cudaFreeHost(host));
    }
};

void sums_are_right()
{
    scene s(world_rank);
    void *handle;
    NEED(!ncclCommRegister(s.comm, s.x, COUNT * sizeof(float), &handle));
    for (int step = 0; step < STEPS; step++) {
        s.queue_step((float)step);
        s.expect((float)step);
    }

    cudaGraph_t graph;
    cudaGraphExec_t exec;
    NEED(!cudaStreamBeginCapture(s.compute, cudaStreamCaptureModeThreadLocal));
    s.queue_step(100);
    NEED(!cudaStreamEndCapture(s.compute, &graph) && !cudaGraphInstantiate(&exec, graph, 0));
    for (int step = 0; step < STEPS; step++) {
        NEED(!cudaGraphLaunch(exec, s.compute));
        s.expect(100);
    }
    NEED(!cudaGraphExecDestroy(exec) && !cudaGraphDestroy(graph));
    NEED(!ncclCommDeregister(s.comm, handle));
    s.close();
}

/* A rank waits for another in MPI while that one needs a sum of both. */
void work_goes_on_behind_mpi()
{
    scene s(world_rank);
    s.queue_step(1);
    if (world_rank == 0)
        s.expect(1);
    MPI_Barrier(MPI_COMM_WORLD);
    s.expect(1);
    s.close();
}

void groups_and_other_collectives()
{
    scene s(world_rank);
    std::vector<double> mine(2, world_rank + 1.0), all((size_t)world_size * 2);
    void *small, *large = nullptr;
    NEED(!cudaMalloc(&small, 16) && !cudaMalloc(&large, all.size() * 8));
    NEED(!cudaMemcpyAsync(small, mine.data(), 16, cudaMemcpyHostToDevice, s.compute));
    NEED(!ncclGroupStart());
    NEED(!ncclAllGather(small, large, 2, ncclFloat64, s.comm, s.compute));
    NEED(!ncclAllReduce(small, small, 1, ncclFloat64, ncclMax, s.comm, s.compute));
    NEED(done(s.comm, ncclGroupEnd()));
    NEED(done(s.comm, ncclBroadcast(static_cast<double *>(small) + 1, static_cast<double *>(small) + 1, 1,
                                    ncclFloat64, world_size - 1, s.comm, s.compute)));
    NEED(!cudaMemcpyAsync(mine.data(), small, 16, cudaMemcpyDeviceToHost, s.compute));
    NEED(!cudaMemcpyAsync(all.data(), large, all.size() * 8, cudaMemcpyDeviceToHost, s.compute));
    NEED(!cudaStreamSynchronize(s.compute));
    for (int r = 0; r < world_size; r++)
        NEED(all[(size_t)r * 2] == r + 1 && all[(size_t)r * 2 + 1] == r + 1);
    NEED(mine[0] == world_size && mine[1] == world_size);
    s.close();
}

/* The last rank stays away; the others give up. */
void abort_ends_what_never_comes()
{
    scene s(world_rank);
    if (world_rank != world_size - 1) {
        s.queue_step(1);
        for (int i = 0; i < 20; i++)
            NEED(cudaEventQuery(s.summed) == cudaErrorNotReady);
    }
    NEED(!ncclCommAbort(s.comm) && !cudaStreamSynchronize(s.compute));
    MPI_Barrier(MPI_COMM_WORLD);
}

/* ---- cases that must end the process ---- */

void different_counts()
{
    scene s(world_rank);
    s.queue_step(1, world_rank == world_size - 1 ? COUNT / 2 : COUNT);
    s.expect(1);
}

void different_order()
{
    scene s(world_rank);
    for (int half = 0; half < 2; half++) {
        float *const part = s.x + (half == (world_rank == 0) ? COUNT / 2 : 0);
        NEED(done(s.comm,
                  ncclAllReduce(part, part, COUNT / 2, ncclFloat32, ncclSum, s.comm, s.sums)));
    }
    NEED(!cudaStreamSynchronize(s.sums));
}

void call_in_progress()
{
    scene s(world_rank);
    for (int i = 0; i < 100; i++)
        ncclAllReduce(s.x, s.x, COUNT, ncclFloat32, ncclSum, s.comm, s.sums);
}

void graph_outlives_communicator()
{
    scene s(world_rank);
    cudaGraph_t graph;
    NEED(!cudaStreamBeginCapture(s.compute, cudaStreamCaptureModeThreadLocal));
    s.queue_step(1);
    NEED(!cudaStreamEndCapture(s.compute, &graph));
    ncclCommAbort(s.comm);
}

void one_gpu_for_two()
{
    const ncclComm_t comm = open_communicator(0);
    if (settle(comm) == ncclInvalidUsage && world_rank == 0)
        fprintf(stderr, "%s\n", ncclGetLastError(comm));
    exit(1);
}

void run(const char *name)
{
    if (!strcmp(name, "counts"))
        return different_counts();
    if (!strcmp(name, "order"))
        return different_order();
    if (!strcmp(name, "progress"))
        return call_in_progress();
    if (!strcmp(name, "graph"))
        return graph_outlives_communicator();
    if (!strcmp(name, "duplicate"))
        return one_gpu_for_two();
    NEED(!strcmp(name, "good"));
    sums_are_right();
    work_goes_on_behind_mpi();
    groups_and_other_collectives();
    if (world_size > 1)
        abort_ends_what_never_comes();
}

}    // namespace

int main(int argc, char **argv)
{
    int level;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world_size);
    run(argc > 1 ? argv[1] : "good");
    MPI_Finalize();
    return 0;
}
