/*
 * crowd: how many sessions each client (or network) has open, and how fast it opens new ones,
 * in a table whose size does not depend on how many there are. Two of them stand at the door:
 * one of clients, one of networks.
 *
 * A key has one cell in each of CROWD_ROWS rows, found by a hash under a secret key, and what
 * counts is the least of its cells (count-min sketch, Cormode and Muthukrishnan 2005). So a
 * client is never counted too low, and too high only when strangers share all its cells: nobody
 * can aim at a chosen other without the secret, and by chance 2,000 strangers at their limit
 * meet in all four cells of one client in 5,000.
 *
 * The rate is a bucket of one minute's sessions that fills evenly (GCRA, ITU-T I.371): a cell
 * holds the time at which it would be full again. A session that is refused costs nothing, so
 * that who slows down is let in.
 *
 * Pure: no clock, no heap. Threads: enter and leave from any, on the same cells; the cells are
 * atomics. At a limit two threads may both refuse, never both let in.
 * Limits: LIMIT_CROWD_CELLS. Memory: 1 MiB.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "node/policy/ip.h"

#define CROWD_ROWS 4

struct crowd_cell {
    atomic_uint_fast64_t full_us; /* when the bucket is full again */
    atomic_uint_fast32_t inside;
};

struct crowd {
    uint64_t secret[2];
    struct crowd_cell cells[CROWD_ROWS][LIMIT_CROWD_CELLS];
};

struct crowd_terms {
    uint32_t inside;     /* at the same time; at least 1 */
    uint32_t per_minute; /* new ones; 0: any number */
};

/* Where a session is counted, to be counted out again. All zero: nowhere. */
struct crowd_place {
    bool is_inside;
    uint16_t cells[CROWD_ROWS];
};

enum crowd_verdict { CROWD_IN, CROWD_TOO_MANY, CROWD_TOO_FAST };

/* *c is zeroed; the secret: random bytes that nobody else knows. */
void crowd_init(struct crowd *c, const uint64_t secret[2]);

/* One more session of `who`. IN: it is counted, *place is for crowd_leave(). Else nothing is
 * counted, and *place is zero. now_ms: of a clock that is never set back. */
enum crowd_verdict crowd_enter(struct crowd *c, const struct ip_addr *who,
                               const struct crowd_terms *terms, uint64_t now_ms,
                               struct crowd_place *place);
void crowd_leave(struct crowd *c, struct crowd_place *place); /* of nowhere: fine */
/* It was not to be: it leaves, and its rate is given back. Terms: those it came in by. */
void crowd_undo(struct crowd *c, const struct crowd_terms *terms, struct crowd_place *place);

/* Who a client is: an IPv4 address, or a /64 of IPv6, which is one host's or one household's.
 */
struct ip_addr crowd_client(const struct ip_addr *ip);
/* Its network: a /24 of IPv4, a /48 of IPv6 (RFC 6177: one site's). */
struct ip_addr crowd_network(const struct ip_addr *ip);
