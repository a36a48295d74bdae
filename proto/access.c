#include "proto/access.h"

#include <string.h>

#include "base/bigendian.h"

int access_prefix_compare(const struct access_prefix *a, const struct access_prefix *b)
{
    int order = memcmp(a->address, b->address, sizeof a->address);

    return order != 0 ? order : (int)a->bits - (int)b->bits;
}

/* Bits behind the prefix are zero. */
static bool is_masked(const struct access_prefix *p)
{
    for (unsigned i = p->bits / 8; i < sizeof p->address; i++) {
        unsigned free_bits = i == p->bits / 8 ? 8 - p->bits % 8 : 8;

        if ((p->address[i] & ((1u << free_bits) - 1)) != 0)
            return false;
    }
    return true;
}

const char *access_entry_check(const struct access_entry *e)
{
    bool is_put = e->action == ACCESS_BLOCK || e->action == ACCESS_ALLOW;

    if (e->prefix.bits > 128)
        return "a prefix has at most 128 bits";
    if (!is_masked(&e->prefix))
        return "the address has bits behind its prefix";
    if (!is_put && e->action != ACCESS_REMOVE && e->action != ACCESS_LAPSE)
        return "unknown action";
    if (!is_put && (e->for_s != 0 || e->reason.n > 0))
        return "what is removed has neither a time nor a reason";
    if (e->for_s > LIMIT_ACCESS_FOR_S)
        return "an entry lasts at most ten years, or until it is removed";
    if (e->reason.n > LIMIT_ACCESS_REASON_BYTES)
        return "a reason has at most 200 characters";
    for (size_t i = 0; i < e->reason.n; i++)
        if (e->reason.p[i] < ' ' || e->reason.p[i] > '~')
            return "a reason is printable ASCII";
    return NULL;
}

enum err access_append(char *buf, size_t size, size_t *used, const struct access_entry *e)
{
    char *p = buf + *used;

    if (access_entry_check(e) != NULL)
        return E_PROTO;
    if (size - *used < ACCESS_ENTRY_BYTES + e->reason.n)
        return E_FULL;
    memcpy(p, e->prefix.address, 16);
    p[16] = (char)e->prefix.bits;
    p[17] = (char)e->action;
    put_be(p + 18, 4, e->for_s);
    p[22] = (char)e->reason.n;
    if (e->reason.n > 0)
        memcpy(p + ACCESS_ENTRY_BYTES, e->reason.p, e->reason.n);
    *used += ACCESS_ENTRY_BYTES + e->reason.n;
    return OK;
}

bool access_next(struct str *bytes, struct access_entry *out)
{
    const char *p = bytes->p;
    size_t reason_bytes;

    *out = (struct access_entry){.action = ACCESS_REMOVE};
    if (bytes->n < ACCESS_ENTRY_BYTES)
        return false;
    reason_bytes = (uint8_t)p[22];
    if (bytes->n - ACCESS_ENTRY_BYTES < reason_bytes)
        return false;
    memcpy(out->prefix.address, p, 16);
    out->prefix.bits = (uint8_t)p[16];
    out->action = (enum access_action)(uint8_t)p[17];
    out->for_s = (uint32_t)get_be(p + 18, 4);
    out->reason = str_head(str_from(*bytes, ACCESS_ENTRY_BYTES), reason_bytes);
    *bytes = str_from(*bytes, ACCESS_ENTRY_BYTES + reason_bytes);
    return true;
}

const char *access_check(struct str bytes)
{
    struct access_prefix last;
    struct access_entry e;
    uint32_t count = 0;

    while (access_next(&bytes, &e)) {
        const char *why = access_entry_check(&e);

        if (why != NULL)
            return why;
        if (count > 0 && access_prefix_compare(&last, &e.prefix) >= 0)
            return "entries are in ascending order, each prefix once";
        if (++count > LIMIT_ACCESS_BATCH)
            return "at most 1,000 entries at once";
        last = e.prefix;
    }
    if (bytes.n > 0)
        return "an entry is cut short";
    return count > 0 ? NULL : "there is no entry";
}
