/* How long a million messages take to load, to wait and to be handed out. Usage:
 * sched_bench [MESSAGES [DOMAINS]] */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/prng.h"
#include "node/delivery/sched.h"

struct bench {
    struct sched *s;
    struct sched_now now;
    uint64_t conns[LIMIT_CONNS_OUT * 4];
    uint32_t conn_count;
    uint64_t jobs, actions;
};

static void must(enum err e)
{
    ASSERT(e == OK);
}

static struct sched_message message(uint64_t i, char *name, size_t size, uint64_t domains)
{
    int n = snprintf(name, size, "domain-%llu.example", (unsigned long long)(i % domains));

    return (struct sched_message){.id = mid_make(1, 1, i + 1),
                                  .domain = {name, (size_t)n},
                                  .body_bytes = 20000,
                                  .received_ms = 1000 + i,
                                  .deadline_ms = 1209600000 + i};
}

static void load(struct bench *b, uint64_t messages, uint64_t domains)
{
    for (uint64_t i = 0; i < messages; i++) {
        char name[64];
        struct sched_event ev = {.type = SCHED_EV_MESSAGE_NEW,
                                 .message = message(i, name, sizeof name, domains)};

        must(sched_step(b->s, &ev, b->now));
    }
}

static void answer(struct bench *b, const struct sched_action *a)
{
    struct route r = {.result = ROUTE_OK, .ttl_s = 3600, .count = 1};
    uint64_t hash = 0;

    for (size_t i = 0; i < a->domain.n; i++)
        hash = hash * 31 + (unsigned char)a->domain.p[i];
    r.addrs[0] = (struct route_addr){
        route_ip_v4((uint8_t[4]){192, 0, 2, (uint8_t)(hash % 100)}), 25, 10, STR("mx.example")};
    must(sched_step(b->s,
                    &(struct sched_event){.type = SCHED_EV_ROUTE_ANSWER,
                                          .domain = a->domain,
                                          .generation = a->generation,
                                          .serial = a->serial,
                                          .route = &r},
                    b->now));
}

static void finish_job(struct bench *b, const struct sched_action *a)
{
    must(sched_step(
        b->s,
        &(struct sched_event){
            .type = SCHED_EV_JOB_DONE, .conn = a->conn, .id = a->id, .latency_ms = 5},
        b->now));
    must(sched_step(b->s, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = a->id},
                    b->now));
    b->jobs++;
}

/* A world without delay: what is opened is ready, what is given is done. */
static void drain(struct bench *b, uint64_t messages)
{
    struct sched_action a;

    while (b->jobs < messages) {
        bool any = false;

        while (sched_next_action(b->s, b->now, &a)) {
            any = true;
            b->actions++;
            if (a.type == SCHED_ACT_RESOLVE)
                answer(b, &a);
            else if (a.type == SCHED_ACT_OPEN)
                must(sched_step(
                    b->s, &(struct sched_event){.type = SCHED_EV_CONN_READY, .conn = a.conn},
                    b->now));
            else if (a.type == SCHED_ACT_GIVE)
                finish_job(b, &a);
            else if (a.type == SCHED_ACT_QUIT)
                must(sched_step(
                    b->s, &(struct sched_event){.type = SCHED_EV_CONN_CLOSED, .conn = a.conn},
                    b->now));
        }
        b->now.boot_ms += any ? 1 : 1000;
    }
}

int main(int argc, char **argv)
{
    uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint64_t domains = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
    struct bench b = {.now = {1000, 1000}};
    uint64_t t0 = clock_boot_us(), t1, t2;
    struct sched_counts counts;
    struct rusage use;

    b.s = sched_new(&(struct sched_options){.seed = 5});
    load(&b, messages, domains);
    t1 = clock_boot_us();
    sched_counts(b.s, &counts);
    getrusage(RUSAGE_SELF, &use);
    drain(&b, messages);
    t2 = clock_boot_us();
    printf("messages=%llu domains=%llu load_ms=%llu rss_mib=%ld entry_bytes=%zu drain_ms=%llu "
           "actions=%llu us_per_message=%.2f\n",
           (unsigned long long)messages, (unsigned long long)domains,
           (unsigned long long)(t1 - t0) / 1000, use.ru_maxrss / 1024, counts.entry_bytes,
           (unsigned long long)(t2 - t1) / 1000, (unsigned long long)b.actions,
           (double)(t2 - t1) / (double)messages);
    sched_free(&b.s);
    return 0;
}
