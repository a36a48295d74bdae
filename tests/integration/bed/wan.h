/*
 * wan: the wide-area network between the sites of a bed: for each direction of each pair of
 * sites delay, jitter, loss, loss in bursts, doubled, reordered and damaged packets, a rate
 * with a queue, a link that is down, a link that holds its packets back. No I/O and no clock:
 * packets and the time come in, packets that are due go out. One seed, one course of things.
 * Threads: one owner.
 * Limits: WAN_SITES sites, WAN_PREFIXES prefixes each. Packets in flight: as memory lasts; out
 * of memory ends the process, since a bed that loses packets on its own proves nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prng.h"
#include "base/str.h"

#define WAN_SITES        32
#define WAN_PREFIXES     8
#define WAN_NAME_BYTES   32
#define WAN_PACKET_BYTES 65600

struct wan_prefix {
    int family; /* AF_INET, AF_INET6 */
    unsigned bits;
    unsigned char address[16];
};

struct wan_site {
    char name[WAN_NAME_BYTES];
    struct wan_prefix prefixes[WAN_PREFIXES];
    size_t prefix_count;
};

struct wan_count {
    uint64_t packets, bytes, lost, overflowed, fell_down, doubled, reordered, damaged;
};

/* Times in ns; chances in millionths; the rate in bytes a second, 0: none. */
struct wan_link {
    uint64_t delay, jitter, rate, queue_bytes;
    uint32_t loss, doubled, reordered, damaged, burst_begin, burst_end;
    bool is_down, is_held, in_burst;
    uint64_t free_at;  /* when the last byte so far has left */
    uint64_t last_due; /* keeps the order when there is jitter */
    struct prng prng;
    struct wan_count count;
};

struct wan_packet {
    uint64_t due, number; /* WAN_HELD: not before its link lets go */
    uint8_t from, to;
    size_t size;
    unsigned char *bytes;
};

#define WAN_HELD UINT64_MAX

struct wan {
    struct wan_site sites[WAN_SITES];
    size_t site_count;
    struct wan_link links[WAN_SITES][WAN_SITES];
    struct wan_packet *heap; /* by due, then number */
    size_t heap_count, heap_room;
    uint64_t next_number, strangers;
};

void wan_init(struct wan *w, uint64_t seed);
void wan_fini(struct wan *w);

/* A packet came in, IPv4 or IPv6. False: not between two sites, pass it on at once. Damages the
 * bytes where the link does. */
bool wan_take(struct wan *w, uint64_t now, unsigned char *bytes, size_t size);

/* Gives the next packet that is due (free its bytes); false: none now. A packet whose link went
 * down meanwhile is lost. */
bool wan_give(struct wan *w, uint64_t now, struct wan_packet *out);

/* When the next packet is due; WAN_HELD: none. */
uint64_t wan_next(const struct wan *w);

void wan_seed(struct wan *w, uint64_t seed);

/* The packets that a link held go on their way, in the order they came. */
void wan_release(struct wan *w, size_t from, size_t to, uint64_t now);

/* One command, one word after the other, numbers with a unit:
 *     site NAME PREFIX...       198.18.1.0/24 2001:db8:1::/48
 *     link FROM TO WORD...      FROM, TO: a site, or * for each; one direction
 *         delay=40ms jitter=5ms loss=0.5% double=0.1% reorder=1% damage=0.01%
 *         rate=20mbit queue=256k burst=BEGIN,END up down hold release
 *     seed N | reset | zero | stats
 * The answer begins with "error" when it was not understood; its length. */
size_t wan_command(struct wan *w, uint64_t now, struct str line, char *answer, size_t size);
