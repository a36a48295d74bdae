/* What the resolver of this node is worth: asked for the root every LIMIT_DNS_PROBE_MS, and
 * sooner while it does not answer. Mail flows whatever it says. */
#include <stdlib.h>

#include "base/log.h"
#include "base/stats.h"
#include "node/cluster_private.h"

struct cluster_resolver {
    struct cluster *cluster;
    struct event *turn;
    enum cluster_resolver_state state;
};

const char *cluster_resolver_text(enum cluster_resolver_state s)
{
    static const char *const texts[] = {"not-asked", "validates", "unvalidated", "bogus-root",
                                        "no-answer"};

    ASSERT((int)s >= 0 && s < RESOLVER_STATES);
    return texts[s];
}

static enum cluster_resolver_state state_of(const struct dns_answer *a)
{
    if (a->is_authentic)
        return RESOLVER_VALIDATES;
    if (a->status == DNS_BOGUS)
        return RESOLVER_BOGUS;
    return a->status == DNS_OK || a->status == DNS_NODATA || a->status == DNS_NXDOMAIN
               ? RESOLVER_UNVALIDATED
               : RESOLVER_SILENT;
}

static void tell(enum cluster_resolver_state is, const struct dns_answer *a)
{
    static const enum log_event events[RESOLVER_STATES] = {
        [RESOLVER_VALIDATES] = EV_RESOLVER_VALIDATES,
        [RESOLVER_UNVALIDATED] = EV_RESOLVER_UNVALIDATED,
        [RESOLVER_BOGUS] = EV_RESOLVER_BOGUS,
        [RESOLVER_SILENT] = EV_RESOLVER_SILENT,
    };

    stat_set(STAT_DNS_VALIDATES, is == RESOLVER_VALIDATES);
    LOG(events[is], L_CSTR("answer", dns_status_text(a->status)));
}

static void on_answer(void *arg, const struct dns_answer *a)
{
    struct cluster_resolver *r = arg;
    enum cluster_resolver_state is = state_of(a);
    uint64_t ms = is >= RESOLVER_BOGUS ? LIMIT_DNS_PROBE_SOON_MS : LIMIT_DNS_PROBE_MS;
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000)};

    if (is != r->state)
        tell(is, a);
    r->state = is;
    event_add(r->turn, &tv);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct cluster_resolver *r = arg;

    (void)fd;
    (void)what;
    dns_probe(r->cluster->dns, on_answer, r);
}

void cluster_resolver_begin(struct cluster *c)
{
    struct cluster_resolver *r = calloc(1, sizeof *r);

    ASSERT(r != NULL);
    r->cluster = c;
    r->turn = event_new(c->base, -1, 0, on_turn, r);
    ASSERT(r->turn != NULL);
    c->resolver = r;
    event_active(r->turn, EV_TIMEOUT, 0);
}

enum cluster_resolver_state cluster_resolver_is(const struct cluster *c)
{
    return c->resolver->state;
}

void cluster_resolver_end(struct cluster *c)
{
    if (c->resolver == NULL)
        return;
    event_free(c->resolver->turn);
    free(c->resolver);
    c->resolver = NULL;
}
