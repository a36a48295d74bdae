/* Digests: owners are told by mail of mail that ended undelivered and whose sender was not
 * told. Made from the traces by who holds the domain; where it left off stands in the digests
 * themselves (digest_until_ms), which lie at the sites as the mail does, live or as traces: so
 * another holder goes on where the last one left off.
 *
 *   IDLE --owed--> BARRIER --> LIVE --> SETTLED --> COLLECT --> IDLE
 *                              digests that are     a mail for each domain
 *                              there already        that is due
 *
 * A digest tells what ended before its digest_until_ms, and the next one what ended from then
 * on. In one run of one node that is exact: what settled before the barrier was posted has an
 * earlier time and is seen by the walk, what settles later has a later one. The clock of
 * another site, or of an earlier run, may be ahead of ours by CLUSTERCLOCK_SPAN_MS: then the
 * next digest begins so much earlier, and what ended in those seconds can be told twice.
 *
 * A site that was away has the end of what it held when it heard of it, so when it comes to
 * hold the domain it can tell that again; and of what came and ended meanwhile it has no trace
 * (docs/wire.md, 18): that is told only if who held the domain then told it. */
#include <stdlib.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/stats.h"
#include "node/cluster_private.h"
#include "node/delivery/digest.h"
#include "replication/clusterclock.h"

#define WALK_BATCH     1000    /* records looked at in one turn of the loop */
#define LOOK_MOST_MS   3600000 /* between two looks whether something is owed */
#define LOOK_LEAST_MS  1000
#define LOOK_ANYWAY_MS 86400000 /* after the last walk, whatever was heard */
#define LOOKS          24       /* in the time between two digests of a domain */

/* The digests of a domain, until when they tell. One that was given up told nothing to anybody,
 * but counts when the next one is due. */
struct mark {
    uint64_t generation;
    uint64_t until_ms; /* the newest that was sent, or may be */
    bool is_ours;      /* that one is of this run of this node */
    uint64_t last_ms;  /* the newest of all */
};

struct collected {
    uint64_t generation;
    uint64_t from_ms; /* cluster time: what ended before was told */
    char domain[LIMIT_SMTP_DOMAIN_BYTES], to[LIMIT_SMTP_PATH_BYTES];
    size_t domain_n, to_n;
    struct digest digest;
    char rows[LIMIT_DIGEST_ROWS_BYTES];
};

struct cluster_digest {
    struct cluster *cluster;
    struct event *timer;
    enum { IDLE, BARRIER, LIVE, SETTLED, COLLECT } walk;
    struct spool_cursor cursor;
    bool is_wanted;   /* some domain has an owner who wants it */
    bool is_owed;     /* something may have ended since the last walk */
    uint64_t session; /* of the first of this run */
    bool is_more;     /* there was no room for all domains */
    uint64_t until_ms;
    uint64_t walked_ms; /* boot: when the last walk began */
    uint32_t under_way; /* on their way to the spool */

    struct map index; /* of marks by generation: value is the place and 1 */
    struct mark *marks;
    uint32_t mark_count, mark_room;

    uint32_t count;
    struct collected *at[LIMIT_DIGESTS_AT_ONCE];
};

static uint64_t every_ms(struct cluster *c)
{
    struct snapshot_ref *ref;
    uint64_t ms = cluster_settings(c, &ref)->config->delivery.digest_every_ms;

    snapshot_release(&ref);
    return ms;
}

static void look_in(struct cluster_digest *d, uint64_t ms)
{
    struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    event_add(d->timer, &tv);
}

static void look_again(struct cluster_digest *d)
{
    uint64_t ms = every_ms(d->cluster) / LOOKS;

    look_in(d, ms < LOOK_LEAST_MS ? LOOK_LEAST_MS : ms > LOOK_MOST_MS ? LOOK_MOST_MS : ms);
}

/* --- what was told --- */

static bool is_of(const void *ctx, uint32_t value, const void *key)
{
    const struct cluster_digest *d = ctx;

    return d->marks[value - 1].generation == *(const uint64_t *)key;
}

static struct mark *mark_of(struct cluster_digest *d, uint64_t generation)
{
    uint64_t hash = map_hash(&d->index, &generation, sizeof generation);
    uint32_t at = map_find(&d->index, hash, is_of, d, &generation);

    return at == 0 ? NULL : &d->marks[at - 1];
}

static struct mark *mark_for(struct cluster_digest *d, uint64_t generation)
{
    struct mark *m = mark_of(d, generation);

    if (m != NULL)
        return m;
    if (d->mark_count == d->mark_room) {
        d->mark_room = d->mark_room == 0 ? 64 : 2 * d->mark_room;
        d->marks = realloc(d->marks, d->mark_room * sizeof *d->marks);
        ASSERT(d->marks != NULL);
    }
    if (map_put(&d->index, map_hash(&d->index, &generation, sizeof generation),
                d->mark_count + 1) != OK)
        return NULL;
    d->marks[d->mark_count] = (struct mark){.generation = generation};
    return &d->marks[d->mark_count++];
}

static void note_mark(struct cluster_digest *d, const struct envelope *e)
{
    struct mark *m = mark_for(d, e->domain_generation);

    if (m == NULL)
        return;
    if (e->digest_until_ms > m->last_ms)
        m->last_ms = e->digest_until_ms;
    if (e->dsn == DSN_GIVEN_UP || e->digest_until_ms <= m->until_ms)
        return;
    m->until_ms = e->digest_until_ms;
    m->is_ours = mid_site(e->id) == d->cluster->node->site && mid_epoch(e->id) >= d->session;
}

static bool on_digest(void *user, const struct envelope *e, bool dot_open)
{
    (void)dot_open;
    if (e->digest_until_ms != 0)
        note_mark(user, e);
    return true;
}

/* --- what is to be told --- */

static struct collected *find(struct cluster_digest *d, uint64_t generation)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->at[i]->generation == generation)
            return d->at[i];
    return NULL;
}

/* What the store takes fits. */
static size_t keep(char *buf, size_t size, struct str s)
{
    ASSERT(s.n <= size);
    memcpy(buf, s.p, s.n);
    return s.n;
}

/* Begins one for the domain. NULL: nobody is to be told of it, or not now. */
static struct collected *begin(struct cluster_digest *d, const struct domain *dom,
                               const struct mark *mark, uint64_t from_ms)
{
    struct collected *one;

    if (dom->digest.n == 0 || !cluster_holds(d->cluster, dom->name, NULL))
        return NULL;
    if (mark != NULL && d->until_ms < mark->last_ms + every_ms(d->cluster)) {
        d->is_owed = true; /* later */
        return NULL;
    }
    if (d->count == LIMIT_DIGESTS_AT_ONCE) {
        d->is_more = true;
        return NULL;
    }
    one = malloc(sizeof *one);
    ASSERT(one != NULL);
    one->generation = dom->generation;
    one->from_ms = from_ms;
    digest_begin(&one->digest, one->rows);
    one->domain_n = keep(one->domain, sizeof one->domain, dom->name);
    one->to_n = keep(one->to, sizeof one->to, dom->digest);
    d->at[d->count++] = one;
    return one;
}

static struct collected *begin_for(struct cluster_digest *d, const struct envelope *e)
{
    const struct mark *mark = mark_of(d, e->domain_generation);
    uint64_t from_ms = mark == NULL ? 0 : mark->until_ms;
    struct collected *one = NULL;
    struct arena scratch;
    struct domain dom;

    if (mark != NULL && !mark->is_ours)
        from_ms -= from_ms < CLUSTERCLOCK_SPAN_MS ? from_ms : CLUSTERCLOCK_SPAN_MS;
    if (digest_ended_ms(e) < from_ms || e->domain_generation == 0)
        return NULL;
    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    if (control_domain_get(control_thread_state(d->cluster->node->control), e->domain, &scratch,
                           &dom) == OK &&
        dom.generation == e->domain_generation)
        one = begin(d, &dom, mark, from_ms);
    arena_reset(&scratch);
    return one;
}

static bool on_ended(void *user, const struct envelope *e, bool dot_open)
{
    struct cluster_digest *d = user;
    struct collected *one;

    (void)dot_open;
    if (!digest_tells(e))
        return true;
    if (digest_ended_ms(e) >= d->until_ms) {
        d->is_owed = true; /* the next one tells it */
        return true;
    }
    one = find(d, e->domain_generation);
    if (one == NULL)
        one = begin_for(d, e);
    if (one != NULL && digest_ended_ms(e) >= one->from_ms)
        digest_add(&one->digest, e);
    return true;
}

/* --- into the spool, as the mail of clients --- */

static bool fill(struct cluster_digest *d, const struct collected *one, struct arena *a,
                 struct block_list *body, struct envelope *e, struct received *rec)
{
    struct snapshot_ref *ref;
    const struct node_config *config = cluster_settings(d->cluster, &ref)->config;
    char *text = malloc(LIMIT_DIGEST_BYTES);
    struct digest_in in = {.hostname = str_of(config->hostname),
                           .domain = {one->domain, one->domain_n},
                           .to = {one->to, one->to_n},
                           .generation = one->generation,
                           .until_ms = d->until_ms,
                           .now_wall_ms = clock_wall_ms()};
    size_t n;
    bool good;

    ASSERT(text != NULL);
    n = digest_end(&one->digest, &in, text);
    *e = (struct envelope){.domain = arena_str(a, in.domain),
                           .domain_generation = one->generation,
                           .sender = arena_str(a, in.to),
                           .body_bytes = n,
                           .body_digest = XXH3_64bits(text, n),
                           .phase = PHASE_DSN,
                           .dsn = DSN_PENDING,
                           .dsn_deadline_ms =
                               control_now_ms(d->cluster->node->control) + LIMIT_DSN_HOLD_MS,
                           .digest_until_ms = d->until_ms};
    *rec = (struct received){.host = arena_str(a, in.hostname),
                             .cluster = arena_str(a, str_of(config->cluster))};
    good = block_append(&d->cluster->node->blocks, body, (struct str){text, n}) &&
           e->sender.p != NULL && rec->host.p != NULL && rec->cluster.p != NULL;
    free(text);
    snapshot_release(&ref);
    return good;
}

static bool offer(struct cluster_digest *d, const struct collected *one)
{
    struct node *n = d->cluster->node;
    struct intake *i = intake_new(d->cluster->box, CLUSTER_MAIL_DIGEST, NULL);
    bool taken;

    ASSERT(i != NULL);
    i->hold_ms = LIMIT_DSN_HOLD_MS;
    taken = fill(d, one, &i->arena, &i->body, &i->env, &i->received) &&
            replica_thread_accept(n->replica, i) == OK;
    if (!taken)
        intake_free(n, &i);
    return taken;
}

/* Of a node that is alone. */
static bool put(struct cluster_digest *d, const struct collected *one)
{
    struct node *n = d->cluster->node;
    struct writer_request *r =
        writer_request_new(WRITER_PUT, d->cluster->box, CLUSTER_MAIL_DIGEST, NULL);
    struct envelope_times times = {control_now_ms(n->control), clock_wall_ms(),
                                   LIMIT_DSN_HOLD_MS};
    struct received rec;

    ASSERT(r != NULL);
    r->env = arena_take(&r->arena, sizeof *r->env);
    if (r->env == NULL || !fill(d, one, &r->arena, &r->body, r->env, &rec)) {
        block_list_free(&n->blocks, &r->body);
        writer_request_free(n->writer, &r);
        return false;
    }
    r->id = node_draw_id(n); /* from here on it goes to the writer, which marks it at worst */
    if (!envelope_stamp(r->env, &rec, &r->arena, r->id, &times))
        r->env = NULL;
    if (writer_post(n->writer, r) != OK)
        writer_post_always(n->writer, r);
    return true;
}

static void submit(struct cluster_digest *d, const struct collected *one)
{
    bool taken = d->cluster->node->replica != NULL ? offer(d, one) : put(d, one);

    d->under_way += taken;
    d->is_owed |= !taken;
}

/* The outcome; with an id of ours that is not in the spool it is made anew. */
static void stored(struct cluster_digest *d, const struct envelope *e, struct mid id,
                   const char *why_not)
{
    d->under_way--;
    if (d->under_way == 0 && d->is_more && d->walk == IDLE)
        look_in(d, LOOK_LEAST_MS);
    if (why_not == NULL) {
        LOG(EV_DIGEST_MADE, L_MID(id), L_STR("domain", e->domain), L_STR("to", e->sender),
            L_U64("bytes", e->body_bytes));
        return;
    }
    d->is_owed = true;
    LOG(EV_SHED, L_CSTR("limit", why_not), L_MID(id));
}

static void tell_scheduler(struct cluster *c, const struct envelope *e)
{
    struct sched_event ev = {.type = SCHED_EV_MESSAGE_NEW};
    char domain[LIMIT_SMTP_DOMAIN_BYTES];

    if (cluster_message_of(c, e, &ev.message, domain))
        cluster_tell(c, &ev);
    else
        cluster_dead_dsn(c, e->id);
}

void cluster_digest_stored(struct cluster *c, struct mail *m)
{
    if (cluster_is_member(c)) {
        struct intake *i = (struct intake *)m;

        stored(c->digest, &i->env, i->env.id,
               i->verdict == INTAKE_ACCEPTED ? NULL : "second copy");
        intake_free(c->node, &i);
    } else {
        struct writer_request *r = (struct writer_request *)m;

        stored(c->digest, r->env, r->id, r->err == OK ? NULL : "spool");
        if (r->err == OK && !c->ended)
            tell_scheduler(c, r->env);
        writer_request_free(c->node->writer, &r);
    }
}

/* --- the walk --- */

static void forget(struct cluster_digest *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        free(d->at[i]);
    d->count = 0;
    map_fini(&d->index);
    free(d->marks);
    d->marks = NULL;
    d->mark_count = d->mark_room = 0;
    d->walk = IDLE;
}

static bool may_begin(const struct cluster_digest *d)
{
    const struct cluster *c = d->cluster;

    return d->walk == IDLE && d->is_owed && d->is_wanted && d->under_way == 0 &&
           d->session != 0 && !c->draining && !atomic_load(&c->node->fenced) &&
           (c->node->replica == NULL || replica_thread_is_open(c->node->replica));
}

/* From which on ids are of this run; 0: none was drawn yet. */
static uint64_t session_of(const struct node *n)
{
    struct replica_thread_view v;

    if (n->replica == NULL)
        return n->session_epoch;
    replica_thread_view(n->replica, &v);
    return v.session;
}

static void begin_walk(struct cluster_digest *d)
{
    struct writer_request *r =
        writer_request_new(WRITER_BARRIER, d->cluster->box, CLUSTER_MAIL_BARRIER, NULL);

    ASSERT(r != NULL);
    map_init(&d->index, LIMIT_DOMAINS, prng_next(&d->cluster->rng));
    d->is_owed = d->is_more = false;
    d->walked_ms = clock_boot_ms();
    d->until_ms = control_now_ms(d->cluster->node->control);
    d->walk = BARRIER;
    writer_post_always(d->cluster->node->writer, r);
}

void cluster_digest_go(struct cluster *c, struct writer_request *r)
{
    struct cluster_digest *d = c->digest;

    d->cursor = (struct spool_cursor){.end = false}; /* undecided ones, too: they may be sent */
    d->walk = LIVE;
    writer_request_free(c->node->writer, &r);
    look_in(d, 0);
}

static void end_walk(struct cluster_digest *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->at[i]->digest.messages > 0)
            submit(d, d->at[i]);
    d->is_owed |= d->is_more;
    forget(d);
    if (d->is_more)
        look_in(d, LOOK_LEAST_MS);
    else
        look_again(d);
}

static void step(struct cluster_digest *d)
{
    enum err e = spool_scan(d->cluster->reader, &d->cursor, WALK_BATCH,
                            d->walk == COLLECT ? on_ended : on_digest, d);

    if (e != OK) {
        d->is_owed = true;
        forget(d);
        look_again(d);
        return;
    }
    if (d->cursor.end && d->walk == COLLECT) {
        end_walk(d);
        return;
    }
    if (d->cursor.end) {
        d->cursor = (struct spool_cursor){.settled = true};
        d->walk++;
    }
    look_in(d, 0);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct cluster_digest *d = arg;

    (void)fd;
    (void)what;
    if (d->session == 0)
        d->session = session_of(d->cluster->node);
    if (clock_boot_ms() >= d->walked_ms + LOOK_ANYWAY_MS) /* what peers told us has ended */
        d->is_owed = true;
    if (d->walk > BARRIER) {
        step(d);
    } else if (may_begin(d)) {
        begin_walk(d);
    } else {
        look_again(d);
    }
}

/* --- from outside --- */

void cluster_digest_owe(struct cluster *c)
{
    c->digest->is_owed = true;
}

void cluster_digest_want(struct cluster *c, bool is_wanted)
{
    c->digest->is_wanted = is_wanted;
    c->digest->is_owed = true; /* of a domain that had no address before */
}

void cluster_digest_ended(struct cluster *c, const struct delivery_job *j)
{
    if (j->outcome.write == OUTCOME_SETTLE && digest_tells(&j->outcome.env))
        c->digest->is_owed = true;
}

void cluster_digest_begin(struct cluster *c)
{
    struct cluster_digest *d = calloc(1, sizeof *d);

    ASSERT(d != NULL);
    d->cluster = c;
    d->is_owed = true;
    d->timer = event_new(c->base, -1, 0, on_timer, d);
    ASSERT(d->timer != NULL);
    c->digest = d;
    look_again(d);
}

void cluster_digest_end(struct cluster *c)
{
    struct cluster_digest *d = c->digest;

    c->digest = NULL;
    if (d == NULL)
        return;
    if (d->walk != IDLE)
        forget(d);
    event_free(d->timer);
    free(d);
}
