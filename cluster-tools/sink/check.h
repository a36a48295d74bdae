/*
 * check: compares journals of trispool-load with ledgers of trispool-sink.
 *
 * Every id that was acknowledged (A) must have arrived, once and whole. A second copy is
 * excused for each time the sender could not know: an unknown outcome (U), a 250 withheld on
 * purpose (K), a second A. Formats: cluster-tools/load/journal.h, cluster-tools/sink/ledger.h.
 *
 * Threads: one owner. Limits: LIMIT_TOOL_IDS ids.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"
#include "cluster-tools/common/idtable.h"

#define CHECK_MAX_FILES 256
#define CHECK_ANY       UINT64_MAX

struct check_setup {
    const char *journals[CHECK_MAX_FILES], *ledgers[CHECK_MAX_FILES];
    size_t journal_count, ledger_count;
    uint64_t max_duplicates; /* that are not excused; CHECK_ANY: any number is fine */
    bool verbose;            /* the first ids that are wrong, on stderr */
    bool lenient;            /* bare CRs and LFs do not fail the check */
};

struct check_result {
    uint64_t acked, delivered;    /* ids */
    uint64_t lost;                /* acked, never arrived */
    uint64_t altered;             /* a copy arrived that differs from what was sent */
    uint64_t duplicates, excused; /* copies too many: without and with an excuse */
    uint64_t unknown_delivered;   /* arrived, outcome unknown to the sender */
    uint64_t refused_delivered;   /* arrived although every answer was a refusal */
    uint64_t foreign;             /* arrived, in no journal */
    uint64_t untagged;            /* arrived without an id: not judged here */
    uint64_t noncanonical;        /* CRs and LFs that stood alone */
    uint64_t unread; /* lines that are of no known form, or over the limit of ids */
};

/* One line of a journal or of a ledger, without LF; for tests, and for check_run(). */
void check_journal_line(struct check_result *r, struct idtable *ids, struct str line);
void check_ledger_line(struct check_result *r, struct idtable *ids, struct str line);

/* Counts what the lines amount to; `shown`: where the wrong ids go, may be NULL. */
void check_sum(struct check_result *r, const struct idtable *ids, FILE *shown);

bool check_passes(const struct check_result *r, const struct check_setup *setup);

/* Reads the files, prints one JSON line to `to`. *pass: what check_passes() says.
 * Errors: E_NOTFOUND (a file cannot be read), E_FULL (no memory); the reason is on stderr. */
MUST_CHECK enum err check_run(const struct check_setup *setup, FILE *to, bool *pass);
