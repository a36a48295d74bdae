/* Whatever decodes is legal, encodes again, and decodes to the same bytes. Random bytes hardly
 * ever are a record, so an input is also taken as changes to a good one, and as a list of
 * fields with lengths and numbers on both sides of their limits. */
#include <stdlib.h>

#include "proto/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *data, size_t size)
{
    struct arena a;
    struct envelope e, back;
    size_t n;
    uint8_t *first, *second;

    arena_init(&a, 2 * RECORD_ARENA_BYTES);
    if (envelope_decode((struct str){(const char *)data, size}, &a, &e) == OK) {
        n = envelope_encoded_size(&e);
        ASSERT(n > 0 && n <= LIMIT_ENVELOPE_BYTES);
        first = malloc(n);
        second = malloc(n);
        ASSERT(first != NULL && second != NULL);
        ASSERT(envelope_encode(&e, first) == n);
        ASSERT(envelope_decode((struct str){(const char *)first, n}, &a, &back) == OK);
        ASSERT(envelope_encoded_size(&back) == n);
        ASSERT(envelope_encode(&back, second) == n);
        ASSERT(memcmp(first, second, n) == 0);
        free(first);
        free(second);
        back.rcpt_count = n % 2 == 0 ? 0 : LIMIT_SMTP_RCPTS + 1;
        ASSERT(envelope_encoded_size(&back) == 0);
    }
    arena_reset(&a);
}

/* An arena that ends somewhere in the middle is full, or was large enough. */
static void check_small_arena(const uint8_t *data, size_t size, size_t ceiling)
{
    struct arena a;
    struct envelope e;
    enum err err;

    arena_init(&a, ceiling);
    err = envelope_decode((struct str){(const char *)data, size}, &a, &e);
    ASSERT(err == OK || err == E_FULL || err == E_PROTO);
    ASSERT(err == OK || e.rcpts == NULL);
    arena_reset(&a);
}

/* Bytes of the input, in pairs, are (where, what) in a good record. */
static void check_changed(const uint8_t *data, size_t size)
{
    struct rcpt rcpts[2] = {{.path = STR("ann@example.org"), .attempts = 300},
                            {.path = STR("bob@example.org"), .reply = STR("550 no")}};
    struct envelope e = {.domain = STR("example.org"),
                         .sender = STR("joe@example.net"),
                         .rcpts = rcpts,
                         .rcpt_count = 2,
                         .body_digest = 99,
                         .trace_header = STR("Received: by x\r\n"),
                         .phase = PHASE_DSN};
    size_t n = envelope_encoded_size(&e);
    uint8_t *record = malloc(n);

    ASSERT(record != NULL);
    envelope_encode(&e, record);
    for (size_t i = 0; i + 1 < size && i < 8; i += 2)
        record[data[i] % n] = data[i + 1];
    check(record, n);
    check_small_arena(record, n, data[0] * UINT64_C(4));
    free(record);
}

/* A record in the making. */
struct wire {
    uint8_t *at;
    size_t n, room;
};

static void put_byte(struct wire *w, uint8_t byte)
{
    if (w->n < w->room)
        w->at[w->n++] = byte;
}

static void put_varint(struct wire *w, uint64_t v)
{
    for (; v > 127; v >>= 7)
        put_byte(w, (uint8_t)(v | 128));
    put_byte(w, (uint8_t)v);
}

static void put_bytes(struct wire *w, unsigned field, size_t n)
{
    put_varint(w, field << 3 | 2);
    put_varint(w, n);
    for (size_t i = 0; i < n; i++)
        put_byte(w, 'x');
}

static void put_number(struct wire *w, unsigned field, uint64_t v)
{
    put_varint(w, field << 3);
    put_varint(w, v);
}

/* Lengths that matter: the limits of record.c, one more, and the small ones. */
static size_t some_length(uint8_t pick)
{
    static const size_t limits[] = {1, 16, 64, 128, 253, 254, 255, 1024, 8192};

    return limits[(pick & 127) % (sizeof limits / sizeof limits[0])] + (pick >> 7);
}

static void put_rcpt(struct wire *w, const uint8_t *data)
{
    uint8_t room[16384];
    struct wire r = {.at = room, .room = sizeof room};

    if (data[0] & 1)
        put_bytes(&r, 1, some_length(data[1]));
    if (data[0] & 2)
        put_number(&r, 2, data[2] % 8);
    if (data[0] & 4)
        put_bytes(&r, 8, some_length(data[2]));
    if (data[0] & 8)
        put_number(&r, data[2] % 16, data[1]);
    put_varint(w, 5 << 3 | 2);
    put_varint(w, r.n);
    for (size_t i = 0; i < r.n; i++)
        put_byte(w, room[i]);
}

/* Four bytes of the input are one field. Field 5 is a recipient; a few are many of them. */
static void check_built(const uint8_t *data, size_t size)
{
    struct wire w = {.room = LIMIT_ENVELOPE_BYTES};

    w.at = malloc(w.room);
    ASSERT(w.at != NULL);
    if (data[0] & 1) { /* mostly begin with what a record must have */
        put_bytes(&w, 1, 16);
        put_bytes(&w, 2, 5);
        put_rcpt(&w, (const uint8_t *)"\x01\x00\x00");
    }
    for (size_t i = 1; i + 3 < size; i += 4) {
        unsigned field = data[i] % 32;

        if (field == 5)
            for (int n = data[i] == 5 ? 101 : 1; n > 0; n--)
                put_rcpt(&w, data + i + 1);
        else if (data[i + 1] & 1)
            put_bytes(&w, field, some_length(data[i + 2]));
        else
            put_number(&w, field, (uint64_t)data[i + 2] << (data[i + 3] % 57));
    }
    check(w.at, w.n);
    check_small_arena(w.at, w.n, data[0] * UINT64_C(4));
    free(w.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact;

    if (size == 0)
        return 0;
    exact = malloc(size);
    ASSERT(exact != NULL);
    memcpy(exact, data, size);
    check(exact, size);
    check_changed(exact, size);
    check_built(exact, size);
    free(exact);
    return 0;
}
