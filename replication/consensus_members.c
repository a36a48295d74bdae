#include <stdio.h>

#include "base/assert.h"
#include "replication/consensus.h"

/* The engine's layout of a configuration, all numbers little-endian:
 *     u8 1 | u64 count | count x (u64 id | address, NUL | u8 role)
 * Addresses must differ in the engine; ours are "site.id" and say nothing else. It is read here
 * first, whole: the engine trusts these bytes. */
#define LAYOUT        1
#define HEAD_BYTES    9
#define ADDRESS_BYTES 32

static size_t put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
    return 8;
}

static uint64_t get_u64(const char *p)
{
    uint64_t v = 0;

    for (int i = 7; i >= 0; i--)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

static size_t address(const struct cs_member *m, char out[ADDRESS_BYTES])
{
    return (size_t)snprintf(out, ADDRESS_BYTES, "%u.%llu", m->site, (unsigned long long)m->id);
}

struct str cs_members_encode(const struct cs_members *m, uint8_t buf[RAFTWIRE_MEMBERS_BYTES])
{
    size_t at = HEAD_BYTES;

    ASSERT(m->count <= CS_MEMBERS);
    buf[0] = LAYOUT;
    put_u64(buf + 1, m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        char text[ADDRESS_BYTES];
        size_t n = address(&m->list[i], text);

        at += put_u64(buf + at, m->list[i].id);
        memcpy(buf + at, text, n + 1);
        at += n + 1;
        buf[at++] = (uint8_t)m->list[i].role;
    }
    ASSERT(at <= RAFTWIRE_MEMBERS_BYTES);
    return (struct str){(const char *)buf, at};
}

/* One member at the head of *s. */
static bool cut_member(struct str *s, struct cs_member *m)
{
    char text[ADDRESS_BYTES];
    struct str name;
    uint64_t site;
    size_t n;

    if (s->n < 8)
        return false;
    m->id = get_u64(s->p);
    name = str_from(*s, 8);
    n = str_find(name, '.');
    if (n == name.n || !str_to_u64(str_head(name, n), &site) || site == 0 || site > UINT16_MAX)
        return false;
    m->site = (uint16_t)site;
    n = address(m, text) + 1; /* with its NUL */
    if (name.n < n + 1 || memcmp(name.p, text, n) != 0)
        return false;
    m->role = (enum cs_role)(uint8_t)name.p[n];
    *s = str_from(name, n + 1);
    return m->id != 0 && m->role <= CS_SPARE;
}

bool cs_members_decode(struct str bytes, struct cs_members *out)
{
    struct str rest;
    uint64_t count;

    *out = (struct cs_members){.count = 0};
    if (bytes.n < HEAD_BYTES || bytes.n > RAFTWIRE_MEMBERS_BYTES || bytes.p[0] != LAYOUT)
        return false;
    count = get_u64(bytes.p + 1);
    rest = str_from(bytes, HEAD_BYTES);
    if (count == 0 || count > CS_MEMBERS)
        return false;
    while (out->count < count) {
        struct cs_member m;

        if (!cut_member(&rest, &m) || cs_member_find(out, m.id) != NULL)
            return false;
        out->list[out->count++] = m;
    }
    return rest.n == 0;
}

const struct cs_member *cs_member_find(const struct cs_members *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->list[i].id == id)
            return &m->list[i];
    return NULL;
}
