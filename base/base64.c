#include "base/base64.h"

#include <stdint.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(struct str in, char *buf)
{
    size_t n = 0;

    for (size_t i = 0; i < in.n; i += 3) {
        size_t left = in.n - i;
        uint32_t v = (uint32_t)(uint8_t)in.p[i] << 16;

        if (left > 1)
            v |= (uint32_t)(uint8_t)in.p[i + 1] << 8;
        if (left > 2)
            v |= (uint8_t)in.p[i + 2];
        buf[n++] = digits[v >> 18];
        buf[n++] = digits[v >> 12 & 63];
        buf[n++] = left > 1 ? digits[v >> 6 & 63] : '=';
        buf[n++] = left > 2 ? digits[v & 63] : '=';
    }
    buf[n] = 0;
    return n;
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct str in, char *buf, size_t *out_bytes)
{
    size_t n = 0;

    *out_bytes = 0;
    if (in.n % 4 != 0)
        return false;
    for (size_t i = 0; i < in.n; i += 4) {
        bool is_last = i + 4 == in.n;
        int pad = !is_last || in.p[i + 3] != '=' ? 0 : in.p[i + 2] == '=' ? 2 : 1;
        uint32_t v = 0;

        for (int k = 0; k < 4; k++) {
            int d = k >= 4 - pad ? 0 : value_of(in.p[i + (size_t)k]);

            if (d < 0)
                return false;
            v = v << 6 | (uint32_t)d;
        }
        if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
            return false; /* bits that encode nothing */
        buf[n++] = (char)(v >> 16);
        if (pad < 2)
            buf[n++] = (char)(v >> 8 & 255);
        if (pad < 1)
            buf[n++] = (char)(v & 255);
    }
    *out_bytes = n;
    return true;
}
