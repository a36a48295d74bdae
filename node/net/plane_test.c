/* Planes on loopback: members hear each other and know whom, all others get nothing. Wants a
 * process for each check. */
#include "node/net/plane.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/log.h"

#define NODES         3
#define WAIT_MS       20000 /* for what must come; nothing waits so long when all is well */
#define SENT_AGAIN_MS 1000
#define QUIET_MS      700 /* for what must not come: several times what a frame needs */

struct node {
    struct plane *plane;
    uint16_t port;
    char address[32];
    uint8_t public_key[PLANE_KEY_BYTES], secret_key[PLANE_KEY_BYTES];
    uint64_t incarnation;
    int frames;
    uint16_t from_site;
    uint64_t from_incarnation;
    size_t last_bytes, most_bytes;
    char last[64];
    int urgent_at; /* number of the frame that said "urgent"; 0: none did */
    uint64_t refused, calls;
    char refused_from[64];
    void (*on_frame)(struct node *n);
};

static struct event_base *base;
static struct node nodes[NODES];

/* --- the world --- */

static void on_frame(void *ctx, uint16_t site, uint64_t incarnation, struct str bytes)
{
    struct node *n = ctx;

    n->frames++;
    n->from_site = site;
    n->from_incarnation = incarnation;
    n->last_bytes = bytes.n;
    n->most_bytes = bytes.n > n->most_bytes ? bytes.n : n->most_bytes;
    snprintf(n->last, sizeof n->last, "%.*s", (int)(bytes.n < 60 ? bytes.n : 60), bytes.p);
    if (str_eq(bytes, STR("urgent")))
        n->urgent_at = n->frames;
    if (n->on_frame != NULL)
        n->on_frame(n);
}

static void on_refused(void *ctx, const char *from, uint64_t count)
{
    struct node *n = ctx;

    n->refused += count;
    n->calls++;
    snprintf(n->refused_from, sizeof n->refused_from, "%s", from);
}

static uint16_t free_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
    close(fd);
    return ntohs(sa.sin_port);
}

static void open_node(struct node *n)
{
    ck_assert_int_eq(
        plane_open(&n->plane, &(struct plane_options){.base = base,
                                                      .bind = n->address,
                                                      .has_bulk = true,
                                                      .public_key = n->public_key,
                                                      .secret_key = n->secret_key,
                                                      .ops = {n, on_frame, on_refused}}),
        OK);
}

static struct plane_peer peer_of(int i)
{
    struct plane_peer p = {.site = (uint16_t)(i + 1), .incarnation = nodes[i].incarnation};

    snprintf(p.address, sizeof p.address, "%s", nodes[i].address);
    memcpy(p.key, nodes[i].public_key, sizeof p.key);
    return p;
}

/* Node i knows these of the others: bits. */
static void know(int i, unsigned whom)
{
    struct plane_peer peers[NODES];
    uint32_t n = 0;

    for (int k = 0; k < NODES; k++)
        if (k != i && (whom & 1U << k))
            peers[n++] = peer_of(k);
    ck_assert_int_eq(plane_peers(nodes[i].plane, peers, n), OK);
}

static void setup(void)
{
    log_set_level(LOG_ALARM);
    base = event_base_new();
    for (int i = 0; i < NODES; i++) {
        struct node *n = &nodes[i];

        *n = (struct node){.port = free_port(), .incarnation = 100 + (uint64_t)i};
        snprintf(n->address, sizeof n->address, "127.0.0.1:%u", n->port);
        ck_assert_int_eq(plane_key_new(n->public_key, n->secret_key), OK);
        open_node(n);
    }
}

static void teardown(void)
{
    for (int i = 0; i < NODES; i++)
        if (nodes[i].plane != NULL)
            plane_close(&nodes[i].plane);
    event_base_free(base);
}

static void turn(void)
{
    const struct timeval wait = {.tv_usec = 20000};

    event_base_loopexit(base, &wait);
    event_base_loop(base, EVLOOP_ONCE);
}

static void run(uint64_t ms)
{
    for (uint64_t end = clock_boot_ms() + ms; clock_boot_ms() < end;)
        turn();
}

/* Says it again and again, as the protocols above do, until it has come: what was said before,
 * to one that did not listen then, may come first. */
static void reaches(int from, int to, const char *text)
{
    int before = nodes[to].frames;
    uint64_t end = clock_boot_ms() + WAIT_MS;

    while (nodes[to].frames == before || strcmp(nodes[to].last, text) != 0) {
        ck_assert_msg(clock_boot_ms() < end, "node %d does not reach node %d", from, to);
        plane_send(nodes[from].plane, (uint16_t)(to + 1), PLANE_URGENT, str_of(text));
        turn();
    }
    ck_assert_uint_eq(nodes[to].from_site, (uint16_t)(from + 1));
    ck_assert_uint_eq(nodes[to].from_incarnation, nodes[from].incarnation);
    run(50); /* what was said more than once */
}

static void does_not_reach(int from, int to)
{
    int before = nodes[to].frames;

    for (uint64_t end = clock_boot_ms() + QUIET_MS; clock_boot_ms() < end;) {
        plane_send(nodes[from].plane, (uint16_t)(to + 1), PLANE_URGENT, STR("no"));
        turn();
    }
    ck_assert_int_eq(nodes[to].frames, before);
}

static void until_refused(struct node *n)
{
    uint64_t before = n->refused, end = clock_boot_ms() + WAIT_MS;
    struct plane_counts c;

    /* one that has hung up at once is "unknown"; it comes again */
    while (n->refused == before || strcmp(n->refused_from, "127.0.0.1") != 0) {
        ck_assert_msg(clock_boot_ms() < end, "nobody was refused");
        turn();
    }
    plane_counts(n->plane, &c);
    ck_assert_uint_ge(c.refused, n->refused);
}

/* --- tests --- */

START_TEST(frames_go_both_ways_and_say_whose_they_are)
{
    struct plane_counts c;

    for (int i = 0; i < NODES; i++)
        know(i, 7);
    for (int i = 0; i < NODES; i++)
        for (int k = 0; k < NODES; k++)
            if (i != k)
                reaches(i, k, i == 0 ? "from the first" : "from another");
    plane_counts(nodes[0].plane, &c);
    ck_assert_uint_ge(c.sent, 2);
    ck_assert_uint_ge(c.received, 2);
    ck_assert_uint_ge(c.sent_bytes, 2 * strlen("from the first"));
    ck_assert_uint_ge(c.received_bytes, 2 * strlen("from another"));
    ck_assert_uint_eq(c.refused, 0);
    ck_assert_uint_eq(nodes[0].refused, 0);
}
END_TEST

START_TEST(many_frames_come_whole_and_in_order)
{
    static char big[LIMIT_FRAME_BYTES];
    int want;

    know(0, 2);
    know(1, 1);
    reaches(0, 1, "first");
    want = nodes[1].frames;
    for (int i = 0; i < 3000; i++) { /* more than go in one turn, or wait for a peer */
        char text[16];

        snprintf(text, sizeof text, "%d", i);
        while (!plane_send(nodes[0].plane, 2, PLANE_URGENT, str_of(text)))
            turn();
    }
    want += 3000;
    for (uint64_t end = clock_boot_ms() + WAIT_MS;
         nodes[1].frames < want && clock_boot_ms() < end;)
        turn();
    ck_assert_int_eq(nodes[1].frames, want);
    ck_assert_str_eq(nodes[1].last, "2999");
    memset(big, 'x', sizeof big);
    ck_assert(plane_send(nodes[0].plane, 2, PLANE_URGENT, (struct str){big, sizeof big}));
    while (nodes[1].frames == want)
        turn();
    ck_assert_uint_eq(nodes[1].last_bytes, sizeof big);
}
END_TEST

/* Each lane is a connection of its own: what is queued in one stands before nothing else. */
START_TEST(what_is_urgent_does_not_wait_behind_what_is_large)
{
    static char big[LIMIT_FRAME_BYTES];
    int sent = 0, before;

    know(0, 2);
    know(1, 1);
    reaches(0, 1, "first");
    memset(big, 'x', sizeof big);
    for (uint64_t end = clock_boot_ms() + WAIT_MS; sent < 1 && clock_boot_ms() < end; turn())
        sent += plane_send(nodes[0].plane, 2, PLANE_BULK, (struct str){big, sizeof big});
    while (sent < LIMIT_LINK_QUEUE && /* until the way takes no more; nobody reads */
           plane_send(nodes[0].plane, 2, PLANE_BULK, (struct str){big, sizeof big}))
        sent++;
    before = nodes[1].frames;
    while (!plane_send(nodes[0].plane, 2, PLANE_URGENT, STR("urgent")))
        turn();
    for (uint64_t end = clock_boot_ms() + WAIT_MS, again = clock_boot_ms() + SENT_AGAIN_MS;
         nodes[1].urgent_at == 0 && clock_boot_ms() < end; turn())
        if (clock_boot_ms() >= again) { /* a way that was silent for too long was made anew */
            (void)plane_send(nodes[0].plane, 2, PLANE_URGENT, STR("urgent"));
            again = clock_boot_ms() + SENT_AGAIN_MS;
        }
    ck_assert_int_ne(nodes[1].urgent_at, 0);
    ck_assert_int_lt(nodes[1].urgent_at - before, sent / 2);
}
END_TEST

START_TEST(nothing_is_queued_for_one_that_is_away)
{
    struct plane_counts c;

    know(0, 2);
    plane_close(&nodes[1].plane);
    run(100);
    for (int i = 0; i < 10; i++)
        ck_assert(!plane_send(nodes[0].plane, 2, PLANE_URGENT, STR("stale")));
    ck_assert(!plane_send(nodes[0].plane, 9, PLANE_URGENT, STR("to nobody")));
    plane_counts(nodes[0].plane, &c);
    ck_assert_uint_eq(c.dropped, 11);
    open_node(&nodes[1]);
    know(1, 1);
    reaches(0, 1, "fresh");
    ck_assert_uint_lt(c.sent, 1);
}
END_TEST

START_TEST(a_strangers_key_gets_nothing_and_is_counted)
{
    know(0, 2);
    know(1, 1);
    know(2, 1); /* it knows the first, who does not know it */
    does_not_reach(2, 0);
    until_refused(&nodes[0]);
    reaches(1, 0, "members do"); /* all that while */
    know(0, 6);
    reaches(2, 0, "now it is one");
}
END_TEST

START_TEST(a_member_that_asks_for_another_key_is_not_let_in)
{
    struct plane_peer wrong = peer_of(0);

    know(0, 2);
    memcpy(wrong.key, nodes[2].public_key, sizeof wrong.key);
    ck_assert_int_eq(plane_peers(nodes[1].plane, &wrong, 1), OK);
    does_not_reach(1, 0);
    until_refused(&nodes[0]);
}
END_TEST

START_TEST(a_client_without_curve_gets_nothing_and_is_counted)
{
    void *ctx = zmq_ctx_new(), *s = zmq_socket(ctx, ZMQ_DEALER);
    char url[64];
    int linger = 0;

    know(0, 2);
    snprintf(url, sizeof url, "tcp://%s", nodes[0].address);
    zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof linger);
    ck_assert_int_eq(zmq_connect(s, url), 0);
    ck_assert_int_eq(zmq_send(s, "hello", 5, ZMQ_DONTWAIT), 5);
    until_refused(&nodes[0]);
    run(QUIET_MS);
    ck_assert_int_eq(nodes[0].frames, 0);
    zmq_close(s);
    zmq_ctx_term(ctx);
}
END_TEST

/* A member as only somebody else's program can be. */
static void *foreign_member(void *ctx, int i, int to)
{
    void *s = zmq_socket(ctx, ZMQ_DEALER);
    char url[64];
    int linger = 0;

    snprintf(url, sizeof url, "tcp://%s", nodes[to].address);
    zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, nodes[to].public_key, PLANE_KEY_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, nodes[i].public_key, PLANE_KEY_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, nodes[i].secret_key, PLANE_KEY_BYTES);
    ck_assert_int_eq(zmq_connect(s, url), 0);
    return s;
}

static void until_frames(struct node *n, int count)
{
    for (uint64_t end = clock_boot_ms() + WAIT_MS; n->frames < count && clock_boot_ms() < end;)
        turn();
    ck_assert_int_eq(n->frames, count);
}

START_TEST(refusals_are_told_once_a_second)
{
    void *ctx = zmq_ctx_new(), *s[8];
    uint64_t begin = clock_boot_ms();

    for (int i = 0; i < 8; i++)
        s[i] = foreign_member(ctx, 1, 0); /* the first knows nobody */
    while (nodes[0].refused < 8) {
        ck_assert_uint_lt(clock_boot_ms(), begin + WAIT_MS);
        turn();
    }
    ck_assert_uint_le(nodes[0].calls, (clock_boot_ms() - begin) / 1000 + 1);
    for (int i = 0; i < 8; i++)
        zmq_close(s[i]);
    zmq_ctx_term(ctx);
}
END_TEST

START_TEST(an_over_large_frame_does_not_arrive)
{
    static char big[2 * LIMIT_FRAME_BYTES];
    void *ctx = zmq_ctx_new(), *s = foreign_member(ctx, 1, 0);

    know(0, 2);
    ck_assert_int_eq(zmq_send(s, "small", 5, 0), 5);
    until_frames(&nodes[0], 1);
    ck_assert_int_eq(zmq_send(s, big, LIMIT_FRAME_BYTES + 1, 0), LIMIT_FRAME_BYTES + 1);
    run(QUIET_MS);
    ck_assert_int_eq(nodes[0].frames, 1);
    ck_assert_int_eq(zmq_send(s, big, sizeof big, 0), sizeof big);
    while (strcmp(nodes[0].last, "behind it") !=
           0) { /* the connection is dropped, and made anew */
        zmq_send(s, "behind it", 9, ZMQ_DONTWAIT);
        turn();
    }
    ck_assert_uint_eq(nodes[0].most_bytes, 9);
    zmq_close(s);
    zmq_ctx_term(ctx);
}
END_TEST

START_TEST(a_message_of_several_parts_is_no_frame)
{
    void *ctx = zmq_ctx_new(), *s = foreign_member(ctx, 1, 0);
    struct plane_counts c;

    know(0, 2);
    zmq_send(s, "a", 1, ZMQ_SNDMORE);
    zmq_send(s, "b", 1, ZMQ_SNDMORE);
    zmq_send(s, "c", 1, ZMQ_SNDMORE);
    zmq_send(s, "d", 1, 0);
    zmq_send(s, "one", 3, 0);
    until_frames(&nodes[0], 1);
    ck_assert_str_eq(nodes[0].last, "one");
    plane_counts(nodes[0].plane, &c);
    ck_assert_uint_eq(c.ignored, 1);
    zmq_close(s);
    zmq_ctx_term(ctx);
}
END_TEST

START_TEST(a_removed_peer_is_no_longer_heard)
{
    struct plane_counts before, after;
    uint64_t end;

    for (int i = 0; i < NODES; i++)
        know(i, 7);
    reaches(1, 0, "as a member");
    reaches(2, 0, "and the other");
    plane_counts(nodes[0].plane, &before);
    know(0, 4);
    does_not_reach(1, 0);
    plane_counts(nodes[0].plane, &after);
    ck_assert_uint_gt(after.ignored, before.ignored); /* its connection stays, unheard */
    ck_assert_uint_gt(after.refused, before.refused);
    end = clock_boot_ms() + WAIT_MS;
    for (; strcmp(nodes[0].refused_from, "127.0.0.1") != 0; turn()) /* and is told of */
        ck_assert_msg(clock_boot_ms() < end, "it was not told of");
    ck_assert(!plane_send(nodes[0].plane, 2, PLANE_URGENT, STR("nor spoken to")));
    reaches(2, 0, "still one");
}
END_TEST

static void forget_the_others(struct node *n)
{
    ck_assert_int_eq(plane_peers(n->plane, NULL, 0), OK);
}

START_TEST(a_peer_can_be_removed_when_its_frame_is_handed_on)
{
    know(0, 2);
    know(1, 1);
    reaches(1, 0, "the last one");
    nodes[0].on_frame = forget_the_others;
    for (int i = 0; i < 20; i++)
        plane_send(nodes[1].plane, 1, PLANE_URGENT, STR("x"));
    until_frames(&nodes[0], nodes[0].frames + 1);
    does_not_reach(1, 0);
    nodes[0].on_frame = NULL;
    know(0, 2);
    reaches(1, 0, "back");
}
END_TEST

START_TEST(a_peer_that_is_cut_off_is_heard_again_later)
{
    struct plane_counts c;

    know(0, 6);
    know(1, 1);
    know(2, 1);
    reaches(1, 0, "well");
    plane_cut(nodes[0].plane, 2, 2 * QUIET_MS);
    does_not_reach(1, 0);
    reaches(2, 0, "the other one");
    plane_counts(nodes[0].plane, &c);
    ck_assert_uint_gt(c.ignored, 0);
    know(0, 6); /* the same list: it stays cut off */
    reaches(1, 0, "again");
}
END_TEST

START_TEST(a_peer_that_restarts_is_reached_again)
{
    know(0, 2);
    know(1, 1);
    reaches(0, 1, "before");
    for (int i = 0; i < 3; i++) {
        plane_close(&nodes[1].plane);
        run(200);
        open_node(&nodes[1]);
        know(1, 1);
        reaches(0, 1, "after");
        reaches(1, 0, "back");
    }
}
END_TEST

/* ZeroMQ never comes back to a server that answered with what is not its protocol. */
START_TEST(a_peer_is_reached_although_its_address_was_somebody_elses)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(nodes[1].port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client = -1;

    plane_close(&nodes[1].plane);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    ck_assert_int_eq(listen(fd, 5), 0);
    know(0, 2);
    client = accept(fd, NULL, NULL);
    ck_assert_int_ge(client, 0);
    ck_assert_int_eq(send(client,
                          "220 mx.example.net ESMTP, at your service\r\n"
                          "220 mx.example.net ESMTP, at your service\r\n",
                          86, MSG_NOSIGNAL),
                     86);
    run(300);
    close(client);
    close(fd);
    open_node(&nodes[1]);
    know(1, 1);
    reaches(0, 1, "after all");
}
END_TEST

START_TEST(a_key_is_changed_without_a_moment_of_deafness_for_the_others)
{
    uint8_t public_key[PLANE_KEY_BYTES], secret_key[PLANE_KEY_BYTES];
    struct plane_peer changing = peer_of(1);

    know(0, 6);
    know(1, 5);
    know(2, 3);
    reaches(1, 0, "under the old key");
    ck_assert_int_eq(plane_key_new(public_key, secret_key), OK);
    /* its peers hear of it first, */
    memcpy(changing.old_key, changing.key, sizeof changing.key);
    memcpy(changing.key, public_key, sizeof public_key);
    changing.has_old_key = true;
    ck_assert_int_eq(
        plane_peers(nodes[0].plane, (struct plane_peer[]){changing, peer_of(2)}, 2), OK);
    reaches(1, 0, "still under the old key");
    reaches(0, 1, "and back");
    /* then it changes over, */
    ck_assert_int_eq(plane_rekey(nodes[1].plane, public_key, secret_key), OK);
    memcpy(nodes[1].public_key, public_key, sizeof public_key);
    reaches(1, 0, "under the new key");
    reaches(0, 1, "and back, too");
    does_not_reach(2, 1); /* who was not told asks for the old one */
    /* then the old key is nobody's. */
    changing.has_old_key = false;
    ck_assert_int_eq(
        plane_peers(nodes[0].plane, (struct plane_peer[]){changing, peer_of(2)}, 2), OK);
    reaches(1, 0, "the new one is good");
}
END_TEST

START_TEST(a_revoked_key_is_shut_out)
{
    struct plane_peer changed = peer_of(1);

    know(0, 2);
    know(1, 1);
    reaches(1, 0, "under the old key");
    memcpy(changed.key, nodes[2].public_key, sizeof changed.key);
    ck_assert_int_eq(plane_peers(nodes[0].plane, &changed, 1), OK);
    does_not_reach(1, 0);
}
END_TEST

START_TEST(an_address_in_use_is_said)
{
    struct node *n = &nodes[0];
    const char *const wrong[] = {nodes[1].address, "127.0.0.1", ":7301", "127.0.0.1:x",
                                 "no.such.host.invalid:7301"};

    plane_close(&n->plane);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_int_ne(
            plane_open(&n->plane, &(struct plane_options){.base = base,
                                                          .bind = wrong[i],
                                                          .public_key = n->public_key,
                                                          .secret_key = n->secret_key,
                                                          .ops = {n, on_frame, on_refused}}),
            OK);
        ck_assert_ptr_null(n->plane);
    }
}
END_TEST

START_TEST(lists_that_make_no_sense_are_refused)
{
    struct plane_peer peers[PLANE_PEERS + 1] = {peer_of(1), peer_of(1)};

    ck_assert_int_eq(plane_peers(nodes[0].plane, peers, 2), E_CONFLICT);
    for (uint16_t i = 0; i <= PLANE_PEERS; i++)
        peers[i].site = (uint16_t)(i + 2);
    ck_assert_int_eq(plane_peers(nodes[0].plane, peers, PLANE_PEERS + 1), E_FULL);
}
END_TEST

START_TEST(ipv6_and_names_are_addresses_too)
{
    struct plane_peer first = peer_of(0);
    struct node *n = &nodes[0];

    plane_close(&n->plane);
    snprintf(n->address, sizeof n->address, "[::1]:%u", n->port);
    open_node(n);
    know(0, 2);
    know(1, 1);
    reaches(1, 0, "over IPv6");
    reaches(0, 1, "back over IPv4");
    plane_close(&n->plane);
    snprintf(n->address, sizeof n->address, "localhost:%u", n->port);
    open_node(n);
    know(0, 2);
    snprintf(first.address, sizeof first.address, "%s", n->address);
    ck_assert_int_eq(plane_peers(nodes[1].plane, &first, 1), OK);
    reaches(1, 0, "by name");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plane");
    TCase *tc = tcase_create("plane");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, frames_go_both_ways_and_say_whose_they_are);
    tcase_add_test(tc, many_frames_come_whole_and_in_order);
    tcase_add_test(tc, what_is_urgent_does_not_wait_behind_what_is_large);
    tcase_add_test(tc, nothing_is_queued_for_one_that_is_away);
    tcase_add_test(tc, a_strangers_key_gets_nothing_and_is_counted);
    tcase_add_test(tc, a_member_that_asks_for_another_key_is_not_let_in);
    tcase_add_test(tc, a_client_without_curve_gets_nothing_and_is_counted);
    tcase_add_test(tc, refusals_are_told_once_a_second);
    tcase_add_test(tc, an_over_large_frame_does_not_arrive);
    tcase_add_test(tc, a_message_of_several_parts_is_no_frame);
    tcase_add_test(tc, a_removed_peer_is_no_longer_heard);
    tcase_add_test(tc, a_peer_can_be_removed_when_its_frame_is_handed_on);
    tcase_add_test(tc, a_peer_that_is_cut_off_is_heard_again_later);
    tcase_add_test(tc, a_peer_that_restarts_is_reached_again);
    tcase_add_test(tc, a_peer_is_reached_although_its_address_was_somebody_elses);
    tcase_add_test(tc, a_key_is_changed_without_a_moment_of_deafness_for_the_others);
    tcase_add_test(tc, a_revoked_key_is_shut_out);
    tcase_add_test(tc, an_address_in_use_is_said);
    tcase_add_test(tc, lists_that_make_no_sense_are_refused);
    tcase_add_test(tc, ipv6_and_names_are_addresses_too);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
