/*
 * reply: reads the replies of a primary, as bytes come in. RFC 5321 4.2, RFC 2034, RFC 1869.
 *
 * One struct reply reads one reply at a time. Feed it what the socket gave; on REPLY_DONE act
 * on it, call reply_reset() and feed the rest (in.n - consumed bytes) again.
 *
 * Strict where a reply could be taken for another one: three digits, a separator, one code over
 * all lines, first digit 2 to 5, no NUL. Liberal where nothing depends on it: a line may end in
 * a bare LF; a code may stand without text; a CR that ends no line is text, kept as a blank.
 * REPLY_BAD is an oddity of the primary: drop the connection, count nothing as delivered.
 *
 * Pure: no I/O, no heap, no clock. Threads: one owner. Memory: fixed, about 1.3 KiB.
 * Limits: LIMIT_REPLY_LINE_BYTES, LIMIT_REPLY_LINES, LIMIT_REPLY_BYTES; of the text
 * LIMIT_REPLY_KEPT_BYTES are kept. How long a reply may take is the deadline of the session.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

enum reply_status { REPLY_MORE, REPLY_DONE, REPLY_BAD };

/* What is wrong with a reply. REPLY_FINE: nothing. */
enum reply_bad {
    REPLY_FINE,
    REPLY_NO_CODE,     /* the line does not start with three digits      */
    REPLY_FOUR_DIGITS, /* a fourth digit, or another byte, stands behind the code */
    REPLY_MIXED_CODES, /* the lines of one reply have different codes    */
    REPLY_BAD_CLASS,   /* first digit not 2, 3, 4 or 5                   */
    REPLY_NUL,
    REPLY_LONG_LINE,
    REPLY_MANY_LINES,
    REPLY_MANY_BYTES
};

/* An enhanced status code, RFC 3463: class.subject.detail. Class 0: there is none. */
struct enhanced {
    uint16_t klass, subject, detail;
};

/* What a primary offered in its reply to EHLO. */
struct ehlo {
    bool pipelining, has_size, eight_bit, smtputf8, starttls, enhanced;
    uint64_t size; /* bytes; 0 with has_size: no fixed limit (RFC 1870 section 4) */
};

#define REPLY_HEAD_BYTES 128 /* of a line's text, what is looked at */

struct reply {
    /* Valid after REPLY_DONE. */
    uint16_t code; /* 200..599                                            */
    uint16_t lines;
    struct enhanced enhanced; /* of the first line, when well formed and of the class of
                                 the code                                            */
    bool contradicts;         /* a well formed one of another class: "550 4.2.2 ..."    */
    struct ehlo ehlo;         /* from the second line on, when code is 250              */
    size_t kept;              /* bytes of text[]                                     */
    char text[LIMIT_REPLY_KEPT_BYTES]; /* "CODE text text": all lines in one, joined by a
                                   blank; no CR, LF or NUL; other bytes as they came      */
    /* Valid after REPLY_BAD. */
    enum reply_bad bad;

    /* Private. */
    uint32_t bytes, line_bytes;
    uint16_t line_code;
    bool last, after_cr, done;
    size_t head_n;
    char head[REPLY_HEAD_BYTES];
};

void reply_reset(struct reply *r);

/* Reads at most one reply from the front of `in`, and says in *consumed how many bytes that
 * took. REPLY_MORE: all were taken, feed more. REPLY_DONE: the rest is not looked at.
 * REPLY_BAD: r->bad says why; only reply_reset() is allowed next. */
MUST_CHECK enum reply_status reply_feed(struct reply *r, struct str in, size_t *consumed);

/* True while a reply has begun and is not complete: a peer that closes now cut it in half.
 * After REPLY_DONE it is false. */
bool reply_begun(const struct reply *r);

/* The kept text; borrowed from r. */
struct str reply_text(const struct reply *r);

/* A short English text for an operator, static. */
const char *reply_bad_text(enum reply_bad bad);

/* Takes one line of a reply to EHLO, without code and separator. Unknown words are ignored. */
void ehlo_line(struct ehlo *e, struct str line);

/* Reads "class.subject.detail" at the front of s (end of s or a blank behind it; class 2, 4 or
 * 5; one to three digits each). False: there is none; *out is untouched. */
bool enhanced_parse(struct str s, struct enhanced *out);

/* Reads code and enhanced code out of a kept text, as it is stored with a recipient. False: the
 * text is not a reply of a primary (empty, or words of our own, which stand in parentheses). A
 * text without a usable enhanced code leaves out->klass 0. */
bool reply_text_parse(struct str text, uint16_t *code, struct enhanced *out);
