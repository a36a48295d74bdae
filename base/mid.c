#include "base/mid.h"

#include "base/bigendian.h"

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

struct mid mid_make(uint16_t site, uint64_t epoch, uint64_t counter)
{
    struct mid id;

    ASSERT(epoch < UINT64_C(1) << 48);
    put_be(id.b, 2, site);
    put_be(id.b + 2, 6, epoch);
    put_be(id.b + 8, 8, counter);
    return id;
}

uint16_t mid_site(struct mid id)
{
    return (uint16_t)get_be(id.b, 2);
}

uint64_t mid_epoch(struct mid id)
{
    return get_be(id.b + 2, 6);
}

uint64_t mid_counter(struct mid id)
{
    return get_be(id.b + 8, 8);
}

const char *mid_text(struct mid id, char buf[MID_TEXT_SIZE])
{
    unsigned __int128 v = (unsigned __int128)get_be(id.b, 8) << 64 | get_be(id.b + 8, 8);

    for (int i = 25; i >= 0; i--, v >>= 5)
        buf[i] = digits[(unsigned)v & 31];
    buf[26] = 0;
    return buf;
}

bool mid_parse(struct str text, struct mid *out)
{
    unsigned __int128 v = 0;

    if (text.n != 26 || text.p[0] < '0' || text.p[0] > '7') /* 26 digits are 130 bits */
        return false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        const char *hit;

        if (c >= 'a' && c <= 'z')
            c = (char)(c - ('a' - 'A'));
        hit = c != 0 ? strchr(digits, c) : NULL;
        if (hit == NULL)
            return false;
        v = v << 5 | (unsigned)(hit - digits);
    }
    put_be(out->b, 8, (uint64_t)(v >> 64));
    put_be(out->b + 8, 8, (uint64_t)v);
    return true;
}
