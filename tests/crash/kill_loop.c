/*
 * kill_loop: a child commits random batches and is killed with SIGKILL, over and over; after
 * each kill the spool must hold exactly what was acknowledged, or that and the whole of the
 * batch under way.
 *
 * Half of the children die at the n-th write or sync, before or after it; the others at a
 * random moment, by a timer of the kernel.
 *
 *   kill_loop [--cycles N] [--seed S]
 */
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "spool/spool_check.h"
#include "tests/crash/model.h"
#include "tests/support/io_tap.h"

#define MAP_BYTES (256 * MiB)
#define DEADLY_IO 2000      /* a child dies within so many writes and syncs */
#define DEADLY_NS 200000000 /* or within this time */

/* Survives the child. Bit 0 of `state`: which model is acknowledged; bit 1: the other one is
 * under way. */
struct shared {
    struct model models[2];
    atomic_uint state;
    atomic_ulong batches;
};

struct death {
    long io; /* calls until the end; -1: never */
};

static enum io_verdict die_at(void *user, enum io_op op)
{
    struct death *d = user;

    (void)op;
    if (d->io >= 0 && d->io-- == 0)
        kill(getpid(), SIGKILL);
    return IO_PASS;
}

static void die_by_timer(uint64_t ns)
{
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec when = {.it_value.tv_nsec = (long)ns + 1};
    timer_t timer;

    ASSERT(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
    ASSERT(timer_settime(timer, 0, &when, NULL) == 0);
}

static void child(struct kit *k, struct shared *sh, struct prng *r)
{
    static struct death death = {.io = -1};

    if (prng_below(r, 2) == 0)
        death.io = (long)prng_below(r, DEADLY_IO);
    else
        die_by_timer(prng_below(r, DEADLY_NS));
    *io_tap() = (struct io_tap){.judge = die_at, .user = &death};
    kit_open(k);
    for (;;) {
        unsigned now = atomic_load(&sh->state) & 1;
        struct model *next = &sh->models[1 - now];
        struct spool_txn *t;
        struct batch b;

        *next = sh->models[now];
        model_plan(next, r, k, &b);
        atomic_store(&sh->state, now | 2);
        t = model_run(next, k, &b);
        ASSERT(spool_commit(&t) == OK);
        atomic_store(&sh->state, 1 - now);
        atomic_fetch_add(&sh->batches, 1);
    }
}

static void on_finding(void *user, const struct spool_finding *f)
{
    printf("check: %s %s: %s\n", f->table, f->key, f->what);
    (void)user;
}

/* Verifies, and makes what is there the acknowledged model. NULL: good. */
static const char *settle_accounts(struct kit *k, struct shared *sh)
{
    unsigned state = atomic_load(&sh->state), now = state & 1;
    struct spool_check_summary sum;
    const char *what;

    if (spool_check(k->dir, on_finding, NULL, &sum) != OK || sum.findings > 0)
        return "the check finds faults";
    kit_open(k);
    what = model_differs(&sh->models[now], k);
    if (what != NULL && (state & 2) != 0 && model_differs(&sh->models[1 - now], k) == NULL) {
        what = NULL;
        now = 1 - now;
    }
    kit_close(k);
    atomic_store(&sh->state, now);
    model_crashed(&sh->models[now]);
    return what;
}

static const char *cycle(struct kit *k, struct shared *sh, struct prng *r)
{
    int status = 0;
    pid_t pid;
    struct prng mine;

    prng_seed(&mine, prng_next(r));
    fflush(NULL);
    pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        child(k, sh, &mine);
        _exit(1);
    }
    ASSERT(waitpid(pid, &status, 0) == pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        return "the child did not live until its end";
    return settle_accounts(k, sh);
}

int main(int argc, char **argv)
{
    unsigned long cycles = 40, done = 0;
    uint64_t seed = 1;
    struct shared *sh =
        mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const char *what = NULL;
    struct prng r;
    struct kit k;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--cycles") == 0)
            cycles = strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoul(argv[i + 1], NULL, 10);
    }
    ASSERT(sh != MAP_FAILED);
    log_set_level(LOG_WARN);
    prng_seed(&r, seed);
    kit_init(&k, MAP_BYTES);
    kit_close(&k);
    sh->models[0].next = 1;
    while (done < cycles && what == NULL) {
        what = cycle(&k, sh, &r);
        done++;
    }
    printf("seed=%llu cycles=%lu batches=%lu: %s\n", (unsigned long long)seed, done,
           atomic_load(&sh->batches), what == NULL ? "good" : what);
    kit_fini(&k);
    return what == NULL && atomic_load(&sh->batches) > cycles ? 0 : 1;
}
