/*
 * holding: which domains this node delivers, as it last saw the control state: 256 slots, the
 * domains that are placed by exception, what is being given away, and whether its lease counts.
 *
 *   holding_begin(); holding_slot() for each that has a holder; holding_place() for each
 *   placement; holding_end() says whether any answer of holding_of() may be another now.
 *   holding_lease() at any time, and at least when the lease runs out.
 *
 * A domain is ours while the lease counts and its placement names this site, or, where it has
 * none, its slot does; and when its slot, or its placement, is not being given away. It is a
 * step behind the log, never ahead: what fences is the question before each dot (INV-4).
 *
 * Pure. Threads: one owner. Limits: LIMIT_DOMAINS placements.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define HOLDING_SLOTS 256

struct holding;

/* seed: of the index; outsiders choose domain names. NULL: out of memory. */
struct holding *holding_new(uint16_t site, uint64_t seed);
void holding_free(struct holding **h);

/* now_ms: boot. */
void holding_begin(struct holding *h, uint64_t now_ms);
/* leaving: it is to be given away; nothing new is begun in it. */
void holding_slot(struct holding *h, uint32_t slot, uint16_t site, uint64_t epoch,
                  bool leaving);
/* site 0: the placement has ended: the slot's holder delivers under the later epoch of the two.
 * E_FULL: out of memory; the slot counts. */
MUST_CHECK enum err holding_place(struct holding *h, struct str domain, uint16_t site,
                                  uint64_t epoch);
/* True: it is another view than the one before. */
bool holding_end(struct holding *h);
/* False: the answer for the domains of this slot is what it was before the last view, and the
 * word on the lease behind it. */
bool holding_is_new(const struct holding *h, uint32_t slot);

/* valid: the own lease counts. True: that is another word than before. */
bool holding_lease(struct holding *h, bool valid);

/* This domain is to be given away, by a placement of ours: nothing new is begun in it, until
 * its epoch is another one or holding_keep(). */
void holding_give(struct holding *h, struct str domain, uint32_t slot);
void holding_keep(struct holding *h, struct str domain);

/* True: this node delivers the domain, under *epoch. slot: of the domain. */
bool holding_of(const struct holding *h, struct str domain, uint32_t slot, uint64_t *epoch);
/* The epoch under which the domain is held here though nothing new may begin; 0: it is not. */
uint64_t holding_epoch(const struct holding *h, struct str domain, uint32_t slot);
/* Boot time: since when it is held here under its present epoch. */
uint64_t holding_since(const struct holding *h, struct str domain, uint32_t slot);
/* It is ours by a placement. */
bool holding_is_placed(const struct holding *h, struct str domain);
uint16_t holding_home(const struct holding *h, uint32_t slot); /* who holds the slot; 0 */
bool holding_has_lease(const struct holding *h);
/* Epoch of a slot that is ours and is being given away; 0: it is not. */
uint64_t holding_leaving(const struct holding *h, uint32_t slot);
