/*
 * Three (and more) consensus adapters on a virtual network with virtual disks: loss,
 * duplication, reordering, partitions, crashes that lose what was not synced, snapshots,
 * changes of members. Checked: all nodes apply the same commands in the same order, one leader
 * per term, every answer is true, and when the faults end the cluster goes on.
 *
 * A failing seed is printed; TRISPOOL_SEED=N runs that one alone, TRISPOOL_SEEDS=N that many.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "replication/consensus.h"

#define NODES     12 /* incarnations in one run */
#define SITES     3
#define HISTORY   60000
#define QUEUE     20000
#define RUN_MS    60000
#define HEAL_MS   15000
#define COMPACT   60 /* entries between two snapshots */
#define TRAILING  30
#define MAX_BATCH LIMIT_CONTROL_BATCH

struct entry {
    uint64_t term, value; /* value of a command; of others the text is in members */
    enum raftwire_entry_kind kind;
    size_t n;
    uint8_t members[RAFTWIRE_MEMBERS_BYTES];
};

/* A write of entries under way. */
struct disk_write {
    uint64_t first, done_ms;
    uint32_t count;
    struct entry *entries;
};

struct node {
    uint64_t id; /* incarnation */
    uint16_t site;
    bool up, gone;
    struct consensus *cs;
    uint64_t boot_ms;  /* of this run: its own clock begins anywhere */
    struct entry *log; /* synced: log[i] is entry i, from `first` to `last` */
    uint64_t first, last, term, vote;
    struct raftwire_snapshot snapshot;
    uint8_t snapshot_members[RAFTWIRE_MEMBERS_BYTES];
    struct disk_write writes[CS_WRITES];
    uint32_t write_count;
    uint64_t applied; /* of the state machine: synced with each apply */
};

struct packet {
    uint64_t due_ms, from, to, applied;
    struct raftwire_message m;
    struct raftwire_entry *entries; /* owned, with their bytes behind */
    uint8_t members[RAFTWIRE_MEMBERS_BYTES];
};

static struct world {
    struct prng r;
    uint64_t seed, now;
    struct node nodes[NODES];
    uint32_t node_count;
    struct packet *queue[QUEUE];
    uint32_t queued;
    bool cut[SITES + 1][SITES + 1]; /* [from][to] */
    bool faults, members_change;
    uint64_t next_fault, next_value, next_step;
    uint64_t committed[HISTORY]; /* value applied at the index; 0: none yet */
    enum raftwire_entry_kind kinds[HISTORY];
    uint64_t highest;
    uint64_t leader_of[HISTORY]; /* term -> id */
    uint8_t answers[HISTORY];    /* of a value: 0 none, 1 + outcome */
    uint64_t answer_index[HISTORY];
    uint64_t wanted[SITES + 1]; /* id that should be a member, by site */
    uint64_t elections, crashes, installs, changes;
} w;

static struct cs_update up;

#define CHECK(cond, ...)                                                                       \
    do {                                                                                       \
        if (!(cond)) {                                                                         \
            printf("seed %llu, %llu ms: ", (unsigned long long)w.seed,                         \
                   (unsigned long long)w.now);                                                 \
            printf(__VA_ARGS__);                                                               \
            printf("\n");                                                                      \
            ck_abort_msg("seed %llu", (unsigned long long)w.seed);                             \
        }                                                                                      \
    } while (0)

static bool chance(uint64_t percent)
{
    return prng_below(&w.r, 100) < percent;
}

static struct node *node_of(uint64_t id)
{
    for (uint32_t i = 0; i < w.node_count; i++)
        if (w.nodes[i].id == id)
            return &w.nodes[i];
    return NULL;
}

/* --- the log as the node sees it: synced, and above it what is being written --- */

static struct entry *entry_at(struct node *n, uint64_t index)
{
    for (uint32_t i = n->write_count; i > 0; i--) {
        struct disk_write *d = &n->writes[i - 1];

        if (index >= d->first && index < d->first + d->count)
            return &d->entries[index - d->first];
        if (index >= d->first)
            return NULL;
    }
    return index >= n->first && index <= n->last ? &n->log[index] : NULL;
}

static void write_done(struct node *n)
{
    struct disk_write d = n->writes[0];

    CHECK(d.first <= n->last + 1 && d.first >= n->first, "a gap in the log of %llu",
          (unsigned long long)n->id);
    CHECK(d.first + d.count < HISTORY, "history is too small");
    memcpy(&n->log[d.first], d.entries, d.count * sizeof *d.entries);
    n->last = d.first + d.count - 1;
    free(d.entries);
    n->write_count--;
    memmove(n->writes, n->writes + 1, n->write_count * sizeof *n->writes);
}

static void append(struct node *n)
{
    struct disk_write *d = &n->writes[n->write_count++];
    uint64_t after = n->write_count > 1 ? n->writes[n->write_count - 2].done_ms : 0;

    *d = (struct disk_write){.first = up.entries[0].index, .count = (uint32_t)up.entry_count};
    d->done_ms = w.now + 1 + prng_below(&w.r, 25);
    if (d->done_ms < after)
        d->done_ms = after;
    d->entries = calloc(up.entry_count, sizeof *d->entries);
    for (size_t i = 0; i < up.entry_count; i++) {
        const struct cs_entry *e = &up.entries[i];

        d->entries[i] = (struct entry){.term = e->term, .kind = e->kind, .n = e->bytes.n};
        if (e->kind == RAFTWIRE_COMMAND)
            memcpy(&d->entries[i].value, e->bytes.p, 8);
        else
            memcpy(d->entries[i].members, e->bytes.p, e->bytes.n);
    }
}

static struct str bytes_of(const struct entry *e)
{
    return e->kind == RAFTWIRE_COMMAND ? (struct str){(const char *)&e->value, 8}
                                       : (struct str){(const char *)e->members, e->n};
}

/* --- network --- */

static void packet_free(struct packet *p)
{
    free(p->entries);
    free(p);
}

static void post(struct packet *p)
{
    if (w.queued == QUEUE) {
        packet_free(p);
        return;
    }
    w.queue[w.queued++] = p;
}

static uint64_t delay(void)
{
    return w.faults && chance(5) ? 30 + prng_below(&w.r, 270) : 2 + prng_below(&w.r, 28);
}

/* The entries of one frame, with bytes of their own. */
static void fill(struct packet *p, struct node *n, uint64_t from, uint32_t count)
{
    uint8_t *to;

    p->m.append.count = count;
    if (count == 0)
        return;
    p->entries = calloc(count, sizeof *p->entries + RAFTWIRE_MEMBERS_BYTES);
    to = (uint8_t *)(p->entries + count);
    for (uint32_t i = 0; i < count; i++) {
        struct entry *e = entry_at(n, from + i);
        struct str b = bytes_of(e);

        memcpy(to, b.p, b.n);
        p->entries[i] = (struct raftwire_entry){e->term, e->kind, {(const char *)to, b.n}};
        to += RAFTWIRE_MEMBERS_BYTES;
    }
    p->m.append.entries = p->entries;
}

static void send_one(struct node *n, const struct raftwire_message *m, uint64_t from,
                     uint32_t count)
{
    struct node *to = node_of(m->peer);
    int copies = w.faults && chance(2) ? 2 : 1;

    if (to == NULL || to->gone || w.cut[n->site][to->site])
        return;
    for (; copies > 0; copies--) {
        struct packet *p = calloc(1, sizeof *p);

        p->due_ms = w.now + delay();
        p->from = n->id;
        p->to = m->peer;
        p->m = *m;
        if (m->kind == RAFTWIRE_APPEND)
            fill(p, n, from, count);
        if (m->kind == RAFTWIRE_SNAPSHOT) {
            memcpy(p->members, m->install.members.p, m->install.members.n);
            p->m.install.members.p = (const char *)p->members;
            p->applied = n->applied;
        }
        if (w.faults && chance(2))
            packet_free(p);
        else
            post(p);
    }
}

/* An APPEND goes in frames; a members entry begins one. */
static void send_append(struct node *n, const struct raftwire_message *m)
{
    uint64_t next = m->append.prev_index + 1, end = next + m->append.count;
    struct raftwire_message part = *m;

    do {
        uint32_t most = chance(20) ? 1 + (uint32_t)prng_below(&w.r, 5) : MAX_BATCH, count = 0;

        while (next + count < end && count < most &&
               (count == 0 || entry_at(n, next + count)->kind != RAFTWIRE_MEMBERS))
            count++;
        send_one(n, &part, next, count);
        if (count > 0) {
            part.append.prev_index = next + count - 1;
            part.append.prev_term = entry_at(n, next + count - 1)->term;
        }
        next += count;
    } while (next < end);
}

/* --- carrying out updates --- */

static void step(struct node *n, struct cs_event ev);

static void send_all(struct node *n)
{
    for (size_t i = 0; i < up.message_count; i++) {
        if (up.messages[i].kind == RAFTWIRE_APPEND)
            send_append(n, &up.messages[i]);
        else
            send_one(n, &up.messages[i], 0, 0);
    }
}

static void apply_one(struct node *n, uint64_t index)
{
    struct entry *e = entry_at(n, index);

    CHECK(e != NULL && index <= n->last, "%llu applies %llu, which is not on its disk",
          (unsigned long long)n->id, (unsigned long long)index);
    if (w.kinds[index] == 0) {
        w.kinds[index] = e->kind;
        w.committed[index] = e->value;
    }
    CHECK(w.kinds[index] == e->kind && w.committed[index] == e->value,
          "node %llu applies another command at %llu", (unsigned long long)n->id,
          (unsigned long long)index);
    if (index > w.highest)
        w.highest = index;
    n->applied = index;
}

static void look_at_answers(void)
{
    for (size_t i = 0; i < up.answer_count; i++) {
        const struct cs_answer *a = &up.answers[i];

        CHECK(w.answers[a->req_id] == 0, "%llu is answered twice",
              (unsigned long long)a->req_id);
        w.answers[a->req_id] = (uint8_t)(1 + a->outcome);
        w.answer_index[a->req_id] = a->index;
        if (a->outcome == CS_APPLIED)
            CHECK(w.committed[a->index] == a->req_id, "%llu is not what was applied",
                  (unsigned long long)a->req_id);
    }
}

static void look_at_leader(struct node *n)
{
    uint64_t term;

    if (!cs_leads(n->cs))
        return;
    term = cs_term(n->cs);
    w.elections += w.leader_of[term] == 0;
    if (w.leader_of[term] == 0)
        w.leader_of[term] = n->id;
    CHECK(w.leader_of[term] == n->id, "two leaders in term %llu", (unsigned long long)term);
}

static void snapshot_keep(struct node *n, const struct raftwire_snapshot *s)
{
    n->snapshot = *s;
    memmove(n->snapshot_members, s->members.p, s->members.n);
    n->snapshot.members.p = (const char *)n->snapshot_members;
}

/* The rest of an update that installs or shortens. */
static void carry_out_snapshot(struct node *n, uint64_t applied)
{
    if (up.compact.index != 0) {
        snapshot_keep(n, &up.compact);
        if (up.compact_upto >= n->first)
            n->first = up.compact_upto + 1;
    }
    if (up.install.index != 0) {
        CHECK(applied >= up.install.index, "a snapshot older than it says");
        while (n->write_count > 0) { /* they are behind it in the queue of the disk */
            uint64_t asked = n->writes[0].first + n->writes[0].count - 1;
            struct raftwire_snapshot at = up.install;

            write_done(n);
            step(n, (struct cs_event){.type = CS_EV_PERSISTED, .index = asked});
            up.install = at;
        }
        snapshot_keep(n, &up.install);
        n->first = up.install.index + 1;
        n->last = up.install.index;
        if (applied > n->applied)
            n->applied = applied;
        w.installs++;
        step(n, (struct cs_event){.type = CS_EV_SNAPSHOT_PERSISTED, .index = n->applied});
    }
}

static void step_with(struct node *n, struct cs_event ev, uint64_t applied)
{
    uint64_t from, to;

    ev.boot_now_ms = n->boot_ms + w.now;
    cs_step(n->cs, &ev, &up);
    CHECK(up.failed == NULL, "node %llu: %s", (unsigned long long)n->id, up.failed);
    CHECK(up.refused == NULL, "node %llu refuses: %s", (unsigned long long)n->id, up.refused);
    if (up.store_term) {
        CHECK(up.term >= n->term, "the term goes back");
        CHECK(up.term > n->term || n->vote == 0 || n->vote == up.vote, "it votes twice");
        n->term = up.term;
        n->vote = up.vote;
    }
    if (up.entry_count > 0)
        append(n);
    send_all(n);
    look_at_answers();
    look_at_leader(n);
    from = up.apply_from;
    to = up.apply_to;
    carry_out_snapshot(n, applied);
    if (to == 0)
        return;
    CHECK(from == n->applied + 1, "apply begins at %llu", (unsigned long long)from);
    for (uint64_t i = from; i <= to; i++)
        apply_one(n, i);
    step(n, (struct cs_event){.type = CS_EV_APPLIED, .index = to});
}

static void step(struct node *n, struct cs_event ev)
{
    step_with(n, ev, 0);
}

/* --- nodes --- */

static void start(struct node *n)
{
    static struct raftwire_entry entries[HISTORY];
    struct cs_log log = {.term = n->term,
                         .vote = n->vote,
                         .snapshot = n->snapshot,
                         .first = n->first,
                         .entries = entries,
                         .count = n->last + 1 - n->first};

    for (uint64_t i = n->first; i <= n->last; i++)
        entries[i - n->first] =
            (struct raftwire_entry){n->log[i].term, n->log[i].kind, bytes_of(&n->log[i])};
    n->boot_ms = prng_below(&w.r, 1000000);
    n->cs = cs_new(&(struct cs_config){.id = n->id,
                                       .site = n->site,
                                       .seed = prng_next(&w.r),
                                       .install_ms = 1000,
                                       .applied = n->applied,
                                       .boot_now_ms = n->boot_ms + w.now});
    n->up = true;
    step(n, (struct cs_event){.type = CS_EV_START, .log = &log});
}

/* Writes that were under way are there or not, oldest first; a write is whole or not at all. */
static void crash(struct node *n)
{
    while (n->write_count > 0 && chance(50))
        write_done(n);
    for (uint32_t i = 0; i < n->write_count; i++)
        free(n->writes[i].entries);
    n->write_count = 0;
    n->up = false;
    cs_free(&n->cs);
    w.crashes++;
}

static struct node *add_node(uint16_t site)
{
    struct node *n = &w.nodes[w.node_count++];

    *n = (struct node){.id = w.node_count * 10 + site, .site = site, .first = 1};
    n->log = calloc(HISTORY, sizeof *n->log);
    w.wanted[site] = n->id;
    return n;
}

static void world_begin(uint64_t seed, bool members_change)
{
    struct cs_members m = {.count = SITES};
    struct str b;
    uint8_t buf[RAFTWIRE_MEMBERS_BYTES];

    memset(&w, 0, sizeof w);
    w.seed = seed;
    prng_seed(&w.r, seed);
    w.faults = true;
    w.members_change = members_change;
    for (uint16_t s = 1; s <= SITES; s++)
        m.list[s - 1] = (struct cs_member){add_node(s)->id, s, CS_VOTER};
    b = cs_members_encode(&m, buf);
    for (uint32_t i = 0; i < w.node_count; i++) {
        struct node *n = &w.nodes[i];

        n->term = 1;
        n->last = 1;
        n->log[1] = (struct entry){.term = 1, .kind = RAFTWIRE_MEMBERS, .n = b.n};
        memcpy(n->log[1].members, b.p, b.n);
        start(n);
    }
}

static void world_end(void)
{
    for (uint32_t i = 0; i < w.node_count; i++) {
        if (w.nodes[i].up)
            crash(&w.nodes[i]);
        free(w.nodes[i].log);
    }
    for (uint32_t i = 0; i < w.queued; i++)
        packet_free(w.queue[i]);
}

/* --- what happens --- */

static void propose(struct node *n, uint64_t count)
{
    struct cs_proposal p[4];
    uint64_t values[4];

    if (w.next_value + count >= HISTORY)
        return;
    for (uint64_t i = 0; i < count; i++) {
        values[i] = ++w.next_value;
        p[i] = (struct cs_proposal){values[i], {(const char *)&values[i], 8}};
    }
    step(n, (struct cs_event){.type = CS_EV_PROPOSE, .proposals = p, .count = count});
}

/* The members shall be w.wanted: what node/control_core does with the member table. */
static void tend_members(struct node *n)
{
    const struct cs_members *m = cs_members(n->cs);
    struct cs_event ev = {.type = CS_EV_MEMBER};

    if (!cs_leads(n->cs) || cs_is_changing(n->cs))
        return;
    for (uint32_t i = 0; i < m->count && ev.member.id == 0; i++)
        if (w.wanted[m->list[i].site] != m->list[i].id && m->list[i].id != n->id) {
            ev.change = CS_REMOVE;
            ev.member = m->list[i];
        }
    for (uint16_t s = 1; s <= SITES && ev.member.id == 0; s++) {
        const struct cs_member *have = cs_member_find(m, w.wanted[s]);

        if (have != NULL && have->role == CS_VOTER)
            continue;
        ev.change = have == NULL ? CS_ADD : CS_PROMOTE;
        ev.member = (struct cs_member){w.wanted[s], s, CS_SPARE};
    }
    if (ev.member.id != 0) {
        w.changes++;
        step(n, ev);
    }
}

/* A disk is lost; the site comes back under a new incarnation. One at a time. */
static void wipe_one(void)
{
    uint16_t site = (uint16_t)(1 + prng_below(&w.r, SITES));
    struct node *n;

    if (w.node_count == NODES)
        return;
    for (uint32_t i = 0; i < w.node_count; i++) {
        const struct cs_members *m;

        if (w.nodes[i].gone)
            continue;
        if (!w.nodes[i].up)
            return;
        m = cs_members(w.nodes[i].cs);
        if (m->count != SITES || cs_is_changing(w.nodes[i].cs))
            return;
        for (uint32_t k = 0; k < m->count; k++)
            if (m->list[k].role != CS_VOTER || w.wanted[m->list[k].site] != m->list[k].id)
                return;
    }
    n = node_of(w.wanted[site]);
    crash(n);
    n->gone = true;
    start(add_node(site));
}

static void fault(void)
{
    struct node *n = &w.nodes[prng_below(&w.r, w.node_count)];
    struct node *leader = NULL;

    w.next_fault = w.now + 50 + prng_below(&w.r, 850);
    for (uint32_t i = 0; i < w.node_count; i++)
        if (w.nodes[i].up && cs_leads(w.nodes[i].cs))
            leader = &w.nodes[i];
    if (leader != NULL && chance(40))
        n = leader;
    if (n->gone)
        return;
    switch (prng_below(&w.r, 8)) {
    case 0:
    case 1:
        if (n->up)
            crash(n);
        return;
    case 2: /* cut off, both ways */
        for (uint16_t s = 1; s <= SITES; s++)
            w.cut[n->site][s] = w.cut[s][n->site] = s != n->site;
        return;
    case 3: /* one way, to one */
        w.cut[n->site][1 + prng_below(&w.r, SITES)] = true;
        w.cut[n->site][n->site] = false;
        return;
    case 4:
        if (n->up && cs_leads(n->cs))
            step(n, (struct cs_event){.type = CS_EV_TRANSFER});
        return;
    case 5:
        if (w.members_change && chance(30))
            wipe_one();
        return;
    default:
        memset(w.cut, 0, sizeof w.cut);
        for (uint32_t i = 0; i < w.node_count; i++)
            if (!w.nodes[i].up && !w.nodes[i].gone)
                start(&w.nodes[i]);
    }
}

static void heal(void)
{
    w.faults = false;
    memset(w.cut, 0, sizeof w.cut);
    for (uint32_t i = 0; i < w.node_count; i++)
        if (!w.nodes[i].up && !w.nodes[i].gone)
            start(&w.nodes[i]);
}

static void deliver(void)
{
    for (uint32_t i = 0; i < w.queued;) {
        struct packet *p = w.queue[i];
        struct node *to;

        if (p->due_ms > w.now) {
            i++;
            continue;
        }
        w.queue[i] = w.queue[--w.queued];
        to = node_of(p->to);
        if (to->up) {
            p->m.peer = p->from;
            step_with(to, (struct cs_event){.type = CS_EV_RECEIVE, .message = &p->m},
                      p->applied);
        }
        packet_free(p);
    }
}

static void turn_node(struct node *n)
{
    while (n->up && n->write_count > 0 && n->writes[0].done_ms <= w.now) {
        uint64_t asked = n->writes[0].first + n->writes[0].count - 1;

        write_done(n);
        step(n, (struct cs_event){.type = CS_EV_PERSISTED, .index = asked});
    }
    if (n->boot_ms + w.now >= cs_deadline_ms(n->cs)) {
        step(n, (struct cs_event){.type = CS_EV_TICK});
        if (up.clock_elapsed_ms != 0) {
            uint64_t clock = 0;
            struct cs_proposal p = {CS_CLOCK_REQ, {(const char *)&clock, 8}};

            step(n, (struct cs_event){.type = CS_EV_PROPOSE, .proposals = &p, .count = 1});
        }
    }
    if (n->applied <= n->last && n->applied >= cs_snapshot(n->cs)->index + COMPACT)
        step(n, (struct cs_event){.type = CS_EV_COMPACT,
                                  .index = n->applied,
                                  .term = entry_at(n, n->applied)->term,
                                  .trailing = TRAILING});
}

static void run_until(uint64_t end)
{
    for (; w.now < end; w.now++) {
        if (w.faults && w.now >= w.next_fault)
            fault();
        deliver();
        for (uint32_t i = 0; i < w.node_count; i++)
            if (w.nodes[i].up)
                turn_node(&w.nodes[i]);
        if (w.now % 20 == 0) {
            struct node *n = &w.nodes[prng_below(&w.r, w.node_count)];

            if (n->up)
                propose(n, 1 + prng_below(&w.r, 4));
        }
        if (w.now % 50 == 0)
            for (uint32_t i = 0; w.members_change && i < w.node_count; i++)
                if (w.nodes[i].up)
                    tend_members(&w.nodes[i]);
    }
}

static void check_end(void)
{
    uint64_t before = w.highest, least = UINT64_MAX;

    run_until(w.now + 4000);
    CHECK(w.highest > before, "nothing is decided any more");
    for (uint16_t s = 1; s <= SITES; s++) {
        struct node *n = node_of(w.wanted[s]);
        const struct cs_member *m = cs_member_find(cs_members(n->cs), n->id);

        CHECK(m != NULL && m->role == CS_VOTER, "site %u is no voter", s);
        if (n->applied < least)
            least = n->applied;
    }
    CHECK(least >= before, "a node stays behind");
    for (uint64_t v = 1; v <= w.next_value; v++) {
        bool in_log = false;

        if (w.answers[v] != 1 + CS_NOT_LEADER && w.answers[v] != 1 + CS_FULL)
            continue;
        for (uint64_t i = 1; i <= w.highest && !in_log; i++)
            in_log = w.kinds[i] == RAFTWIRE_COMMAND && w.committed[i] == v;
        CHECK(!in_log, "%llu was answered as not in the log", (unsigned long long)v);
    }
}

static void run_seed(uint64_t seed, bool members_change)
{
    world_begin(seed, members_change);
    run_until(RUN_MS);
    heal();
    run_until(RUN_MS + HEAL_MS);
    check_end();
    if (getenv("TRISPOOL_SEED") != NULL)
        printf("seed %llu: %llu entries, %llu terms led, %llu crashes, %llu snapshots "
               "installed, %llu changes of members\n",
               (unsigned long long)seed, (unsigned long long)w.highest,
               (unsigned long long)w.elections, (unsigned long long)w.crashes,
               (unsigned long long)w.installs, (unsigned long long)w.changes);
    world_end();
}

static void run_seeds(uint64_t first, uint64_t count, bool members_change)
{
    const char *one = getenv("TRISPOOL_SEED"), *many = getenv("TRISPOOL_SEEDS");
    uint64_t elections = 0, crashes = 0, installs = 0, highest = 0;

    if (many != NULL)
        count = strtoull(many, NULL, 10);
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (one != NULL && strtoull(one, NULL, 10) != seed)
            continue;
        run_seed(seed, members_change);
        elections += w.elections;
        crashes += w.crashes;
        installs += w.installs;
        highest += w.highest;
    }
    printf("%llu seeds from %llu: %llu entries, %llu terms led, %llu crashes, %llu installs\n",
           (unsigned long long)count, (unsigned long long)first, (unsigned long long)highest,
           (unsigned long long)elections, (unsigned long long)crashes,
           (unsigned long long)installs);
}

START_TEST(three_nodes_agree_whatever_network_and_disks_do)
{
    run_seeds(1, 200, false);
}
END_TEST

START_TEST(three_nodes_agree_while_members_are_replaced)
{
    run_seeds(100001, 60, true);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("consensus_sim");
    TCase *tc = tcase_create("consensus_sim");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 280);
    tcase_add_test(tc, three_nodes_agree_whatever_network_and_disks_do);
    tcase_add_test(tc, three_nodes_agree_while_members_are_replaced);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
