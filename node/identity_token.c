#include <string.h>
#include <xxhash.h>

#include "base/base64.h"
#include "base/bigendian.h"
#include "node/identity.h"

/* Before base64, all numbers big-endian:
 *   format 1 | cluster 16 | site 2 | incarnation 8 | key 32 | peers 1
 *   a peer:    site 2 | incarnation 8 | key 32 | length 2, control | length 2, data
 *   XXH3-64 of all that 8 */
#define PREFIX      "trispool-join:"
#define FORMAT      1
#define SUM_BYTES   8
#define PEER_BYTES  (2 + 8 + MEMBER_KEY_BYTES + 2 * (2 + LIMIT_ADDRESS_BYTES))
#define TOKEN_BYTES (1 + 16 + 2 + 8 + MEMBER_KEY_BYTES + 1 + LIMIT_CLUSTER_MEMBERS * PEER_BYTES)

static_assert(sizeof PREFIX - 1 + BASE64_SIZE(TOKEN_BYTES + SUM_BYTES) <= IDENTITY_TOKEN_BYTES,
              "a token with the longest addresses fits");

static bool is_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;

    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

/* What a token may say. One that names its own site among the peers, or a site twice, would
 * make the node talk to itself. */
static bool is_sound(const struct identity_token *t)
{
    if (t->site == 0 || t->incarnation == 0 || is_zero(t->key, sizeof t->key) ||
        is_zero(t->cluster, sizeof t->cluster) || t->peer_count == 0 ||
        t->peer_count > LIMIT_CLUSTER_MEMBERS)
        return false;
    for (uint32_t i = 0; i < t->peer_count; i++) {
        const struct identity_peer *p = &t->peers[i];

        if (p->site == 0 || p->site == t->site || p->incarnation == 0 ||
            is_zero(p->key, sizeof p->key) ||
            member_address_check(str_of(p->control)) != NULL ||
            member_address_check(str_of(p->data)) != NULL)
            return false;
        for (uint32_t k = 0; k < i; k++)
            if (t->peers[k].site == p->site)
                return false;
    }
    return true;
}

/* --- writing --- */

struct writer {
    char buf[TOKEN_BYTES + SUM_BYTES];
    size_t n;
};

static void put(struct writer *w, const void *p, size_t n)
{
    ASSERT(n <= sizeof w->buf - w->n);
    memcpy(w->buf + w->n, p, n);
    w->n += n;
}

static void put_number(struct writer *w, uint64_t v, size_t bytes)
{
    while (bytes-- > 0) {
        uint8_t b = (uint8_t)(v >> (8 * bytes));

        put(w, &b, 1);
    }
}

static void put_address(struct writer *w, const char *address)
{
    put_number(w, strlen(address), 2);
    put(w, address, strlen(address));
}

enum err identity_token_text(const struct identity_token *t, char out[IDENTITY_TOKEN_BYTES])
{
    struct writer w = {.n = 0};

    out[0] = 0;
    if (!is_sound(t))
        return E_PROTO;
    put_number(&w, FORMAT, 1);
    put(&w, t->cluster, sizeof t->cluster);
    put_number(&w, t->site, 2);
    put_number(&w, t->incarnation, 8);
    put(&w, t->key, sizeof t->key);
    put_number(&w, t->peer_count, 1);
    for (uint32_t i = 0; i < t->peer_count; i++) {
        const struct identity_peer *p = &t->peers[i];

        put_number(&w, p->site, 2);
        put_number(&w, p->incarnation, 8);
        put(&w, p->key, sizeof p->key);
        put_address(&w, p->control);
        put_address(&w, p->data);
    }
    put_number(&w, XXH3_64bits(w.buf, w.n), SUM_BYTES);
    memcpy(out, PREFIX, sizeof PREFIX);
    base64_encode((struct str){w.buf, w.n}, out + sizeof PREFIX - 1);
    return OK;
}

/* --- reading --- */

struct reader {
    struct str rest;
    bool is_bad;
};

static struct str take(struct reader *r, size_t n)
{
    struct str got;

    if (r->rest.n < n) {
        r->is_bad = true;
        r->rest = STR_NONE;
        return STR_NONE;
    }
    got = str_head(r->rest, n);
    r->rest = str_from(r->rest, n);
    return got;
}

static uint64_t take_number(struct reader *r, size_t bytes)
{
    struct str s = take(r, bytes);

    return get_be(s.p, (int)s.n);
}

static void take_bytes(struct reader *r, uint8_t *out, size_t n)
{
    struct str s = take(r, n);

    if (s.n == n)
        memcpy(out, s.p, n);
}

static void take_address(struct reader *r, char out[LIMIT_ADDRESS_BYTES + 1])
{
    struct str s = take(r, take_number(r, 2));

    if (!str_to_z(s, out, LIMIT_ADDRESS_BYTES + 1))
        r->is_bad = true;
}

static void take_all(struct reader *r, struct identity_token *t)
{
    if (take_number(r, 1) != FORMAT)
        r->is_bad = true;
    take_bytes(r, t->cluster, sizeof t->cluster);
    t->site = (uint16_t)take_number(r, 2);
    t->incarnation = take_number(r, 8);
    take_bytes(r, t->key, sizeof t->key);
    t->peer_count = (uint32_t)take_number(r, 1);
    for (uint32_t i = 0; !r->is_bad && i < t->peer_count && i < LIMIT_CLUSTER_MEMBERS; i++) {
        struct identity_peer *p = &t->peers[i];

        p->site = (uint16_t)take_number(r, 2);
        p->incarnation = take_number(r, 8);
        take_bytes(r, p->key, sizeof p->key);
        take_address(r, p->control);
        take_address(r, p->data);
    }
}

static enum err parse(struct str text, struct identity_token *out)
{
    char bytes[IDENTITY_TOKEN_BYTES];
    struct reader r = {.is_bad = false};
    struct str all;
    size_t n;

    if (text.n >= IDENTITY_TOKEN_BYTES || text.n < sizeof PREFIX - 1 ||
        !str_eq(str_head(text, sizeof PREFIX - 1), STR(PREFIX)) ||
        !base64_decode(str_from(text, sizeof PREFIX - 1), bytes, &n) || n < SUM_BYTES)
        return E_PROTO;
    all = str_head((struct str){bytes, n}, n - SUM_BYTES);
    r.rest = (struct str){bytes + all.n, SUM_BYTES};
    if (take_number(&r, SUM_BYTES) != XXH3_64bits(all.p, all.n))
        return E_PROTO;
    r.rest = all;
    take_all(&r, out);
    return !r.is_bad && r.rest.n == 0 && is_sound(out) ? OK : E_PROTO;
}

enum err identity_token_parse(struct str text, struct identity_token *out)
{
    enum err e;

    *out = (struct identity_token){.site = 0};
    e = parse(text, out);
    if (e != OK)
        *out = (struct identity_token){.site = 0};
    return e;
}
