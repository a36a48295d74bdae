/* Control threads of several members in one process, over real links on loopback, for tests. */
#pragma once

#include "node/control_thread.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/identity.h"
#include "node/net/plane.h"

#define NODES    4
#define WAIT_MS  60000 /* for what must come; nothing waits so long when all is well */
#define QUIET_MS 2500  /* for what must not come: two elections */

struct node {
    struct control_thread *t;
    struct store_id id;
    struct identity identity;
    char dir[64], control[32], data[32];
};

static struct node nodes[NODES];

/* A node stands still, as a stopped process does, when its thread asks what time it is. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t thawed = PTHREAD_COND_INITIALIZER;
static bool frozen[NODES];

static inline uint64_t boot_of(int i)
{
    pthread_mutex_lock(&lock);
    while (frozen[i])
        pthread_cond_wait(&thawed, &lock);
    pthread_mutex_unlock(&lock);
    return clock_boot_ms();
}

static inline uint64_t boot_0(void)
{
    return boot_of(0);
}

static inline uint64_t boot_1(void)
{
    return boot_of(1);
}

static inline uint64_t boot_2(void)
{
    return boot_of(2);
}

static inline uint64_t boot_3(void)
{
    return boot_of(3);
}

static uint64_t (*const boots[NODES])(void) = {boot_0, boot_1, boot_2, boot_3};

static inline void freeze(int i, bool on)
{
    pthread_mutex_lock(&lock);
    frozen[i] = on;
    pthread_cond_broadcast(&thawed);
    pthread_mutex_unlock(&lock);
}

/* --- nodes --- */

static inline uint16_t free_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
    close(fd);
    return ntohs(sa.sin_port);
}

static inline void prepare(int i)
{
    struct node *n = &nodes[i];

    *n = (struct node){.id.site = (uint16_t)(i % 3 + 1)};
    memcpy(n->id.cluster, "the cluster id.", 16);
    snprintf(n->dir, sizeof n->dir, "/tmp/control_cluster.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(n->dir));
    snprintf(n->control, sizeof n->control, "127.0.0.1:%u", free_port());
    snprintf(n->data, sizeof n->data, "127.0.0.1:%u", free_port());
    ck_assert_int_eq(plane_key_new(n->identity.public_key, n->identity.secret_key), OK);
}

static inline void open_node(int i)
{
    struct node *n = &nodes[i];

    ck_assert_int_eq(control_thread_start(
                         &n->t, &(struct control_thread_options){.dir = n->dir,
                                                                 .log_map_bytes = 64 * MiB,
                                                                 .state_map_bytes = 64 * MiB,
                                                                 .site = n->id.site,
                                                                 .near_sites = true,
                                                                 .bind = n->control,
                                                                 .identity = &n->identity,
                                                                 .boot_ms = boots[i]}),
                     OK);
}

static inline struct command member_add(int i)
{
    struct node *n = &nodes[i];
    struct command c = {.kind = COMMAND_MEMBER_ADD,
                        .member_add = {.site = n->id.site,
                                       .incarnation = n->id.incarnation,
                                       .control = str_of(n->control),
                                       .data = str_of(n->data)}};

    memcpy(c.member_add.key, n->identity.public_key, sizeof c.member_add.key);
    return c;
}

static inline void make_first(int i)
{
    struct command c;

    nodes[i].id.incarnation = 1;
    c = member_add(i);
    ck_assert_int_eq(control_core_make(&(struct control_core_make){
                         .dir = nodes[i].dir, .id = nodes[i].id, .first = &c}),
                     OK);
    open_node(i);
}

/* What a token says. */
static inline void seed(int i, int of)
{
    struct identity_peer *s = &nodes[i].identity.seeds[nodes[i].identity.seed_count++];

    *s = (struct identity_peer){.site = nodes[of].id.site,
                                .incarnation = nodes[of].id.incarnation};
    memcpy(s->key, nodes[of].identity.public_key, sizeof s->key);
    memcpy(s->control, nodes[of].control, sizeof nodes[of].control);
    memcpy(s->data, nodes[of].data, sizeof nodes[of].data);
}

static inline void make_joiner(int i, uint64_t incarnation, unsigned seeds)
{
    nodes[i].id.incarnation = incarnation;
    for (int k = 0; k < NODES; k++)
        if (seeds & 1U << k)
            seed(i, k);
    ck_assert_int_eq(
        control_core_make(&(struct control_core_make){.dir = nodes[i].dir, .id = nodes[i].id}),
        OK);
}

static inline void remove_dir(const char *dir)
{
    char path[160];

    for (const char *const *sub = (const char *const[]){"log", "state", NULL}; *sub; sub++) {
        for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f;
             f++) {
            snprintf(path, sizeof path, "%s/%s/%s", dir, *sub, *f);
            unlink(path);
        }
        snprintf(path, sizeof path, "%s/%s", dir, *sub);
        rmdir(path);
    }
    rmdir(dir);
}

static inline void setup(void)
{
    log_set_level(LOG_ALARM);
    for (int i = 0; i < NODES; i++)
        prepare(i);
}

static inline void teardown(void)
{
    for (int i = 0; i < NODES; i++) {
        freeze(i, false);
        if (nodes[i].t != NULL)
            control_thread_stop(&nodes[i].t);
        remove_dir(nodes[i].dir);
    }
}

/* --- asking --- */

static inline void pass(void)
{
    poll(NULL, 0, 10);
}

#define UNTIL(condition)                                                                       \
    for (uint64_t end_ms = clock_boot_ms() + WAIT_MS; !(condition); pass())                    \
    ck_assert_msg(clock_boot_ms() < end_ms, "in vain: " #condition)

static inline struct control_outcome ask(int i, struct command c)
{
    struct control_outcome out;
    uint64_t end = clock_boot_ms() + WAIT_MS;
    bool may_be_there = false;

    for (;;) {
        ck_assert_uint_lt(clock_boot_ms(), end);
        (void)!control_propose_wait(nodes[i].t, &c, &out);
        if (out.err == E_EXISTS && may_be_there)
            out.err = OK;
        if (out.err != E_NOTOWNER && out.err != E_FULL && out.err != E_TIMEOUT)
            return out;
        may_be_there = may_be_there || out.err == E_TIMEOUT; /* between two leaders */
    }
}

static inline struct command domain(enum domain_put_mode mode, const char *name)
{
    return (struct command){
        .kind = COMMAND_DOMAIN_PUT,
        .domain_put = {.mode = mode, .domain = {.name = str_of(name), .route.kind = ROUTE_MX}}};
}

static inline bool has(int i, const char *name)
{
    struct arena a;
    struct domain d;
    enum err e;

    arena_init(&a, 1 * MiB);
    e = control_domain_get(control_thread_state(nodes[i].t), str_of(name), &a, &d);
    arena_reset(&a);
    return e == OK;
}

static inline struct control_core_status status(int i)
{
    struct control_core_status s;

    control_thread_status(nodes[i].t, &s);
    return s;
}

static inline uint32_t voters(int i)
{
    struct control_core_status s = status(i);
    uint32_t count = 0;

    for (uint32_t k = 0; k < s.member_count; k++)
        count += s.members[k].role == CS_VOTER;
    return count;
}

/* The node that leads, as node i knows; -1: it knows of none. */
static inline int leader(int i)
{
    uint64_t id = status(i).leader;

    for (int k = 0; k < NODES; k++)
        if (id != 0 && nodes[k].t != NULL && nodes[k].id.incarnation == id)
            return k;
    return -1;
}

static inline struct control_lease lease(int i)
{
    struct control_lease l;

    control_thread_lease(nodes[i].t, &l);
    return l;
}

static inline void join(int i, unsigned seeds)
{
    struct control_outcome o = ask(0, member_add(i));

    ck_assert_int_eq(o.err, OK);
    make_joiner(i, o.index, seeds);
    open_node(i);
}

static inline void three(void)
{
    make_first(0);
    join(1, 1);
    join(2, 3);
    for (int i = 0; i < 3; i++)
        UNTIL(voters(i) == 3 && leader(i) >= 0);
}

static inline bool all_know(const char *name)
{
    bool well = true;

    for (int i = 0; i < 3; i++)
        well = well && (nodes[i].t == NULL || has(i, name));
    return well;
}
