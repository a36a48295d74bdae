#include "base/changes.h"

static struct change_link *link_at(const struct pool *p, uint32_t item)
{
    return pool_at(p, item);
}

void changes_add(struct changes *c, const struct pool *p, uint32_t item)
{
    struct change_link *l = link_at(p, item);

    *l = (struct change_link){.serial = ++c->serial, .older = c->newest};
    if (c->newest != 0)
        link_at(p, c->newest)->newer = item;
    else
        c->oldest = item;
    c->newest = item;
}

void changes_remove(struct changes *c, const struct pool *p, uint32_t item)
{
    const struct change_link *l = link_at(p, item);

    if (l->older != 0)
        link_at(p, l->older)->newer = l->newer;
    else
        c->oldest = l->newer;
    if (l->newer != 0)
        link_at(p, l->newer)->older = l->older;
    else
        c->newest = l->older;
}

void changes_touch(struct changes *c, const struct pool *p, uint32_t item)
{
    changes_remove(c, p, item);
    changes_add(c, p, item);
}

/* The oldest item above the cursor, or 0. As a rule the item taken last is still where it was;
 * else the way goes back from the newest. */
static uint32_t above(const struct changes *c, const struct pool *p,
                      const struct change_cursor *at)
{
    uint32_t item = c->newest;

    if (at->serial == 0)
        return c->oldest;
    if (item == 0 || link_at(p, item)->serial <= at->serial)
        return 0;
    if (pool_is_taken(p, at->hint) && link_at(p, at->hint)->serial == at->serial)
        return link_at(p, at->hint)->newer;
    while (link_at(p, item)->older != 0 &&
           link_at(p, link_at(p, item)->older)->serial > at->serial)
        item = link_at(p, item)->older;
    return item;
}

uint32_t changes_next(const struct changes *c, const struct pool *p, struct change_cursor *at)
{
    uint32_t item = above(c, p, at);

    if (item != 0)
        *at = (struct change_cursor){link_at(p, item)->serial, item};
    return item;
}
