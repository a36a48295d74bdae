/* Three replica threads with their own writers, spools, control states and planes on loopback.
 * The control log alone is a stand-in: one list of entries that all states apply at once. */
#include "node/replica_thread.h"

#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "node/net/plane.h"
#include "node/node.h"
#include "proto/record.h"
#include "tests/support/spool_kit.h"

#define SITES  3
#define MAP    (256 * MiB)
#define WAIT_S 20
#define DOMAIN "example.test"

enum { KIND_TAKEN = 1, KIND_DOT, KIND_NEWS };

/* --- a control thread without a log of its own --- */

struct control_thread {
    struct control *state;
    struct store_id id;
    _Atomic uint64_t session;
    struct mailbox *box;
    struct mail notice;
    atomic_bool posted;
    atomic_uint changed;
    pthread_mutex_t ice; /* held: the owner of the box is frozen */
};

struct site {
    struct node *node;
    struct control_thread control;
    struct identity identity;
    struct mailbox *box;
    char dir[128], spool_dir[160], control_dir[160], address[64];
    atomic_int fenced;
};

static struct {
    char dir[64];
    struct site sites[SITES + 1];
    pthread_mutex_t lock;
    uint64_t entries;
    bool running;
} world;

static enum err apply(struct command c)
{
    struct command_result result = {.err = OK};

    pthread_mutex_lock(&world.lock);
    world.entries++;
    for (int i = 1; i <= SITES; i++) {
        struct control_thread *t = &world.sites[i].control;

        ck_assert_int_eq(control_apply(t->state, world.entries, &c, &result), OK);
        if (c.kind == COMMAND_SESSION_OPEN && c.session_open.site == i)
            atomic_store(&t->session, world.entries);
        atomic_fetch_or(&t->changed, CONTROL_CHANGED_ALL);
        if (t->box != NULL && !atomic_exchange(&t->posted, true))
            mailbox_answer(t->box, &t->notice);
    }
    pthread_mutex_unlock(&world.lock);
    return result.err;
}

struct control *control_thread_state(struct control_thread *t)
{
    return t->state;
}

const struct store_id *control_thread_id(const struct control_thread *t)
{
    return &t->id;
}

void control_thread_lease(struct control_thread *t, struct control_lease *out)
{
    *out = (struct control_lease){.has_members = true, .session = atomic_load(&t->session)};
}

uint64_t control_now_ms(struct control_thread *t)
{
    (void)t;
    return CONTROL_CLOCK_START_MS;
}

unsigned control_notice_take(struct control_thread *t, unsigned who)
{
    ck_assert_uint_eq(who, 1);
    pthread_mutex_lock(&t->ice);
    pthread_mutex_unlock(&t->ice);
    atomic_store(&t->posted, false);
    return atomic_exchange(&t->changed, 0);
}

enum err control_propose(struct control_thread *t, const struct command *cmd,
                         const struct control_propose_to *to)
{
    struct control_answer *a = calloc(1, sizeof *a);

    (void)t;
    ck_assert_ptr_nonnull(a);
    a->err = apply(*cmd);
    a->mail.kind = to->kind;
    mailbox_answer(to->box, &a->mail);
    return OK;
}

void control_answer_free(struct control_answer **a)
{
    free(*a);
    *a = NULL;
}

/* --- a site --- */

static void on_fence(void *ctx, enum err why)
{
    struct site *s = ctx;

    atomic_store(&s->fenced, (int)why);
}

static uint64_t on_cluster_ms(void *ctx)
{
    (void)ctx;
    return CONTROL_CLOCK_START_MS;
}

static void free_address(char out[64])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    snprintf(out, 64, "127.0.0.1:%u", ntohs(a.sin_port));
}

static void open_control(struct site *s, uint16_t site)
{
    struct control_thread *t = &s->control;

    *t = (struct control_thread){
        .id = {.cluster = "three of a kind", .site = site, .incarnation = site}};
    pthread_mutex_init(&t->ice, NULL);
    ck_assert_int_eq(mkdir(s->control_dir, 0700), 0);
    ck_assert_int_eq(control_open(&t->state, &(struct control_options){.dir = s->control_dir,
                                                                       .map_bytes = MAP,
                                                                       .id = &t->id,
                                                                       .create = true}),
                     OK);
}

static void begin_spool(struct site *s, uint16_t site)
{
    struct spool_txn *t;

    ck_assert_int_eq(mkdir(s->spool_dir, 0700), 0);
    ck_assert_int_eq(spool_open(&s->node->spool,
                                &(struct spool_options){.dir = s->spool_dir, .map_bytes = MAP}),
                     OK);
    t = spool_begin(s->node->spool);
    ck_assert_int_eq(spool_member_begin(t, site, site, site == 1), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
}

static void site_open(uint16_t site)
{
    struct site *s = &world.sites[site];
    struct node *n = calloc(1, sizeof *n);

    ck_assert_ptr_nonnull(n);
    s->node = n;
    n->site = site;
    n->control = &s->control;
    block_pool_init(&n->blocks, SIZE_MAX / 2);
    atomic_store(&s->fenced, OK);
    s->box = mailbox_new(1000);
    free_address(s->address);
    ck_assert_int_eq(plane_key_new(s->identity.public_key, s->identity.secret_key), OK);
    snprintf(s->dir, sizeof s->dir, "%s/%u", world.dir, site);
    snprintf(s->spool_dir, sizeof s->spool_dir, "%s/spool", s->dir);
    snprintf(s->control_dir, sizeof s->control_dir, "%s/control", s->dir);
    ck_assert_int_eq(mkdir(s->dir, 0700), 0);
    open_control(s, site);
    begin_spool(s, site);
}

static void site_run(uint16_t site)
{
    struct site *s = &world.sites[site];
    struct node *n = s->node;

    ck_assert_int_eq(
        replica_thread_new(&n->replica, n,
                           &(struct replica_thread_options){.bind = s->address,
                                                            .identity = &s->identity,
                                                            .news = s->box,
                                                            .news_kind = KIND_NEWS,
                                                            .fence = on_fence,
                                                            .ctx = s}),
        OK);
    pthread_mutex_lock(&world.lock);
    s->control.box = replica_thread_box(n->replica);
    s->control.notice.kind = replica_thread_notice_kind();
    pthread_mutex_unlock(&world.lock);
    ck_assert_int_eq(
        writer_start(&n->writer,
                     &(struct writer_options){.spool = n->spool,
                                              .blocks = &n->blocks,
                                              .copies = replica_thread_store(n->replica),
                                              .cluster_ms = on_cluster_ms,
                                              .fence = on_fence,
                                              .ctx = s}),
        OK);
    ck_assert_int_eq(replica_thread_run(n->replica), OK);
}

/* What came back and was not looked at. */
static void box_empty(struct site *s)
{
    struct mail *m = mailbox_take(s->box), *next;

    for (; m != NULL; m = next) {
        struct intake *i = (struct intake *)m;

        next = m->next;
        if (m->kind == KIND_TAKEN)
            intake_free(s->node, &i);
        else
            free(m);
    }
}

static void site_close(struct site *s)
{
    struct node *n = s->node;

    replica_thread_join(n->replica);
    writer_join(n->writer);
    replica_thread_end(n->replica);
    pthread_mutex_lock(&world.lock);
    s->control.box = NULL;
    pthread_mutex_unlock(&world.lock);
    replica_thread_free(&n->replica);
    writer_free(&n->writer);
    box_empty(s);
    mailbox_free(&s->box);
    spool_close(&n->spool);
    control_close(&s->control.state);
    ck_assert_uint_eq(atomic_load(&n->blocks.held), 0);
    free(n);
}

/* --- the cluster --- */

static struct replica_thread *thread_of(uint16_t site)
{
    return world.sites[site].node->replica;
}

static void nap(void)
{
    poll(NULL, 0, 2);
}

#define UNTIL(cond)                                                                            \
    do {                                                                                       \
        uint64_t until_ms = clock_boot_ms() + WAIT_S * 1000;                                   \
        while (!(cond)) {                                                                      \
            ck_assert_msg(clock_boot_ms() < until_ms, "never: " #cond);                        \
            nap();                                                                             \
        }                                                                                      \
    } while (0)

static void add_member(uint16_t site)
{
    struct site *s = &world.sites[site];
    struct command c = {.kind = COMMAND_MEMBER_ADD,
                        .member_add = {.site = site,
                                       .incarnation = site == 1,
                                       .control = str_of(s->address),
                                       .data = str_of(s->address)}};

    memcpy(c.member_add.key, s->identity.public_key, MEMBER_KEY_BYTES);
    ck_assert_int_eq(apply(c), OK);
}

static void open_session(uint16_t site)
{
    ck_assert_int_eq(
        apply((struct command){
            .kind = COMMAND_SESSION_OPEN,
            .session_open = {.site = site, .incarnation = site, .duration_ms = 10000}}),
        OK);
}

static void world_open(void)
{
    log_set_level(getenv("REPLICA_VERBOSE") != NULL ? LOG_DEBUG : LOG_ALARM);
    memset(&world, 0, sizeof world);
    pthread_mutex_init(&world.lock, NULL);
    snprintf(world.dir, sizeof world.dir, "%s/replica.XXXXXX", kit_place());
    ck_assert_ptr_nonnull(mkdtemp(world.dir));
    for (uint16_t site = 1; site <= SITES; site++)
        site_open(site);
    add_member(1);
}

static bool is_filled(uint16_t site)
{
    struct member m;

    return control_member_get(world.sites[1].control.state, site, &m) == OK && m.filled;
}

static void setup(void)
{
    world_open();
    for (uint16_t site = 2; site <= SITES; site++)
        add_member(site);
    for (uint16_t site = 1; site <= SITES; site++)
        open_session(site);
    for (uint16_t site = 1; site <= SITES; site++)
        site_run(site);
    for (uint16_t site = 1; site <= SITES; site++)
        UNTIL(replica_thread_is_open(thread_of(site)));
}

static void setup_one(void)
{
    world_open();
    open_session(1);
    for (uint16_t site = 1; site <= SITES; site++)
        site_run(site);
}

static void teardown(void)
{
    for (uint16_t site = 1; site <= SITES; site++)
        site_close(&world.sites[site]);
    kit_remove_dir(world.dir);
}

/* Its replica thread stops at its next notice, until it is thawed. */
static void freeze(uint16_t site)
{
    struct control_thread *t = &world.sites[site].control;

    pthread_mutex_lock(&t->ice);
    if (!atomic_exchange(&t->posted, true))
        mailbox_answer(t->box, &t->notice);
}

static void thaw(uint16_t site)
{
    pthread_mutex_unlock(&world.sites[site].control.ice);
}

/* --- mail --- */

static char byte_at(uint64_t at, uint64_t seed)
{
    return (char)((at * 31 + seed * 7 + at / 997) & 0x7f);
}

static char *body_of(uint64_t bytes, uint64_t seed)
{
    char *b = malloc(bytes + 1);

    ck_assert_ptr_nonnull(b);
    for (uint64_t i = 0; i < bytes; i++)
        b[i] = byte_at(i, seed);
    return b;
}

static void fill_envelope(struct intake *i, const char *body, uint64_t bytes)
{
    struct rcpt *r = arena_take(&i->arena, sizeof *r);

    r->path = arena_str(&i->arena, STR("someone@" DOMAIN));
    i->env = (struct envelope){.domain = arena_str(&i->arena, STR(DOMAIN)),
                               .domain_generation = 7,
                               .sender = arena_str(&i->arena, STR("a@sender.example")),
                               .rcpts = r,
                               .rcpt_count = 1,
                               .body_bytes = bytes,
                               .body_digest = XXH3_64bits(body, bytes),
                               .client_addr = arena_str(&i->arena, STR("192.0.2.9")),
                               .client_helo = arena_str(&i->arena, STR("sender.example"))};
    i->received = (struct received){.helo = i->env.client_helo,
                                    .client_addr = i->env.client_addr,
                                    .host = arena_str(&i->arena, STR("mx.example")),
                                    .cluster = arena_str(&i->arena, STR("test")),
                                    .esmtp = true,
                                    .rcpt = r->path};
    i->hold_ms = 86400000;
}

static struct intake *intake_at(uint16_t site, uint64_t bytes, uint64_t seed)
{
    struct site *s = &world.sites[site];
    struct intake *i = intake_new(s->box, KIND_TAKEN, NULL);
    char *body = body_of(bytes, seed);

    fill_envelope(i, body, bytes);
    ck_assert(block_append(&s->node->blocks, &i->body, (struct str){body, bytes}));
    free(body);
    return i;
}

/* The next mail of a kind; others are dropped. */
static struct mail *take(uint16_t site, int kind)
{
    struct site *s = &world.sites[site];
    struct mail *found = NULL;

    while (found == NULL) {
        struct pollfd p = {mailbox_fd(s->box), POLLIN, 0};
        struct mail *m, *next;

        ck_assert_msg(poll(&p, 1, WAIT_S * 1000) == 1, "no answer came");
        for (m = mailbox_take(s->box); m != NULL; m = next) {
            next = m->next;
            if (m->kind == kind && found == NULL)
                found = m;
            else if (m->kind == KIND_TAKEN)
                ck_abort_msg("an answer too many");
            else
                free(m);
        }
    }
    return found;
}

static struct intake *taken(uint16_t site)
{
    return (struct intake *)take(site, KIND_TAKEN);
}

/* On a machine that has much else to do the door may be closed for a while. */
static void offer(uint16_t site, struct intake *i)
{
    UNTIL(replica_thread_accept(thread_of(site), i) == OK);
}

static enum intake_verdict verdict_of(uint16_t site, struct intake *i)
{
    struct intake *back;
    enum intake_verdict v;

    offer(site, i);
    back = taken(site);
    ck_assert_ptr_eq(back, i);
    v = back->verdict;
    intake_free(world.sites[site].node, &back);
    return v;
}

static bool is_here(struct spool_reader *r, struct mid id, enum copy_state state)
{
    struct spool_state st;

    return spool_state_of(r, id, &st) == OK && st.state == state;
}

static void check_body(struct spool_reader *r, const struct envelope *e, uint64_t seed)
{
    char *expect = body_of(e->body_bytes, seed);
    static char got[SPOOL_READ_BYTES];
    size_t n = 1;

    for (uint64_t at = 0; n > 0; at += n) {
        ck_assert_int_eq(spool_read_body(r, e, at, got, sizeof got, &n), OK);
        ck_assert(memcmp(got, expect + at, n) == 0);
        ck_assert(n > 0 || at == e->body_bytes);
    }
    free(expect);
}

/* The copy at a site is that of the intake, byte for byte. */
static void check_copy(uint16_t site, const struct envelope *sent, uint64_t seed)
{
    struct spool_reader *r;
    struct arena a;
    struct envelope e;
    char *x = malloc(LIMIT_ENVELOPE_BYTES), *y = malloc(LIMIT_ENVELOPE_BYTES);

    ck_assert(x != NULL && y != NULL);
    ck_assert_int_eq(spool_reader_open(world.sites[site].node->spool, &r), OK);
    arena_init(&a, 2 * RECORD_ARENA_BYTES);
    UNTIL(is_here(r, sent->id, COPY_COMMITTED));
    ck_assert_int_eq(spool_get(r, sent->id, &a, &e), OK);
    check_body(r, &e, seed);
    e.body_number = sent->body_number;
    ck_assert_uint_eq(envelope_encoded_size(&e), envelope_encoded_size(sent));
    ck_assert(envelope_encode(&e, x) == envelope_encode(sent, y));
    ck_assert(memcmp(x, y, envelope_encoded_size(sent)) == 0);
    arena_reset(&a);
    spool_reader_close(&r);
    free(x);
    free(y);
}

/* --- tests --- */

static const uint64_t sizes[] = {
    0, 1, 4096, LIMIT_BODY_PIECE_BYTES, LIMIT_BODY_PIECE_BYTES + 1, 300000};

START_TEST(mail_is_accepted_and_the_same_at_all_three)
{
    for (uint16_t site = 1; site <= SITES; site++) {
        uint64_t seed = site + 10 * (uint64_t)_i;
        struct intake *i = intake_at(site, sizes[_i], seed);

        offer(site, i);
        ck_assert_ptr_eq(taken(site), i);
        ck_assert_int_eq(i->verdict, INTAKE_ACCEPTED);
        ck_assert_uint_eq(mid_site(i->env.id), site);
        ck_assert_uint_eq(i->env.deadline_ms, i->env.received_ms + i->hold_ms);
        for (uint16_t at = 1; at <= SITES; at++)
            check_copy(at, &i->env, seed);
        intake_free(world.sites[site].node, &i);
    }
}
END_TEST

/* As the smtp thread does it: pieces to the writer and to the peers, then the tail. */
static void stage(uint16_t site, struct intake *i, const char *body, uint64_t bytes)
{
    struct node *n = world.sites[site].node;
    uint64_t piece = LIMIT_SESSION_BLOCK_BYTES;

    i->staged = true;
    i->body_number = spool_next_body(n->spool);
    for (uint64_t at = 0; bytes - at > piece; at += piece) {
        struct writer_request *r = writer_request_new(WRITER_STAGE, NULL, 0, NULL);

        r->body_number = i->body_number;
        r->offset = at;
        ck_assert(block_append(&n->blocks, &r->body, (struct str){body + at, piece}));
        replica_thread_body(n->replica, i->body_number, at, &r->body);
        writer_post_always(n->writer, r);
        i->staged_bytes += piece;
        UNTIL(replica_thread_backlog(n->replica) <= LIMIT_STREAM_WINDOW_BYTES / 2);
    }
    ck_assert(block_append(&n->blocks, &i->body,
                           (struct str){body + i->staged_bytes, bytes - i->staged_bytes}));
}

START_TEST(large_body_goes_ahead_in_pieces)
{
    uint64_t bytes = 9 * MiB + 777;
    struct intake *i = intake_new(world.sites[2].box, KIND_TAKEN, NULL);
    char *body = body_of(bytes, 5);

    fill_envelope(i, body, bytes);
    stage(2, i, body, bytes);
    free(body);
    offer(2, i);
    ck_assert_ptr_eq(taken(2), i);
    ck_assert_int_eq(i->verdict, INTAKE_ACCEPTED);
    for (uint16_t at = 1; at <= SITES; at++)
        check_copy(at, &i->env, 5);
    intake_free(world.sites[2].node, &i);
}
END_TEST

START_TEST(many_at_once_are_all_answered_once)
{
    enum { COUNT = 500 };
    bool seen[COUNT + 1] = {false};

    for (uint64_t k = 0; k < COUNT; k++)
        offer(3, intake_at(3, 100 + k, k));
    for (int k = 0; k < COUNT;) {
        struct pollfd p = {mailbox_fd(world.sites[3].box), POLLIN, 0};
        struct mail *m, *next;

        ck_assert_int_eq(poll(&p, 1, WAIT_S * 1000), 1);
        for (m = mailbox_take(world.sites[3].box); m != NULL; m = next) {
            struct intake *i = (struct intake *)m;

            next = m->next;
            if (m->kind != KIND_TAKEN) {
                free(m);
                continue;
            }
            ck_assert_int_eq(i->verdict, INTAKE_ACCEPTED);
            ck_assert_uint_le(mid_counter(i->env.id), COUNT);
            ck_assert(!seen[mid_counter(i->env.id)]); /* no gaps, none twice */
            seen[mid_counter(i->env.id)] = true;
            intake_free(world.sites[3].node, &i);
            k++;
        }
    }
    UNTIL(replica_thread_pending(thread_of(3)) == 0);
}
END_TEST

/* INV-6: within 1 s, and what is under way is never accepted with one copy. */
START_TEST(without_living_peers_the_door_closes_and_opens_again)
{
    struct intake *i = intake_at(1, 1000, 1);
    uint64_t since;

    freeze(2);
    freeze(3);
    UNTIL(atomic_load(&world.sites[2].control.posted));
    since = clock_boot_ms();
    nap();
    ck_assert_int_eq(replica_thread_accept(thread_of(1), i), OK);
    UNTIL(!replica_thread_is_open(thread_of(1)));
    ck_assert_uint_lt(clock_boot_ms() - since, LIMIT_GATE_DEAD_MS + 500);
    i = intake_at(1, 1000, 2);
    ck_assert_int_eq(replica_thread_accept(thread_of(1), i), E_AGAIN);
    intake_free(world.sites[1].node, &i);
    i = taken(1);
    ck_assert_int_ne(i->verdict, INTAKE_ACCEPTED);
    intake_free(world.sites[1].node, &i);
    thaw(2);
    thaw(3);
    UNTIL(replica_thread_is_open(thread_of(1)));
    ck_assert_int_eq(verdict_of(1, intake_at(1, 1000, 3)), INTAKE_ACCEPTED);
}
END_TEST

START_TEST(what_waits_when_the_thread_ends_is_closed)
{
    struct intake *i = intake_at(1, 1000, 1);

    freeze(2);
    freeze(3);
    UNTIL(atomic_load(&world.sites[2].control.posted));
    ck_assert_int_eq(replica_thread_accept(thread_of(1), i), OK);
    ck_assert_uint_eq(replica_thread_pending(thread_of(1)), 1);
    replica_thread_join(thread_of(1));
    UNTIL(replica_thread_pending(thread_of(1)) == 0);
    i = taken(1);
    ck_assert_int_ne(i->verdict, INTAKE_ACCEPTED);
    intake_free(world.sites[1].node, &i);
    thaw(2);
    thaw(3);
}
END_TEST

static struct dot_ask *dot_of(uint16_t site, struct mid id, uint64_t slot_epoch, uint64_t tag)
{
    struct dot_ask *a = calloc(1, sizeof *a);

    ck_assert_ptr_nonnull(a);
    *a = (struct dot_ask){.answer_to = world.sites[site].box,
                          .answer_kind = KIND_DOT,
                          .id = id,
                          .domain = DOMAIN,
                          .slot_epoch = slot_epoch,
                          .tag = tag};
    return a;
}

static struct mid some_mail(uint16_t site)
{
    struct intake *i = intake_at(site, 1000, 1);
    struct mid id;

    offer(site, i);
    ck_assert_ptr_eq(taken(site), i);
    ck_assert_int_eq(i->verdict, INTAKE_ACCEPTED);
    id = i->env.id;
    for (uint16_t at = 1; at <= SITES; at++)
        check_copy(at, &i->env, 1);
    intake_free(world.sites[site].node, &i);
    return id;
}

static uint64_t slot_epoch(uint16_t *holder)
{
    uint64_t epoch = 0;

    UNTIL(is_filled(2) && is_filled(3));
    ck_assert_int_eq(control_holder(world.sites[1].control.state, STR(DOMAIN), holder, &epoch),
                     OK);
    return epoch;
}

START_TEST(dot_of_the_holder_gets_its_yes_and_others_a_no)
{
    struct mid id = some_mail(2);
    uint16_t holder;
    uint64_t epoch = slot_epoch(&holder);
    struct dot_ask *a = dot_of(holder, id, epoch - 1, 1);

    replica_thread_dot(thread_of(holder), a);
    ck_assert_ptr_eq(take(holder, KIND_DOT), &a->mail);
    ck_assert(!a->yes && a->retry_ms == 0);
    free(a);
    a = dot_of(holder, id, epoch, 2);
    replica_thread_dot(thread_of(holder), a);
    ck_assert_ptr_eq(take(holder, KIND_DOT), &a->mail);
    ck_assert(a->yes && !a->possible_duplicate && a->tag == 2 && a->asked_ms > 0);
    free(a);
    UNTIL(replica_thread_pending(thread_of(holder)) == 0);
}
END_TEST

START_TEST(dot_that_is_given_up_comes_back_with_a_no)
{
    struct mid id = some_mail(1);
    uint16_t holder;
    uint64_t epoch = slot_epoch(&holder) + 1000; /* nobody has applied that: it waits */
    struct dot_ask *a = dot_of(1, id, epoch, 1), *b = dot_of(1, id, epoch, 2);

    replica_thread_dot(thread_of(1), a);
    replica_thread_dot(thread_of(1), b);
    ck_assert_ptr_eq(take(1, KIND_DOT), &a->mail);
    ck_assert(!a->yes && a->retry_ms > 0);
    replica_thread_closed(thread_of(1), id, epoch);
    ck_assert_ptr_eq(take(1, KIND_DOT), &b->mail);
    ck_assert(!b->yes && b->retry_ms > 0);
    free(a);
    free(b);
}
END_TEST

START_TEST(outcomes_count_as_told_once_a_peer_has_them)
{
    struct mid id = some_mail(1);
    struct spool_reader *r;
    struct arena a;
    struct envelope e;
    struct blob *b;

    ck_assert(replica_thread_outcomes_told(thread_of(1)));
    ck_assert_int_eq(spool_reader_open(world.sites[1].node->spool, &r), OK);
    arena_init(&a, 2 * RECORD_ARENA_BYTES);
    ck_assert_int_eq(spool_get(r, id, &a, &e), OK);
    e.rcpts[0].fate = FATE_DELIVERED;
    e.rcpts[0].attempts = 1;
    e.rcpts[0].final_ms = e.received_ms;
    e.phase = PHASE_DONE;
    b = blob_new(envelope_encoded_size(&e));
    envelope_encode(&e, b->b);
    freeze(2);
    freeze(3);
    UNTIL(atomic_load(&world.sites[2].control.posted) &&
          atomic_load(&world.sites[3].control.posted));
    nap();
    replica_thread_outcome(thread_of(1), id, b, true);
    ck_assert(!replica_thread_outcomes_told(thread_of(1)));
    thaw(2);
    thaw(3);
    UNTIL(replica_thread_outcomes_told(thread_of(1)));
    spool_reader_close(&r);
    ck_assert_int_eq(spool_reader_open(world.sites[2].node->spool, &r), OK);
    UNTIL(is_here(r, id, COPY_SETTLED));
    spool_reader_close(&r);
    arena_reset(&a);
}
END_TEST

START_TEST(ids_come_from_the_newest_session)
{
    struct mid before = some_mail(1), after;
    struct replica_thread_view v;

    open_session(1);
    do { /* the one that was under way when the session ended may be refused */
        replica_thread_view(thread_of(1), &v);
        nap();
    } while (v.session != atomic_load(&world.sites[1].control.session));
    after = some_mail(1);
    ck_assert_uint_gt(mid_epoch(after), mid_epoch(before));
    ck_assert_uint_eq(mid_epoch(after), v.session);
    ck_assert_uint_eq(mid_counter(after), 1);
}
END_TEST

static void name_key(uint16_t site, const uint8_t key[MEMBER_KEY_BYTES], bool keep_old)
{
    struct command c = {
        .kind = COMMAND_MEMBER_KEY,
        .member_key = {.site = site, .incarnation = site, .keep_old = keep_old}};

    memcpy(c.member_key.key, key, MEMBER_KEY_BYTES);
    ck_assert_int_eq(apply(c), OK);
}

/* An answer of a peer is needed for each message: with the old key nobody would give one. */
START_TEST(a_node_goes_on_under_another_key)
{
    uint8_t public_key[MEMBER_KEY_BYTES], secret_key[MEMBER_KEY_BYTES];
    struct replica_thread_view v;

    ck_assert_int_eq(plane_key_new(public_key, secret_key), OK);
    name_key(1, public_key, true);
    replica_thread_rekey(thread_of(1), public_key, secret_key);
    name_key(1, public_key, false);
    for (int i = 0; i < 3; i++) {
        UNTIL(replica_thread_is_open(thread_of(1)));
        ck_assert_int_eq(verdict_of(1, intake_at(1, 100, 1)), INTAKE_ACCEPTED);
    }
    for (int i = 0; i < 2; i++)
        UNTIL((replica_thread_view(thread_of(1), &v),
               v.status.peers[i].link_up && v.status.peers[i].lacks == 0));
}
END_TEST

START_TEST(first_member_takes_nothing_until_told_to_go_on_alone)
{
    struct replica_thread_view v;
    struct intake *i = intake_at(1, 1000, 1);

    do {
        replica_thread_view(thread_of(1), &v);
        nap();
    } while (!v.begun);
    ck_assert(!replica_thread_is_open(thread_of(1)));
    ck_assert_int_eq(replica_thread_accept(thread_of(1), i), E_AGAIN);
    ck_assert_int_eq(
        apply((struct command){.kind = COMMAND_SETTING_PUT,
                               .setting_put = {STR(REPLICA_SOLO_SETTING), STR("on")}}),
        OK);
    UNTIL(replica_thread_is_open(thread_of(1)));
    ck_assert_int_eq(verdict_of(1, i), INTAKE_ACCEPTED);
}
END_TEST

static bool solo_is_ordered(void)
{
    struct arena a;
    struct setting s;
    enum err e;

    arena_init(&a, LIMIT_COMMAND_SCRATCH);
    e = control_setting_get(world.sites[1].control.state, STR(REPLICA_SOLO_SETTING), &a, &s);
    arena_reset(&a);
    return e == OK;
}

START_TEST(order_to_go_on_alone_ends_with_the_next_member)
{
    ck_assert_int_eq(
        apply((struct command){.kind = COMMAND_SETTING_PUT,
                               .setting_put = {STR(REPLICA_SOLO_SETTING), STR("on")}}),
        OK);
    UNTIL(replica_thread_is_open(thread_of(1)));
    add_member(2);
    UNTIL(!replica_thread_is_open(thread_of(1)));
    UNTIL(!solo_is_ordered());
}
END_TEST

int main(void)
{
    Suite *s = suite_create("replica_thread");
    TCase *three = tcase_create("three sites"), *one = tcase_create("one site");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(three, setup, teardown);
    tcase_set_timeout(three, 120);
    tcase_add_loop_test(three, mail_is_accepted_and_the_same_at_all_three, 0,
                        sizeof sizes / sizeof *sizes);
    tcase_add_test(three, large_body_goes_ahead_in_pieces);
    tcase_add_test(three, many_at_once_are_all_answered_once);
    tcase_add_test(three, without_living_peers_the_door_closes_and_opens_again);
    tcase_add_test(three, what_waits_when_the_thread_ends_is_closed);
    tcase_add_test(three, dot_of_the_holder_gets_its_yes_and_others_a_no);
    tcase_add_test(three, dot_that_is_given_up_comes_back_with_a_no);
    tcase_add_test(three, outcomes_count_as_told_once_a_peer_has_them);
    tcase_add_test(three, ids_come_from_the_newest_session);
    tcase_add_test(three, a_node_goes_on_under_another_key);
    suite_add_tcase(s, three);
    tcase_add_checked_fixture(one, setup_one, teardown);
    tcase_set_timeout(one, 120);
    tcase_add_test(one, first_member_takes_nothing_until_told_to_go_on_alone);
    tcase_add_test(one, order_to_go_on_alone_ends_with_the_next_member);
    suite_add_tcase(s, one);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
