/*
 * known: what the door of a node remembers, on disk: the sets that all sites fill together
 * (greylist and the like). An LMDB environment of its own, so that its commits delay nothing
 * else. All of it can be lost: a peer tells it again, or strangers are strangers once more. So
 * commits are relaxed (a crash of the machine may undo the last ones, whole), and a store that
 * cannot be read is put aside and begun anew.
 *
 * A record is key -> value; both are the set's own. Checksums as in ctlkv.
 *
 * Threads: one owner. Limits: KNOWN_MAP_BYTES of disk; keys of 1 to 300 bytes, values of at
 * most LIMIT_GOSSIP_ENTRY_BYTES.
 * Errors: E_FULL: no room, nothing of the transaction is stored, later ones may be. E_IO: the
 * disk fails; every later one does, too. Logged where they arise. Neither ends the node.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

#define KNOWN_MAP_BYTES ((uint64_t)4 * GiB)

/* Tables; part of the disk format. */
enum known_table { KNOWN_GREYLIST, KNOWN_RECIPIENTS, KNOWN_TABLES };

struct known;

/* Makes what is missing; what cannot be read (DIR/data.mdb) goes to
 * DIR/data.mdb.bad, which replaces an older one. */
MUST_CHECK enum err known_open(struct known **out, const char *dir);
void known_close(struct known **k); /* NULL: fine */

/* All records of a table, in the order of their keys; borrowed for the call. False: it is not
 * to be kept, and goes: now or, without room or beside a damaged one, the next time. A damaged
 * one is logged, and goes. */
MUST_CHECK enum err known_each(struct known *k, enum known_table table, void *ctx,
                               bool (*keeps)(void *ctx, struct str key, struct str value));

/* Changes gather from begin to commit; an error keeps. */
void known_begin(struct known *k);
void known_put(struct known *k, enum known_table table, struct str key, struct str value);
void known_drop(struct known *k, enum known_table table, struct str key); /* none: fine */
void known_clear(struct known *k, enum known_table table);
MUST_CHECK enum err known_commit(struct known *k);
