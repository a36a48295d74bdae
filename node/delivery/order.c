#include "node/delivery/order.h"

static bool has_pending(const struct envelope *e)
{
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].fate == FATE_PENDING)
            return true;
    return false;
}

bool order_selects(const struct operate *o, const struct envelope *e)
{
    if (e->received_ms > o->cutoff_ms)
        return false;
    switch (o->select) {
    case OPERATE_IDS:
        for (uint32_t i = 0; i < o->id_count; i++)
            if (mid_cmp(o->ids[i], e->id) == 0)
                return true;
        return false;
    case OPERATE_DOMAIN:
        return str_eq(e->domain, o->domain) &&
               (o->generation == 0 || o->generation == e->domain_generation);
    case OPERATE_ALL:
        return true;
    }
    return false;
}

bool order_is_met(const struct operate *o, uint64_t index, bool alone, const struct envelope *e)
{
    switch (o->op) {
    case OPERATE_HOLD:
    case OPERATE_RELEASE:
        return e->held_index >= index || (alone && e->held == (o->op == OPERATE_HOLD));
    case OPERATE_RETRY:
        return false;
    case OPERATE_DELETE:
        return e->phase == PHASE_DONE || (e->phase == PHASE_DELIVER && !has_pending(e));
    case OPERATE_BOUNCE:
        return e->phase != PHASE_DELIVER || !has_pending(e);
    }
    return true;
}
