/* Facts of a peer, any bytes: nothing is read behind their end, what makes no sense is counted
 * and changes nothing but that, and what is answered is within the limits. The first byte of
 * each piece says its length, or that time passes or a link changes.
 *
 * Covers: replication/gossip.c
 */
#include "replication/gossip.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define SETS 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t changes[SETS];
static struct gossip g;

static size_t next(void *ctx, struct change_cursor *at, char *buf)
{
    const uint64_t *newest = ctx;

    if (at->serial >= *newest)
        return 0;
    at->serial++;
    memset(buf, 'e', LIMIT_GOSSIP_ENTRY_BYTES);
    return 1 + at->serial % LIMIT_GOSSIP_ENTRY_BYTES;
}

static bool merge(void *ctx, struct str entry)
{
    (void)ctx;
    ASSERT(entry.n > 0 && entry.n <= LIMIT_GOSSIP_ENTRY_BYTES);
    return entry.p[0] != 'x' && entry.p[entry.n - 1] != 'x';
}

static void on_send(void *ctx, uint16_t site, struct str facts)
{
    (void)ctx;
    ASSERT(site >= 2 && site <= 4);
    ASSERT(facts.n > 0 && facts.n <= LIMIT_GOSSIP_FRAME_BYTES);
}

static void hear(const uint8_t *p, size_t n, uint64_t now)
{
    char *copy = malloc(n > 0 ? n : 1);

    ASSERT(copy != NULL);
    if (n > 0)
        memcpy(copy, p, n);
    gossip_heard(&g, (uint16_t)(2 + n % 3 % 2 + n / 200 * 2), (struct str){copy, n}, now);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t now = 1000;

    changes[0] = 100;
    changes[1] = 3;
    gossip_init(&g, &(struct gossip_options){
                        .nonce = 0x0101010101010101,
                        .set_count = SETS,
                        .sets = {{&changes[0], next, merge}, {&changes[1], next, merge}},
                        .send = on_send});
    gossip_link(&g, 2, true, now);
    gossip_link(&g, 3, true, now);
    while (size > 0) {
        size_t n = data[0] < size - 1 ? data[0] : size - 1;

        data++;
        size--;
        if (n == 0) {
            now += 700;
            changes[0] += 50;
            gossip_link(&g, 3, now % 2 == 0, now);
            gossip_link(&g, 4, now % 3 == 0, now); /* takes its place while it is down */
            gossip_link(&g, 5, false, now);
            (void)gossip_is_quiet(&g);
        }
        hear(data, n, now);
        gossip_tick(&g, now);
        data += n;
        size -= n;
    }
    (void)gossip_is_quiet(&g);
    return 0;
}
