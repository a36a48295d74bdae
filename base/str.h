/* str: a borrowed run of bytes. Not NUL-terminated. Never owns. The only place, with parsers
 * that have a fuzzer, where pointers into outside bytes are computed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"

struct str {
    const char *p;
    size_t n;
};

#define STR(lit)   ((struct str){(lit), sizeof(lit) - 1})
#define STR_NONE   ((struct str){NULL, 0})
#define STR_FMT    "%.*s"
#define STR_ARG(s) (int)(s).n, (s).n > 0 ? (s).p : ""

static inline struct str str_of(const char *z)
{
    return (struct str){z, strlen(z)};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || strncasecmp(s.p, prefix.p, prefix.n) == 0);
}

/* If *s starts with `prefix` (ASCII case ignored), cuts it off and says so. */
static inline bool str_cut_nocase(struct str *s, struct str prefix)
{
    if (!str_starts_nocase(*s, prefix))
        return false;
    *s = (struct str){s->p + prefix.n, s->n - prefix.n};
    return true;
}

static inline void str_skip(struct str *s, char c)
{
    for (; s->n > 0 && s->p[0] == c; s->n--)
        s->p++;
}

static inline bool str_ends(struct str s, char c)
{
    return s.n > 0 && s.p[s.n - 1] == c;
}

/* The first n bytes; n at most s.n. */
static inline struct str str_head(struct str s, size_t n)
{
    ASSERT(n <= s.n);
    return (struct str){s.p, n};
}

/* Everything from byte n on; n at most s.n. */
static inline struct str str_from(struct str s, size_t n)
{
    ASSERT(n <= s.n);
    return (struct str){s.n > 0 ? s.p + n : s.p, s.n - n};
}

/* Index of the first c, or s.n. */
static inline size_t str_find(struct str s, char c)
{
    const char *hit = s.n > 0 ? memchr(s.p, c, s.n) : NULL;

    return hit != NULL ? (size_t)(hit - s.p) : s.n;
}

/* Index of the last c, or s.n. */
static inline size_t str_find_last(struct str s, char c)
{
    for (size_t i = s.n; i > 0; i--)
        if (s.p[i - 1] == c)
            return i - 1;
    return s.n;
}

/* Cuts *s at the first c: returns what stands before, leaves what stands after. Without c it
 * returns all and leaves nothing. */
static inline struct str str_split(struct str *s, char c)
{
    size_t at = str_find(*s, c);
    struct str head = str_head(*s, at);

    *s = at < s->n ? str_from(*s, at + 1) : (struct str){s->n > 0 ? s->p + s->n : s->p, 0};
    return head;
}

/* A whole decimal number without sign, and nothing else. False: not one, or above UINT64_MAX.
 */
bool str_to_u64(struct str s, uint64_t *out);

/* Copies s and a NUL into buf. False, and an empty text, when it does not fit or holds a NUL.
 */
bool str_to_z(struct str s, char *buf, size_t size);

/* Copies s in ASCII lower case into buf (no NUL); returns the copy; s.n must fit. */
struct str str_lower(struct str s, char *buf, size_t size);
