/* Any bytes: members are read from them only when they are the one form that encode makes; what
 * was read encodes to the same bytes. Members built from the input survive the way to bytes and
 * back. The first byte chooses. */
#include "base/assert.h"
#include "replication/consensus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool try_bytes(struct str in)
{
    static uint8_t again[RAFTWIRE_MEMBERS_BYTES];
    struct cs_members m;

    if (!cs_members_decode(in, &m))
        return false;
    ASSERT(m.count >= 1 && m.count <= CS_MEMBERS);
    for (uint32_t i = 0; i < m.count; i++)
        ASSERT(cs_member_find(&m, m.list[i].id) == &m.list[i]);
    ASSERT(str_eq(cs_members_encode(&m, again), in));
    return true;
}

/* Ten bytes a member: 7 of its incarnation, 2 of its site, its role; then what to damage. */
static void try_members(struct str in)
{
    static uint8_t bytes[RAFTWIRE_MEMBERS_BYTES];
    struct cs_members m = {.count = 0};
    struct str out;

    for (; in.n >= 10 && m.count < CS_MEMBERS; in = str_from(in, 10)) {
        struct cs_member *one = &m.list[m.count];

        for (int i = 0; i < 7; i++)
            one->id = one->id << 8 | (uint8_t)in.p[i];
        one->site = (uint16_t)((uint8_t)in.p[7] << 8 | (uint8_t)in.p[8]);
        one->role = (enum cs_role)((uint8_t)in.p[9] % (CS_SPARE + 1));
        if (one->id == 0 || one->site == 0 || cs_member_find(&m, one->id) != NULL)
            return;
        m.count++;
    }
    if (m.count == 0)
        return;
    out = cs_members_encode(&m, bytes);
    ASSERT(try_bytes(out));
    ASSERT(!try_bytes(str_head(out, out.n - 1)));
    for (; in.n >= 2; in = str_from(in, 2))
        bytes[(uint8_t)in.p[0] % out.n] = (uint8_t)in.p[1];
    try_bytes(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};

    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        try_bytes(str_from(in, 1));
    else
        try_members(str_from(in, 1));
    return 0;
}
