/*
 * auth_results: what was found out about a message, told to who reads it next. Received-SPF
 * (RFC 7208 9.1) and Authentication-Results (RFC 8601); and who may have forged the latter.
 *
 *   Received-SPF: pass receiver=mx1.example; client-ip=192.0.2.1;
 *   	envelope-from="a@b.example"; helo=mail.b.example; identity=mailfrom;
 *   	mechanism="ip4:192.0.2.0/24"
 *   Authentication-Results: mx1.example; spf=pass smtp.mailfrom=a@b.example
 *
 * Nothing from outside can add a line, leave its value or look like another: it is letters,
 * digits and . - _ +, or a quoted string of printable ASCII, or it is left out. No comments.
 *
 * The claim: RFC 8601 5 wants fields removed that bear our own authserv-id and came from
 * outside. That is the one exception to INV-5 (auth_strip.h), and auth_results_claims() is the
 * one judge of it.
 *
 * Pure. Threads: any.
 */
#pragma once

#include <stdbool.h>

#include "base/limits.h"
#include "base/str.h"
#include "node/policy/rdns.h"
#include "node/policy/spf.h"

#define RECEIVED_SPF_SIZE 2560 /* bytes; room for every part at its limit, folding included */
#define AUTH_RESULTS_SIZE 3072
#define AUTH_RESULTS_MOST 4 /* methods in one field */

/* method, result and property are words of our own, reason a text of our own without quotes. */
struct auth_result {
    struct str method;   /* "spf" */
    struct str result;   /* "pass" */
    struct str reason;   /* or empty */
    struct str property; /* "smtp.mailfrom"; or empty */
    struct str value;    /* of the property, from outside; at most LIMIT_SMTP_HELO_BYTES, else
                            property and value are left out */
};

/* What the field says of an SPF check. Borrows from both. */
struct auth_result auth_result_of_spf(const struct spf_check *check,
                                      const struct spf_verdict *verdict);

/* And of the client's name: iprev, RFC 8601 2.7.3, 3. The address is written into addr, and
 * borrowed from it. */
struct auth_result auth_result_of_rdns(const struct ip_addr *client, enum rdns_result result,
                                       char addr[static IP_TEXT_BYTES]);

/* authserv_id: a dot-atom of ours; results: up to AUTH_RESULTS_MOST, 0 makes "none". The field
 * with its final CRLF, in buf. Always fits. */
struct str auth_results_format(struct str authserv_id, const struct auth_result *results,
                               size_t count, char buf[static AUTH_RESULTS_SIZE]);

/* check->receiver: a host name of ours. The field with its final CRLF, in buf. Always fits. */
struct str received_spf_format(const struct spf_check *check, const struct spf_verdict *verdict,
                               char buf[static RECEIVED_SPF_SIZE]);

/* Whether a header field (name, colon and body, with its folds) is an Authentication-Results
 * that bears this authserv-id: in any case, quoted, behind comments, with a final dot or a
 * version. One whose id cannot be read claims ours when ours stands anywhere in it: a reader
 * more lenient than we might find it there. Of a field longer than LIMIT_AUTH_CLAIM_BYTES only
 * the start is looked at, and when its id does not end there the field claims ours. */
bool auth_results_claims(struct str field, struct str authserv_id);
/* The same of the first LIMIT_AUTH_CLAIM_BYTES of a field that goes on. */
bool auth_results_start_claims(struct str start, struct str authserv_id);

/* The first field of a header section (lines with their CRLF, up to its empty line or its end)
 * that claims the id: with its folds and its last CRLF, within `section`. False: there is none.
 */
bool auth_results_find(struct str section, struct str authserv_id, struct str *field);
