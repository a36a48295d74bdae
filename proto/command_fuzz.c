/* Any bytes: decoding either refuses them, or what it made encodes to the same bytes. The first
 * byte chooses: a command, a stored domain, a route text, or a command that was encoded from
 * chosen fields and then damaged (so that inner checks are reached without a corpus). */
#include "proto/command.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[LIMIT_COMMAND_BYTES];

static void command(struct str in, struct arena *a)
{
    struct command c;
    struct str out;

    if (command_decode(in, a, &c) != OK)
        return;
    ASSERT(command_check(&c) == NULL);
    ASSERT(command_encode(&c, again, sizeof again, &out) == OK);
    ASSERT(str_eq(in, out));
}

static void domain(struct str in, struct arena *a)
{
    struct domain d;
    struct str out;

    if (domain_decode(in, a, &d) != OK)
        return;
    ASSERT(domain_check(&d) == NULL);
    ASSERT(domain_encode(&d, again, sizeof again, &out) == OK);
    ASSERT(str_eq(in, out));
}

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
    ASSERT(route_parse((struct str){text, n}, a, &back, &at) == NULL);
    ASSERT(r.kind == back.kind && r.host_count == back.host_count);
    for (uint32_t i = 0; i < r.host_count; i++)
        ASSERT(str_eq(r.hosts[i].host, back.hosts[i].host) &&
               r.hosts[i].port == back.hosts[i].port &&
               r.hosts[i].preference == back.hosts[i].preference);
}

/* A well-formed command chosen by the input, then the rest of the input laid over its bytes. */
static void damaged(struct str in, struct arena *a)
{
    struct command c = {.kind = COMMAND_OPERATE_DONE, .operate_done.index = 7};
    uint8_t *copy;
    struct str out;

    if (in.n < 2)
        return;
    switch ((uint8_t)in.p[0] % 4) {
    case 0:
        c = (struct command){.kind = COMMAND_DOMAIN_PUT,
                             .domain_put = {.mode = DOMAIN_ADD,
                                            .domain = {.name = STR("a.example"),
                                                       .route = {.kind = ROUTE_STATIC,
                                                                 .host_count = 1,
                                                                 .hosts[0] = {STR("b"), 25, 0}},
                                                       .plan = STR("gold")}}};
        break;
    case 1:
        c = (struct command){.kind = COMMAND_OPERATE,
                             .operate = {.op = OPERATE_HOLD,
                                         .select = OPERATE_DOMAIN,
                                         .domain = STR("a.example"),
                                         .cutoff_ms = 9}};
        break;
    case 2:
        c = (struct command){.kind = COMMAND_SETTING_PUT,
                             .setting_put = {STR("name"), STR("value")}};
        break;
    default:
        break;
    }
    ASSERT(command_encode(&c, again, sizeof again, &out) == OK);
    copy = malloc(out.n);
    ASSERT(copy != NULL);
    memcpy(copy, out.p, out.n);
    for (size_t i = 1; i + 1 < in.n; i += 2)
        copy[(uint8_t)in.p[i] % out.n] = (uint8_t)in.p[i + 1];
    command((struct str){(char *)copy, out.n}, a);
    free(copy);
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
    switch (data[0] % 4) {
    case 0:
        command(in, &a);
        break;
    case 1:
        domain(in, &a);
        break;
    case 2:
        route(in, &a);
        break;
    default:
        damaged(in, &a);
        break;
    }
    arena_reset(&a);
    free(copy);
    return 0;
}
