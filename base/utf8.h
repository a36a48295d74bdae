/*
 * utf8: UTF-8 a byte at a time, strictly (RFC 3629 4): no overlong forms, no surrogates,
 * nothing above U+10FFFF; and which characters deceive who reads them. Header only. Pure.
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* All zero: between two characters. */
struct utf8 {
    uint8_t left, low, high; /* bytes of this character to come, bounds of the next one */
    uint32_t character;      /* complete when left is 0 */
};

/* False: the byte cannot stand here; nothing is to be fed after that. */
static inline bool utf8_step(struct utf8 *u, uint8_t c)
{
    if (u->left > 0) {
        if (c < u->low || c > u->high)
            return false;
        u->left--;
        u->low = 0x80;
        u->high = 0xbf;
        u->character = u->character << 6 | (c & 0x3f);
        return true;
    }
    u->character = c;
    if (c < 0x80)
        return true;
    if (c < 0xc2 || c > 0xf4)
        return false;
    u->left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    u->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    u->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    u->character = c & (0x3fU >> u->left);
    return true;
}

/* Control characters, and what cannot be seen or turns the text around it. The joiners U+200C
 * and U+200D are none: some scripts need them. */
static inline bool utf8_is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x200b ||
           (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x2069) || c == 0xfeff || c == 0xfffe || c == 0xffff;
}

/* Whole characters, and none that is hidden. */
static inline bool utf8_is_text(struct str s)
{
    struct utf8 u = {0};

    for (size_t i = 0; i < s.n; i++)
        if (!utf8_step(&u, (uint8_t)s.p[i]) || (u.left == 0 && utf8_is_hidden(u.character)))
            return false;
    return u.left == 0;
}

/* Whole characters, nothing but. */
static inline bool utf8_is_valid(struct str s)
{
    struct utf8 u = {0};

    for (size_t i = 0; i < s.n; i++)
        if (!utf8_step(&u, (uint8_t)s.p[i]))
            return false;
    return u.left == 0;
}

static inline bool utf8_has_8bit(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] >= 0x80)
            return true;
    return false;
}
