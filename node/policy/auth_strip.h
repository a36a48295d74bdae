/*
 * auth_strip: takes out of a message, while it streams by, the Authentication-Results fields
 * that bear our own authserv-id. They came from outside, so somebody else wrote them; who reads
 * them behind us would take them for ours (RFC 8601 5, 7.1). This is the one exception to
 * INV-5; auth_results_claims() is the one judge of it.
 *
 * Fed with the spans of bodyscan; what stays is handed on, to the byte:
 *
 *   while ((span = auth_strip_next(&strip, &in)).n > 0)
 *       keep(span);
 *   at the end: keep(auth_strip_end(&strip))
 *
 * A field whose name may be the one is held back until it ends, or until it is longer than
 * LIMIT_AUTH_CLAIM_BYTES, which decide. All else is handed on as it lies in the input, in the
 * longest runs there are. It looks up to the first empty line: a line that is no field does not
 * end the header for every reader.
 *
 * Pure, fixed memory, any segmentation gives the same bytes. Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"

struct auth_strip {
    uint64_t removed_bytes;
    uint32_t removed; /* fields */
    bool done;        /* the header has ended: everything stays */

    /* private */
    bool is_line_start;
    int at;
    uint32_t id_n, held_n;
    char id[LIMIT_SMTP_DOMAIN_BYTES];
    char held[LIMIT_AUTH_CLAIM_BYTES];
};

/* authserv_id: of ours, 1 to LIMIT_SMTP_DOMAIN_BYTES (asserted). Copied. */
void auth_strip_init(struct auth_strip *s, struct str authserv_id);

/* Consumes from the front of *in and returns the next run of bytes that stay; within *in, or
 * within *s until the next call. Empty: all of *in is consumed. */
struct str auth_strip_next(struct auth_strip *s, struct str *in);

/* The message has ended: what is held back and stays, within *s. Once. */
struct str auth_strip_end(struct auth_strip *s);
