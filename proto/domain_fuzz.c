/* Any text: a route that is read comes out and in again as the same; a complaint points into
 * the text. Any fields: a record that passes its check has names, routes and words that pass
 * theirs. The first byte chooses. */
#include "proto/domain.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void route(struct str in, struct arena *a)
{
    char text[ROUTE_TEXT_SIZE];
    struct domain_route r, back;
    size_t at, n;

    if (route_parse(in, a, &r, &at) != NULL) {
        ASSERT(at <= in.n);
        return;
    }
    n = route_format(&r, text);
    ASSERT(n < sizeof text && strlen(text) == n);
    ASSERT(route_parse((struct str){text, n}, a, &back, &at) == NULL);
    ASSERT(r.kind == back.kind && r.host_count == back.host_count);
    for (uint32_t i = 0; i < r.host_count; i++)
        ASSERT(str_eq(r.hosts[i].host, back.hosts[i].host) &&
               r.hosts[i].port == back.hosts[i].port &&
               r.hosts[i].preference == back.hosts[i].preference);
}

static void checks(struct str in)
{
    uint8_t c[DOMAIN_CHECK_KINDS] = {CHECK_REFUSE}, back[DOMAIN_CHECK_KINDS] = {0};
    char text[CHECKS_TEXT_SIZE];
    size_t at = 0;

    if (checks_parse(in, c, &at) != NULL) {
        ASSERT(at <= in.n && c[0] == CHECK_REFUSE && c[1] == CHECK_OFF);
        return;
    }
    ASSERT(c[DOMAIN_CHECK_HEADERS] != CHECK_DEFER);
    ASSERT(checks_parse((struct str){text, checks_format(c, text)}, back, &at) == NULL);
    ASSERT(memcmp(c, back, sizeof c) == 0);
}

static void words(struct str in)
{
    enum domain_tls tls;
    enum domain_eight_bit e;
    enum domain_dsn d;

    if (domain_dsn_parse(in, &d))
        ASSERT(str_eq(in, str_of(domain_dsn_text(d))));
    if (domain_tls_parse(in, &tls))
        ASSERT(str_eq(in, str_of(domain_tls_text(tls))));
    if (domain_eight_bit_parse(in, &e))
        ASSERT(str_eq(in, str_of(domain_eight_bit_text(e))));
    checks(in);
    if (domain_digest_check(in) == NULL) {
        size_t at = str_find_last(in, '@');

        ASSERT(at > 0 && at <= LIMIT_SMTP_LOCAL_PART_BYTES && str_find(in, '@') == at);
        ASSERT(domain_name_check(str_from(in, at + 1)) == NULL);
    }
    if (domain_name_check(in) == NULL) {
        ASSERT(in.n >= 3 && in.n <= LIMIT_SMTP_DOMAIN_BYTES);
        ASSERT(in.p[0] != '.' && !str_ends(in, '.') && !str_ends(in, '-'));
    }
}

/* Fields from the first bytes, names from the rest. */
static void record(struct str in)
{
    static const uint32_t holds[] = {0, 1, LIMIT_HOLD_MIN_S, LIMIT_HOLD_MAX_S,
                                     LIMIT_HOLD_MAX_S + 1};
    uint8_t f[8] = {0};
    struct str rest;
    struct domain d;

    if (in.n < sizeof f)
        return;
    memcpy(f, in.p, sizeof f);
    rest = str_from(in, sizeof f);
    d = (struct domain){.name = str_split(&rest, ';'),
                        .route = {.kind = (enum route_kind)(f[0] % 4), .host_count = f[1] % 23},
                        .hold_s = holds[f[2] % 5],
                        .tls = (enum domain_tls)(f[3] % 4),
                        .eight_bit = (enum domain_eight_bit)(f[4] % 3),
                        .max_connections = (uint32_t)f[5] * 8,
                        .checks = {f[7] % 5, 0, 0, f[7] / 64}};
    for (uint32_t i = 0; i < d.route.host_count && i < LIMIT_ROUTE_HOSTS; i++)
        d.route.hosts[i] = (struct domain_host){.host = str_split(&rest, ';'), .port = f[6]};
    if (domain_check(&d) != NULL)
        return;
    ASSERT(domain_name_check(d.name) == NULL);
    ASSERT((d.route.kind == ROUTE_MX) == (d.route.host_count == 0));
    ASSERT(d.route.host_count == 0 || d.route.hosts[0].port != 0);
    ASSERT(d.hold_s != 1 && d.max_connections <= LIMIT_DOMAIN_CONNS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str in;
    char *copy;

    if (size < 1)
        return 0;
    copy = malloc(size - 1 > 0 ? size - 1 : 1);
    ASSERT(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    in = (struct str){copy, size - 1};
    arena_init(&a, 1 << 20);
    switch (data[0] % 3) {
    case 0:
        route(in, &a);
        break;
    case 1:
        words(in);
        break;
    default:
        record(in);
        break;
    }
    arena_reset(&a);
    free(copy);
    return 0;
}
