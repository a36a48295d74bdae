/*
 * trispool-sim: simulated lives of a cluster of three, each from one seed.
 *
 *   trispool-sim [--seeds N] [--first S] [--days D | --years Y] [--jobs J]
 *   trispool-sim --seed S [--trace] [--bug K]
 *
 * A life: the cluster is founded, mail comes in at all three, faults come in episodes, between
 * them all machines may rest; then the faults end, and everything has to drain. Each life is a
 * process of its own; it ends with status 0, or with a line that says what was violated.
 */
#include <errno.h>
#include <ftw.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/log.h"
#include "tests/sim/faults.h"
#include "tests/sim/sim.h"

#define DRAIN_US     (1 * HOUR)
#define LIFE_SECONDS 300 /* of processor time; a life that takes longer hangs */
#define JOBS_MAX     64

struct options {
    uint64_t first, seeds, jobs;
    double days;
    bool trace;
    unsigned bug;
    uint32_t only;
    uint64_t episodes;
};

struct life {
    uint64_t seed;
    double cpu_s;
    struct sim_counts sim;
    struct check_counts check;
    struct world_counts world;
    struct disk_counts disk;
    uint64_t faults[SIM_FAULTS];
    uint64_t log_entries, leaders, end_us;
};

/* --- Names --- */

const char *sim_domain(unsigned i)
{
    static const char *const names[SIM_DOMAINS] = {"d1.example", "d2.example", "d3.example",
                                                   "d4.example", "d5.example"};

    ASSERT(i < SIM_DOMAINS);
    return names[i];
}

int sim_domain_index(struct str name)
{
    for (unsigned i = 0; i < SIM_DOMAINS; i++)
        if (str_eq(name, str_of(sim_domain(i))))
            return (int)i;
    return -1;
}

/* --- One life --- */

static void receive(unsigned from, unsigned to, int plane, uint64_t incarnation,
                    struct str bytes);

struct received_frame {
    unsigned from;
    int plane;
    uint64_t incarnation;
    size_t n;
    char b[];
};

static void take_frame(struct node *n, void *arg)
{
    struct received_frame *r = arg;

    if (r->plane == SIM_PLANE_DATA)
        data_frame(n, r->from, r->incarnation, (struct str){r->b, r->n});
    else
        log_frame(n, r->from, r->incarnation, (struct str){r->b, r->n});
    free(r);
}

static void receive(unsigned from, unsigned to, int plane, uint64_t incarnation,
                    struct str bytes)
{
    struct received_frame *r = malloc(sizeof *r + bytes.n);

    ASSERT(r != NULL);
    *r = (struct received_frame){from, plane, incarnation, bytes.n};
    if (bytes.n > 0)
        memcpy(r->b, bytes.p, bytes.n);
    if (sim_node(to)->up)
        node_post(sim_node(to), 0, take_frame, r);
    else
        free(r);
}

static void run_until(uint64_t until_us)
{
    uint64_t from = world_now();

    while (world_step(until_us))
        ;
    sim_counts()->awake_us += world_now() - from;
}

static void count_left(void *user, const struct spool_fact *f)
{
    if ((f->kind == SPOOL_FACT_COPY || f->kind == SPOOL_FACT_DAMAGED) && !check_may_stay(f->id))
        ++*(uint64_t *)user;
}

/* Messages that should have ended. */
static uint64_t left_at(struct node *n)
{
    struct spool_facts c = {0};
    uint64_t left = 0;

    if (n->spool == NULL || spool_totals(n->spool).messages == 0 || sim_counts()->flips == 0)
        return n->spool == NULL ? 0 : spool_totals(n->spool).messages;
    while (!c.end)
        if (spool_facts(n->read.reader, &c, 1000, count_left, &left) != OK)
            violation("node %u cannot read its own spool", n->index);
    return left;
}

/* One that had another format is not heard for a minute; what ended meanwhile it learns then.
 */
static bool is_linked(struct node *n)
{
    struct replica_status s;

    if (n->replica == NULL)
        return false;
    replica_status(n->replica, &s, node_ms(n));
    for (int i = 0; i < REPLICA_PEERS; i++)
        if (s.peers[i].is_member && !s.peers[i].link_up)
            return false;
    return true;
}

static bool drained(void)
{
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        struct node *n = sim_node(i);

        if (!n->up || n->session == 0 || n->spool == NULL || !is_linked(n) || left_at(n) > 0)
            return false;
    }
    return faults_all_well();
}

static bool is_settled(void *ctx, struct mid id)
{
    struct node *n = ctx;

    return spool_settled_contains(n->read.reader, id) == OK;
}

static const struct envelope *trace_of(void *ctx, struct mid id)
{
    static struct arena a;
    static struct envelope e;
    struct node *n = ctx;
    bool live;

    arena_reset(&a);
    arena_init(&a, 8 * LIMIT_ENVELOPE_BYTES);
    return spool_trace(n->read.reader, id, &a, &e, &live) == OK ? &e : NULL;
}

static void states_are_equal(void)
{
    uint64_t digest[WORLD_NODES], applied[WORLD_NODES];

    for (unsigned i = 0; i < WORLD_NODES; i++) {
        applied[i] = control_applied(sim_node(i)->control);
        if (control_digest(sim_node(i)->control, &digest[i]) != OK)
            violation("node %u cannot read its control state", i);
    }
    for (unsigned i = 1; i < WORLD_NODES; i++)
        if (applied[i] == applied[0] && digest[i] != digest[0])
            violation("control states of nodes 0 and %u differ at entry %llu", i,
                      (unsigned long long)applied[0]);
}

static void tell_fact(void *user, const struct spool_fact *f)
{
    struct node *n = user;
    struct sched_message_view v = {0};
    char text[MID_TEXT_SIZE];
    bool known = n->sched != NULL && sched_message_view(n->sched, f->id, &v);

    if (f->kind == SPOOL_FACT_COPY)
        trace("node %u: left: %s state %d, %s %d, sealed %d", n->index, mid_text(f->id, text),
              (int)f->state, known ? "scheduled" : "not scheduled", (int)v.state,
              control_session_sealed(n->control, mid_site(f->id), mid_epoch(f->id)));
    if (f->kind == SPOOL_FACT_MARK)
        trace("node %u: left: mark of %s by site %u session %llu slot epoch %llu", n->index,
              mid_text(f->id, text), f->mark.site, (unsigned long long)f->mark.session,
              (unsigned long long)f->mark.slot_epoch);
}

/* For whoever looks at a trace. */
static void tell_rest(void)
{
    for (unsigned i = 0; i < WORLD_NODES && trace_on(); i++) {
        struct spool_facts c = {0};
        struct node *n = sim_node(i);

        trace("node %u: up %d session %llu gate %d", i, n->up, (unsigned long long)n->session,
              n->gate_open);
        while (n->up && !c.end)
            if (spool_facts(n->read.reader, &c, 1000, tell_fact, n) != OK)
                break;
    }
}

static void end_of_life(void)
{
    uint64_t until;

    client_pause(true);
    faults_end();
    until = world_now() + DRAIN_US;
    while (!drained() && world_now() < until)
        run_until(world_now() + SECOND);
    if (!drained())
        tell_rest();
    for (unsigned i = 0; i < WORLD_NODES && !drained(); i++)
        if (sim_node(i)->spool == NULL || left_at(sim_node(i)) > 0)
            violation("not drained %llu s after the faults ended: node %u holds %llu messages",
                      (unsigned long long)(DRAIN_US / SECOND), i,
                      (unsigned long long)left_at(sim_node(i)));
    if (!drained())
        violation("the nodes are not well %llu s after the faults ended",
                  (unsigned long long)(DRAIN_US / SECOND));
    run_until(world_now() + 10 * SECOND);
    while (!drained() && world_now() < until + MINUTE)
        run_until(world_now() + SECOND);
    if (!drained())
        violation("the nodes were well, and are so no more");
    for (unsigned i = 0; i < WORLD_NODES; i++)
        check_end(i, trace_of, is_settled, sim_node(i));
    states_are_equal();
}

static void begin_life(const struct options *o, uint64_t seed, const char *dir)
{
    world_init(seed, o->trace);
    world_receiver(receive);
    check_init();
    for (unsigned i = 0; i < WORLD_NODES; i++)
        node_init(i, dir);
    faults_weather();
    log_init();
    node_start(sim_node(0)); /* the others start once they are members */
    client_begin();
}

/* Own mail is taken and told to both peers between the two: so the older spool is seen. */
static void set_back(void)
{
    uint64_t before;
    struct node *n = faults_keep_spool();

    if (n == NULL)
        return;
    run_until(world_now() + 25 * SECOND);
    before = n->accepted;
    client_rate(200 * MS);
    run_until(world_now() + 15 * SECOND);
    client_rate(1 * HOUR);
    if (n->accepted == before)
        return;
    run_until(world_now() + 10 * SECOND);
    faults_set_back(n);
    run_until(world_now() + 30 * SECOND);
    if (n->set_back)
        violation("node %u goes on with a spool that is older than it was", n->index);
}

/* Faults end for a while. Then, at times, a disk is lost, and faults go on while it is filled.
 */
static void calm(uint32_t only)
{
    bool wipes = (only & faults_mask_of_wipe()) != 0;

    faults_end();
    run_until(world_now() + world_between(20, 60) * SECOND);
    if (wipes && world_chance(500))
        faults_wipe();
    else if (wipes && world_chance(150))
        set_back();
}

static void live(const struct options *o, uint64_t seed, const char *dir)
{
    begin_life(o, seed, dir);
    run_until(20 * SECOND);
    for (uint64_t i = 0; i < o->episodes; i++) {
        uint64_t us = world_between(20, 90) * SECOND;
        uint32_t only = o->only;

        /* Not everything at once, or some pairs of faults would never meet a calm node. */
        if (world_chance(500))
            only &= (uint32_t)world_below(1u << SIM_FAULTS) | 1u << world_below(SIM_FAULTS);
        client_rate(world_between(20, 900) * MS);
        if (only != 0)
            faults_begin(world_now() + us, only);
        run_until(world_now() + us);
        if (world_chance(400))
            calm(o->only);
        if (world_chance(400))
            faults_rest(world_between(1, 36) * HOUR);
    }
    end_of_life();
}

static int unlink_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void report(struct life *l, uint64_t seed, int fd)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    l->seed = seed;
    l->cpu_s = (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6 +
               (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec / 1e6;
    l->sim = *sim_counts();
    l->check = *check_counts();
    l->world = *world_counts();
    l->disk = *disk_counts();
    for (unsigned k = 0; k < SIM_FAULTS; k++)
        l->faults[k] = faults_count(k);
    l->log_entries = log_length();
    l->leaders = log_leader_changes();
    l->end_us = world_now();
    if (write(fd, l, sizeof *l) != (ssize_t)sizeof *l)
        _exit(1);
}

static void limit_time(void)
{
    struct rlimit cpu = {LIFE_SECONDS, LIFE_SECONDS + 1};

    ASSERT(setrlimit(RLIMIT_CPU, &cpu) == 0);
}

static void child(const struct options *o, uint64_t seed, const char *dir, int fd)
{
    static struct life l;

    limit_time();
    mallopt(M_MMAP_THRESHOLD, 1 << 30); /* memory is not given back between two turns */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    log_set_level(o->trace ? LOG_WARN : LOG_ALARM);
    if (!o->trace && freopen("/dev/null", "w", stderr) == NULL)
        _exit(1);
    fault_plant(o->bug);
    live(o, seed, dir);
    report(&l, seed, fd);
    fflush(NULL);
    _exit(0);
}

/* --- Many lives --- */

struct running {
    pid_t pid;
    int fd;
    uint64_t seed;
    char dir[96];
};

static void start_life(const struct options *o, uint64_t seed, struct running *r)
{
    int fds[2];

    r->seed = seed;
    snprintf(r->dir, sizeof r->dir, "/dev/shm/trispool-sim.%d.%llu", (int)getpid(),
             (unsigned long long)seed);
    ASSERT(mkdir(r->dir, 0700) == 0 && pipe(fds) == 0);
    fflush(NULL);
    r->pid = fork();
    ASSERT(r->pid >= 0);
    if (r->pid == 0) {
        close(fds[0]);
        child(o, seed, r->dir, fds[1]);
    }
    close(fds[1]);
    r->fd = fds[0];
}

static void add(uint64_t *into, const uint64_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] += from[i];
}

#define ADD(field) add((uint64_t *)&sum->field, (const uint64_t *)&l.field, sizeof l.field / 8)

/* True: it ended well. */
static bool end_life(struct running *r, int status, struct life *sum)
{
    struct life l;
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                read(r->fd, &l, sizeof l) == (ssize_t)sizeof l;

    close(r->fd);
    nftw(r->dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    if (WIFSIGNALED(status))
        printf("VIOLATION seed=%llu ended by signal %d%s\n", (unsigned long long)r->seed,
               WTERMSIG(status), WTERMSIG(status) == SIGXCPU ? " (it hangs)" : "");
    else if (!good && WEXITSTATUS(status) != VIOLATION_EXIT)
        printf("VIOLATION seed=%llu ended with status %d\n", (unsigned long long)r->seed,
               WEXITSTATUS(status));
    r->pid = 0;
    if (!good)
        return false;
    sum->cpu_s += l.cpu_s;
    sum->end_us += l.end_us;
    ADD(sim);
    ADD(check);
    ADD(world);
    ADD(disk);
    ADD(faults);
    sum->log_entries += l.log_entries;
    sum->leaders += l.leaders;
    return true;
}

static void print_sum(const struct life *s, uint64_t lives, uint64_t bad)
{
    double awake_s = (double)s->sim.awake_us / 1e6;

    printf("lives=%llu violations=%llu simulated_days=%.2f awake_hours=%.2f rests=%llu "
           "cpu_s=%.1f simulated_s_per_core_s=%.0f awake_s_per_core_s=%.0f\n",
           (unsigned long long)lives, (unsigned long long)bad, (double)s->end_us / DAY,
           awake_s / 3600, (unsigned long long)s->sim.rests, s->cpu_s,
           s->cpu_s > 0 ? (double)s->end_us / 1e6 / s->cpu_s : 0,
           s->cpu_s > 0 ? awake_s / s->cpu_s : 0);
    printf("messages: offered=%llu accepted=%llu refused_451=%llu closed=%llu taken=%llu "
           "duplicates=%llu bounced=%llu dots=%llu dots_refused=%llu\n",
           (unsigned long long)s->check.offered, (unsigned long long)s->check.accepted,
           (unsigned long long)s->check.refused, (unsigned long long)s->check.closed,
           (unsigned long long)s->check.taken, (unsigned long long)s->check.duplicates,
           (unsigned long long)s->check.bounced, (unsigned long long)s->check.dots,
           (unsigned long long)s->check.dots_refused);
    printf("cluster: crashes=%llu in_a_commit=%llu torn_sectors=%llu wipes=%llu frozen=%llu "
           "cuts=%llu own_ends=%llu io_errors=%llu bits=%llu leaders=%llu entries=%llu\n",
           (unsigned long long)s->sim.crashes, (unsigned long long)s->disk.crashes_in_flight,
           (unsigned long long)s->disk.torn_sectors, (unsigned long long)s->sim.wipes,
           (unsigned long long)s->sim.pauses, (unsigned long long)s->sim.cuts,
           (unsigned long long)s->sim.restarts, (unsigned long long)s->sim.io_errors,
           (unsigned long long)s->sim.flips, (unsigned long long)s->leaders,
           (unsigned long long)s->log_entries);
    printf("work: events=%llu frames=%llu lost=%llu doubled=%llu commits=%llu syncs=%llu\n",
           (unsigned long long)s->world.events, (unsigned long long)s->world.frames,
           (unsigned long long)s->world.frames_lost,
           (unsigned long long)s->world.frames_doubled, (unsigned long long)s->sim.commits,
           (unsigned long long)s->disk.syncs);
    for (unsigned k = 0; k < SIM_FAULTS; k++)
        printf("%s%s: %llu", k == 0 ? "faults: " : ", ", fault_name(k),
               (unsigned long long)s->faults[k]);
    putchar('\n');
}

static uint64_t run_all(const struct options *o)
{
    static struct life sum;
    struct running slots[JOBS_MAX] = {0};
    uint64_t next = o->first, running = 0, lives = 0, bad = 0;
    bool stop = false;

    for (;;) {
        int status;
        pid_t pid;

        stop |= o->days > 0 ? (double)sum.end_us / DAY >= o->days : next >= o->first + o->seeds;
        stop |= bad > 0 && o->bug > 0;
        for (uint64_t i = 0; i < o->jobs && !stop; i++)
            if (slots[i].pid == 0 && (o->days > 0 || next < o->first + o->seeds)) {
                start_life(o, next++, &slots[i]);
                running++;
            }
        if (running == 0)
            break;
        pid = wait(&status);
        for (uint64_t i = 0; i < o->jobs; i++)
            if (slots[i].pid == pid) {
                bad += !end_life(&slots[i], status, &sum);
                lives++;
                running--;
            }
        fflush(stdout);
    }
    print_sum(&sum, lives, bad);
    return bad;
}

static int list_bugs(void)
{
    static const char *const names[FAULT_COUNT] = {
#define X(name, text) #name,
        FAULTS(X)
#undef X
    };

    for (unsigned k = 1; k < FAULT_COUNT; k++)
        printf("%u %s %s\n", k, names[k], fault_text((enum fault)k));
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {.first = 1, .seeds = 1, .jobs = 1, .only = UINT32_MAX, .episodes = 6};

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";

        if (strcmp(argv[i], "--list-bugs") == 0)
            return list_bugs();
        if (strcmp(argv[i], "--trace") == 0) {
            o.trace = true;
            continue;
        }
        if (strcmp(argv[i], "--seeds") == 0)
            o.seeds = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 || strcmp(argv[i], "--first") == 0)
            o.first = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--days") == 0)
            o.days = strtod(value, NULL);
        else if (strcmp(argv[i], "--years") == 0)
            o.days = strtod(value, NULL) * 365;
        else if (strcmp(argv[i], "--jobs") == 0)
            o.jobs = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--bug") == 0)
            o.bug = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--faults") == 0)
            o.only = (uint32_t)strtoul(value, NULL, 16);
        else if (strcmp(argv[i], "--episodes") == 0)
            o.episodes = strtoull(value, NULL, 10);
        else
            argc = 0;
        i++;
    }
    if (argc == 0 || o.jobs == 0 || o.jobs > JOBS_MAX) {
        fprintf(stderr, "usage: trispool-sim [--seeds N] [--first S] [--days D | --years Y] "
                        "[--jobs J] [--seed S] [--trace] [--bug K] [--faults HEX] "
                        "[--episodes N]\n");
        return 64;
    }
    return run_all(&o) == 0 ? 0 : 1;
}
