#include "node/policy/spf.h"

#include "base/fsm.h"
#include "base/utf8.h"
#include "node/policy/spf_private.h"

/* What the question under way is about; TERM and EXPLAIN: none is. */
enum state {
    START,
    RECORD, /* of the frame on top */
    TERM,
    ADDRESSES, /* of a or exists */
    MX,
    MX_HOST,
    PTR,
    PTR_HOST,
    EXPLAIN,
    TEXT, /* of the explanation */
    DONE
};

static const struct fsm_state states[] = {
    [START] = {"start", FSM_TO(RECORD) | FSM_TO(DONE)},
    [RECORD] = {"record", FSM_TO(TERM) | FSM_TO(DONE)},
    [TERM] = {"term", FSM_TO(TERM) | FSM_TO(RECORD) | FSM_TO(ADDRESSES) | FSM_TO(MX) |
                          FSM_TO(PTR) | FSM_TO(EXPLAIN) | FSM_TO(DONE)},
    [ADDRESSES] = {"addresses", FSM_TO(TERM) | FSM_TO(EXPLAIN) | FSM_TO(DONE)},
    [MX] = {"mx", FSM_TO(MX_HOST) | FSM_TO(TERM) | FSM_TO(DONE)},
    [MX_HOST] = {"mx_host", FSM_TO(MX_HOST) | FSM_TO(TERM) | FSM_TO(EXPLAIN) | FSM_TO(DONE)},
    [PTR] = {"ptr", FSM_TO(PTR_HOST) | FSM_TO(TERM) | FSM_TO(EXPLAIN) | FSM_TO(DONE)},
    [PTR_HOST] = {"ptr_host", FSM_TO(PTR_HOST) | FSM_TO(TERM) | FSM_TO(EXPLAIN) | FSM_TO(DONE)},
    [EXPLAIN] = {"explain", FSM_TO(PTR) | FSM_TO(TEXT) | FSM_TO(DONE)},
    [TEXT] = {"text", FSM_TO(EXPLAIN) | FSM_TO(DONE)},
    [DONE] = {"done", 0},
};

static void move(struct spf *s, enum state to)
{
    fsm_move(&s->state, (int)to, states);
}

const char *spf_result_text(enum spf_result r)
{
    static const char *const texts[] = {"none",     "neutral",   "pass",     "fail",
                                        "softfail", "temperror", "permerror"};

    ASSERT((int)r >= 0 && r <= SPF_PERMERROR);
    return texts[r];
}

const char *spf_problem_text(enum spf_problem p)
{
    static const char *const texts[] = {"none",
                                        "no domain to check",
                                        "no SPF record",
                                        "more than one SPF record",
                                        "SPF record too long",
                                        "syntax error in SPF record",
                                        "include or redirect of no valid name",
                                        "too many terms with DNS look-ups",
                                        "too many void DNS look-ups",
                                        "too many MX hosts",
                                        "too many DNS records",
                                        "macro expansion too long",
                                        "DNS server failure",
                                        "DNS failure, but for who asks unchecked (DNSSEC)",
                                        "no answer from DNS",
                                        "DNS look-ups took too long",
                                        "out of memory"};

    ASSERT((int)p >= 0 && p <= SPF_NO_MEMORY);
    return texts[p];
}

/* --- ends --- */

static void end(struct spf *s, enum spf_result r, enum spf_problem p)
{
    s->verdict.result = r;
    s->verdict.problem = p;
    move(s, DONE);
}

static void permerror(struct spf *s, enum spf_problem p)
{
    end(s, SPF_PERMERROR, p);
}

/* True: the answer says nothing about the name, and the check has ended. */
static bool has_failed(struct spf *s, const struct dns_answer *a)
{
    if (a->status == DNS_SERVFAIL)
        end(s, SPF_TEMPERROR, SPF_DNS_FAILED);
    else if (a->status == DNS_BOGUS)
        end(s, SPF_TEMPERROR, SPF_DNS_BOGUS);
    else if (a->status == DNS_SILENCE)
        end(s, SPF_TEMPERROR, SPF_DNS_SILENT);
    return s->state == DONE;
}

/* The record on top has its result. To the include that waits for it pass is a match, and all
 * else that gets here is none (5.2). */
static void close_record(struct spf *s, enum spf_result r, struct str mechanism, bool is_wide)
{
    s->term_open = false;
    while (s->top->parent != NULL) {
        struct spf_frame *f = s->top;

        s->top = f->parent;
        if (r != SPF_PASS) {
            move(s, TERM);
            return;
        }
        r = f->on_match;
        mechanism = f->include;
    }
    s->verdict.result = r;
    s->verdict.mechanism = mechanism;
    s->verdict.matches_all = r == SPF_PASS && is_wide;
    move(s, r == SPF_FAIL && s->top->exp.n > 0 ? EXPLAIN : DONE);
}

/* The term matches clients that nobody has thought of. */
static bool is_wide(const struct spf *s)
{
    switch (s->term.kind) {
    case SPF_ALL:
        return true;
    case SPF_IP4:
    case SPF_IP6:
    case SPF_A:
    case SPF_MX:
        return (s->is_ipv4 ? s->term.bits4 : s->term.bits6) < LIMIT_SPF_WIDE_BITS;
    case SPF_INCLUDE: /* its own record's term is asked, not it */
    case SPF_PTR:
    case SPF_EXISTS:
    case SPF_REDIRECT:
    case SPF_EXP:
    case SPF_UNKNOWN_MODIFIER:
        break;
    }
    return false;
}

static void matched(struct spf *s)
{
    close_record(s, s->term.on_match, s->term.text, is_wide(s));
}

static void not_matched(struct spf *s)
{
    s->term_open = false;
    move(s, TERM);
}

/* RFC 7208 4.6.4, "void look-ups" */
static void found_nothing(struct spf *s)
{
    if (++s->verdict.void_terms > LIMIT_SPF_VOID_TERMS)
        permerror(s, SPF_MANY_VOID);
    else
        not_matched(s);
}

/* --- questions --- */

static void ask(struct spf *s, enum state what, enum dns_type type, struct str name)
{
    ASSERT(dns_name_is_legal(name) && str_to_z(name, s->ask.name, sizeof s->ask.name));
    s->ask.type = type;
    s->verdict.questions++;
    move(s, what);
}

static void ask_addresses(struct spf *s, enum state what, struct str name)
{
    ask(s, what, s->is_ipv4 ? DNS_A : DNS_AAAA, name);
}

static void ask_ptr(struct spf *s)
{
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1];

    spf_reverse_name(s, name);
    ask(s, PTR, DNS_PTR, str_of(name));
}

static struct spf_frame *push(struct spf *s, struct str domain)
{
    struct spf_frame *f = arena_take(s->arena, sizeof *f);
    struct str copy = arena_str(s->arena, domain);

    if (f == NULL || copy.p == NULL) {
        end(s, SPF_TEMPERROR, SPF_NO_MEMORY);
        return NULL;
    }
    f->domain = copy;
    f->parent = s->top;
    s->top = f;
    return f;
}

/* A name for DNS out of a domain-spec: without final dot, cut from the left to fit (7.3). */
static struct str name_of(const struct spf_text *text)
{
    struct str name = {text->p, text->n};

    if (str_ends(name, '.'))
        name.n--;
    while (name.n > LIMIT_SMTP_DOMAIN_BYTES)
        str_split(&name, '.');
    return name;
}

/* --- terms --- */

static bool is_in_net(const struct spf *s, const struct ip_addr *addr, const struct spf_term *t)
{
    unsigned bits = s->is_ipv4 ? IP_V4_BITS + t->bits4 : t->bits6;
    struct ip_addr a = ip_network(addr, bits), b = ip_network(&s->client, bits);

    return ip_eq(&a, &b);
}

/* Whether an address of the answer is the client's, in the prefix of the term. */
static bool holds_client(const struct spf *s, const struct dns_answer *a,
                         const struct spf_term *t)
{
    for (size_t i = 0; i < a->count; i++) {
        struct ip_addr addr;

        memcpy(addr.b, &a->records[i].addr, sizeof addr.b);
        if (s->is_ipv4)
            addr = ip_v4(addr.b);
        if (is_in_net(s, &addr, t))
            return true;
    }
    return false;
}

/* False: one too many, and the check has ended. */
static bool count_term(struct spf *s)
{
    if (s->verdict.terms == LIMIT_SPF_TERMS) {
        permerror(s, SPF_MANY_TERMS);
        return false;
    }
    s->verdict.terms++;
    return true;
}

/* include and redirect: the record of another domain. */
static void open_record(struct spf *s, struct str name)
{
    struct spf_frame *from = s->top, *f = push(s, name);

    if (f == NULL)
        return;
    f->is_target = true;
    if (s->term.kind == SPF_INCLUDE) {
        f->on_match = s->term.on_match;
        f->include = s->term.text;
    } else { /* takes the place of the other */
        f->parent = from->parent;
        f->on_match = from->on_match;
        f->include = from->include;
    }
    ask(s, RECORD, DNS_TXT, name);
}

static void ask_target(struct spf *s, struct str name)
{
    switch (s->term.kind) {
    case SPF_INCLUDE:
    case SPF_REDIRECT:
        open_record(s, name);
        break;
    case SPF_A:
        ask_addresses(s, ADDRESSES, name);
        break;
    case SPF_EXISTS:
        ask(s, ADDRESSES, DNS_A, name); /* whatever the client's family (5.7) */
        break;
    case SPF_MX:
        ask(s, MX, DNS_MX, name);
        break;
    case SPF_PTR:
    case SPF_ALL:
    case SPF_IP4:
    case SPF_IP6:
    case SPF_EXP:
    case SPF_UNKNOWN_MODIFIER:
        ASSERT(false); /* they ask for no target */
    }
}

static bool is_below_target(const struct spf *s, struct str target)
{
    for (size_t i = 0; i < s->host_count; i++)
        if (s->is_valid[i] && spf_is_below(str_of(s->hosts[i]), target))
            return true;
    return false;
}

/* A term that needs DNS. Called again when the reverse names are there. */
static void run_look_up(struct spf *s)
{
    bool is_ptr = s->term.kind == SPF_PTR, wants_p = spf_wants_p(s->term.spec);
    struct str name = s->top->domain;
    struct spf_text text;

    if (!s->term_counted && !count_term(s))
        return;
    s->term_counted = true;
    if ((is_ptr || wants_p) && !s->ptr_done) {
        if (is_ptr || count_term(s))
            ask_ptr(s);
        return;
    }
    if (s->term.spec.n > 0) {
        spf_expand(s, s->term.spec, &text);
        name = name_of(&text);
        if (text.is_long) {
            permerror(s, SPF_LONG_MACRO);
            return;
        }
    }
    if (is_ptr && is_below_target(s, name))
        matched(s);
    else if (!is_ptr && dns_name_is_legal(name))
        ask_target(s, name);
    else if (s->term.kind == SPF_REDIRECT ||
             (s->term.kind == SPF_INCLUDE && !utf8_has_8bit(name))) /* RFC 8616 4: no match */
        permerror(s, SPF_BAD_TARGET);
    else
        not_matched(s);
}

static void run_term(struct spf *s)
{
    const struct spf_term *t = &s->term;

    switch (t->kind) {
    case SPF_ALL:
        matched(s);
        break;
    case SPF_IP4:
    case SPF_IP6:
        if (s->is_ipv4 == (t->kind == SPF_IP4) && is_in_net(s, &t->net, t))
            matched(s);
        else
            not_matched(s);
        break;
    case SPF_INCLUDE:
    case SPF_A:
    case SPF_MX:
    case SPF_PTR:
    case SPF_EXISTS:
    case SPF_REDIRECT:
        run_look_up(s);
        break;
    case SPF_EXP:
    case SPF_UNKNOWN_MODIFIER:
        ASSERT(false); /* next_term() passes over them */
    }
}

/* The next mechanism; behind the last one redirect, or the default result (4.7). */
static void next_term(struct spf *s)
{
    struct spf_frame *f = s->top;
    struct str text;

    s->term_counted = false;
    s->term_open = true;
    while (spf_cut_term(&f->rest, &text)) {
        ASSERT(spf_parse_term(text, &s->term)); /* the record has been parsed as a whole */
        if (s->term.kind < SPF_REDIRECT)
            return;
    }
    s->term = (struct spf_term){.kind = SPF_REDIRECT, .spec = f->redirect};
    if (f->redirect.n == 0)
        close_record(s, SPF_NEUTRAL, STR_NONE, false);
}

/* --- explanation (6.2): whatever is wrong with it, there is none --- */

static void explain_text(struct spf *s)
{
    struct spf_text text;

    spf_expand(s, s->exp_text, &text);
    for (size_t i = 0; i < text.n; i++)
        text.is_long = text.is_long || text.p[i] < ' ' || text.p[i] > '~';
    if (!text.is_long && text.n <= LIMIT_SPF_EXPLANATION_BYTES)
        s->verdict.explanation = arena_str(s->arena, (struct str){text.p, text.n});
    move(s, DONE);
}

static void explain_target(struct spf *s)
{
    struct spf_text text;

    spf_expand(s, s->top->exp, &text);
    if (!text.is_long && dns_name_is_legal(name_of(&text)))
        ask(s, TEXT, DNS_TXT, name_of(&text));
    else
        move(s, DONE);
}

static void explain(struct spf *s)
{
    bool has_text = s->exp_text.p != NULL;

    s->explaining = true;
    if (!s->ptr_done && spf_wants_p(has_text ? s->exp_text : s->top->exp))
        ask_ptr(s);
    else if (has_text)
        explain_text(s);
    else
        explain_target(s);
}

/* --- answers --- */

/* The one record of version spf1 (4.5). False: there is none, or more than one, and the check
 * has ended. */
static bool select_record(struct spf *s, const struct dns_answer *a, struct str *record)
{
    unsigned found = 0;

    for (size_t i = 0; i < a->count; i++) {
        struct str text = dns_text(a, i);

        if (spf_cut_version(&text)) {
            *record = text;
            found++;
        }
    }
    if (found > 1)
        permerror(s, SPF_MANY_RECORDS);
    else if (found == 0 && a->cut)
        permerror(s, SPF_LONG_RECORD);
    else if (found == 0)
        end(s, s->top->is_target ? SPF_PERMERROR : SPF_NONE, SPF_NO_RECORD);
    else if (record->n > LIMIT_SPF_RECORD_BYTES)
        permerror(s, SPF_LONG_RECORD);
    return s->state != DONE;
}

static void take_record(struct spf *s, const struct dns_answer *a)
{
    struct spf_frame *f = s->top;
    struct str record;

    if (has_failed(s, a) || !select_record(s, a, &record))
        return;
    f->record = arena_str(s->arena, record);
    s->term_open = false;
    if (f->record.p == NULL)
        end(s, SPF_TEMPERROR, SPF_NO_MEMORY);
    else if (!spf_parse_record(f))
        permerror(s, SPF_SYNTAX);
    else
        move(s, TERM);
}

static void take_addresses(struct spf *s, const struct dns_answer *a)
{
    if (has_failed(s, a))
        return;
    if (a->count == 0)
        found_nothing(s);
    else if (s->term.kind == SPF_EXISTS || holds_client(s, a, &s->term))
        matched(s);
    else if (a->cut)
        permerror(s, SPF_MANY_ADDRS);
    else
        not_matched(s);
}

static void next_mx_host(struct spf *s)
{
    if (s->name_at < s->name_count)
        ask_addresses(s, MX_HOST, str_of(s->names[s->name_at++]));
    else if (s->term_is_void)
        found_nothing(s);
    else
        not_matched(s);
}

/* The legal names of an answer, up to the limit. */
static size_t take_names(const struct dns_answer *a, char (*names)[LIMIT_SMTP_DOMAIN_BYTES + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < a->count && n < LIMIT_SPF_NAMES; i++)
        if (dns_name_is_legal(str_of(a->records[i].host)))
            memcpy(names[n++], a->records[i].host, sizeof names[0]);
    return n;
}

static void take_mx(struct spf *s, const struct dns_answer *a)
{
    if (has_failed(s, a))
        return;
    if (a->count > LIMIT_SPF_NAMES) {
        permerror(s, SPF_MANY_NAMES);
        return;
    }
    s->name_count = take_names(a, s->names);
    s->name_at = 0;
    s->term_is_void = true;
    next_mx_host(s);
}

static void take_mx_host(struct spf *s, const struct dns_answer *a)
{
    if (has_failed(s, a))
        return;
    if (a->count > 0)
        s->term_is_void = false;
    if (holds_client(s, a, &s->term))
        matched(s);
    else if (a->cut)
        permerror(s, SPF_MANY_ADDRS);
    else
        next_mx_host(s);
}

static void next_ptr_host(struct spf *s)
{
    if (s->host_at < s->host_count) {
        ask_addresses(s, PTR_HOST, str_of(s->hosts[s->host_at]));
        return;
    }
    s->ptr_done = true;
    move(s, s->explaining ? EXPLAIN : TERM);
}

/* A reverse name counts when it leads back to the client (5.5). */
static void take_ptr_host(struct spf *s, const struct dns_answer *a)
{
    static const struct spf_term exact = {.bits4 = 32, .bits6 = 128};

    s->is_valid[s->host_at++] = holds_client(s, a, &exact);
    next_ptr_host(s);
}

static void take_text(struct spf *s, const struct dns_answer *a)
{
    struct str text = a->count == 1 && !a->cut ? dns_text(a, 0) : STR_NONE;

    if (text.n > 0 && text.n <= LIMIT_SPF_RECORD_BYTES && spf_is_macro_string(text, true))
        s->exp_text = arena_str(s->arena, text);
    move(s, s->exp_text.p != NULL ? EXPLAIN : DONE);
}

/* --- the machine --- */

static struct str without_dot(struct str domain)
{
    return str_ends(domain, '.') ? str_head(domain, domain.n - 1) : domain;
}

void spf_init(struct spf *s, const struct spf_check *check, struct arena *arena)
{
    bool is_null = check->sender.n == 0;
    struct str sender = check->sender.n <= LIMIT_SMTP_PATH_BYTES ? check->sender : STR_NONE;
    size_t at = str_find_last(sender, '@');

    ASSERT(check->receiver.n <= LIMIT_SMTP_DOMAIN_BYTES);
    *s = (struct spf){.arena = arena,
                      .state = START,
                      .client = check->client,
                      .is_ipv4 = ip_is_v4(&check->client),
                      .wall_s = check->wall_s};
    s->verdict.identity = is_null ? SPF_HELO : SPF_MAILFROM;
    s->helo = arena_str(arena, check->helo.n <= LIMIT_SMTP_HELO_BYTES ? check->helo : STR_NONE);
    s->receiver = arena_str(arena, check->receiver.n > 0 ? check->receiver : STR("unknown"));
    sender = arena_str(arena, sender);
    s->local = at > 0 && at < sender.n ? str_head(sender, at) : STR("postmaster"); /* 4.3 */
    s->domain = is_null ? s->helo : at < sender.n ? str_from(sender, at + 1) : sender;
    s->verdict.domain = s->domain;
    s->has_memory = s->helo.p != NULL && s->receiver.p != NULL && sender.p != NULL;
}

/* RFC 7208 4.3: a legal name of more than one label; an address literal is none. */
static void start(struct spf *s)
{
    struct str domain = without_dot(s->domain);

    if (!s->has_memory)
        end(s, SPF_TEMPERROR, SPF_NO_MEMORY);
    else if (!dns_name_is_legal(domain) || str_find(domain, '.') == domain.n ||
             domain.p[0] == '[')
        end(s, SPF_NONE, SPF_NO_DOMAIN);
    else if (push(s, domain) != NULL)
        ask(s, RECORD, DNS_TXT, domain);
}

static void take(struct spf *s, const struct dns_answer *a)
{
    switch ((enum state)s->state) {
    case START:
        start(s);
        break;
    case RECORD:
        take_record(s, a);
        break;
    case ADDRESSES:
        take_addresses(s, a);
        break;
    case MX:
        take_mx(s, a);
        break;
    case MX_HOST:
        take_mx_host(s, a);
        break;
    case PTR:
        s->host_count = take_names(a, s->hosts);
        next_ptr_host(s);
        break;
    case PTR_HOST:
        take_ptr_host(s, a);
        break;
    case TEXT:
        take_text(s, a);
        break;
    case TERM:
    case EXPLAIN:
    case DONE:
        ASSERT(false); /* no question was asked */
    }
}

bool spf_next(struct spf *s, const struct dns_answer *answer)
{
    ASSERT((answer == NULL) == (s->state == START));
    take(s, answer);
    while (s->state == TERM || s->state == EXPLAIN) {
        if (s->state == EXPLAIN)
            explain(s);
        else if (s->term_open)
            run_term(s);
        else
            next_term(s);
    }
    return s->state != DONE;
}

bool spf_is_identity(const struct spf_verdict *v)
{
    return v->result == SPF_PASS && !v->matches_all;
}

void spf_stop(struct spf *s)
{
    if (s->state == DONE)
        return;
    if (!s->explaining) {
        s->verdict.result = SPF_TEMPERROR;
        s->verdict.problem = SPF_TIME;
        s->verdict.mechanism = STR_NONE;
    }
    move(s, DONE);
}
