/* A world of control planes in one process, for tests: a network made of function calls, time
 * that passes when it is told to. */
#pragma once

#include "node/control_core.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/prng.h"
#include "proto/raftwire.h"
#include "spool/ctllog.h"

#define NODES   4
#define PACKETS 4096
#define ANSWERS 20000
#define DELAY   10

static const uint8_t cluster[16] = "the cluster id.";

struct node {
    struct control_core *core;
    struct store_id id;
    char dir[64];
    unsigned changed;
    bool fenced, deaf; /* deaf: nothing comes in or goes out */
    int cuts, solos;
    enum err solo, why; /* why it is fenced */
    const char *solo_why;
    uint32_t number;
};

struct packet {
    uint64_t due;
    struct node *from, *to;
    size_t n;
    char *bytes;
};

static struct node nodes[NODES];
static struct packet packets[PACKETS];
static uint32_t packet_count;
static uint64_t now;
static struct prng chance;
static uint32_t loss; /* percent */
static enum raftwire_kind lose_kind;
static struct node *stranger_of[2]; /* these two do not hear each other */

static struct answer {
    bool came;
    struct control_outcome o;
} answers[ANSWERS];
static uint64_t next_req;
static char bytes_of_req[ANSWERS][256];

/* --- the world --- */

static inline struct node *node_of(uint64_t incarnation)
{
    for (int i = 0; i < NODES; i++)
        if (nodes[i].core != NULL && nodes[i].id.incarnation == incarnation)
            return &nodes[i];
    return NULL;
}

static inline bool is_lost(struct str bytes)
{
    struct raftwire_frame f;
    struct arena a;
    enum err e;

    if (prng_below(&chance, 100) < loss)
        return true;
    if (lose_kind == 0)
        return false;
    arena_init(&a, 2 * MiB);
    e = raftwire_decode(bytes, &a, &f);
    arena_reset(&a);
    return e == OK && f.kind == lose_kind;
}

static inline void on_send(void *ctx, uint16_t site, uint64_t incarnation, struct str bytes)
{
    struct node *from = ctx, *to = node_of(incarnation);
    struct packet *p = &packets[packet_count];

    (void)site;
    if ((from == stranger_of[0] && to == stranger_of[1]) ||
        (from == stranger_of[1] && to == stranger_of[0]))
        return;
    if (to == NULL || from->deaf || to->deaf || is_lost(bytes) || packet_count == PACKETS)
        return;
    *p = (struct packet){.due = now + DELAY, .from = from, .to = to, .n = bytes.n};
    p->bytes = malloc(bytes.n);
    memcpy(p->bytes, bytes.p, bytes.n);
    packet_count++;
}

static inline void on_answer(void *ctx, uint64_t req_id, const struct control_outcome *o)
{
    (void)ctx;
    ck_assert(!answers[req_id].came);
    answers[req_id] = (struct answer){true, *o};
}

static inline void on_changed(void *ctx, unsigned bits)
{
    ((struct node *)ctx)->changed |= bits;
}

static inline void on_fence(void *ctx, enum err why)
{
    ((struct node *)ctx)->fenced = true;
    ((struct node *)ctx)->why = why;
}

static inline void on_cut(void *ctx, uint16_t site)
{
    (void)site;
    ((struct node *)ctx)->cuts++;
}

static inline void on_solo(void *ctx, enum err e, const char *why)
{
    struct node *n = ctx;

    ck_assert((e == OK) == (why == NULL));
    n->solos++;
    n->solo = e;
    n->solo_why = why;
}

static inline void open_node(struct node *n)
{
    ck_assert_int_eq(control_core_open(
                         &n->core, &(struct control_core_options){.dir = n->dir,
                                                                  .log_map_bytes = 64 * MiB,
                                                                  .state_map_bytes = 64 * MiB,
                                                                  .site = n->id.site,
                                                                  .seed = prng_next(&chance),
                                                                  .boot_now_ms = now,
                                                                  .ops = {.ctx = n,
                                                                          .send = on_send,
                                                                          .answer = on_answer,
                                                                          .changed = on_changed,
                                                                          .fence = on_fence,
                                                                          .cut = on_cut,
                                                                          .solo = on_solo}}),
                     OK);
}

static inline void stop_node(struct node *n)
{
    uint32_t k = 0;

    for (uint32_t i = 0; i < packet_count; i++) {
        if (packets[i].to == n || packets[i].from == n)
            free(packets[i].bytes);
        else
            packets[k++] = packets[i];
    }
    packet_count = k;
    control_core_close(&n->core);
}

/* The files of a node that does not run. */
static inline void copy_file(const char *from, const char *to)
{
    static char buf[1 << 16];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t got;

    ck_assert(in != NULL && out != NULL);
    while ((got = fread(buf, 1, sizeof buf, in)) > 0)
        ck_assert_uint_eq(fwrite(buf, 1, got, out), got);
    ck_assert_int_eq(fclose(in), 0);
    ck_assert_int_eq(fclose(out), 0);
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

static inline struct command member(uint16_t site, uint64_t incarnation)
{
    struct command c = {.kind = COMMAND_MEMBER_ADD,
                        .member_add = {.site = site,
                                       .incarnation = incarnation,
                                       .control = STR("192.0.2.1:7301"),
                                       .data = STR("192.0.2.1:7302")}};

    c.member_add.key[0] = (uint8_t)site;
    return c;
}

static inline void make_node(int i, uint16_t site, uint64_t incarnation, bool first)
{
    struct command c = member(site, incarnation);
    struct node *n = &nodes[i];

    *n = (struct node){.id = {.site = site, .incarnation = incarnation}, .number = (uint32_t)i};
    memcpy(n->id.cluster, cluster, sizeof cluster);
    snprintf(n->dir, sizeof n->dir, "/tmp/control_core.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(n->dir));
    ck_assert_int_eq(control_core_make(&(struct control_core_make){
                         .dir = n->dir, .id = n->id, .first = first ? &c : NULL}),
                     OK);
    ck_assert_int_eq(control_core_make(&(struct control_core_make){
                         .dir = n->dir, .id = n->id, .first = first ? &c : NULL}),
                     E_EXISTS);
    open_node(n);
}

static inline void setup(void)
{
    log_set_level(LOG_ALARM);
    prng_seed(&chance, 5);
    now = 1000;
}

static inline void teardown(void)
{
    for (int i = 0; i < NODES; i++) {
        if (nodes[i].core != NULL)
            stop_node(&nodes[i]);
        if (nodes[i].dir[0] != 0)
            remove_dir(nodes[i].dir);
    }
}

static inline void deliver(void)
{
    for (uint32_t i = 0; i < packet_count;) {
        struct packet p = packets[i];

        if (p.due > now) {
            i++;
            continue;
        }
        packet_count--;
        memmove(&packets[i], &packets[i + 1], (packet_count - i) * sizeof p);
        if (!p.to->deaf && p.to->core != NULL)
            control_core_receive(p.to->core, p.from->id.site, p.from->id.incarnation,
                                 (struct str){p.bytes, p.n}, now);
        free(p.bytes);
    }
}

static inline void run(uint64_t ms)
{
    for (uint64_t end = now + ms; now < end; now++) {
        deliver();
        for (int i = 0; i < NODES; i++)
            if (nodes[i].core != NULL && now >= control_core_deadline(nodes[i].core))
                control_core_tick(nodes[i].core, now);
    }
}

/* --- asking --- */

static inline uint64_t ask(struct node *n, struct command c)
{
    uint64_t req = next_req++;
    struct str bytes;

    ck_assert_uint_lt(req, ANSWERS);
    ck_assert_int_eq(
        command_encode(&c, (uint8_t *)bytes_of_req[req], sizeof bytes_of_req[req], &bytes), OK);
    answers[req].came = false;
    ck_assert_int_eq(control_core_propose(n->core, req, bytes, now), OK);
    return req;
}

static inline struct control_outcome get(struct node *n, struct command c)
{
    uint64_t req = ask(n, c);

    control_core_flush(n->core, now);
    for (int i = 0; i < 20000 && !answers[req].came; i++)
        run(1);
    ck_assert(answers[req].came);
    return answers[req].o;
}

static inline struct command setting(const char *name, const char *value)
{
    return (struct command){.kind = COMMAND_SETTING_PUT,
                            .setting_put = {str_of(name), str_of(value)}};
}

static inline bool holds(struct node *n, const char *name, const char *value)
{
    struct setting s;
    struct arena a;
    bool well;

    arena_init(&a, 1 * MiB);
    well = control_setting_get(control_core_state(n->core), str_of(name), &a, &s) == OK &&
           str_eq(s.value, str_of(value));
    arena_reset(&a);
    return well;
}

static inline struct node *leader(void)
{
    for (int i = 0; i < NODES; i++)
        if (nodes[i].core != NULL && !nodes[i].deaf && control_core_leads(nodes[i].core))
            return &nodes[i];
    return NULL;
}

static inline struct node *follower(void)
{
    for (int i = 0; i < NODES; i++)
        if (nodes[i].core != NULL && !nodes[i].deaf && !control_core_leads(nodes[i].core))
            return &nodes[i];
    return NULL;
}

static inline enum cs_role role_of(struct node *as_seen_by, uint64_t incarnation)
{
    struct control_core_status s;

    control_core_status(as_seen_by->core, &s);
    for (uint32_t i = 0; i < s.member_count; i++)
        if (s.members[i].incarnation == incarnation)
            return s.members[i].role;
    return (enum cs_role) - 1;
}

static inline uint32_t voters(struct node *n)
{
    struct control_core_status s;
    uint32_t count = 0;

    control_core_status(n->core, &s);
    for (uint32_t i = 0; i < s.member_count; i++)
        count += s.members[i].role == CS_VOTER;
    return count;
}

/* A member is added and joins with an empty store. */
static inline void join(int i, uint16_t site)
{
    struct control_outcome o = get(leader(), member(site, 0));

    ck_assert_int_eq(o.err, OK);
    make_node(i, site, o.index, false);
    for (int k = 0; k < 100 && role_of(&nodes[i], o.index) != CS_VOTER; k++)
        run(100);
    ck_assert_int_eq(role_of(&nodes[i], o.index), CS_VOTER);
}

static inline void three(void)
{
    make_node(0, 1, 1, true);
    join(1, 2);
    join(2, 3);
    run(500);
    ck_assert_uint_eq(voters(&nodes[0]), 3);
    ck_assert_uint_eq(voters(&nodes[2]), 3);
}

static inline bool all_are_level(void)
{
    uint64_t applied = 0;

    for (int i = 0; i < NODES; i++) {
        uint64_t a = nodes[i].core != NULL ? control_applied(control_core_state(nodes[i].core))
                                           : applied;

        if (applied != 0 && a != applied)
            return false;
        applied = a;
    }
    return true;
}

static inline void digests_agree(void)
{
    uint64_t first = 0, d;

    run(3000);
    for (int i = 0; i < 2000 && !all_are_level(); i++) /* the clock goes on */
        run(1);
    for (int i = 0; i < NODES; i++) {
        if (nodes[i].core == NULL)
            continue;
        ck_assert_int_eq(control_digest(control_core_state(nodes[i].core), &d), OK);
        if (first == 0)
            first = d;
        ck_assert_uint_eq(d, first);
    }
}
