/*
 * journal: the ledger of trispool-load, one line for every outcome. Lines are
 *
 *     A <id> <target> <usec> <code>   the target answered 2xx after the data: acknowledged
 *     U <id> <target> <usec> 0        the end of the data was sent, no answer came: unknown
 *     T <id> <target> <usec> <code>   temporary failure: 4xx, no connection (code 0), cut
 *     P <id> <target> <usec> <code>   permanent failure: 5xx
 *     G <id> - <usec> 0               given up after --attempts rounds
 *
 * id: RUN-NUMBER, or the name of the file with blanks, '%' and other bytes as %XX (files.h),
 * and ~ROUND behind it when a file is sent again. target: ADDR:PORT. usec: since the start of
 * the run. code: of the reply that decided. One message may have several lines; after A, P or G
 * there is none. `trispool-sink --check` compares journals with what arrived.
 *
 * Durability: every line is written to the kernel before the next event is looked at, so a
 * killed generator loses none; nothing is fsynced. Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"

struct journal {
    FILE *file; /* NULL: nobody wants one */
    bool failed;
};

/* path NULL: no journal. An older file is overwritten. E_IO: errno says why. */
MUST_CHECK enum err journal_open(struct journal *j, const char *path);

void journal_add(struct journal *j, char kind, struct str id, const char *target, uint64_t usec,
                 int code);

/* E_IO: some line could not be written; the journal must not be believed. */
MUST_CHECK enum err journal_close(struct journal *j);
