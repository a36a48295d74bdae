#include "base/str.h"

bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t value = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint64_t digit = (uint64_t)(unsigned char)s.p[i] - '0';

        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool str_to_z(struct str s, char *buf, size_t size)
{
    ASSERT(size > 0);
    buf[0] = 0;
    if (s.n >= size || (s.n > 0 && memchr(s.p, 0, s.n) != NULL))
        return false;
    if (s.n > 0)
        memcpy(buf, s.p, s.n);
    buf[s.n] = 0;
    return true;
}

struct str str_lower(struct str s, char *buf, size_t size)
{
    ASSERT(s.n <= size);
    for (size_t i = 0; i < s.n; i++)
        buf[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + ('a' - 'A') : s.p[i]);
    return (struct str){buf, s.n};
}
