/* Any addresses, replies, headers and times: the report keeps its shape. */
#include "node/delivery/dsn.h"

#include "node/delivery/dsn_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Cuts a field off the front: up to the next 0xff. A copy of its own size. */
static struct str field(struct str *rest)
{
    struct str s = str_split(rest, (char)0xff);
    char *copy = malloc(s.n > 0 ? s.n : 1);

    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    return (struct str){copy, s.n};
}

static void drop(struct str s)
{
    free((void *)(uintptr_t)s.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size};
    struct rcpt rcpts[3] = {0};
    struct envelope env = {.rcpts = rcpts, .rcpt_count = 3};
    struct dsn_in in = {.env = &env, .hostname = STR("mx.example.net")};
    uint64_t numbers[3] = {0};
    size_t n, room;
    unsigned reported = 0;
    char *buf;

    if (size < sizeof numbers + sizeof env.id.b + 4)
        return 0;
    memcpy(numbers, data, sizeof numbers);
    memcpy(env.id.b, data + sizeof numbers, sizeof env.id.b);
    rest = str_from(rest, sizeof numbers + sizeof env.id.b + 4);
    in.now_wall_ms = (int64_t)numbers[0];
    env.received_wall_ms = (int64_t)(numbers[1] >> 8);
    room = data[40] < 200 ? LIMIT_DSN_BYTES : (size_t)data[41] * 16;
    for (int i = 0; i < 3; i++) {
        rcpts[i].fate = (enum fate)(data[42] >> (2 * i) & 3);
        rcpts[i].last_ms = numbers[2] >> 8;
        rcpts[i].path = field(&rest);
        rcpts[i].reply = field(&rest);
        reported += rcpts[i].fate == FATE_BOUNCED || rcpts[i].fate == FATE_EXPIRED;
    }
    env.sender = field(&rest);
    in.body_start = field(&rest);
    buf = malloc(room > 0 ? room : 1);
    switch (dsn_build(&in, buf, room, &n)) {
    case OK: {
        struct dsn_seen seen = dsn_check((struct str){buf, n});

        DSN_HOLD(seen.final_recipients == reported && seen.statuses == reported);
        break;
    }
    case E_NOTFOUND:
        DSN_HOLD(reported == 0 || env.sender.n == 0);
        break;
    default:
        DSN_HOLD(room < LIMIT_DSN_BYTES);
    }
    free(buf);
    for (int i = 0; i < 3; i++) {
        drop(rcpts[i].path);
        drop(rcpts[i].reply);
    }
    drop(env.sender);
    drop(in.body_start);
    return 0;
}
