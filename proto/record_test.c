/* An envelope survives its record unchanged, and nothing odd passes for one. */
#include "proto/record.h"

#include <check.h>
#include <stdlib.h>

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, RECORD_ARENA_BYTES);
}

static void teardown(void)
{
    arena_reset(&arena);
}

static struct envelope sample(struct rcpt rcpts[2])
{
    rcpts[0] = (struct rcpt){.path = STR("ann@example.org"), .fate = FATE_PENDING};
    rcpts[1] = (struct rcpt){.path = STR("b\x80\"@example.org"),
                             .fate = FATE_DELIVERED,
                             .attempts = 3,
                             .last_ms = 5,
                             .next_ms = 6,
                             .odd_since_ms = 7,
                             .final_ms = UINT64_MAX,
                             .reply = STR("250 2.0.0 ok")};
    return (struct envelope){.id = mid_make(1, 77, 12345),
                             .domain = STR("example.org"),
                             .domain_generation = 9,
                             .sender = STR("joe@example.net"),
                             .rcpts = rcpts,
                             .rcpt_count = 2,
                             .body_bytes = 1000,
                             .body_digest = UINT64_C(0xFEDCBA9876543210),
                             .body_number = 4,
                             .eight_bit = true,
                             .trace_header = STR("Received: from x\r\n\tby y\r\n"),
                             .received_ms = 11,
                             .received_wall_ms = -12,
                             .deadline_ms = 13,
                             .client_addr = STR("192.0.2.1"),
                             .client_helo = STR("mx.example.net"),
                             .tls = STR("TLSv1.3 TLS_AES_256_GCM_SHA384"),
                             .held = true,
                             .held_index = UINT64_MAX,
                             .possible_duplicates = 2,
                             .phase = PHASE_DSN,
                             .dsn = DSN_SENT,
                             .dsn_attempts = 1,
                             .dsn_next_ms = 14,
                             .dsn_deadline_ms = 15,
                             .dsn_reply = STR("451 later"),
                             .sender_auth = SENDER_SOFTFAIL,
                             .smtputf8 = true,
                             .settled_ms = 16,
                             .settled_wall_ms = 17};
}

static enum err decode(const void *p, size_t n, struct envelope *out)
{
    return envelope_decode((struct str){p, n}, &arena, out);
}

static void ck_same_rcpt(const struct rcpt *a, const struct rcpt *b)
{
    ck_assert(str_eq(a->path, b->path) && str_eq(a->reply, b->reply));
    ck_assert(a->fate == b->fate && a->attempts == b->attempts && a->last_ms == b->last_ms);
    ck_assert(a->next_ms == b->next_ms && a->odd_since_ms == b->odd_since_ms);
    ck_assert(a->final_ms == b->final_ms);
}

static void ck_same(const struct envelope *a, const struct envelope *b)
{
    ck_assert(mid_cmp(a->id, b->id) == 0 && str_eq(a->domain, b->domain));
    ck_assert(a->domain_generation == b->domain_generation && str_eq(a->sender, b->sender));
    ck_assert(a->body_bytes == b->body_bytes && a->body_digest == b->body_digest);
    ck_assert(a->body_number == b->body_number && a->eight_bit == b->eight_bit);
    ck_assert(str_eq(a->trace_header, b->trace_header) && a->received_ms == b->received_ms);
    ck_assert(a->received_wall_ms == b->received_wall_ms && a->deadline_ms == b->deadline_ms);
    ck_assert(str_eq(a->client_addr, b->client_addr) && str_eq(a->tls, b->tls));
    ck_assert(str_eq(a->client_helo, b->client_helo) && a->held == b->held &&
              a->held_index == b->held_index);
    ck_assert(a->possible_duplicates == b->possible_duplicates && a->phase == b->phase);
    ck_assert(a->sender_auth == b->sender_auth && a->smtputf8 == b->smtputf8);
    ck_assert_uint_eq(a->digest_until_ms, b->digest_until_ms);
    ck_assert(a->dsn == b->dsn && a->dsn_attempts == b->dsn_attempts);
    ck_assert(a->dsn_next_ms == b->dsn_next_ms && a->dsn_deadline_ms == b->dsn_deadline_ms);
    ck_assert(str_eq(a->dsn_reply, b->dsn_reply) && a->settled_ms == b->settled_ms);
    ck_assert(a->settled_wall_ms == b->settled_wall_ms && a->rcpt_count == b->rcpt_count);
    for (uint32_t i = 0; i < a->rcpt_count; i++)
        ck_same_rcpt(&a->rcpts[i], &b->rcpts[i]);
}

START_TEST(every_field_comes_back)
{
    struct rcpt rcpts[2];
    struct envelope e = sample(rcpts), back;
    size_t n = envelope_encoded_size(&e);
    uint8_t *buf = malloc(n);

    ck_assert_uint_gt(n, 0);
    ck_assert_uint_eq(envelope_encode(&e, buf), n);
    ck_assert_int_eq(decode(buf, n, &back), OK);
    free(buf); /* the copies must not point into it */
    ck_same(&e, &back);
}
END_TEST

START_TEST(empty_strings_and_zeroes_come_back)
{
    struct rcpt rcpt = {.path = STR("a@b")};
    struct envelope e = {.domain = STR("b"), .rcpts = &rcpt, .rcpt_count = 1}, back;
    uint8_t buf[256];
    size_t n = envelope_encode(&e, buf);

    ck_assert_uint_le(n, sizeof buf);
    ck_assert_int_eq(decode(buf, n, &back), OK);
    ck_same(&e, &back);
    ck_assert_ptr_nonnull(back.sender.p);
}
END_TEST

START_TEST(the_largest_legal_envelope_fits_a_record_and_the_arena)
{
    static char text[LIMIT_TRACE_HEADER_BYTES];
    struct rcpt *rcpts = calloc(LIMIT_SMTP_RCPTS, sizeof *rcpts);
    struct envelope e = {.rcpts = rcpts, .rcpt_count = LIMIT_SMTP_RCPTS}, back;
    uint8_t *buf;
    size_t n;

    memset(text, 'x', sizeof text);
    e.id = mid_make(UINT16_MAX, (UINT64_C(1) << 48) - 1, UINT64_MAX);
    e.domain = (struct str){text, LIMIT_SMTP_DOMAIN_BYTES};
    e.sender = (struct str){text, LIMIT_SMTP_PATH_BYTES};
    e.trace_header = (struct str){text, LIMIT_TRACE_HEADER_BYTES};
    e.client_addr = (struct str){text, LIMIT_CLIENT_ADDR_BYTES};
    e.client_helo = (struct str){text, LIMIT_SMTP_HELO_BYTES};
    e.tls = (struct str){text, LIMIT_TLS_TEXT_BYTES};
    e.dsn_reply = (struct str){text, LIMIT_REPLY_KEPT_BYTES};
    e.body_bytes = LIMIT_BODY_BYTES;
    e.domain_generation = e.body_digest = e.body_number = e.received_ms = e.deadline_ms =
        e.dsn_next_ms = e.dsn_deadline_ms = e.settled_ms = UINT64_MAX;
    e.received_wall_ms = e.settled_wall_ms = INT64_MIN;
    e.possible_duplicates = e.dsn_attempts = UINT32_MAX;
    e.phase = PHASE_DONE;
    e.dsn = DSN_GIVEN_UP;
    for (size_t i = 0; i < LIMIT_SMTP_RCPTS; i++)
        rcpts[i] = (struct rcpt){{text, LIMIT_SMTP_PATH_BYTES},
                                 FATE_DELIVERED,
                                 UINT32_MAX,
                                 UINT64_MAX,
                                 UINT64_MAX,
                                 UINT64_MAX,
                                 UINT64_MAX,
                                 {text, LIMIT_REPLY_KEPT_BYTES}};
    n = envelope_encoded_size(&e);
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_le(n, LIMIT_ENVELOPE_BYTES);
    buf = malloc(n);
    ck_assert_uint_eq(envelope_encode(&e, buf), n);
    ck_assert_int_eq(decode(buf, n, &back), OK);
    ck_same(&e, &back);
    free(buf);
    free(rcpts);
}
END_TEST

static void break_domain(struct envelope *e)
{
    e->domain.n = LIMIT_SMTP_DOMAIN_BYTES + 1;
}
static void break_no_domain(struct envelope *e)
{
    e->domain.n = 0;
}
static void break_sender(struct envelope *e)
{
    e->sender.n = LIMIT_SMTP_PATH_BYTES + 1;
}
static void break_path(struct envelope *e)
{
    e->rcpts[1].path.n = LIMIT_SMTP_PATH_BYTES + 1;
}
static void break_no_path(struct envelope *e)
{
    e->rcpts[0].path.n = 0;
}
static void break_reply(struct envelope *e)
{
    e->rcpts[0].reply.n = LIMIT_REPLY_KEPT_BYTES + 1;
}
static void break_fate(struct envelope *e)
{
    e->rcpts[0].fate = (enum fate)5;
}
static void break_negative_fate(struct envelope *e)
{
    e->rcpts[0].fate = (enum fate) - 1;
}
static void break_phase(struct envelope *e)
{
    e->phase = (enum phase)3;
}
static void break_dsn(struct envelope *e)
{
    e->dsn = (enum dsn_fate)5;
}
static void break_no_rcpts(struct envelope *e)
{
    e->rcpt_count = 0;
}
static void break_rcpts(struct envelope *e)
{
    e->rcpt_count = LIMIT_SMTP_RCPTS + 1;
}
static void break_body(struct envelope *e)
{
    e->body_bytes = LIMIT_BODY_BYTES + 1;
}
static void break_trace(struct envelope *e)
{
    e->trace_header.n = LIMIT_TRACE_HEADER_BYTES + 1;
}
static void break_addr(struct envelope *e)
{
    e->client_addr.n = LIMIT_CLIENT_ADDR_BYTES + 1;
}
static void break_helo(struct envelope *e)
{
    e->client_helo.n = LIMIT_SMTP_HELO_BYTES + 1;
}
static void break_tls(struct envelope *e)
{
    e->tls.n = LIMIT_TLS_TEXT_BYTES + 1;
}
static void break_dsn_reply(struct envelope *e)
{
    e->dsn_reply.n = LIMIT_REPLY_KEPT_BYTES + 1;
}

static void (*const breaks[])(struct envelope *) = {
    break_domain, break_no_domain, break_sender,    break_path,  break_no_path,
    break_reply,  break_fate,      break_phase,     break_dsn,   break_negative_fate,
    break_rcpts,  break_no_rcpts,  break_body,      break_trace, break_addr,
    break_helo,   break_tls,       break_dsn_reply,
};

START_TEST(an_envelope_beyond_a_limit_has_no_size)
{
    struct rcpt rcpts[2];
    struct envelope e = sample(rcpts);

    ck_assert_uint_gt(envelope_encoded_size(&e), 0);
    breaks[_i](&e);
    ck_assert_uint_eq(envelope_encoded_size(&e), 0);
}
END_TEST

/* clang-format off */
/* Records by hand: field tags as in record.proto, one legal base and what is wrong with it. */
#define ID       "\x0a\x10" "0123456789abcdef"
#define DOMAIN   "\x12\x01" "d"
#define RCPT     "\x2a\x03\x0a\x01" "r"
#define OWNER     "\x22\x01" "o"
#define DSN_PHASE "\x98\x01\x01"
#define DIGEST    "\xf0\x01\x05"

static const struct {
    const char *what;
    struct str bytes;
    enum err expect;
} odd[] = {
    {"the base", STR(ID DOMAIN RCPT), OK},
    {"nothing", STR(""), E_PROTO},
    {"no id", STR(DOMAIN RCPT), E_PROTO},
    {"a short id", STR("\x0a\x0f" "0123456789abcde" DOMAIN RCPT), E_PROTO},
    {"a long id", STR("\x0a\x11" "0123456789abcdefg" DOMAIN RCPT), E_PROTO},
    {"no domain", STR(ID RCPT), E_PROTO},
    {"no recipient", STR(ID DOMAIN), E_PROTO},
    {"a recipient without path", STR(ID DOMAIN "\x2a\x02\x18\x01"), E_PROTO},
    {"an empty recipient", STR(ID DOMAIN "\x2a\x00"), E_PROTO},
    {"fate 5", STR(ID DOMAIN "\x2a\x05\x0a\x01" "r\x10\x05"), E_PROTO},
    {"fate -1", STR(ID DOMAIN "\x2a\x0e\x0a\x01" "r\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
     E_PROTO},
    {"phase 3", STR(ID DOMAIN RCPT "\x98\x01\x03"), E_PROTO},
    {"dsn 4", STR(ID DOMAIN RCPT "\xa0\x01\x04"), OK},
    {"dsn 5", STR(ID DOMAIN RCPT "\xa0\x01\x05"), E_PROTO},
    {"sender_auth 7", STR(ID DOMAIN RCPT "\xe0\x01\x07"), OK},
    {"sender_auth 8", STR(ID DOMAIN RCPT "\xe0\x01\x08"), E_PROTO},
    {"sender_auth 2^31", STR(ID DOMAIN RCPT "\xe0\x01\x80\x80\x80\x80\x08"), E_PROTO},
    {"a digest", STR(ID DOMAIN OWNER DSN_PHASE DIGEST), OK},
    {"a digest to be delivered", STR(ID DOMAIN OWNER DIGEST), E_PROTO},
    {"a digest to nobody", STR(ID DOMAIN DSN_PHASE DIGEST), E_PROTO},
    {"a digest with a recipient", STR(ID DOMAIN OWNER RCPT DSN_PHASE DIGEST), E_PROTO},
    {"an unknown field", STR(ID DOMAIN RCPT "\xf8\x01\x01"), E_PROTO},
    {"an unknown field of a recipient", STR(ID DOMAIN "\x2a\x05\x0a\x01" "r\x48\x01"), E_PROTO},
    {"a field of another wire type", STR(ID DOMAIN RCPT "\x30\x01\x3d\x01\x02\x03\x04"), E_PROTO},
    {"a length beyond the end", STR(ID DOMAIN "\x2a\x04\x0a\x01" "r"), E_PROTO},
    {"a length of 2^31", STR(ID DOMAIN RCPT "\x52\xff\xff\xff\xff\x07"), E_PROTO},
    {"a cut varint", STR(ID DOMAIN RCPT "\x30\x80"), E_PROTO},
    {"a varint of eleven bytes",
     STR(ID DOMAIN RCPT "\x30\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), E_PROTO},
    {"field number zero", STR(ID DOMAIN RCPT "\x00\x00"), E_PROTO},
    {"a body above the limit", STR(ID DOMAIN RCPT "\x30\xff\xff\xff\xff\x0f"), E_PROTO},
};

/* clang-format on */

START_TEST(odd_bytes_are_refused)
{
    struct envelope e;

    ck_assert_msg(decode(odd[_i].bytes.p, odd[_i].bytes.n, &e) == odd[_i].expect, "%s",
                  odd[_i].what);
    if (odd[_i].expect != OK)
        ck_assert(e.rcpts == NULL && e.rcpt_count == 0 && e.domain.p == NULL);
}
END_TEST

START_TEST(a_record_cut_short_anywhere_is_refused_or_legal_but_never_read_past)
{
    struct rcpt rcpts[2];
    struct envelope e = sample(rcpts), back;
    size_t n = envelope_encoded_size(&e);
    uint8_t *buf = malloc(n);

    envelope_encode(&e, buf);
    for (size_t k = 0; k < n; k++) {
        uint8_t *cut = malloc(k > 0 ? k : 1);
        enum err err;

        memcpy(cut, buf, k);
        err = decode(cut, k, &back);
        ck_assert(err == E_PROTO || (err == OK && envelope_encoded_size(&back) > 0));
        arena_reset(&arena);
        free(cut);
    }
    free(buf);
}
END_TEST

START_TEST(a_record_of_tiny_recipients_does_not_take_much_memory)
{
    uint8_t *buf = malloc(LIMIT_ENVELOPE_BYTES);
    struct envelope e;

    for (size_t i = 0; i + 1 < LIMIT_ENVELOPE_BYTES; i += 2)
        memcpy(buf + i, "\x2a", 2); /* a recipient of no bytes */
    ck_assert_int_eq(decode(buf, LIMIT_ENVELOPE_BYTES, &e), E_PROTO);
    for (size_t i = 0; i + 2 < LIMIT_ENVELOPE_BYTES; i += 3)
        memcpy(buf + i, "\xe0\x01\x01", 3); /* unknown fields */
    ck_assert_int_eq(decode(buf, LIMIT_ENVELOPE_BYTES - LIMIT_ENVELOPE_BYTES % 3, &e), E_PROTO);
    ck_assert_int_eq(decode(buf, LIMIT_ENVELOPE_BYTES + 1, &e), E_PROTO);
    free(buf);
}
END_TEST

START_TEST(a_small_arena_is_full_not_malformed)
{
    struct rcpt rcpts[2];
    struct envelope e = sample(rcpts), back;
    size_t n = envelope_encoded_size(&e);
    uint8_t *buf = malloc(n);

    envelope_encode(&e, buf);
    for (size_t ceiling = 0; ceiling < 320; ceiling += 16) {
        struct arena small;

        arena_init(&small, ceiling);
        ck_assert_int_eq(envelope_decode((struct str){(char *)buf, n}, &small, &back), E_FULL);
        ck_assert_ptr_null(back.rcpts);
        arena_reset(&small);
    }
    free(buf);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("record");
    TCase *tc = tcase_create("envelope");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, every_field_comes_back);
    tcase_add_test(tc, empty_strings_and_zeroes_come_back);
    tcase_add_test(tc, the_largest_legal_envelope_fits_a_record_and_the_arena);
    tcase_add_loop_test(tc, an_envelope_beyond_a_limit_has_no_size, 0,
                        (int)(sizeof breaks / sizeof breaks[0]));
    tcase_add_loop_test(tc, odd_bytes_are_refused, 0, (int)(sizeof odd / sizeof odd[0]));
    tcase_add_test(tc, a_record_cut_short_anywhere_is_refused_or_legal_but_never_read_past);
    tcase_add_test(tc, a_record_of_tiny_recipients_does_not_take_much_memory);
    tcase_add_test(tc, a_small_arena_is_full_not_malformed);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
