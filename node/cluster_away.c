/* Whose primary is away: what the scheduler of this node sees of the mail that it delivers,
 * told once a second to the edge thread, and by that to the doors of all sites. */
#include <stdlib.h>

#include "node/cluster_private.h"
#include "node/edge.h"

/* Those that mail waits for, and of which no address answers. */
static size_t collect(const struct cluster *c, uint64_t *out, size_t room)
{
    static struct sched_way way; /* large; this thread's alone */
    uint32_t at = 0;
    size_t n = 0;

    while (n < room && sched_stuck_next(c->sched, &at, &way))
        if (way.generation != 0 && way.generation == CLUSTER_GENERATION(way.generation))
            out[n++] = way.generation;
    return n;
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
    struct cluster *c = arg;
    size_t count = collect(c, c->away_now, LIMIT_DOMAINS);

    (void)fd;
    (void)what;
    if (count > 0 || c->some_away)
        edge_away(c->node->edge, c->away_now, count);
    c->some_away = count > 0;
}

void cluster_away_begin(struct cluster *c)
{
    struct timeval tv = {.tv_sec = 1};

    c->away_now = calloc(LIMIT_DOMAINS, sizeof *c->away_now);
    c->away = event_new(c->base, -1, EV_PERSIST, on_second, c);
    ASSERT(c->away != NULL && c->away_now != NULL);
    event_add(c->away, &tv);
}

void cluster_away_end(struct cluster *c)
{
    if (c->away != NULL)
        event_free(c->away);
    free(c->away_now);
    c->away = NULL;
    c->away_now = NULL;
}
