#include "node/policy/greylist.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
#define T0       UINT64_C(1000000000000)
#define SECOND   UINT64_C(1000)
#define MINUTE   (60 * SECOND)
#define DAY      (1440 * MINUTE)

static const uint64_t secret[2] = {1, 2};
static const struct greylist_options defaults = {.delay_ms = 0};

static struct greylist_keys keys_of(const char *client, const char *spf, const char *sender,
                                    const char *domain)
{
    struct greylist_try t = {
        .spf_domain = str_of(spf), .sender = str_of(sender), .domain = str_of(domain)};

    ck_assert(ip_parse(str_of(client), &t.client));
    return greylist_keys(secret, &t);
}

static enum greylist_verdict check(struct greylist *g, struct greylist_keys k, uint64_t now_ms)
{
    uint64_t wait_ms, said_ms;
    enum greylist_verdict said = greylist_look(g, &k, now_ms, &said_ms); /* an operator's */
    enum greylist_verdict v = greylist_check(g, &k, now_ms, &wait_ms);

    ck_assert((v == GREYLIST_FIRST || v == GREYLIST_EARLY) == (wait_ms > 0));
    ck_assert(v == GREYLIST_FULL || (said == v && said_ms == wait_ms));
    return v;
}

/* All that `from` knows goes to `to`, through bytes. */
static uint32_t send_all(const struct greylist *from, struct greylist *to, uint64_t now_ms)
{
    struct change_cursor at = {0};
    struct greylist_entry e, read;
    uint8_t bytes[GREYLIST_ENTRY_BYTES];
    uint32_t news = 0;

    while (greylist_changes(from, &at, &e)) {
        greylist_pack(&e, bytes);
        ck_assert_int_eq(
            greylist_unpack((struct str){(const char *)bytes, sizeof bytes}, &read), OK);
        ck_assert(e.key == read.key && e.first_ms == read.first_ms &&
                  e.last_ms == read.last_ms && e.is_passed == read.is_passed);
        news += greylist_merge(to, &read, now_ms) == GREYLIST_NEWS;
    }
    return news;
}

START_TEST(S29_a_stranger_waits_and_is_known_for_36_days_after_his_retry)
{
    struct greylist g;
    struct greylist_keys k = keys_of("192.0.2.1", "", "a@b.example", "c.example");
    uint64_t t = T0, wait_ms;

    greylist_init(&g, &defaults);
    ck_assert_int_eq(check(&g, k, t), GREYLIST_FIRST);
    ck_assert_int_eq(greylist_check(&g, &k, t + 15 * SECOND, &wait_ms), GREYLIST_EARLY);
    ck_assert_uint_eq(wait_ms, 45 * SECOND);
    ck_assert_int_eq(check(&g, k, t + MINUTE - 1), GREYLIST_EARLY);
    ck_assert_int_eq(check(&g, k, t + MINUTE), GREYLIST_PASSED);
    ck_assert_int_eq(check(&g, k, t + MINUTE), GREYLIST_KNOWN);
    k = keys_of("192.0.2.200", "", "other@x.example", "d.example");
    ck_assert_int_eq(check(&g, k, t + 36 * DAY), GREYLIST_KNOWN);
    ck_assert_int_eq(check(&g, k, t + 72 * DAY - 1), GREYLIST_KNOWN);
    ck_assert_int_eq(check(&g, k, t + 108 * DAY), GREYLIST_FIRST);
    ck_assert(strncmp(greylist_reply(), "450 4.7.1 ", 10) == 0);
    greylist_fini(&g);
}
END_TEST

START_TEST(a_retry_after_the_window_is_a_first_try)
{
    struct greylist g;
    struct greylist_keys k = keys_of("2001:db8::1", "", "", "c.example");

    greylist_init(&g, &defaults);
    ck_assert_int_eq(check(&g, k, T0), GREYLIST_FIRST);
    ck_assert_int_eq(check(&g, k, T0 + 2 * DAY), GREYLIST_FIRST);
    ck_assert_int_eq(check(&g, k, T0 + 4 * DAY - 1), GREYLIST_PASSED);
    greylist_fini(&g);
}
END_TEST

START_TEST(S30_first_tries_at_three_sites_are_one_and_a_retry_at_any_passes)
{
    struct greylist g[3];
    struct greylist_keys k = keys_of("192.0.2.1", "", "a@b.example", "c.example");
    struct greylist_entry e;

    for (int i = 0; i < 3; i++) {
        greylist_init(&g[i], &defaults);
        ck_assert_int_eq(check(&g[i], k, T0 + 300 * (uint64_t)i), GREYLIST_FIRST);
    }
    for (int i = 0; i < 9; i++)
        if (i / 3 != i % 3)
            send_all(&g[i / 3], &g[i % 3], T0 + SECOND);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(greylist_count(&g[i]), 1);
        ck_assert(greylist_get(&g[i], k.try, T0 + SECOND, &e) && e.first_ms == T0);
    }
    ck_assert_int_eq(check(&g[2], k, T0 + MINUTE), GREYLIST_PASSED);
    ck_assert_int_eq(check(&g[1], k, T0 + MINUTE), GREYLIST_PASSED); /* not told yet */
    ck_assert_uint_eq(send_all(&g[2], &g[0], T0 + MINUTE), 1);
    ck_assert_int_eq(check(&g[0], k, T0 + MINUTE), GREYLIST_KNOWN);
    ck_assert_uint_eq(send_all(&g[2], &g[0], T0 + MINUTE), 0);
    for (int i = 0; i < 3; i++)
        greylist_fini(&g[i]);
}
END_TEST

START_TEST(a_client_is_its_network_or_the_domain_that_spf_passes)
{
    struct greylist_keys a = keys_of("192.0.2.1", "", "a@b.example", "c.example");
    struct greylist_keys b = keys_of("192.0.2.255", "", "A@B.example", "C.EXAMPLE");
    struct greylist_keys c = keys_of("192.0.3.1", "", "a@b.example", "c.example");
    struct greylist_keys d = keys_of("192.0.2.1", "big.example", "a@b.example", "c.example");
    struct greylist_keys e = keys_of("2001:db8::1", "BIG.example", "a@b.example", "c.example");
    struct greylist_keys f = keys_of("2001:db8::ffff:0:0:1", "", "a@b.example", "c.example");
    struct greylist g;

    ck_assert(a.client == a.network && a.try == b.try && a.client == b.client);
    ck_assert(a.try != c.try && a.client != c.client);
    ck_assert(d.client == e.client && d.try == e.try && d.client != d.network);
    ck_assert(d.network == a.network && e.network == f.network && d.try != a.try);
    ck_assert(keys_of("192.0.2.1", "", "", "c.example").try != a.try);
    ck_assert(keys_of("192.0.2.1", "", "a@b.example", "d.example").try != a.try);
    greylist_init(&g, &defaults);
    ck_assert_int_eq(check(&g, d, T0), GREYLIST_FIRST);
    ck_assert_int_eq(check(&g, e, T0 + MINUTE), GREYLIST_PASSED);
    ck_assert_int_eq(check(&g, d, T0 + MINUTE), GREYLIST_KNOWN);
    ck_assert_int_eq(check(&g, a, T0 + MINUTE), GREYLIST_FIRST); /* without SPF a stranger */
    ck_assert_int_eq(check(&g, a, T0 + 2 * MINUTE), GREYLIST_PASSED);
    b = keys_of("198.51.100.1", "", "a@late.example", "c.example"); /* DNS did not say then */
    d = keys_of("198.51.100.1", "late.example", "a@late.example", "c.example");
    ck_assert_int_eq(check(&g, b, T0 + 2 * MINUTE), GREYLIST_FIRST);
    ck_assert_int_eq(check(&g, d, T0 + 3 * MINUTE), GREYLIST_PASSED);
    d = keys_of("192.0.2.7", "small.example", "x@small.example", "c.example");
    ck_assert_int_eq(check(&g, d, T0 + 2 * MINUTE), GREYLIST_KNOWN); /* by its network */
    greylist_fini(&g);
}
END_TEST

START_TEST(another_secret_makes_strangers_of_all)
{
    struct greylist_try t = {.domain = STR("c.example")};
    struct greylist_keys a = greylist_keys(secret, &t);
    struct greylist_keys b = greylist_keys((const uint64_t[2]){1, 3}, &t);

    ck_assert(a.try != b.try && a.client != b.client && a.network != b.network);
}
END_TEST

static const struct {
    const char *sender, *made;
} senders[] = {
    {"", ""},
    {"Joe@B.Example", "joe@b.example"},
    {"joe", "joe"},
    {"joe+lists@b.example", "joe@b.example"},
    {"+joe@b.example", "+joe@b.example"},
    {"bounce-4711-ab@l.example", "bounce-#-ab@l.example"},
    {"bounces+4711-joe=c.example@l.example", "bounces@l.example"},
    {"list-owner-joe=c.example@l.example", "list@l.example"},
    {"0102018f3a5e-7c2d-4@ses.example", "#-#-#@ses.example"},
    {"prvs=1234abcdef=joe@b.example", "joe@b.example"},
    {"PRVS=joe@b.example", "prvs@b.example"},
    {"btv1==123abc==joe@b.example", "joe@b.example"},
    {"msprvs1=19000abc=bounces-1@b.example", "bounces-#@b.example"},
    {"SRS0=aBcD=X7=c.example=joe@f.example", "srs0=c.example=joe@f.example"},
    {"srs0+qwer=ab=c.example=joe9@f.example", "srs0=c.example=#@f.example"},
    {"SRS1=hash=d.example==abcd=ef=c.example=joe@f.example", "srs1=d.example@f.example"},
    {"SRS0@f.example", "#@f.example"},
    {"a@b@c.example", "a@b@c.example"},
    {"=@c.example", "@c.example"},
};

START_TEST(senders_that_differ_by_message_are_one)
{
    char buf[LIMIT_SMTP_PATH_BYTES];
    struct str s = greylist_sender(str_of(senders[_i].sender), buf);

    ck_assert_msg(str_eq(s, str_of(senders[_i].made)), "'%s': '" STR_FMT "'",
                  senders[_i].sender, STR_ARG(s));
}
END_TEST

START_TEST(texts_of_any_length_are_cut)
{
    char text[1000], buf[LIMIT_SMTP_PATH_BYTES];
    struct str s = {text, sizeof text};
    struct greylist_try t = {.spf_domain = s, .sender = s, .domain = s};

    memset(text, '#', sizeof text);
    ck_assert_uint_eq(greylist_sender(s, buf).n, LIMIT_SMTP_PATH_BYTES);
    ck_assert_uint_ne(greylist_keys(secret, &t).try, 0);
}
END_TEST

START_TEST(a_full_list_takes_mail_and_keeps_room_for_known_clients)
{
    struct greylist_options small = {.entries = 10, .first_tries = 8};
    struct greylist g;
    uint64_t wait_ms;
    struct greylist_entry e = {.last_ms = T0, .first_ms = T0};

    greylist_init(&g, &small);
    for (uint64_t i = 1; i <= 8; i++)
        ck_assert_int_eq(check(&g, (struct greylist_keys){i, 100 + i, 100 + i, 200 + i, i}, T0),
                         GREYLIST_FIRST);
    ck_assert_int_eq(check(&g, (struct greylist_keys){9, 109, 109, 209, 9}, T0), GREYLIST_FULL);
    e.key = 9;
    ck_assert_int_eq(greylist_merge(&g, &e, T0), GREYLIST_NO_ROOM);
    for (uint64_t i = 1; i <= 2; i++)
        ck_assert_int_eq(
            check(&g, (struct greylist_keys){i, 100 + i, 100 + i, 200 + i, i}, T0 + MINUTE),
            GREYLIST_PASSED);
    ck_assert_int_eq(check(&g, (struct greylist_keys){3, 103, 103, 203, 3}, T0 + MINUTE),
                     GREYLIST_FULL);
    ck_assert_int_eq(check(&g, (struct greylist_keys){1, 101, 101, 201, 1}, T0 + MINUTE),
                     GREYLIST_KNOWN);
    e = (struct greylist_entry){.key = 55, .last_ms = T0, .is_passed = true};
    ck_assert_int_eq(greylist_merge(&g, &e, T0 + MINUTE), GREYLIST_NO_ROOM);
    /* age makes room */
    ck_assert_int_eq(greylist_check(&g, &(struct greylist_keys){3, 103, 103, 203, 3},
                                    T0 + 3 * DAY, &wait_ms),
                     GREYLIST_FIRST);
    ck_assert_uint_eq(greylist_sweep(&g, T0 + 3 * DAY, 10, (uint64_t[10]){0}), 7);
    ck_assert_uint_eq(greylist_count(&g), 3);
    ck_assert_uint_eq(g.first_tries, 1);
    greylist_fini(&g);
}
END_TEST

/* --- clocks --- */

START_TEST(a_clock_that_is_behind_makes_nothing_of_others_older)
{
    struct greylist right[2], behind;
    struct greylist_keys k = {1, 101, 101, 201, 1};
    uint64_t lag = (uint64_t)_i * 50 * MINUTE + SECOND;

    greylist_init(&right[0], &defaults);
    greylist_init(&right[1], &defaults);
    greylist_init(&behind, &defaults);
    ck_assert_int_eq(check(&right[0], k, T0), GREYLIST_FIRST);
    send_all(&right[0], &behind, T0 - lag);
    send_all(&behind, &right[0], T0);
    send_all(&behind, &right[1], T0);
    ck_assert_int_eq(check(&right[0], k, T0 + 2 * SECOND), GREYLIST_EARLY);
    ck_assert_int_eq(check(&right[1], k, T0 + 59 * SECOND), GREYLIST_EARLY);
    ck_assert_int_eq(check(&right[1], k, T0 + MINUTE), GREYLIST_PASSED);
    send_all(&right[1], &behind, T0 + MINUTE - lag);
    send_all(&behind, &right[0], T0 + MINUTE);
    ck_assert_int_eq(check(&right[0], k, T0 + 35 * DAY), GREYLIST_KNOWN);
    greylist_fini(&right[0]);
    greylist_fini(&right[1]);
    greylist_fini(&behind);
}
END_TEST

START_TEST(a_clock_that_is_ahead_keeps_nothing_alive_and_lets_nobody_in)
{
    struct greylist right, ahead;
    struct greylist_keys k = {1, 101, 101, 201, 1}, passed = {2, 102, 102, 202, 2};
    uint64_t gap = 3650 * DAY;
    struct greylist_entry e;

    greylist_init(&right, &defaults);
    greylist_init(&ahead, &defaults);
    check(&ahead, k, T0 + gap);
    check(&ahead, passed, T0 + gap - MINUTE);
    ck_assert_int_eq(check(&ahead, passed, T0 + gap), GREYLIST_PASSED);
    send_all(&ahead, &right, T0);
    ck_assert_int_eq(check(&right, k, T0 + MINUTE), GREYLIST_EARLY);
    ck_assert_int_eq(check(&right, k, T0 + 2 * MINUTE), GREYLIST_PASSED);
    ck_assert_int_eq(check(&right, passed, T0 + MINUTE), GREYLIST_KNOWN);
    /* alive for one TTL from the merge, not longer */
    ck_assert(greylist_get(&right, 102, T0 + 36 * DAY - 1, &e) && e.last_ms == T0);
    ck_assert(!greylist_get(&right, 102, T0 + 36 * DAY, &e));
    /* its own clock is put right again */
    greylist_sweep(&ahead, T0, 100, (uint64_t[100]){0});
    ck_assert(greylist_get(&ahead, 102, T0 + 36 * DAY - 1, &e) && e.last_ms == T0);
    ck_assert(!greylist_get(&ahead, 102, T0 + 36 * DAY, &e));
    greylist_fini(&right);
    greylist_fini(&ahead);
}
END_TEST

START_TEST(at_the_beginning_of_time_nothing_is_old)
{
    struct greylist g;
    struct greylist_entry e = {.key = 7, .first_ms = 0, .last_ms = 0};

    greylist_init(&g, &defaults);
    ck_assert_int_eq(check(&g, (struct greylist_keys){1, 101, 101, 201, 1}, 0), GREYLIST_FIRST);
    ck_assert_int_eq(greylist_merge(&g, &e, 5), GREYLIST_NEWS);
    ck_assert_int_eq(greylist_merge(&g, &e, 2 * DAY), GREYLIST_NO_NEWS);
    ck_assert_uint_eq(greylist_sweep(&g, 2 * DAY, 10, (uint64_t[10]){0}), 1);
    greylist_fini(&g);
}
END_TEST

/* --- the property: in any order, doubled, lost --- */

enum { SITES = 3, KEYS = 60, WIRE = 400 };

struct world {
    struct greylist g[SITES];
    struct change_cursor sent[SITES][SITES];
    uint64_t skew_ms[SITES];
    struct {
        struct greylist_entry e;
        int to;
    } wire[WIRE];
    uint32_t flying;
    uint64_t now_ms;
    struct prng rng;
};

static const struct greylist_options brief = {.window_ms = 20 * MINUTE,
                                              .known_ms = 90 * MINUTE};

static void fly(struct world *w, int to, const struct greylist_entry *e)
{
    if (w->flying == WIRE || prng_below(&w->rng, 4) == 0)
        return; /* lost */
    w->wire[w->flying].to = to;
    w->wire[w->flying++].e = *e;
}

static void land(struct world *w)
{
    uint32_t i;
    int to;

    if (w->flying == 0)
        return;
    i = (uint32_t)prng_below(&w->rng, w->flying);
    to = w->wire[i].to;
    (void)!greylist_merge(&w->g[to], &w->wire[i].e, w->now_ms + w->skew_ms[to]);
    if (prng_below(&w->rng, 4) > 0) /* else it comes again */
        w->wire[i] = w->wire[--w->flying];
}

static void turn(struct world *w)
{
    int from = (int)prng_below(&w->rng, SITES), to = (int)prng_below(&w->rng, SITES);
    uint64_t key = 1 + prng_below(&w->rng, KEYS);
    struct greylist_keys k = {key, 1000 + key / 2, 1000 + key / 2, 5000 + key, key};
    struct greylist_entry e;
    uint64_t dropped[8];

    switch (prng_below(&w->rng, 6)) {
    case 0:
        check(&w->g[from], k, w->now_ms + w->skew_ms[from]);
        break;
    case 1:
        w->now_ms += prng_below(&w->rng, prng_below(&w->rng, 8) == 0 ? 10 * MINUTE : SECOND);
        break;
    case 2:
        greylist_sweep(&w->g[from], w->now_ms + w->skew_ms[from], COUNT(dropped), dropped);
        break;
    case 3:
        while (from != to && greylist_changes(&w->g[from], &w->sent[from][to], &e))
            fly(w, to, &e);
        break;
    default:
        land(w);
    }
}

START_TEST(three_sites_end_equal_whatever_the_way)
{
    struct world *w = calloc(1, sizeof *w);
    struct greylist_entry a, b;
    uint32_t alive = 0;

    prng_seed(&w->rng, (uint64_t)_i + 1);
    w->now_ms = T0;
    for (int i = 0; i < SITES; i++) {
        greylist_init(&w->g[i], &brief);
        w->skew_ms[i] = prng_below(&w->rng, 2) * prng_below(&w->rng, 8 * SECOND);
    }
    for (int n = 0; n < 4000; n++)
        turn(w);
    w->now_ms += 8 * SECOND;
    for (int n = 0; n < 2 * SITES * SITES; n++)
        send_all(&w->g[n / SITES % SITES], &w->g[n % SITES], w->now_ms);
    for (uint64_t key = 1; key < 2000; key++) {
        bool there = greylist_get(&w->g[0], key, w->now_ms, &a);

        alive += there;
        for (int i = 1; i < SITES; i++) {
            ck_assert(greylist_get(&w->g[i], key, w->now_ms, &b) == there);
            ck_assert(!there || (a.first_ms == b.first_ms && a.last_ms == b.last_ms &&
                                 a.is_passed == b.is_passed));
        }
    }
    ck_assert_uint_gt(alive, 0);
    for (int i = 0; i < SITES; i++)
        greylist_fini(&w->g[i]);
    free(w);
}
END_TEST

START_TEST(changes_are_told_once_each_from_wherever_the_cursor_stands)
{
    struct greylist g;
    struct change_cursor at = {0}, blind;
    struct greylist_entry e;
    struct prng r;
    uint64_t told[41] = {0}, now_ms = T0, dropped[4];

    prng_seed(&r, 3);
    greylist_init(&g, &defaults);
    for (int n = 0; n < 5000; n++) {
        uint64_t key = 1 + prng_below(&r, 40);

        e = (struct greylist_entry){key, now_ms, now_ms, prng_below(&r, 2) == 0};
        (void)!greylist_merge(&g, &e, now_ms);
        now_ms += prng_below(&r, 100) == 0 ? 40 * DAY : MINUTE;
        greylist_sweep(&g, now_ms, 4, dropped);
        if (prng_below(&r, 10) > 0)
            continue;
        blind = (struct change_cursor){.serial = at.serial}; /* as after a new link */
        while (greylist_changes(&g, &at, &e)) {
            struct greylist_entry same;

            ck_assert(greylist_changes(&g, &blind, &same) && same.key == e.key);
            ck_assert_uint_gt(at.serial, told[e.key]);
            told[e.key] = at.serial;
        }
        ck_assert(!greylist_changes(&g, &blind, &e));
        ck_assert_uint_eq(at.serial == g.changes.serial || greylist_count(&g) < 40, true);
    }
    greylist_fini(&g);
}
END_TEST

START_TEST(what_a_peer_says_is_handed_on_when_it_is_news)
{
    struct greylist middle;
    struct change_cursor at = {0};
    struct greylist_entry e = {.key = 5, .first_ms = T0 + 9, .last_ms = T0 + 9}, told;

    greylist_init(&middle, &defaults);
    ck_assert_int_eq(greylist_merge(&middle, &e, T0 + 10), GREYLIST_NEWS);
    ck_assert(greylist_changes(&middle, &at, &told) && !greylist_changes(&middle, &at, &told));
    ck_assert_int_eq(greylist_merge(&middle, &e, T0 + 10), GREYLIST_NO_NEWS);
    ck_assert(!greylist_changes(&middle, &at, &told));
    e.first_ms = T0 + 2;
    ck_assert_int_eq(greylist_merge(&middle, &e, T0 + 10), GREYLIST_NEWS);
    ck_assert(greylist_changes(&middle, &at, &told) && told.first_ms == T0 + 2);
    e.is_passed = true;
    ck_assert_int_eq(greylist_merge(&middle, &e, T0 + 10), GREYLIST_NEWS);
    ck_assert(greylist_changes(&middle, &at, &told) && told.is_passed &&
              told.last_ms == T0 + 9);
    ck_assert(!greylist_changes(&middle, &at, &told));
    greylist_fini(&middle);
}
END_TEST

START_TEST(bytes_that_are_no_entry_are_refused)
{
    struct greylist_entry e = {.key = 1, .first_ms = 2, .last_ms = 3, .is_passed = true};
    uint8_t b[GREYLIST_ENTRY_BYTES + 1] = {0};

    greylist_pack(&e, b);
    ck_assert_mem_eq(b, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\1", 25);
    ck_assert_int_eq(greylist_unpack((struct str){(char *)b, 24}, &e), E_PROTO);
    ck_assert_int_eq(greylist_unpack((struct str){(char *)b, 26}, &e), E_PROTO);
    b[24] = 2;
    ck_assert_int_eq(greylist_unpack((struct str){(char *)b, 25}, &e), E_PROTO);
    b[24] = b[7] = 0;
    ck_assert_int_eq(greylist_unpack((struct str){(char *)b, 25}, &e), E_PROTO);
    for (int v = GREYLIST_FIRST; v <= GREYLIST_FULL; v++)
        ck_assert_uint_gt(strlen(greylist_verdict_text((enum greylist_verdict)v)), 3);
}
END_TEST

/* One network may fill a place for each sender up to a limit, then one for each domain. */
START_TEST(a_network_that_tries_ever_new_senders_fills_the_list_no_more)
{
    struct greylist g;
    struct greylist_keys k;
    char sender[32];
    uint64_t wait_ms;

    greylist_init(&g, &(struct greylist_options){0});
    for (unsigned i = 0; i < LIMIT_GREY_NETWORK_TRIES + 500; i++) {
        snprintf(sender, sizeof sender, "%c%c%c%c@b.example", 'a' + i % 26, 'a' + i / 26 % 26,
                 'a' + i / 676 % 26, 'z');
        k = keys_of("192.0.2.1", "", sender, "c.example");
        ck_assert_int_eq(greylist_check(&g, &k, T0, &wait_ms),
                         i <= LIMIT_GREY_NETWORK_TRIES ? GREYLIST_FIRST : GREYLIST_EARLY);
    }
    ck_assert_uint_eq(greylist_count(&g), LIMIT_GREY_NETWORK_TRIES + 1);
    /* others are tried by their sender as ever, and the crowd passes as one, after the delay */
    k = keys_of("198.51.100.1", "", "a@b.example", "c.example");
    ck_assert_int_eq(greylist_check(&g, &k, T0, &wait_ms), GREYLIST_FIRST);
    k = keys_of("192.0.2.1", "", "quite-new@b.example", "d.example");
    ck_assert_int_eq(greylist_check(&g, &k, T0, &wait_ms), GREYLIST_FIRST);
    k = keys_of("192.0.2.9", "", "another@b.example", "d.example");
    ck_assert_int_eq(greylist_check(&g, &k, T0 + MINUTE, &wait_ms), GREYLIST_PASSED);
    /* an hour later it is a client as others */
    greylist_fini(&g);
    greylist_init(&g, &(struct greylist_options){0});
    g.crowd[k.network % LIMIT_GREY_CROWD] = LIMIT_GREY_NETWORK_TRIES;
    g.crowd_window = T0 / LIMIT_GREY_CROWD_MS;
    ck_assert_int_eq(greylist_check(&g, &k, T0 + LIMIT_GREY_CROWD_MS, &wait_ms),
                     GREYLIST_FIRST);
    ck_assert(greylist_get(&g, k.try, T0 + LIMIT_GREY_CROWD_MS, &(struct greylist_entry){0}));
    greylist_fini(&g);
}
END_TEST

START_TEST(nobody_becomes_known_where_nobody_has_to_wait)
{
    struct greylist g;
    struct greylist_keys k = keys_of("192.0.2.1", "", "a@b.example", "c.example");
    uint64_t wait_ms;

    greylist_init(&g, &(struct greylist_options){0});
    ck_assert_int_eq(greylist_watch(&g, &k, T0, &wait_ms), GREYLIST_FIRST);
    ck_assert_int_eq(greylist_watch(&g, &k, T0 + MINUTE, &wait_ms), GREYLIST_PASSED);
    ck_assert_int_eq(greylist_watch(&g, &k, T0 + MINUTE, &wait_ms), GREYLIST_PASSED);
    k = keys_of("192.0.2.1", "", "a@b.example", "d.example");
    ck_assert_int_eq(greylist_check(&g, &k, T0 + MINUTE, &wait_ms), GREYLIST_FIRST);
    greylist_fini(&g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("greylist");
    TCase *tc = tcase_create("greylist");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, S29_a_stranger_waits_and_is_known_for_36_days_after_his_retry);
    tcase_add_test(tc, a_retry_after_the_window_is_a_first_try);
    tcase_add_test(tc, S30_first_tries_at_three_sites_are_one_and_a_retry_at_any_passes);
    tcase_add_test(tc, a_client_is_its_network_or_the_domain_that_spf_passes);
    tcase_add_test(tc, another_secret_makes_strangers_of_all);
    tcase_add_loop_test(tc, senders_that_differ_by_message_are_one, 0, COUNT(senders));
    tcase_add_test(tc, texts_of_any_length_are_cut);
    tcase_add_test(tc, a_full_list_takes_mail_and_keeps_room_for_known_clients);
    tcase_add_loop_test(tc, a_clock_that_is_behind_makes_nothing_of_others_older, 0, 3);
    tcase_add_test(tc, a_clock_that_is_ahead_keeps_nothing_alive_and_lets_nobody_in);
    tcase_add_test(tc, at_the_beginning_of_time_nothing_is_old);
    tcase_add_loop_test(tc, three_sites_end_equal_whatever_the_way, 0, 100);
    tcase_add_test(tc, changes_are_told_once_each_from_wherever_the_cursor_stands);
    tcase_add_test(tc, what_a_peer_says_is_handed_on_when_it_is_news);
    tcase_add_test(tc, bytes_that_are_no_entry_are_refused);
    tcase_add_test(tc, a_network_that_tries_ever_new_senders_fills_the_list_no_more);
    tcase_add_test(tc, nobody_becomes_known_where_nobody_has_to_wait);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
