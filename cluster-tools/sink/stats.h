/*
 * stats: what the sink has counted, and the JSON object that says so.
 * docs/man/trispool-sink.1.scd explains every field. Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cluster-tools/sink/fault.h"

struct stats {
    uint64_t received, unique, duplicates; /* messages taken */
    uint64_t corrupt, untagged;
    uint64_t tempfailed, rejected, dropped, stalled; /* on purpose */
    uint64_t not_kept;                               /* the disk did not take it: 452 */
    uint64_t bytes;                                  /* of messages, unstuffed */
    uint64_t connections, open, tls_sessions;
    uint64_t noncanonical;             /* CRs and LFs that stood alone */
    uint64_t early_bytes;              /* pipelined behind STARTTLS, thrown away */
    uint64_t up_us, first_us, last_us; /* wall clock; first and last message since "up" */
};

/* Back to zero, but for what is open. */
void stats_reset(struct stats *s, uint64_t wall_us);

/* Something went wrong on purpose. */
void stats_count_fault(struct stats *s, enum fault_kind kind);

/* One line of JSON. */
void stats_print(const struct stats *s, const struct fault *f, bool up, FILE *to);
