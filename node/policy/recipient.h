/*
 * recipient: the verdict at RCPT on whether there is such a recipient, out of what is known at
 * that moment. The first row that holds counts:
 *
 *   postmaster, abuse                          TAKE    RFC 5321 4.5.1, RFC 2142 4
 *   the domain's list has it                   TAKE    and nothing of the set counts against it
 *   the domain takes listed ones only          REFUSE  550 5.1.1
 *   the domain takes any, learns nothing       TAKE
 *   the primary has refused it                 REFUSE  550 5.1.1
 *   the primary has taken it                   TAKE
 *   no recipient of the domain is known yet    TAKE    or a domain that has just come would
 *                                                      refuse its people; domain show says so
 *   the client is suspicious                   UNSURE  450 4.1.1, and nobody is asked
 *   the primary is up, and may be asked        ASK     then again, with what it said
 *   the sender is authenticated (SPF)          TAKE    a bounce would reach who wrote it
 *   the domain takes unknown ones              TAKE
 *   else                                       UNSURE  450 4.1.1
 *
 * A client that names too many recipients that are not there (harvest.h) learns less: of a
 * suspicious one REFUSE becomes UNSURE, with the words of one and the same 450, in a domain
 * that learns; it is never asked on its behalf. And it is told nothing of it at RCPT: that is
 * the shell's part (docs/decisions/0020).
 *
 * Pure. Threads: any. Memory: none.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"
#include "node/policy/rcptset.h"

enum recipient_mode { RECIPIENT_ANY, RECIPIENT_LIST, RECIPIENT_LEARN, RECIPIENT_MODES };

/* What a domain that learns does with those of whom it does not know. */
enum recipient_unknown {
    RECIPIENT_AUTHENTICATED, /* taken of senders that SPF passes, else deferred */
    RECIPIENT_ACCEPT,
    RECIPIENT_DEFER,
    RECIPIENT_UNKNOWNS
};

struct recipient_facts {
    enum recipient_mode mode;
    enum recipient_unknown unknown;
    bool is_reserved;  /* recipient_is_reserved() */
    bool is_listed;    /* by the list of the domain, in any way */
    bool any_is_known; /* some recipient of the domain is */
    enum rcptset_status known;
    bool is_up;            /* no site says that the primary is away */
    bool was_asked;        /* in this transaction: nothing came of it */
    bool is_authenticated; /* SPF passes MAIL FROM; not of the null sender */
    bool is_suspicious;    /* the client */
};

enum recipient_verdict { RECIPIENT_TAKE, RECIPIENT_ASK, RECIPIENT_UNSURE, RECIPIENT_REFUSE };

enum recipient_verdict recipient_judge(const struct recipient_facts *f);

/* "postmaster" and "abuse", in any case. */
bool recipient_is_reserved(struct str local);

/* The reply, without CRLF, static; "" for TAKE and ASK. */
const char *recipient_reply(enum recipient_verdict v);
