/*
 * verdict: what a reply of a primary means. One static table, first match wins:
 *
 *   where                     reply                         verdict
 *   banner                    220                           OK
 *   EHLO, HELO                250                           OK
 *   STARTTLS                  220                           OK
 *   AUTH                      235                           OK
 *   banner, EHLO,
 *   STARTTLS, AUTH            5xx                           DEST_NOT_UP_ALARM
 *                             anything else                 DEST_NOT_UP
 *   RSET                      250                           OK
 *   MAIL                      250                           OK
 *                             552 with 5.3.4                PERMANENT, for the message
 *   RCPT                      250, 251, 252                 OK
 *                             550, 551, 553, 556            PERMANENT, for the recipient
 *                             552                           RETRY (RFC 5321 4.5.3.1.10: as 452)
 *   DATA                      354                           OK
 *   dot                       250                           OK
 *                             550, 552, 553, 554, 556       PERMANENT, for the message
 *   RSET to dot               421, 450                      RETRY_BRAKE
 *                             other 4xx                     RETRY
 *   MAIL, RCPT, DATA, dot     other 5xx                     ODD_5XX
 *   all                       everything else               ODDITY
 *
 * A reply that would be PERMANENT but bears an enhanced code of class 4 or 2 contradicts itself
 * and counts as ODD_5XX: an oddity never ends a message at once (INV-7).
 *
 * Pure. Threads: any.
 */
#pragma once

#include "node/delivery/reply.h"

/* Where in the dialogue something happened. */
enum at {
    AT_CONNECT,
    AT_BANNER,
    AT_EHLO,
    AT_STARTTLS, /* the command and the handshake */
    AT_AUTH,
    AT_IDLE, /* between two messages */
    AT_RSET,
    AT_MAIL,
    AT_RCPT,
    AT_DATA,
    AT_BODY, /* after 354, before the dot */
    AT_DOT,  /* the dot is sent */
    AT_QUIT,
    AT_COUNT
};

enum verdict {
    VERDICT_OK,
    VERDICT_RETRY,
    VERDICT_RETRY_BRAKE,       /* and the drain of this destination slows down             */
    VERDICT_PERMANENT,         /* at RCPT for the recipient, else for the message          */
    VERDICT_ODD_5XX,           /* retry with alarm; permanent after LIMIT_ODD_5XX_MS of
                                  nothing else                                             */
    VERDICT_UNKNOWN,           /* lost after the dot: retry, a possible duplicate          */
    VERDICT_ODDITY,            /* the primary broke the protocol: drop, retry              */
    VERDICT_DEST_NOT_UP,       /* the destination is not up: retry, nobody's message's fault */
    VERDICT_DEST_NOT_UP_ALARM, /* the same, by a 5xx: an operator should look              */
    VERDICT_COUNT
};

/* What a complete reply means at this place. AT_CONNECT, AT_IDLE, AT_BODY and AT_QUIT expect no
 * reply: 421 is RETRY_BRAKE there (RFC 5321 3.8 allows it at any time), all else ODDITY. */
enum verdict verdict_of(enum at at, const struct reply *r);

/* What the end of a connection without a reply (closed, reset, timed out) means. */
enum verdict verdict_of_loss(enum at at);

/* What a malformed or unasked-for reply means: DEST_NOT_UP up to AUTH, else ODDITY. */
enum verdict verdict_of_oddity(enum at at);

const char *verdict_name(enum verdict v); /* "ok", "retry", ...; static */
const char *at_name(enum at at);          /* "banner", "MAIL", "the dot", ...; static */
