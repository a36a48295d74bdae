/* The door: who gets a banner. A node that cannot take mail says so here (INV-6), a client or a
 * network has only so many sessions and so many new ones a minute, and who speaks before the
 * banner is no mail server. Who names too many recipients that are not there is told so here.
 * Clients on an allow list are spared all but the first. */
#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/access_view.h"
#include "node/edge.h"
#include "node/inbound_private.h"

#define SHOWN_BYTES 64 /* of what an early talker says, in the log */

static const char *node_refusal(struct node *n)
{
    if (atomic_load(&n->fenced))
        return "421 4.3.0 Storage failed here, try the next MX";
    if (spool_room(n->spool) == SPOOL_FULL)
        return "421 4.3.1 No space here, try the next MX";
    return inbound_shut(n);
}

static bool is_allowed(const struct inbound *in)
{
    struct node *n = in->thread->node;
    struct access_found found;

    access_view_find(n->access, &in->ip, control_now_ms(n->control), &found);
    return found.action == ACCESS_ALLOW;
}

static uint32_t of(uint64_t setting)
{
    return (uint32_t)setting; /* config.c bounds it */
}

/* --- how many, how fast --- */

static const char *shed(const struct inbound *in, const char *limit, const char *reply)
{
    LOG(EV_SHED, L_CSTR("limit", limit), L_CSTR("client", in->peer));
    return reply;
}

static struct crowd_terms client_terms(const struct inbound *in)
{
    const struct node_config *c = inbound_settings(in)->config;

    return (struct crowd_terms){of(c->smtp.max_sessions_per_client),
                                of(c->smtp.max_rate_per_client)};
}

static const char *enter_client(struct inbound *in)
{
    struct crowd_terms terms = client_terms(in);
    struct ip_addr who = crowd_client(&in->ip);

    switch (crowd_enter(in->thread->node->clients, &who, &terms, clock_boot_ms(),
                        &in->in_clients)) {
    case CROWD_TOO_MANY:
        return shed(in, "smtp.max_sessions_per_client",
                    "421 4.7.0 Too many connections from your address");
    case CROWD_TOO_FAST:
        return shed(in, "smtp.max_rate_per_client",
                    "421 4.7.0 Too many new connections from your address");
    case CROWD_IN:
        break;
    }
    return "";
}

static void undo_client(struct inbound *in)
{
    struct crowd_terms terms = client_terms(in);

    crowd_undo(in->thread->node->clients, &terms, &in->in_clients);
}

static const char *enter_network(struct inbound *in)
{
    const struct node_config *c = inbound_settings(in)->config;
    uint64_t most = c->smtp.max_sessions_per_network, one = c->smtp.max_sessions_per_client;
    struct crowd_terms terms = {of(most > one ? most : one), of(c->smtp.max_rate_per_network)};
    struct ip_addr who = crowd_network(&in->ip);

    switch (crowd_enter(in->thread->node->networks, &who, &terms, clock_boot_ms(),
                        &in->in_networks)) {
    case CROWD_TOO_MANY:
        return shed(in, "smtp.max_sessions_per_network",
                    "421 4.7.0 Too many connections from your network");
    case CROWD_TOO_FAST:
        return shed(in, "smtp.max_rate_per_network",
                    "421 4.7.0 Too many new connections from your network");
    case CROWD_IN:
        break;
    }
    return "";
}

void inbound_door_leave(struct inbound *in)
{
    crowd_leave(in->thread->node->clients, &in->in_clients);
    crowd_leave(in->thread->node->networks, &in->in_networks);
}

/* --- who speaks first --- */

static const char *early(const struct inbound *in)
{
    struct str said = conn_input(in->conn);

    stat_add(STAT_EARLY_TALKERS_TOTAL, 1);
    LOG(EV_EARLY_TALKER, L_CSTR("client", in->peer),
        L_STR("said", str_head(said, said.n < SHOWN_BYTES ? said.n : SHOWN_BYTES)));
    return "554 5.5.1 You spoke before our banner";
}

const char *inbound_door_open(struct inbound *in)
{
    if (conn_input_pending(in->conn))
        return early(in);
    return node_refusal(in->thread->node); /* it may have changed meanwhile */
}

static const char *enter(struct inbound *in, bool *later)
{
    uint64_t ms = inbound_settings(in)->config->smtp.greet_delay_ms;
    struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    const char *refusal =
        edge_is_offender(in->thread->node->edge, &in->ip) ? inbound_offender(in) : "";

    if (refusal[0] == 0)
        refusal = enter_client(in);
    if (refusal[0] == 0) {
        refusal = enter_network(in);
        if (refusal[0] != 0) /* what its neighbours do costs a client nothing */
            undo_client(in);
    }
    if (refusal[0] != 0) {
        stat_add(STAT_SESSIONS_SHED_TOTAL, 1);
        return refusal;
    }
    if (conn_input_pending(in->conn))
        return early(in);
    if (ms > 0) {
        *later = true;
        event_add(in->retry, &tv);
    }
    return "";
}

const char *inbound_door_ask(struct inbound *in, bool *later)
{
    const char *refusal = node_refusal(in->thread->node);

    if (refusal[0] != 0) {
        stat_add(STAT_SESSIONS_SHED_TOTAL, 1);
        return refusal;
    }
    return is_allowed(in) ? "" : enter(in, later);
}
