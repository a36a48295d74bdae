#include "node/policy/judge.h"

#include <stdarg.h>
#include <stdio.h>

static const enum domain_check_kind order[JUDGE_CHECKS] = {
    DOMAIN_CHECK_RDNS,   DOMAIN_CHECK_DNSBL,  DOMAIN_CHECK_HELO,
    DOMAIN_CHECK_SENDER, DOMAIN_CHECK_FORGED, DOMAIN_CHECK_SPF};

enum domain_check_kind judge_kind(size_t place)
{
    ASSERT(place < JUDGE_CHECKS);
    return order[place];
}

bool judge_is_needed(const uint8_t checks[DOMAIN_CHECK_KINDS])
{
    for (size_t i = 0; i < JUDGE_CHECKS; i++)
        if (checks[order[i]] != CHECK_OFF)
            return true;
    return checks[DOMAIN_CHECK_GREYLIST] != CHECK_OFF; /* clients by the domain SPF passes */
}

static bool is_on(const struct judge *j, enum domain_check_kind kind)
{
    return j->checks[kind] != CHECK_OFF;
}

/* --- the look-ups --- */

static void begin_listing(struct judge *j, const struct judge_facts *f)
{
    struct listing_facts lf = f->listing;

    lf.client = f->client;
    if (!is_on(j, DOMAIN_CHECK_DNSBL))
        lf = (struct listing_facts){.threshold = 1};
    listing_init(&j->listing, &lf);
}

static void begin_helo(struct judge *j, const struct judge_facts *f)
{
    struct helo_facts hf = f->own;

    hf.helo = f->helo;
    hf.client = &f->client;
    j->helo = is_on(j, DOMAIN_CHECK_HELO) ? helo_judge(&hf) : HELO_FINE;
}

static bool begin_spf(struct judge *j, const struct judge_facts *f, struct arena *arena)
{
    struct spf_check *c = &j->spf_check;

    j->spf.verdict = (struct spf_verdict){.result = SPF_NONE};
    j->spf_asked = false;
    j->has_spf = f->needs_spf || is_on(j, DOMAIN_CHECK_SPF) ||
                 is_on(j, DOMAIN_CHECK_GREYLIST) ||
                 (is_on(j, DOMAIN_CHECK_FORGED) && f->sender_is_ours);
    j->spf_done = !j->has_spf;
    if (!j->has_spf)
        return true;
    *c = (struct spf_check){.client = f->client,
                            .helo = arena_str(arena, f->helo),
                            .sender = arena_str(arena, f->sender->whole),
                            .receiver = arena_str(arena, f->host),
                            .wall_s = f->wall_s};
    if (c->helo.p == NULL || c->sender.p == NULL || c->receiver.p == NULL)
        return false;
    spf_init(&j->spf, c, arena);
    j->spf_done = !spf_next(&j->spf, NULL);
    return true;
}

bool judge_init(struct judge *j, const uint8_t checks[DOMAIN_CHECK_KINDS],
                const struct judge_facts *f, struct arena *arena)
{
    memcpy(j->checks, checks, sizeof j->checks);
    j->client = f->client;
    j->sender_is_ours = f->sender_is_ours;
    rdns_init(&j->rdns, &f->client);
    if (!is_on(j, DOMAIN_CHECK_RDNS))
        rdns_give_up(&j->rdns);
    begin_listing(j, f);
    begin_helo(j, f);
    sender_init(&j->sender, f->sender);
    if (!is_on(j, DOMAIN_CHECK_SENDER))
        sender_give_up(&j->sender);
    return begin_spf(j, f, arena);
}

static size_t tell(struct judge_question *out, enum judge_part part, const struct question *ask,
                   size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (struct judge_question){part, ask[i]};
    return count;
}

size_t judge_questions(struct judge *j, struct judge_question out[static JUDGE_QUESTIONS])
{
    struct question ask[JUDGE_QUESTIONS];
    size_t n = tell(out, JUDGE_RDNS, ask, rdns_questions(&j->rdns, ask));

    n += tell(out + n, JUDGE_DNSBL, ask, listing_questions(&j->listing, ask));
    n += tell(out + n, JUDGE_SENDER, ask, sender_questions(&j->sender, ask));
    if (j->spf_done || j->spf_asked)
        return n;
    j->spf_asked = true;
    out[n++] = (struct judge_question){
        JUDGE_SPF, {j->spf.ask.type, str_of(j->spf.ask.name), j->spf.verdict.questions}};
    return n;
}

void judge_answer(struct judge *j, enum judge_part part, uint32_t tag,
                  const struct dns_answer *a)
{
    switch (part) {
    case JUDGE_RDNS:
        rdns_answer(&j->rdns, tag, a);
        return;
    case JUDGE_DNSBL:
        listing_answer(&j->listing, tag, a);
        return;
    case JUDGE_SENDER:
        sender_answer(&j->sender, tag, a);
        return;
    case JUDGE_SPF:
        if (j->spf_done || !j->spf_asked)
            return;
        j->spf_asked = false;
        j->spf_done = !spf_next(&j->spf, a);
        return;
    }
}

void judge_give_up(struct judge *j)
{
    rdns_give_up(&j->rdns);
    listing_give_up(&j->listing);
    sender_give_up(&j->sender);
    if (!j->spf_done)
        spf_stop(&j->spf);
    j->spf_done = true;
}

bool judge_is_done(const struct judge *j)
{
    return rdns_is_done(&j->rdns) && listing_is_done(&j->listing) &&
           sender_is_done(&j->sender) && j->spf_done;
}

/* --- the verdict --- */

static bool is_forged(const struct judge *j)
{
    enum spf_result r = j->spf.verdict.result;

    return j->sender_is_ours && r != SPF_PASS && r != SPF_TEMPERROR;
}

static bool is_against(const struct judge *j, enum domain_check_kind kind)
{
    switch (kind) {
    case DOMAIN_CHECK_RDNS:
        return j->rdns.result == RDNS_NONE || j->rdns.result == RDNS_MISMATCH;
    case DOMAIN_CHECK_DNSBL:
        return listing_is_listed(&j->listing);
    case DOMAIN_CHECK_HELO:
        return helo_is_bad(j->helo);
    case DOMAIN_CHECK_SENDER:
        return sender_is_bad(j->sender.result);
    case DOMAIN_CHECK_FORGED:
        return is_forged(j);
    case DOMAIN_CHECK_SPF:
        return j->spf.verdict.result == SPF_FAIL;
    default:
        return false;
    }
}

static bool is_unknown(const struct judge *j, enum domain_check_kind kind)
{
    bool no_spf = j->spf.verdict.result == SPF_TEMPERROR;

    switch (kind) {
    case DOMAIN_CHECK_RDNS:
        return j->rdns.result == RDNS_UNKNOWN;
    case DOMAIN_CHECK_DNSBL:
        return listing_is_unknown(&j->listing);
    case DOMAIN_CHECK_SENDER:
        return j->sender.result == SENDER_UNKNOWN;
    case DOMAIN_CHECK_FORGED:
        return j->sender_is_ours && no_spf;
    case DOMAIN_CHECK_SPF:
        return no_spf;
    default:
        return false;
    }
}

enum judge_outcome judge_outcome(const struct judge *j, enum domain_check_kind kind)
{
    if (!is_on(j, kind))
        return JUDGE_OFF;
    if (is_against(j, kind))
        return JUDGE_AGAINST;
    return is_unknown(j, kind) ? JUDGE_UNKNOWN : JUDGE_PASSED;
}

enum domain_check_kind judge_against(const struct judge *j)
{
    enum domain_check_kind marked = DOMAIN_CHECK_KINDS;

    for (size_t i = 0; i < JUDGE_CHECKS; i++) {
        enum domain_check_kind kind = order[i];

        if (judge_outcome(j, kind) != JUDGE_AGAINST)
            continue;
        if (j->checks[kind] != CHECK_MARK)
            return kind;
        if (marked == DOMAIN_CHECK_KINDS)
            marked = kind;
    }
    return marked;
}

/* --- replies --- */

static struct str __attribute__((format(printf, 2, 3))) say(char *buf, const char *fmt, ...)
{
    va_list args;
    int n;

    static_assert(JUDGE_REPLY_BYTES == JUDGE_DETAIL_BYTES, "one writer for both");
    va_start(args, fmt);
    n = vsnprintf(buf, JUDGE_REPLY_BYTES, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    return (struct str){buf, n < JUDGE_REPLY_BYTES ? (size_t)n : JUDGE_REPLY_BYTES - 1};
}

static struct str short_domain(struct str s)
{
    return str_head(s, s.n < LIMIT_SMTP_DOMAIN_BYTES ? s.n : LIMIT_SMTP_DOMAIN_BYTES);
}

/* RFC 7372 3.2; the owner's explanation only as his: RFC 7208 6.2. */
static struct str spf_reply(const struct judge *j, bool temporary, char *buf)
{
    const struct spf_verdict *v = &j->spf.verdict;
    bool explains = v->explanation.n > 0;
    struct str text = explains ? v->explanation : short_domain(v->domain);

    return say(buf, "%s SPF fail%s" STR_FMT, temporary ? "450 4.7.23" : "550 5.7.23",
               explains ? ", its owner says: " : " for ", STR_ARG(text));
}

/* The zone, never the key, which is part of the name that was asked for. */
static struct str dnsbl_reply(const struct judge *j, bool temporary, char *buf)
{
    char ip[IP_TEXT_BYTES];
    struct str zone = listing_heaviest(&j->listing)->zone;

    return say(buf, "%s " STR_FMT " is listed by " STR_FMT,
               temporary ? "450 4.7.1" : "550 5.7.1", STR_ARG(ip_text(&j->client, ip)),
               STR_ARG(short_domain(zone)));
}

static struct str forged_reply(const struct judge *j, bool temporary, char *buf)
{
    char ip[IP_TEXT_BYTES];

    return say(buf,
               "%s " STR_FMT " is served here, and its SPF record does not name " STR_FMT
               "; its owner can add it",
               temporary ? "450 4.7.1" : "550 5.7.1",
               STR_ARG(short_domain(j->spf.verdict.domain)), STR_ARG(ip_text(&j->client, ip)));
}

struct str judge_reply(const struct judge *j, char buf[static JUDGE_REPLY_BYTES])
{
    enum domain_check_kind kind = judge_against(j);
    bool temporary;

    if (kind == DOMAIN_CHECK_KINDS || j->checks[kind] == CHECK_MARK)
        return STR_NONE;
    temporary = j->checks[kind] == CHECK_DEFER;
    switch (kind) {
    case DOMAIN_CHECK_RDNS:
        return str_of(rdns_reply(j->rdns.result, temporary));
    case DOMAIN_CHECK_DNSBL:
        return dnsbl_reply(j, temporary, buf);
    case DOMAIN_CHECK_HELO:
        return str_of(helo_reply(j->helo, temporary));
    case DOMAIN_CHECK_SENDER:
        return str_of(sender_reply(j->sender.result, temporary));
    case DOMAIN_CHECK_FORGED:
        return forged_reply(j, temporary, buf);
    default:
        return spf_reply(j, temporary, buf);
    }
}

/* --- words --- */

static const char *listing_word(const struct listing *l)
{
    if (listing_is_listed(l))
        return "listed";
    if (listing_heaviest(l) != NULL)
        return "below-threshold";
    return listing_is_unknown(l) ? "unknown" : "not-listed";
}

static const char *forged_word(const struct judge *j)
{
    if (!j->sender_is_ours)
        return "foreign-sender";
    if (is_forged(j))
        return "forged";
    return j->spf.verdict.result == SPF_PASS ? "own-sender" : "unknown";
}

const char *judge_word(const struct judge *j, enum domain_check_kind kind)
{
    bool has_word = is_on(j, kind) || (kind == DOMAIN_CHECK_SPF && j->has_spf);

    if (!has_word)
        return "off";
    switch (kind) {
    case DOMAIN_CHECK_RDNS:
        return rdns_result_text(j->rdns.result);
    case DOMAIN_CHECK_DNSBL:
        return listing_word(&j->listing);
    case DOMAIN_CHECK_HELO:
        return helo_result_text(j->helo);
    case DOMAIN_CHECK_SENDER:
        return sender_result_text(j->sender.result);
    case DOMAIN_CHECK_FORGED:
        return forged_word(j);
    default:
        return spf_result_text(j->spf.verdict.result);
    }
}

/* "zen.spamhaus.org 127.0.0.4 +1, list.example off" */
static struct str listing_detail(const struct listing *l, char *buf)
{
    size_t n = 0;

    buf[0] = 0;
    for (size_t i = 0; i < l->count && n < JUDGE_DETAIL_BYTES - 1; i++) {
        const struct listing_item *t = &l->items[i];
        uint32_t a = t->result.answer;
        const char *comma = n > 0 ? ", " : "";
        size_t room = JUDGE_DETAIL_BYTES - n;
        int w;

        if (t->is_off)
            w = snprintf(buf + n, room, "%s" STR_FMT " off", comma, STR_ARG(t->list->zone));
        else if (a == 0)
            w = snprintf(buf + n, room, "%s" STR_FMT " %s", comma, STR_ARG(t->list->zone),
                         dnsbl_status_text(t->result.status));
        else
            w = snprintf(buf + n, room, "%s" STR_FMT " %u.%u.%u.%u %s %+d", comma,
                         STR_ARG(t->list->zone), a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255,
                         dnsbl_status_text(t->result.status), (int)t->result.weight);
        ASSERT(w > 0);
        n = (size_t)w < room ? n + (size_t)w : JUDGE_DETAIL_BYTES - 1;
    }
    return (struct str){buf, n};
}

static struct str spf_detail(const struct judge *j, char *buf)
{
    const struct spf_verdict *v = &j->spf.verdict;
    const char *more = v->problem != SPF_FINE ? spf_problem_text(v->problem)
                       : v->matches_all ? "a pass of nearly everybody, which is no identity"
                                        : "";

    return say(buf, "%s=" STR_FMT "%s" STR_FMT "%s%s",
               v->identity == SPF_HELO ? "helo" : "mailfrom", STR_ARG(short_domain(v->domain)),
               v->mechanism.n > 0 ? ", " : "",
               STR_ARG(str_head(v->mechanism, v->mechanism.n < 200 ? v->mechanism.n : 200)),
               more[0] != 0 ? ", " : "", more);
}

struct str judge_detail(const struct judge *j, enum domain_check_kind kind,
                        char buf[static JUDGE_DETAIL_BYTES])
{
    if (!is_on(j, kind))
        return STR_NONE;
    switch (kind) {
    case DOMAIN_CHECK_RDNS:
        return j->rdns.name;
    case DOMAIN_CHECK_DNSBL:
        return listing_detail(&j->listing, buf);
    case DOMAIN_CHECK_FORGED:
        return j->sender_is_ours ? say(buf, "spf=%s", spf_result_text(j->spf.verdict.result))
                                 : STR_NONE;
    case DOMAIN_CHECK_SPF:
        return spf_detail(j, buf);
    default:
        return STR_NONE;
    }
}
