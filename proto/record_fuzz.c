/* Whatever decodes is legal, encodes again, and decodes to the same bytes. Random bytes hardly
 * ever are a record, so half of the inputs are changes to a good one. */
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
    }
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
    free(record);
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
    free(exact);
    return 0;
}
