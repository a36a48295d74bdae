/*
 * report: what a run counted, and the JSON object that says so.
 *
 * Threads: one owner. docs/man/trispool-load.1.scd explains every field.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "cluster-tools/common/histogram.h"
#include "cluster-tools/load/targets.h"

struct report {
    const char *run;  /* borrowed */
    uint64_t offered; /* messages started */
    uint64_t acked, acked_bytes;
    uint64_t temp; /* attempts that failed for now */
    uint64_t perm, unknown, given_up;
    uint64_t connect_failed, lost, refused; /* connections; refused: banner, EHLO, TLS */
    uint64_t malformed;                     /* replies that are not SMTP */
    uint64_t partial;                       /* messages of which some recipients were refused */
    uint64_t sessions, tls_sessions;
    struct histogram end_of_data; /* last byte of the body to its 2xx */
    struct histogram transaction; /* MAIL to that 2xx */
    struct histogram connect;     /* connect(2) to the 220 */
    struct histogram end_to_end;  /* when it should have been sent first, to its 2xx */
    uint64_t start_us, first_ack_us, last_ack_us;
    uint64_t ack_gap_us, ack_gap_at_us; /* the longest silence between two acks; its start */
};

/* An ack came in. Keeps the times and the longest gap. */
void report_ack(struct report *r, uint64_t now_us);

/* One line of JSON. */
void report_print(const struct report *r, const struct targets *t, uint64_t now_us, FILE *to);
