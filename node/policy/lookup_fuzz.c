/* Any answers, in any order, doubled and unasked for, to the machines that ask DNS: they end,
 * never count trouble against a client, and confirm nothing that was not said.
 *
 * Covers: node/policy/rdns.c node/policy/sender.c node/policy/dnsbl.c
 * node/policy/homehost.c
 */
#include <stdlib.h>

#include "node/policy/dnsbl.h"
#include "node/policy/homehost.h"
#include "node/policy/rdns.h"
#include "node/policy/sender.h"

#define MOST 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *p;
    size_t n;
};

static uint8_t next(struct input *in)
{
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->p++;
}

/* Hosts are slices of the input. */
static struct dns_answer *hear(struct input *in)
{
    struct dns_answer *a = calloc(1, sizeof *a);

    ASSERT(a != NULL);
    a->status = (enum dns_status)(next(in) % DNS_STATUSES);
    if (a->status != DNS_OK)
        return a;
    a->count = next(in) % (MOST + 1);
    a->cut = a->count == 0 || next(in) % 8 == 0;
    for (size_t i = 0; i < a->count; i++) {
        uint8_t b[16] = {next(in) % 2 ? 127 : 192, next(in) % 2 ? 0 : 255, 0, next(in)};
        struct dns_record *r = &a->records[i];
        size_t n = 0;

        b[2] = b[1];
        memcpy(&r->addr, b, sizeof b);
        for (; n < sizeof r->host - 1 && in->n > 0 && in->p[0] != '\n'; n++)
            r->host[n] = (char)next(in);
        (void)next(in);
    }
    return a;
}

static void run_rdns(struct input in)
{
    struct ip_addr client = ip_v4((const uint8_t[4]){127, 0, 0, next(&in)});
    struct question q[LIMIT_RDNS_NAMES];
    struct rdns r;
    bool trouble = false, heard = false;

    if (next(&in) % 2 != 0)
        client = (struct ip_addr){{127, 0, 0, next(&in)}};
    rdns_init(&r, &client);
    for (int turns = 0; turns < 60 && !rdns_is_done(&r) && in.n > 0; turns++) {
        size_t n = rdns_questions(&r, q);
        uint32_t tag = n > 0 ? q[0].tag : next(&in) % MOST;
        struct dns_answer *a = hear(&in);

        trouble |= a->cut || (a->status != DNS_OK && !question_is_denied(a));
        for (size_t i = 0; i < a->count; i++) {
            struct ip_addr ip = question_ip(a, i, ip_is_v4(&client) ? DNS_A : DNS_AAAA);

            heard |= ip_eq(&ip, &client);
        }
        rdns_answer(&r, tag, a);
        free(a);
    }
    ASSERT(!rdns_is_done(&r) || r.result != RDNS_CONFIRMED || (heard && r.name.n > 0));
    ASSERT(!rdns_is_done(&r) || trouble || r.result != RDNS_UNKNOWN || r.left_out ||
           r.count == 0);
    rdns_give_up(&r);
    ASSERT(rdns_is_done(&r) && rdns_questions(&r, q) == 0 &&
           rdns_result_text(r.result) != NULL);
    if (r.result == RDNS_NONE || r.result == RDNS_MISMATCH)
        ASSERT(rdns_reply(r.result, true)[0] == '4' && rdns_reply(r.result, false)[0] == '5');
}

static void run_sender(struct input in)
{
    uint8_t kind = next(&in) % 8;
    struct path path = {
        .is_null = kind == 1, .literal = kind == 2, .domain = STR("customer.net")};
    struct question q[SENDER_QUESTIONS];
    struct sender s;

    if (kind == 0) {
        path.domain = (struct str){(const char *)in.p, in.n};
        path.domain = str_head(path.domain, str_find(path.domain, '\n'));
        in = (struct input){in.p + path.domain.n, in.n - path.domain.n};
        (void)next(&in);
    }
    sender_init(&s, &path);
    for (int turns = 0; turns < 10 && !sender_is_done(&s) && in.n > 0; turns++) {
        size_t n = sender_questions(&s, q);
        uint32_t tag = n > 0 ? q[n - 1].tag : next(&in) % 4;
        struct dns_answer *a = hear(&in);

        sender_answer(&s, tag, a);
        ASSERT(question_is_denied(a) || a->status == DNS_OK || !sender_is_done(&s) ||
               !sender_is_bad(s.result));
        free(a);
    }
    sender_give_up(&s);
    ASSERT(sender_is_done(&s) && sender_questions(&s, q) == 0);
    ASSERT(sender_result_text(s.result) != NULL);
    if (sender_is_bad(s.result))
        ASSERT(sender_reply(s.result, true)[0] == '4' &&
               sender_reply(s.result, false)[0] == '5');
}

static void judge(const struct dnsbl_list *list, struct dnsbl_watch *w, struct input *in)
{
    struct dns_answer *a = hear(in);
    struct dnsbl_result r = dnsbl_judge(list, a);

    ASSERT((r.status == DNSBL_LISTED) >= (r.weight != 0) &&
           dnsbl_status_text(r.status) != NULL);
    ASSERT(r.status != DNSBL_LISTED || (r.answer >> 24 == 127 && r.answer >> 8 != 0x7fffff));
    if (r.status == DNSBL_UNAVAILABLE && w->state == DNSBL_ON)
        ASSERT(dnsbl_watch_unavailable(w, r.answer) && w->state == DNSBL_OFF);
    free(a);
}

static void run_dnsbl(struct input in)
{
    struct ip_addr client = ip_v4((const uint8_t[4]){192, 0, 2, 1});
    struct str text = {(const char *)in.p, in.n};
    struct dnsbl_list list = {
        .range_count = 2,
        .ranges = {{0x7f000002, 0x7f000020, 3}, {0x7f000010, 0x7f0000f0, -9}}};
    struct dnsbl_questions q = {.count = 0};
    char name[DNSBL_NAME_BYTES];
    struct dnsbl_watch w;
    uint64_t now_ms = 1;
    struct str out;

    list.key = str_split(&text, '\n');
    list.zone = str_split(&text, '\n');
    in = (struct input){(const uint8_t *)text.p, text.n};
    client.b[0] = next(&in) % 2 ? 0x20 : 0;
    ASSERT(!dnsbl_name(&list, &client, name, &out) || out.n == strlen(name) || out.n > 0);
    dnsbl_watch_init(&w, &list, client.b[0] != 0, now_ms);
    while (in.n > 0) {
        uint8_t op = next(&in);
        struct dnsbl_questions asked;

        if (op % 4 == 0) {
            now_ms += UINT64_C(3000) * next(&in);
            (void)!dnsbl_watch_tick(&w, now_ms, &asked);
            q = asked.count > 0 ? asked : q;
        } else if (op % 4 < 3 && q.count > 0) {
            struct dns_answer *a = hear(&in);

            (void)!dnsbl_watch_answer(&w, q.questions[op % 2].tag - (op > 250 ? 2 : 0), a);
            free(a);
        } else {
            judge(&list, &w, &in);
        }
        ASSERT((w.state == DNSBL_ON) == (w.reason == DNSBL_FINE));
        ASSERT(dnsbl_state_text((enum dnsbl_state)w.state)[0] != 0 &&
               dnsbl_reason_text(w.reason)[0] != 0);
    }
}

static void run_homehost(struct input in)
{
    struct domain d = {.name = STR("customer.example"), .route = {.kind = ROUTE_MX}};
    struct ip_addr client = ip_v4((const uint8_t[4]){127, 0, 0, next(&in)});
    struct question q[LIMIT_ROUTE_HOSTS];
    struct homehost h;
    bool heard = false;

    if (next(&in) % 2 != 0)
        d.route = (struct domain_route){
            .kind = ROUTE_STATIC,
            .host_count = 2,
            .hosts = {{.host = STR("a.example")}, {.host = STR("192.0.2.1")}}};
    homehost_init(&h, &d, &client);
    for (int turns = 0; turns < 60 && !homehost_is_done(&h) && in.n > 0; turns++) {
        size_t n = homehost_questions(&h, q);
        uint32_t tag = n > 0 ? q[0].tag : next(&in) % MOST;
        struct dns_answer *a = hear(&in);

        for (size_t i = 0; i < a->count; i++) {
            struct ip_addr ip = question_ip(a, i, DNS_A);

            heard |= ip_eq(&ip, &client);
        }
        homehost_answer(&h, tag, a);
        free(a);
    }
    homehost_give_up(&h);
    ASSERT(homehost_is_done(&h) && homehost_questions(&h, q) == 0 && (heard || !h.is_home));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    if (data[0] >= 240)
        run_homehost((struct input){data + 1, size - 1});
    else if (data[0] % 3 == 0)
        run_rdns((struct input){data + 1, size - 1});
    else if (data[0] % 3 == 1)
        run_sender((struct input){data + 1, size - 1});
    else
        run_dnsbl((struct input){data + 1, size - 1});
    return 0;
}
