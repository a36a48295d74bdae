#include "base/mid.h"
#include "node/admin_parts.h"
#include "node/delivery/route.h"

static const char *const state_texts[] = {
    [MAIL_QUEUED] = "queued",
    [MAIL_DEFERRED] = "deferred",
    [MAIL_HELD] = "held",
    [MAIL_DSN] = "dsn",
};

const char *admin_mail_state_text(enum admin_mail_state s)
{
    return state_texts[s];
}

bool admin_mail_state_parse(struct str text, enum admin_mail_state *out)
{
    for (int i = 0; i < MAIL_STATES; i++) {
        if (!str_eq(text, str_of(state_texts[i])))
            continue;
        *out = (enum admin_mail_state)i;
        return true;
    }
    return false;
}

/* Of the next try of anything that is still to be done. */
static uint64_t next_ms_of(const struct envelope *e)
{
    uint64_t next = UINT64_MAX;

    if (e->phase == PHASE_DSN)
        return e->dsn_next_ms;
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].fate == FATE_PENDING && e->rcpts[i].next_ms < next)
            next = e->rcpts[i].next_ms;
    return next == UINT64_MAX ? 0 : next;
}

enum admin_mail_state admin_mail_state(const struct envelope *e, const struct admin_times *t)
{
    if (e->held)
        return MAIL_HELD;
    if (e->phase != PHASE_DELIVER)
        return MAIL_DSN;
    return next_ms_of(e) > t->cluster_ms ? MAIL_DEFERRED : MAIL_QUEUED;
}

static uint32_t attempts_of(const struct envelope *e)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].attempts > most)
            most = e->rcpts[i].attempts;
    return most;
}

static void set_id(json_t *row, struct mid id)
{
    char text[MID_TEXT_SIZE];

    admin_set_z(row, "id", mid_text(id, text));
}

static void set_common(json_t *row, const struct envelope *e, const struct admin_times *t)
{
    set_id(row, e->id);
    admin_set_text(row, "domain", e->domain);
    admin_set_text(row, "sender", e->sender);
    admin_set_u64(row, "body_bytes", e->body_bytes);
    admin_set_time(row, "received", e->received_wall_ms);
    admin_set_u64(row, "age_s", admin_age_s(t, e->received_ms));
    admin_set_time(row, "deadline", admin_wall_of(t, e->deadline_ms));
    admin_set_u64(row, "attempts", attempts_of(e));
    admin_set_u64(row, "possible_duplicates", e->possible_duplicates);
}

json_t *admin_row_message(const struct envelope *e, bool dot_open, const struct admin_times *t)
{
    json_t *row = json_object(), *rcpts = json_array();
    uint64_t next = next_ms_of(e);

    if (row == NULL || rcpts == NULL) {
        json_decref(row);
        json_decref(rcpts);
        return NULL;
    }
    set_common(row, e, t);
    admin_set_z(row, "state", state_texts[admin_mail_state(e, t)]);
    admin_set_time(row, "next_try", next > t->cluster_ms ? admin_wall_of(t, next) : 0);
    admin_set(row, "dot_open", json_boolean(dot_open));
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        (void)json_array_append_new(rcpts, admin_json_text(e->rcpts[i].path));
    admin_set(row, "recipients", rcpts);
    return row;
}

static const char *fate_text(enum fate f)
{
    switch (f) {
    case FATE_PENDING:
        return "pending";
    case FATE_PURGED:
        return "purged";
    case FATE_EXPIRED:
        return "expired";
    case FATE_BOUNCED:
        return "bounced";
    case FATE_DELIVERED:
        return "delivered";
    }
    return "unknown";
}

static const char *dsn_text(enum dsn_fate f)
{
    switch (f) {
    case DSN_NONE:
        return "none";
    case DSN_PENDING:
        return "pending";
    case DSN_SENT:
        return "sent";
    case DSN_GIVEN_UP:
        return "given-up";
    case DSN_WITHHELD:
        return "withheld";
    }
    return "unknown";
}

static const char *sender_auth_text(enum sender_auth a)
{
    static const char *const words[] = {[SENDER_UNASKED] = "not looked up",
                                        [SENDER_NONE] = "none",
                                        [SENDER_NEUTRAL] = "neutral",
                                        [SENDER_PASS] = "pass",
                                        [SENDER_FAIL] = "fail",
                                        [SENDER_SOFTFAIL] = "softfail",
                                        [SENDER_TEMPERROR] = "temperror",
                                        [SENDER_PERMERROR] = "permerror"};

    return words[a];
}

static json_t *row_rcpt(const struct rcpt *r, const struct admin_times *t)
{
    json_t *row = json_object();

    admin_set_text(row, "recipient", r->path);
    admin_set_z(row, "fate", fate_text(r->fate));
    admin_set_u64(row, "attempts", r->attempts);
    admin_set_time(row, "last_try", admin_wall_of(t, r->last_ms));
    admin_set_time(row, "next_try",
                   r->fate == FATE_PENDING && r->next_ms > t->cluster_ms
                       ? admin_wall_of(t, r->next_ms)
                       : 0);
    admin_set_time(row, "final", admin_wall_of(t, r->final_ms));
    admin_set_time(row, "odd_since", admin_wall_of(t, r->odd_since_ms));
    admin_set_text(row, "reply", r->reply);
    return row;
}

static json_t *row_dsn(const struct envelope *e, const struct admin_times *t)
{
    json_t *row = json_object();

    admin_set_z(row, "fate", dsn_text(e->dsn));
    admin_set_u64(row, "attempts", e->dsn_attempts);
    admin_set_time(row, "next_try",
                   e->dsn == DSN_PENDING ? admin_wall_of(t, e->dsn_next_ms) : 0);
    admin_set_time(row, "deadline", admin_wall_of(t, e->dsn_deadline_ms));
    admin_set_text(row, "reply", e->dsn_reply);
    return row;
}

json_t *admin_row_envelope(const struct envelope *e, const struct admin_times *t)
{
    static const char *const phases[] = {"deliver", "dsn", "done"};
    json_t *row = json_object(), *rcpts = json_array();
    char digest[24];

    if (row == NULL || rcpts == NULL) {
        json_decref(row);
        json_decref(rcpts);
        return NULL;
    }
    set_common(row, e, t);
    admin_set_z(row, "phase", phases[e->phase]);
    admin_set(row, "held", json_boolean(e->held));
    admin_set_u64(row, "generation", e->domain_generation);
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)e->body_digest);
    admin_set_z(row, "body_xxh3", digest);
    admin_set(row, "eight_bit", json_boolean(e->eight_bit));
    admin_set(row, "smtputf8", json_boolean(e->smtputf8));
    admin_set(row, "is_digest", json_boolean(e->digest_until_ms != 0));
    admin_set_text(row, "client_addr", e->client_addr);
    admin_set_text(row, "client_helo", e->client_helo);
    admin_set_z(row, "spf", sender_auth_text(e->sender_auth));
    admin_set_text(row, "tls", e->tls);
    admin_set_text(row, "trace_header", e->trace_header);
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        (void)json_array_append_new(rcpts, row_rcpt(&e->rcpts[i], t));
    admin_set(row, "recipients", rcpts);
    admin_set(row, "dsn", row_dsn(e, t));
    admin_set_time(row, "settled", e->settled_wall_ms);
    return row;
}

json_t *admin_row_domain(const struct domain *d, const struct domain_terms *terms)
{
    char route[ROUTE_TEXT_SIZE], checks[CHECKS_TEXT_SIZE];
    json_t *row = json_object();

    if (row == NULL)
        return NULL;
    route_format(&d->route, route);
    checks_format(d->checks, checks);
    admin_set_text(row, "name", d->name);
    admin_set_z(row, "state", d->closing ? "closing" : d->paused ? "paused" : "open");
    admin_set_z(row, "route", route);
    admin_set_u64(row, "hold_s", terms->hold_s);
    admin_set(row, "hold_of_plan", json_boolean(d->hold_s == 0));
    admin_set_u64(row, "max_connections", terms->max_connections);
    admin_set(row, "max_connections_of_plan", json_boolean(d->max_connections == 0));
    admin_set_text(row, "plan", d->plan);
    admin_set_z(row, "tls", domain_tls_text(d->tls));
    admin_set_z(row, "eight_bit", domain_eight_bit_text(d->eight_bit));
    admin_set(row, "paused", json_boolean(d->paused));
    admin_set_z(row, "checks", checks);
    admin_set_z(row, "recipients", domain_recipients_text(d->recipients));
    admin_set_text(row, "separator", (struct str){&d->separator, d->separator != 0});
    admin_set_z(row, "dsn", domain_dsn_text(d->dsn));
    admin_set_z(row, "unknown", domain_unknown_text(d->unknown));
    admin_set(row, "smtputf8", json_boolean(d->smtputf8));
    admin_set_text(row, "digest", d->digest);
    admin_set_u64(row, "generation", d->generation);
    admin_set_u64(row, "changed", d->changed);
    return row;
}

json_t *admin_row_plan(const struct plan *p)
{
    json_t *row = json_object();

    if (row == NULL)
        return NULL;
    admin_set_text(row, "name", p->name);
    admin_set_u64(row, "hold_s", p->hold_s);
    admin_set_u64(row, "max_connections", p->max_connections);
    return row;
}

/* --- primaries --- */

static const char *dest_text(enum sched_dest_state s)
{
    switch (s) {
    case SCHED_DEST_UNKNOWN:
        return "unknown";
    case SCHED_DEST_UP:
        return "up";
    case SCHED_DEST_DOWN:
        return "down";
    }
    return "unknown";
}

const char *admin_primary_text(const struct cluster_ask *a)
{
    bool any_down = false;

    if (a->err != OK)
        return "unknown";
    for (size_t i = 0; i < a->addr_count; i++) {
        if (a->addrs[i].state == SCHED_DEST_UP)
            return "up";
        any_down |= a->addrs[i].state == SCHED_DEST_DOWN;
    }
    if (a->addr_count == 0 && a->route > ROUTE_OK && a->route < ROUTE_RESULTS)
        return route_result_text(a->route);
    return any_down ? "down" : "unknown";
}

json_t *admin_row_address(const struct cluster_addr *a, bool is_probe)
{
    json_t *row = json_object();

    if (row == NULL)
        return NULL;
    admin_set_z(row, "host", a->host);
    admin_set_z(row, "ip", a->ip);
    admin_set_u64(row, "port", a->port);
    if (is_probe) {
        admin_set(row, "answered", json_boolean(a->failure == SCHED_FAIL_NONE));
        admin_set_z(row, "failure", sched_failure_text(a->failure));
        admin_set_u64(row, "latency_ms", a->latency_ms);
        return row;
    }
    admin_set_u64(row, "preference", a->pref);
    admin_set_z(row, "state", dest_text(a->state));
    admin_set_z(row, "failure", sched_failure_text(a->failure));
    admin_set_u64(row, "down_s", a->down_ms / 1000);
    admin_set(row, "next_probe_ms",
              a->next_probe_ms == UINT64_MAX ? json_null()
                                             : json_integer((json_int_t)a->next_probe_ms));
    admin_set_u64(row, "connections", a->conns);
    admin_set_u64(row, "window", a->window);
    return row;
}

void admin_set_primary(json_t *row, const struct cluster_ask *a)
{
    json_t *addrs = json_array();

    admin_set_z(row, "primary", admin_primary_text(a));
    admin_set(row, "route_result",
              a->err == OK && a->route < ROUTE_RESULTS
                  ? json_string(route_result_text(a->route))
                  : json_null());
    admin_set(row, "route_is_stale", json_boolean(a->stale));
    admin_set_u64(row, "messages", a->messages);
    admin_set_u64(row, "ready", a->ready);
    admin_set_u64(row, "deferred", a->deferred);
    admin_set_u64(row, "held", a->held);
    admin_set_u64(row, "in_delivery", a->given);
    for (size_t i = 0; i < a->addr_count; i++)
        (void)json_array_append_new(addrs, admin_row_address(&a->addrs[i], false));
    admin_set(row, "addresses", addrs);
}

/* --- arguments --- */

bool admin_domain_arg(struct admin_call *c, const char *name, char buf[], size_t size,
                      struct str *out)
{
    struct str s = admin_text(c, name);
    const char *why;

    if (str_ends(s, '.'))
        s.n--;
    if (s.n < size) {
        *out = str_lower(s, buf, size);
        why = domain_name_check(*out);
    } else {
        why = "a name has at most 253 bytes";
    }
    if (why != NULL)
        (void)admin_fail(c, ADMIN_EXIT_USAGE, why, name, NULL);
    return why == NULL;
}

bool admin_id_arg(struct admin_call *c, struct mid *out)
{
    if (mid_parse(admin_text(c, "id"), out))
        return true;
    (void)admin_fail(c, ADMIN_EXIT_USAGE, "not a message id", "id",
                     "an id has 26 letters and digits, as in the 250 reply and the log");
    return false;
}
