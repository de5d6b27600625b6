/*
 * doctor.c - the verb `galley doctor`: looks, before a long run, at what long runs die of.
 *
 * Every rank makes every check; rank 0 prints one line a check, the worst that any rank found, and
 * what to do about it.
 */
#include "base/clock.h"
#include "base/config.h"
#include "cli/verbs.h"
#include "model/parameters.h"
#include "train/job.h"
#include "train/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum verdict { GOOD, DOUBTFUL, BAD };

struct finding {
    enum verdict verdict;
    char text[400];    /* what was found, and the remedy */
};

struct patient {
    struct comm *comm;
    const struct config *config;
    size_t checkpoint_bytes;
};

static void find(struct finding *f, enum verdict verdict, const char *format, ...)
    PRINTF_LIKE(3, 4);
static void find(struct finding *f, enum verdict verdict, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    f->verdict = verdict;
    vsnprintf(f->text, sizeof f->text, format, arguments);
    va_end(arguments);
}

/* "1.5 GB", "0.8 MB". */
struct size_text {
    char text[32];
};

static struct size_text size_of(double bytes)
{
    struct size_text s;
    if (bytes < 1e9)
        snprintf(s.text, sizeof s.text, "%.1f MB", 1e-6 * bytes);
    else
        snprintf(s.text, sizeof s.text, "%.1f GB", 1e-9 * bytes);
    return s;
}

/* ---- this node ---- */

static void check_cores(const struct patient *p, struct finding *f)
{
    const int node = (int)sysconf(_SC_NPROCESSORS_ONLN), ranks = comm_local_size(p->comm);
    int allowed, share;
    cli_cores(p->comm, &allowed, &share);
    if (ranks > node)
        find(f, DOUBTFUL, "%d ranks share %d cores; start fewer", ranks, node);
    else if (allowed < share)
        find(f, DOUBTFUL, "this rank may use %d of its %d cores; start with mpirun --bind-to none, "
             "or srun --cpus-per-task=%d", allowed, share, share);
    else
        find(f, GOOD, "%d cores, %d rank%s, each may use %d", node, ranks, ranks > 1 ? "s" : "",
             allowed);
}

static void check_memory(const struct patient *p, struct finding *f)
{
    const double pages = (double)sysconf(_SC_AVPHYS_PAGES), page = (double)sysconf(_SC_PAGESIZE);
    /* Weights, gradients, both moments; rank 0 also a snapshot of all but the gradients. */
    const double need = (double)p->checkpoint_bytes * (4.0 * comm_local_size(p->comm) / 3 + 1);
    if (pages * page < need)
        find(f, DOUBTFUL, "%s are free, the ranks of this node need %s beside activations; use "
             "fewer ranks a node", size_of(pages * page).text, size_of(need).text);
    else
        find(f, GOOD, "%s free, at least %s needed beside activations", size_of(pages * page).text,
             size_of(need).text);
}

static void check_limits(const struct patient *p, struct finding *f)
{
    (void)p;
    struct rlimit locked, files;
    getrlimit(RLIMIT_MEMLOCK, &locked);
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 1024)
        find(f, BAD, "only %llu files may be open; ulimit -n 4096",
             (unsigned long long)files.rlim_cur);
    else if (locked.rlim_cur != RLIM_INFINITY && locked.rlim_cur < (rlim_t)1 << 30)
        find(f, DOUBTFUL, "only %.0f MB of memory may be locked, InfiniBand and GPUs want more; "
             "ulimit -l unlimited (docker: --ulimit memlock=-1), not needed on CPU ranks over TCP",
             1e-6 * (double)locked.rlim_cur);
    else
        find(f, GOOD, "%llu open files, memory may be locked", (unsigned long long)files.rlim_cur);
}

static double free_bytes(const char *path)
{
    struct statvfs status;
    return statvfs(path, &status) ? -1 : (double)status.f_bavail * (double)status.f_frsize;
}

static void check_shared_memory(const struct patient *p, struct finding *f)
{
    const double need = 16e6 * comm_local_size(p->comm), there = free_bytes("/dev/shm");
    if (there < need)
        find(f, BAD, "/dev/shm has %.0f MB free, ranks of a node need %.0f MB; delete what dead "
             "runs left there, or docker run --shm-size=1g", 1e-6 * there, 1e-6 * need);
    else
        find(f, GOOD, "/dev/shm has %.0f MB free", 1e-6 * there);
}

static void check_temporary(const struct patient *p, struct finding *f)
{
    (void)p;
    const char *const given = getenv("TMPDIR"), *const folder = given && *given ? given : "/tmp";
    const double there = free_bytes(folder);
    if (there < 50e6)
        find(f, BAD, "%s has %.0f MB free, Open MPI needs some; delete something, or set TMPDIR to "
             "another folder", folder, 1e-6 * there);
    else
        find(f, GOOD, "%s has %.1f GB free", folder, 1e-9 * there);
}

/* ---- the run folder ---- */

static void probe_path(char *path, size_t bytes, const struct patient *p)
{
    snprintf(path, bytes, "%s/.doctor", p->config->run.folder);
}

/* Rank 0 leaves a file there, which the others look for in check_seen. */
static void check_folder(const struct patient *p, struct finding *f)
{
    if (comm_rank(p->comm) != 0)
        return;
    char path[4200];
    const char *folder = p->config->run.folder;
    probe_path(path, sizeof path, p);
    struct error *e = run_folder_make(folder);
    if (e) {
        find(f, BAD, "%s; choose another run.folder", error_message(e));
        error_destroy(e);
        return;
    }
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        find(f, BAD, "cannot write in %s: %s; choose another run.folder", folder, strerror(errno));
        return;
    }
    if (flock(fd, LOCK_EX | LOCK_NB))
        find(f, DOUBTFUL, "%s takes no locks (%s), so nothing keeps two jobs apart in it; mount "
             "with locks, or see to it yourself", folder, strerror(errno));
    else
        find(f, GOOD, "%s can be written and locked", folder);
    close(fd);
}

static void check_seen(const struct patient *p, struct finding *f)
{
    char path[4200];
    probe_path(path, sizeof path, p);
    if (access(path, F_OK))
        find(f, BAD, "rank %d on %s does not see what rank 0 wrote in %s; put run.folder on a file "
             "system that all nodes share", comm_rank(p->comm), comm_host(p->comm),
             p->config->run.folder);
    else
        find(f, GOOD, "all ranks see the run folder");
}

static void check_space(const struct patient *p, struct finding *f)
{
    const double there = free_bytes(p->config->run.folder), one = (double)p->checkpoint_bytes;
    const double need = one * (double)(p->config->checkpoint.keep + 2);
    if (there < one)
        find(f, BAD, "%s are free, one checkpoint takes %s; delete something", size_of(there).text,
             size_of(one).text);
    else if (there < need)
        find(f, DOUBTFUL, "%s are free, checkpoint.keep %lld may need %s; set it lower, or delete "
             "something", size_of(there).text, (long long)p->config->checkpoint.keep,
             size_of(need).text);
    else
        find(f, GOOD, "%s free, %s needed for checkpoints", size_of(there).text,
             size_of(need).text);
}

/* How fast a checkpoint gets to the disk. */
static void check_disk(const struct patient *p, struct finding *f)
{
    enum { PART = 1 << 20, PARTS = 64 };
    if (comm_rank(p->comm) != 0)
        return;
    char path[4200];
    char *part = calloc(1, PART);
    probe_path(path, sizeof path, p);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    const double start_s = clock_now_s();
    bool good = part && fd >= 0;
    for (int i = 0; i < PARTS && good; i++) {
        errno = ENOSPC;    /* what a write that is short does not say */
        good = write(fd, part, PART) == PART;
    }
    good = good && !fsync(fd);
    const double rate = (double)PART * (double)PARTS / (clock_now_s() - start_s);
    if (!good)
        find(f, BAD, "cannot write %d MB to %s: %s", PARTS, p->config->run.folder, strerror(errno));
    else if ((double)p->checkpoint_bytes / rate > 300)
        find(f, DOUBTFUL, "%.0f MB/s to disk: a checkpoint takes %.0f s; use a faster file system",
             1e-6 * rate, (double)p->checkpoint_bytes / rate);
    else
        find(f, GOOD, "%.0f MB/s to disk, a checkpoint takes %.1f s", 1e-6 * rate,
             (double)p->checkpoint_bytes / rate);
    if (fd >= 0)
        close(fd);
    free(part);
}

/* ---- the ranks together ---- */

static double time_sums(struct comm *comm, double *values, int count, int times, struct error **e)
{
    const double start_s = clock_now_s();
    for (int i = 0; i < times && !*e; i++)
        *e = comm_sum(comm, values, count);
    return (clock_now_s() - start_s) / times;
}

static void check_network(const struct patient *p, struct finding *f)
{
    enum { LARGE = 1 << 21 };    /* doubles: 16 MB */
    if (comm_world_size(p->comm) == 1) {
        find(f, GOOD, "one rank; start with mpirun -n RANKS for more");
        return;
    }
    double *values = calloc(LARGE, sizeof *values);
    struct error *e = values ? NULL : error_new(ERROR_MEMORY, "no memory for 16 MB");
    time_sums(p->comm, values, 8, 3, &e);
    const double small_s = time_sums(p->comm, values, 8, 20, &e);
    const double large_s = time_sums(p->comm, values, LARGE, 3, &e);
    free(values);
    if (e)
        find(f, BAD, "sums over ranks fail: %s", error_message(e));
    else if (small_s > 2e-3)
        find(f, DOUBTFUL, "a small sum over ranks takes %.1f ms (16 MB: %.0f ms); give each rank a "
             "core of its own, and name the fast network: OMPI_MCA_btl_tcp_if_include",
             1e3 * small_s, 1e3 * large_s);
    else
        find(f, GOOD, "sums over %d ranks: %.0f us, 16 MB in %.1f ms", comm_world_size(p->comm),
             1e6 * small_s, 1e3 * large_s);
    error_destroy(e);
}

static const struct {
    const char *name;
    void (*run)(const struct patient *, struct finding *);
} checks[] = {
    {"cores", check_cores},
    {"memory", check_memory},
    {"limits", check_limits},
    {"shared memory", check_shared_memory},
    {"temporary", check_temporary},
    {"network", check_network},
    {"run folder", check_folder},
    {"seen by all", check_seen},
    {"space", check_space},
    {"disk", check_disk},
};
enum { CHECKS = sizeof checks / sizeof checks[0] };

/* Collective. Prints the worst of what all ranks found. */
static struct error *report(const struct patient *p, const char *name, const struct finding *mine,
                            struct finding *all, int *bad)
{
    static const char *const words[] = {[GOOD] = "ok  ", [DOUBTFUL] = "look", [BAD] = "BAD "};
    const int n = comm_world_size(p->comm);
    TRY(comm_all_gather(p->comm, mine, all, sizeof *mine));
    int worst = 0, alike = 0;
    for (int r = 1; r < n; r++)
        if (all[r].verdict > all[worst].verdict)
            worst = r;
    for (int r = 0; r < n; r++)
        alike += all[r].verdict == all[worst].verdict;
    *bad += all[worst].verdict == BAD;
    if (comm_rank(p->comm) != 0)
        return NULL;
    printf("%s  %-14s %s", words[all[worst].verdict], name, all[worst].text);
    if (all[worst].verdict != GOOD && n > 1)
        printf(" (rank %d; so on %d of %d ranks)", worst, alike, n);
    putchar('\n');
    return NULL;
}

static struct error *examine(const struct patient *p)
{
    struct finding *all = calloc((size_t)comm_world_size(p->comm), sizeof *all);
    struct error *e =
        comm_agree(p->comm, all ? NULL : error_new(ERROR_MEMORY, "no memory for the findings"));
    int bad = 0;
    for (int i = 0; i < CHECKS && !e; i++) {
        struct finding mine = {0};
        checks[i].run(p, &mine);
        e = report(p, checks[i].name, &mine, all, &bad);
    }
    free(all);
    if (!e)
        e = comm_barrier(p->comm);
    if (comm_rank(p->comm) == 0) {
        char path[4200];
        probe_path(path, sizeof path, p);
        unlink(path);
        rmdir(p->config->run.folder);    /* where a run is in it, it stays */
    }
    TRY(e);
    if (bad == 0)
        return NULL;
    return comm_agree(p->comm, error_new(ERROR_IO, "%d of %d checks found what would end a run",
                                         bad, CHECKS));
}

static struct error *load(struct patient *p, struct config **config, int argc, char **argv)
{
    const bool has_file = argc > 1 && strncmp(argv[1], "--", 2) != 0;
    const int first = has_file ? 2 : 1;
    TRY(config_load(config, has_file ? argv[1] : NULL, (const char *const *)(argv + first),
                    argc - first));
    p->config = *config;
    const struct model_spec spec = job_wanted_spec(*config);
    struct parameters *parameters;
    TRY(parameters_create(&parameters, &spec));
    p->checkpoint_bytes = 3 * sizeof(float) * (size_t)parameters->count;
    parameters_destroy(parameters);
    return NULL;
}

static struct error *run_doctor(struct cli *cli, int argc, char **argv)
{
    struct config *config = NULL;
    TRY(cli_open_comm(cli));
    struct patient patient = {.comm = cli->comm};
    struct error *e = comm_agree(cli->comm, load(&patient, &config, argc, argv));
    if (!e)
        e = examine(&patient);
    config_destroy(config);
    return e;
}

const struct verb verb_doctor = {
    .name = "doctor",
    .summary = "looks, before a long run, at what long runs die of",
    .run = run_doctor,
    .help =
        "usage: galley doctor [CONFIG] [--section.key=value...]\n"
        "       mpirun -n RANKS galley doctor [CONFIG] [--section.key=value...]\n\n"
        "Start it as the run would be started. One line a check: ok, look (slow, or for some set-ups\n"
        "only), BAD (would end the run; exit code 1), and what to do. Nothing is trained.\n",
};
