/* policy test: what would be said to a client, and why; nothing is sent or changed. */
#include <stdlib.h>

#include "base/base64.h"
#include "base/limits.h"
#include "node/admin_parts.h"
#include "node/door.h"
#include "node/policy/headers.h"
#include "node/policy/prefix.h"
#include "node/smtp/address.h"
#include "proto/roster.h"

#define WAIT_MS (LIMIT_JUDGE_MS + LIMIT_ADMIN_ANSWER_MS)

struct test_state {
    struct admin_asked asked; /* first */
    struct judge_ask *judge;  /* answered; NULL: not yet */
    struct ip_addr client;
    char from[LIMIT_SMTP_PATH_BYTES + 3], rcpt[LIMIT_SMTP_PATH_BYTES + 3]; /* with <> */
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* of the recipient's domain */
    uint8_t checks[DOMAIN_CHECK_KINDS];     /* of it */
    uint64_t generation;                    /* the same */
    char separator;                         /* the same */
    struct str local;                       /* of the recipient, in rcpt */
    struct recipient_facts facts;           /* of it */
    enum harvest_state state;               /* of the client */
    struct access_found access;
};

static void test_end(struct admin_call *c, void *state)
{
    struct test_state *s = state;

    (void)c;
    free(s->judge);
    admin_asked_free(&s->asked);
}

/* --- what was asked --- */

static bool wrong(struct admin_call *c, const char *what, const char *where, const char *act)
{
    (void)admin_fail(c, ADMIN_EXIT_USAGE, what, where, act);
    return false;
}

/* With or without <>; the table has seen to it that there is room. */
static struct str bracket(struct str s, char *buf, size_t size)
{
    bool has = s.n > 1 && s.p[0] == '<' && str_ends(s, '>');
    int n = snprintf(buf, size, has ? STR_FMT : "<" STR_FMT ">", STR_ARG(s));

    ASSERT(n > 0 && (size_t)n < size);
    return (struct str){buf, (size_t)n};
}

static bool read_addresses(struct admin_call *c, struct test_state *s)
{
    struct str from = bracket(admin_text(c, "from"), s->from, sizeof s->from);
    struct str to = bracket(admin_text(c, "rcpt"), s->rcpt, sizeof s->rcpt);
    char buf[LIMIT_SMTP_DOMAIN_BYTES];
    struct mail_params params;
    struct path path;
    struct str name;
    enum address_verdict v = address_parse_mail(from, &path, &params);

    if (v != ADDRESS_OK)
        return wrong(c, address_reply(v, false), "from", "as a@example.com, or <>");
    v = address_parse_rcpt(to, false, &path);
    if (v != ADDRESS_OK)
        return wrong(c, address_reply(v, true), "rcpt", "as b@example.com");
    if (path.relay_form || !domain_normalize(path.domain, buf, &name))
        return wrong(c,
                     "a recipient that is refused at every domain: 550 5.7.1 Relaying denied",
                     "rcpt", "as b@example.com");
    s->local = path.local;
    return str_to_z(name, s->name, sizeof s->name);
}

static bool read_args(struct admin_call *c, struct test_state *s)
{
    if (!ip_parse(admin_text(c, "ip"), &s->client))
        return wrong(c, "not an address", "ip", "as 192.0.2.1 or 2001:db8::1");
    if (admin_text(c, "helo").n == 0)
        return wrong(c, "empty", "helo", "as the client says it: mail.example.com");
    return read_addresses(c, s);
}

static enum err find_listed(struct admin *a, struct test_state *s)
{
    struct roster_wanted wanted;
    enum roster_match match;
    enum err e;

    roster_wanted(&wanted, s->local, s->separator);
    e = control_roster_find(control_thread_state(a->node->control), s->generation, &wanted,
                            &match);
    s->facts.is_listed = e == OK && match != ROSTER_NO_MATCH;
    return e;
}

/* OK, E_NOTFOUND: the domain takes no mail, or trouble. */
static enum err read_domain(struct admin *a, struct test_state *s)
{
    struct arena scratch;
    struct domain d;
    enum err e;

    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(control_thread_state(a->node->control), str_of(s->name), &scratch,
                           &d);
    if (e == OK) {
        memcpy(s->checks, d.checks, sizeof s->checks);
        s->generation = d.generation;
        s->separator = d.separator;
        s->facts = (struct recipient_facts){.mode = (enum recipient_mode)d.recipients,
                                            .unknown = (enum recipient_unknown)d.unknown,
                                            .is_reserved = recipient_is_reserved(s->local),
                                            .was_asked = true};
        e = d.closing ? E_NOTFOUND : find_listed(a, s);
    }
    arena_reset(&scratch);
    return e;
}

/* All of them, whatever the domain wants: an operator may want to know first. */
static enum admin_next ask(struct admin_call *c, struct test_state *s)
{
    struct judge_ask *q = calloc(1, sizeof *q);

    if (q == NULL)
        return admin_fail_err(c, E_FULL, "memory");
    q->client = s->client;
    if (!str_to_z(admin_text(c, "helo"), q->helo, sizeof q->helo)) {
        free(q);
        return admin_fail(c, ADMIN_EXIT_USAGE, "not a text", "helo", NULL);
    }
    memcpy(q->from, s->from, sizeof q->from);
    memcpy(q->checks, s->checks, sizeof q->checks);
    for (size_t i = 0; i < JUDGE_CHECKS; i++)
        if (q->checks[judge_kind(i)] == CHECK_OFF)
            q->checks[judge_kind(i)] = CHECK_MARK;
    return admin_ask_judge(c, q, WAIT_MS);
}

static enum admin_next ask_recipient(struct admin_call *c, const struct test_state *s)
{
    struct edge_rcpt *q = calloc(1, sizeof *q);

    if (q == NULL)
        return admin_fail_err(c, E_FULL, "memory");
    q->is_look = true;
    q->is_spared = s->access.action == ACCESS_ALLOW;
    q->client = s->client;
    q->generation = s->generation;
    memcpy(q->domain, s->name, sizeof q->domain);
    q->separator = s->separator;
    ASSERT(s->local.n <= sizeof q->local);
    memcpy(q->local, s->local.p, s->local.n);
    q->local_bytes = (uint8_t)s->local.n;
    q->facts = s->facts;
    return admin_ask_edge(c, q);
}

/* Whatever the domain wants, as above. */
static enum admin_next ask_greylist(struct admin_call *c, const struct test_state *s)
{
    struct edge_ask *q = calloc(1, sizeof *q);
    size_t n = strlen(s->from) - 2; /* without <> */

    if (q == NULL)
        return admin_fail_err(c, E_FULL, "memory");
    q->is_look = true;
    q->client = s->client;
    memcpy(q->spf_domain, s->judge->spf_domain, sizeof q->spf_domain);
    memcpy(q->domain, s->name, sizeof q->domain);
    ASSERT(n <= sizeof q->sender);
    memcpy(q->sender, s->from + 1, n);
    q->sender_bytes = (uint16_t)n;
    return admin_ask_greylist(c, q);
}

/* --- the answer --- */

static void add_line(json_t *lines, const char *check, const char *mode, const char *word,
                     bool is_against, struct str detail)
{
    json_t *row = json_object();

    admin_set_z(row, "check", check);
    admin_set_z(row, "mode", mode);
    admin_set_z(row, "result", word);
    admin_set(row, "against", json_boolean(is_against));
    admin_set_text(row, "detail", detail);
    (void)json_array_append_new(lines, row);
}

static void add_access(json_t *lines, const struct test_state *s)
{
    char text[PREFIX_TEXT_BYTES], detail[PREFIX_TEXT_BYTES + LIMIT_ACCESS_REASON_BYTES + 2];
    struct prefix p = {.bits = s->access.prefix.bits};
    const char *word = s->access.action == ACCESS_BLOCK   ? "blocked"
                       : s->access.action == ACCESS_ALLOW ? "allowed"
                                                          : "no-entry";

    detail[0] = 0;
    memcpy(p.ip.b, s->access.prefix.address, sizeof p.ip.b);
    if (s->access.action != ACCESS_REMOVE)
        snprintf(detail, sizeof detail, "%s %s", prefix_text(&p, text).p, s->access.reason);
    add_line(lines, "access", "always", word, s->access.action == ACCESS_BLOCK, str_of(detail));
}

static const char *recipient_word(const struct recipient_facts *f)
{
    if (f->is_reserved)
        return "reserved";
    if (f->is_listed)
        return "listed";
    if (f->mode != RECIPIENT_LEARN)
        return f->mode == RECIPIENT_LIST ? "not-listed" : "any";
    if (f->known == RCPTSET_UNKNOWN)
        return f->any_is_known ? "unknown" : "nobody-known";
    return f->known == RCPTSET_VALID ? "known" : "refused-by-primary";
}

/* MAIL FROM, not HELO. */
static bool is_authenticated(const struct test_state *s)
{
    return s->judge->is_identity && strcmp(s->from, "<>") != 0;
}

/* The refusal, or "". *is_last: it waits for SPF, and so for the checks. */
static const char *add_recipient(json_t *lines, const struct test_state *s, bool *is_last)
{
    static const char *const clients[] = {
        [HARVEST_OK] = "",
        [HARVEST_SUSPICIOUS] = ", the client is suspicious: it hears this behind the dot",
        [HARVEST_OFFENDER] = ", the client is an offender"};
    char detail[96];
    struct recipient_facts f = s->facts;
    enum recipient_verdict alone = recipient_judge(&f), v;
    bool is_offender = s->state == HARVEST_OFFENDER && f.mode != RECIPIENT_ANY;

    f.is_authenticated = is_authenticated(s);
    v = recipient_judge(&f);
    snprintf(detail, sizeof detail, "the primary is %s%s", f.is_up ? "up" : "away",
             clients[s->state]);
    *is_last =
        alone == RECIPIENT_UNSURE && f.unknown == RECIPIENT_AUTHENTICATED && !f.is_suspicious;
    add_line(lines, "recipient", domain_recipients_text((enum domain_recipients)s->facts.mode),
             recipient_word(&f), is_offender || v != RECIPIENT_TAKE, str_of(detail));
    return is_offender ? harvest_reply() : recipient_reply(v);
}

/* The header of the message, when there is one. The refusal of it, or "". */
static const char *add_headers(struct admin_call *c, json_t *lines, const struct test_state *s,
                               char buf[static HEADERS_REPLY_BYTES])
{
    uint8_t mode = s->checks[DOMAIN_CHECK_HEADERS];
    struct str text = admin_text(c, "message");
    char bytes[LIMIT_POLICY_HEADER_BYTES + 4];
    struct headers h;
    size_t n = 0;

    if (!admin_given(c, "message") || !base64_decode(text, bytes, &n)) {
        add_line(lines, "headers", check_mode_text(mode), "not-given", false, STR_NONE);
        return "";
    }
    headers_init(&h, false);
    headers_feed(&h, (struct str){bytes, n});
    if (headers_end(&h) == HEADERS_OK) {
        add_line(lines, "headers", check_mode_text(mode), headers_verdict_text(h.verdict),
                 false, STR_NONE);
        return "";
    }
    add_line(lines, "headers", check_mode_text(mode), headers_verdict_text(h.verdict), true,
             str_from(headers_reply(&h, buf), sizeof "550 5.6.0"));
    return mode == CHECK_REFUSE ? buf : "";
}

static const char *add_checks(json_t *lines, const struct test_state *s)
{
    const struct judge_ask *q = s->judge;

    for (size_t i = 0; i < JUDGE_CHECKS; i++) {
        const struct judge_line *l = &q->lines[i];

        add_line(lines, check_kind_text(l->kind), check_mode_text(s->checks[l->kind]), l->word,
                 l->is_against, str_of(l->detail));
    }
    return s->access.action == ACCESS_ALLOW ? "" : q->reply;
}

/* Not looked at: whether the client is one of the domain's own hosts, which need not wait. */
static const char *add_greylist(json_t *lines, const struct test_state *s)
{
    const struct edge_ask *g = s->asked.greylist;
    uint8_t mode = s->checks[DOMAIN_CHECK_GREYLIST];
    bool is_against = !g->is_blind && g->wait_ms > 0 && s->access.action != ACCESS_ALLOW;
    char detail[64] = "";

    if (is_against)
        snprintf(detail, sizeof detail, "to come again after %llu s",
                 (unsigned long long)((g->wait_ms + 999) / 1000));
    add_line(lines, "greylist", check_mode_text(mode),
             g->is_blind ? "not-ready" : greylist_verdict_text(g->verdict), is_against,
             str_of(detail));
    return is_against && mode != CHECK_OFF && mode != CHECK_MARK ? greylist_reply() : "";
}

/* It might take note of the question, as of a first try. */
static void add_server(json_t *lines, const struct test_state *s)
{
    add_line(lines, check_kind_text(DOMAIN_CHECK_SERVER),
             check_mode_text(s->checks[DOMAIN_CHECK_SERVER]), "not-asked", false, STR_NONE);
}

static enum admin_next report(struct admin_call *c, const struct test_state *s, bool is_served)
{
    char blocked[DOOR_REPLY_BYTES], header[HEADERS_REPLY_BYTES], ip[IP_TEXT_BYTES];
    json_t *row = json_object(), *lines = json_array();
    const char *reply, *of_header, *of_rcpt, *of_list;
    bool is_last;

    add_access(lines, s);
    if (!is_served)
        reply = DOOR_NOT_SERVED;
    else {
        of_rcpt = add_recipient(lines, s, &is_last);
        reply = add_checks(lines, s);
        if (of_rcpt[0] != 0 && (reply[0] == 0 || !is_last))
            reply = of_rcpt;
        add_server(lines, s);
        of_list = add_greylist(lines, s);
        if (reply[0] == 0)
            reply = of_list;
        of_header = add_headers(c, lines, s, header);
        if (s->access.action == ACCESS_BLOCK)
            reply = door_blocked(&s->access, ip_text(&s->client, ip).p, blocked);
        else if (reply[0] == 0)
            reply = of_header;
    }
    admin_set_text(row, "ip", ip_text(&s->client, ip));
    admin_set_text(row, "helo", admin_text(c, "helo"));
    admin_set_z(row, "from", s->from);
    admin_set_z(row, "rcpt", s->rcpt);
    admin_set(row, "taken", json_boolean(reply[0] == 0));
    admin_set_z(row, "reply", reply[0] != 0 ? reply : "250 2.1.5 Ok");
    if (is_served) {
        admin_set_u64(row, "looked_up_ms", s->judge->ms);
        admin_set(row, "late", json_boolean(s->judge->is_late));
    }
    admin_set(row, "checks", lines);
    admin_emit(c, row);
    return admin_done(c, reply[0] == 0 ? ADMIN_EXIT_OK : ADMIN_EXIT_NEGATIVE, NULL);
}

static enum admin_next test_step(struct admin_call *c, void *state)
{
    struct test_state *s = state;
    struct admin *a = c->ctx;
    enum err e;

    if (c->timed_out)
        return admin_timed_out(c);
    if (s->asked.edge != NULL) {
        s->facts = s->asked.edge->facts;
        s->state = s->asked.edge->state;
        return ask(c, s);
    }
    if (s->asked.judge != NULL) {
        if (s->asked.judge->err != OK)
            return admin_fail_err(c, s->asked.judge->err, "policy");
        s->judge = s->asked.judge;
        s->asked.judge = NULL;
        return ask_greylist(c, s);
    }
    if (s->asked.greylist != NULL)
        return report(c, s, true);
    if (!read_args(c, s))
        return ADMIN_END;
    access_view_find(a->node->access, &s->client, control_now_ms(a->node->control), &s->access);
    e = read_domain(a, s);
    if (e == E_NOTFOUND)
        return report(c, s, false);
    return e == OK ? ask_recipient(c, s) : admin_fail_err(c, e, "domain");
}

static const struct admin_arg test_args[] = {
    {"ip", ADMIN_ARG_TEXT, IP_TEXT_BYTES, true},
    {"helo", ADMIN_ARG_TEXT, LIMIT_SMTP_HELO_BYTES, true},
    {"from", ADMIN_ARG_TEXT, LIMIT_SMTP_PATH_BYTES, true},
    {"rcpt", ADMIN_ARG_TEXT, LIMIT_SMTP_PATH_BYTES, true},
    {"message", ADMIN_ARG_TEXT, BASE64_SIZE(LIMIT_POLICY_HEADER_BYTES), false},
};

static const struct admin_command rows[] = {
    {"policy.test", ADMIN_ARGS(test_args), false, sizeof(struct test_state), test_step,
     test_end},
};

struct admin_table admin_policy_table(void)
{
    return ADMIN_TABLE(rows);
}
