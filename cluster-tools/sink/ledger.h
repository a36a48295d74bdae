/*
 * ledger: the ledger of trispool-sink, one line for every message taken. Lines are
 *
 *     R <id> <usec> <verdict> <recipients> <port>   taken, and answered 250
 *     K <id> <usec> <verdict> <recipients> <port>   the same, but the 250 was withheld on
 * purpose (ackloss: a second copy is then legitimate) N <id> <usec> <count> <port> so many CRs
 * and LFs stood alone: in that message, or (id -) in the commands of a session
 *
 * id: from X-Trispool-Id, - when there is none. usec: since 1970. verdict: ok, short (bytes are
 * missing), bad (bytes differ), untagged. port: that of the listener.
 *
 * Durability: a line is written to the kernel before the answer is sent; nothing is fsynced.
 * Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"

struct ledger {
    FILE *file; /* NULL: nobody wants one */
    bool failed;
};

struct ledger_entry {
    bool withheld; /* K */
    struct str id; /* empty: - */
    uint64_t wall_us;
    const char *verdict;
    unsigned rcpts;
    uint16_t port;
};

/* Appends to the file at `path`; NULL: no ledger. E_IO: errno says why. */
MUST_CHECK enum err ledger_open(struct ledger *l, const char *path);
void ledger_add(struct ledger *l, const struct ledger_entry *entry);
void ledger_add_noncanonical(struct ledger *l, struct str id, uint64_t wall_us, uint64_t count,
                             uint16_t port);

/* E_IO: some line could not be written; the ledger must not be believed. */
MUST_CHECK enum err ledger_close(struct ledger *l);
