/*
 * headerscan: looks at the header section of a message while it streams by. RFC 5321 6.3 (loops
 * are found by counting Received fields), RFC 5322 2.2.
 *
 * Feed it the spans of bodyscan in order. It counts Received fields, and among them those that
 * this cluster wrote itself (received.h puts "(trispool NAME)" behind the host name; folding
 * and white space may have been changed on the way). The section ends at the first empty line,
 * or at the first line that is neither field nor continuation: a message without a header is
 * not a message with an endless one. An mbox "From " line at the top is passed over.
 *
 * Pure, fixed memory, any segmentation gives the same result. Threads: any.
 * Limits: LIMIT_HEADER_BYTES, LIMIT_RECEIVED_HOPS, LIMIT_OWN_TRACES, LIMIT_CLUSTER_NAME_BYTES.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"

enum header_verdict {
    HEADER_OK,
    HEADER_TOO_BIG,  /* 552 5.3.4: the section is larger than LIMIT_HEADER_BYTES          */
    HEADER_LOOP,     /* 554 5.4.6: more than LIMIT_RECEIVED_HOPS Received fields          */
    HEADER_OWN_LOOP, /* 554 5.4.6: more than LIMIT_OWN_TRACES of them are this cluster's. *
                      * A few are legal: a primary may forward to another domain of ours  */
};

struct headerscan {
    uint64_t header_bytes; /* of the section so far, the empty line included */
    uint32_t received;     /* Received fields                                */
    uint32_t own;          /* of them with our mark                          */
    bool done;             /* the section has ended                          */

    /* private */
    int at;
    uint32_t name_n; /* bytes of the field name, those not kept included */
    char name[sizeof "Received" - 1];
    bool in_received, counted_as_own, after_space, is_first_line;
    uint32_t mark_matched, mark_n;
    char mark[LIMIT_CLUSTER_NAME_BYTES + sizeof "(trispool )"];
};

/* `cluster`: name of this cluster, 1 to LIMIT_CLUSTER_NAME_BYTES letters, digits, '.', '-', '_'
 * (asserted: it comes from our configuration). Copied. */
void headerscan_init(struct headerscan *h, struct str cluster);

/* Looks at the next bytes; cheap once h->done. */
void headerscan_feed(struct headerscan *h, struct str span);

/* May be asked at any time; what is refused once stays refused. */
enum header_verdict headerscan_verdict(const struct headerscan *h);

/* Whether a name may be a cluster's. */
bool cluster_name_is_valid(struct str name);
