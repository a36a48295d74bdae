#include "node/watch.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"

struct watched {
    const char *name;
    struct mailbox *box;
    uint64_t takes; /* at the last knock */
    uint32_t silent_periods;
};

struct watch {
    struct watch_options o;
    struct event *timer;
    struct watched threads[LIMIT_WATCHED_THREADS];
    uint32_t count;
};

/* True: it has taken since the last knock. */
static bool look_at(struct watched *t, uint64_t period_ms)
{
    uint64_t takes = mailbox_takes(t->box);
    bool is_alive = takes != t->takes;

    if (is_alive) {
        t->silent_periods = 0;
        t->takes = takes;
    } else if (++t->silent_periods == 1) {
        LOG(EV_THREAD_SILENT, L_CSTR("thread", t->name), L_U64("ms", period_ms));
    }
    mailbox_knock(t->box);
    return is_alive;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct watch *w = arg;
    bool is_alive = true;

    (void)fd;
    (void)what;
    for (uint32_t i = 0; i < w->count; i++)
        is_alive &= look_at(&w->threads[i], w->o.period_ms);
    if (is_alive)
        w->o.alive(w->o.ctx);
}

struct watch *watch_new(const struct watch_options *o)
{
    struct watch *w = calloc(1, sizeof *w);
    struct timeval tv = {(time_t)(o->period_ms / 1000),
                         (suseconds_t)(o->period_ms % 1000 * 1000)};

    ASSERT(w != NULL && o->period_ms > 0);
    w->o = *o;
    w->timer = event_new(o->base, -1, EV_PERSIST, on_timer, w);
    ASSERT(w->timer != NULL);
    event_add(w->timer, &tv);
    return w;
}

void watch_add(struct watch *w, const char *name, struct mailbox *box)
{
    ASSERT(w->count < LIMIT_WATCHED_THREADS);
    w->threads[w->count++] =
        (struct watched){.name = name, .box = box, .takes = mailbox_takes(box)};
    mailbox_knock(box);
}

void watch_free(struct watch **w)
{
    if (*w == NULL)
        return;
    event_free((*w)->timer);
    free(*w);
    *w = NULL;
}
