/*
 * retry: messages that wait for their next attempt, the earliest first. A binary heap.
 *
 * Threads: one owner. Memory: grows with what waits.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A message on its way. */
struct message {
    uint64_t number;       /* from 0; the ledger id is made from it */
    uint64_t scheduled_us; /* when it should have been sent first */
    uint64_t due_us;       /* of the next attempt */
    uint32_t attempts;     /* that have failed */
};

struct retry_heap {
    struct message *list;
    size_t n, size;
};

void retry_init(struct retry_heap *h);
void retry_fini(struct retry_heap *h);

/* E_FULL: no memory. */
MUST_CHECK enum err retry_push(struct retry_heap *h, const struct message *m);

/* Takes the earliest message off when its time has come. E_AGAIN: nothing is due. */
MUST_CHECK enum err retry_pop_due(struct retry_heap *h, uint64_t now_us, struct message *out);

/* When the earliest is due; UINT64_MAX when nothing waits. */
uint64_t retry_next_us(const struct retry_heap *h);

/* The wait after `attempts` failed ones: first_us, doubled each time, at most max_us. */
uint64_t retry_wait_us(uint32_t attempts, uint64_t first_us, uint64_t max_us);
