/*
 * rdns: the name of a client by its address, confirmed: PTR, and one of the names leads back to
 * the address by A or AAAA (RFC 8601 2.7.3 "iprev", RFC 1912 2.1).
 *
 *   PTR --found--> FORWARD --all answered, or one confirmed--> DONE
 *    +---anything else------------------------------------------^
 *
 * rdns_init(), then ask what rdns_questions() says, hand each answer to rdns_answer(), ask
 * again what it says now; until rdns_is_done(). Answers may come in any order, and late ones do
 * no harm. The deadline is the shell's: when time is up, rdns_give_up() makes of what is open
 * silence.
 *
 * Not to be copied while it is in use: the questions borrow from it.
 *
 * DNS trouble never counts against a client: UNKNOWN. So do more names than LIMIT_RDNS_NAMES
 * when none of those that were looked up is confirmed.
 *
 * Pure. Threads: one owner. Memory: 3 KiB, fixed. Limits: LIMIT_RDNS_NAMES,
 * LIMIT_SMTP_DOMAIN_BYTES.
 */
#pragma once

#include "node/policy/question.h"

enum rdns_result {
    RDNS_UNKNOWN,
    RDNS_NONE,      /* no PTR record: 450 4.7.25 or 550 5.7.25, as the domain wants it */
    RDNS_MISMATCH,  /* names, none of which leads back: the same */
    RDNS_CONFIRMED, /* .name */
};

struct rdns {
    enum rdns_result result; /* once done */
    struct str name; /* CONFIRMED: the name, lower case; MISMATCH: the first; else empty */

    /* private */
    int state;
    struct ip_addr ip;
    uint32_t count, open;
    bool asked, trouble, left_out;
    bool answered[LIMIT_RDNS_NAMES];
    size_t lengths[LIMIT_RDNS_NAMES];
    char names[LIMIT_RDNS_NAMES][LIMIT_SMTP_DOMAIN_BYTES];
    char reverse[IP_REVERSE_BYTES + sizeof ".in-addr.arpa"];
};

void rdns_init(struct rdns *r, const struct ip_addr *client);

/* What is to be asked now, each question once; at most LIMIT_RDNS_NAMES. Names live as long as
 * r. */
size_t rdns_questions(struct rdns *r, struct question out[static LIMIT_RDNS_NAMES]);

void rdns_answer(struct rdns *r, uint32_t tag, const struct dns_answer *a);
void rdns_give_up(struct rdns *r);
bool rdns_is_done(const struct rdns *r);

/* RFC 7372 3.3: "550 5.7.25 ..." or, when temporary, "450 4.7.25 ...", without CRLF, static. Of
 * NONE and MISMATCH only. */
const char *rdns_reply(enum rdns_result result, bool temporary);

/* "none", for log and Authentication-Results (iprev: pass, fail, permerror, temperror); static
 */
const char *rdns_result_text(enum rdns_result result);
