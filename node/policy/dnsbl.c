#include "node/policy/dnsbl.h"

#include <stdio.h>

#include "base/bigendian.h"
#include "base/fsm.h"

#define LOOPBACK      0x7f000000U /* 127.0.0.0/8 */
#define LOOPBACK_MASK 0xff000000U
#define ERRORS        0x7fffff00U /* 127.255.255.0/24 */
#define ERRORS_MASK   0xffffff00U

/* --- names --- */

static bool is_label(struct str s)
{
    if (s.n == 0 || s.n > LIMIT_DNSBL_KEY_BYTES)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
              (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-' || s.p[i] == '_'))
            return false;
    return true;
}

static bool make_name(const struct dnsbl_list *list, struct str reversed,
                      char buf[static DNSBL_NAME_BYTES], struct str *out)
{
    const char *dot = list->key.n > 0 ? "." : "";
    int n;

    *out = STR_NONE;
    if (list->zone.n == 0 || list->zone.n > LIMIT_SMTP_DOMAIN_BYTES ||
        (list->key.n > 0 && !is_label(list->key)))
        return false;
    n = snprintf(buf, DNSBL_NAME_BYTES, STR_FMT "." STR_FMT "%s" STR_FMT, STR_ARG(reversed),
                 STR_ARG(list->key), dot, STR_ARG(list->zone));
    if (n < 0 || n >= DNSBL_NAME_BYTES)
        return false;
    *out = (struct str){buf, (size_t)n};
    return true;
}

bool dnsbl_name(const struct dnsbl_list *list, const struct ip_addr *client,
                char buf[static DNSBL_NAME_BYTES], struct str *out)
{
    char reversed[IP_REVERSE_BYTES];

    return make_name(list, ip_reverse(client, reversed), buf, out);
}

bool dnsbl_is_same(const struct dnsbl_list *a, const struct dnsbl_list *b)
{
    return str_eq_nocase(a->zone, b->zone) && str_eq(a->key, b->key);
}

/* --- answers --- */

static uint32_t number_of(const struct dns_record *r)
{
    return (uint32_t)get_be(&r->addr, 4);
}

/* FINE: an answer that a list may give. */
static enum dnsbl_reason kind_of(uint32_t answer)
{
    if ((answer & LOOPBACK_MASK) != LOOPBACK)
        return DNSBL_FOREIGN_ANSWER;
    return (answer & ERRORS_MASK) == ERRORS ? DNSBL_ERROR_ANSWER : DNSBL_FINE;
}

static bool weighs_more(int32_t a, int32_t b)
{
    int64_t left = a, right = b;

    return (left < 0 ? -left : left) > (right < 0 ? -right : right);
}

static void judge_one(const struct dnsbl_list *list, uint32_t answer, struct dnsbl_result *r)
{
    for (size_t i = 0; i < list->range_count; i++) {
        const struct dnsbl_range *g = &list->ranges[i];

        if (answer < g->low || answer > g->high)
            continue;
        if (r->status != DNSBL_LISTED || weighs_more(g->weight, r->weight))
            *r = (struct dnsbl_result){DNSBL_LISTED, g->weight, answer};
    }
}

struct dnsbl_result dnsbl_judge(const struct dnsbl_list *list, const struct dns_answer *a)
{
    struct dnsbl_result r = {.status = DNSBL_NOT_LISTED};

    ASSERT(list->range_count <= LIMIT_DNSBL_ANSWERS);
    if (question_is_denied(a))
        return r;
    if (a->status != DNS_OK || a->count == 0)
        return (struct dnsbl_result){.status = DNSBL_UNKNOWN};
    for (size_t i = 0; i < a->count; i++) {
        uint32_t answer = number_of(&a->records[i]);

        if (kind_of(answer) != DNSBL_FINE)
            return (struct dnsbl_result){DNSBL_UNAVAILABLE, 0, answer};
        judge_one(list, answer, &r);
        if (r.answer == 0)
            r.answer = answer;
    }
    return r;
}

const char *dnsbl_status_text(enum dnsbl_status s)
{
    static const char *const texts[] = {"not-listed", "listed", "unknown", "unavailable"};

    return texts[s];
}

/* --- the watch --- */

static const struct fsm_state states[] = {
    [DNSBL_UNTESTED] = {"untested", FSM_TO(DNSBL_ON) | FSM_TO(DNSBL_OFF)},
    [DNSBL_ON] = {"on", FSM_TO(DNSBL_OFF)},
    [DNSBL_OFF] = {"off", FSM_TO(DNSBL_ON)},
};

enum { MUST_BE_LISTED, MUST_NOT_BE_LISTED };

static bool move(struct dnsbl_watch *w, enum dnsbl_state to, enum dnsbl_reason reason)
{
    if (w->state == (int)to && w->reason == reason)
        return false;
    if (w->state != (int)to)
        fsm_move(&w->state, (int)to, states);
    w->reason = reason;
    return true;
}

void dnsbl_watch_init(struct dnsbl_watch *w, const struct dnsbl_list *list, bool v6,
                      uint64_t now_ms)
{
    static const uint8_t lasts[] = {2, 1};
    bool good = true;

    *w = (struct dnsbl_watch){.state = DNSBL_UNTESTED, .reason = DNSBL_NOT_TESTED, .v6 = v6};
    w->next_ms = now_ms;
    for (int i = 0; i < 2; i++) {
        struct ip_addr ip = ip_v4((const uint8_t[4]){127, 0, 0, lasts[i]});
        char reversed[IP_REVERSE_BYTES];
        struct str name;

        good &= make_name(list, v6 ? ip_nibbles(&ip, reversed) : ip_reverse(&ip, reversed),
                          w->names[i], &name);
    }
    if (!good)
        (void)move(w, DNSBL_OFF, DNSBL_NO_NAME);
}

/* What an answer says about the point. NO_ANSWER: nothing. */
static enum dnsbl_reason point_of(const struct dns_answer *a, int point)
{
    if (question_is_denied(a))
        return point == MUST_BE_LISTED ? DNSBL_LISTS_NOBODY : DNSBL_FINE;
    if (a->status != DNS_OK || a->count == 0)
        return DNSBL_NO_ANSWER;
    for (size_t i = 0; i < a->count; i++) {
        enum dnsbl_reason kind = kind_of(number_of(&a->records[i]));

        if (kind != DNSBL_FINE)
            return kind;
    }
    return point == MUST_NOT_BE_LISTED ? DNSBL_LISTS_ALL : DNSBL_FINE;
}

/* Both answers are in, or will not come. Something that was said outweighs silence. */
static bool end_round(struct dnsbl_watch *w)
{
    enum dnsbl_reason bad = DNSBL_FINE;

    w->asked[0] = w->asked[1] = false;
    for (int i = 0; i < 2; i++)
        if (w->points[i] != DNSBL_FINE && (bad == DNSBL_FINE || bad == DNSBL_NO_ANSWER))
            bad = w->points[i];
    if (bad == DNSBL_NO_ANSWER && ++w->silent < LIMIT_DNSBL_SILENT)
        return false;
    if (bad != DNSBL_NO_ANSWER)
        w->silent = 0;
    return bad == DNSBL_FINE ? move(w, DNSBL_ON, DNSBL_FINE) : move(w, DNSBL_OFF, bad);
}

bool dnsbl_watch_tick(struct dnsbl_watch *w, uint64_t now_ms, struct dnsbl_questions *out)
{
    bool changed = false;

    out->count = 0;
    if (w->reason == DNSBL_NO_NAME)
        w->next_ms = UINT64_MAX;
    if (now_ms < w->next_ms)
        return false;
    if (w->asked[0] || w->asked[1])
        changed = end_round(w);
    w->next_ms = now_ms + LIMIT_DNSBL_TEST_MS;
    w->round++;
    out->count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        w->asked[i] = true;
        w->points[i] = DNSBL_NO_ANSWER;
        out->questions[i] = (struct question){DNS_A, str_of(w->names[i]), w->round << 1 | i};
    }
    return changed;
}

void dnsbl_watch_soon(struct dnsbl_watch *w, uint64_t now_ms)
{
    w->asked[0] = w->asked[1] = false;
    w->next_ms = now_ms;
}

bool dnsbl_watch_answer(struct dnsbl_watch *w, uint32_t tag, const struct dns_answer *a)
{
    int point = (int)(tag & 1);

    if (tag >> 1 != (w->round & (UINT32_MAX >> 1)) || !w->asked[point])
        return false;
    w->asked[point] = false;
    w->points[point] = point_of(a, point);
    return w->asked[1 - point] ? false : end_round(w);
}

bool dnsbl_watch_unavailable(struct dnsbl_watch *w, uint32_t answer)
{
    enum dnsbl_reason reason = kind_of(answer);

    return w->state == DNSBL_ON && reason != DNSBL_FINE && move(w, DNSBL_OFF, reason);
}

const char *dnsbl_state_text(enum dnsbl_state s)
{
    return states[s].name;
}

const char *dnsbl_reason_text(enum dnsbl_reason r)
{
    static const char *const texts[] = {
        [DNSBL_FINE] = "its test points answer as they must",
        [DNSBL_NOT_TESTED] = "not tested yet",
        [DNSBL_LISTS_NOBODY] = "127.0.0.2 is not listed: the list is dead or empty",
        [DNSBL_LISTS_ALL] = "127.0.0.1 is listed: the list answers for everything",
        [DNSBL_ERROR_ANSWER] = "it answers with an error (127.255.255.x): it refuses us",
        [DNSBL_FOREIGN_ANSWER] = "it answers outside 127.0.0.0/8: this is no list",
        [DNSBL_NO_ANSWER] = "it does not answer",
        [DNSBL_NO_NAME] = "zone and key do not make a DNS name",
    };

    return texts[r];
}
