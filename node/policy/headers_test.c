#include "node/policy/headers.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

/* --- messages of many mailers' shapes --- */

/* {a} an address, {n} a name with an address, {l} one to six of them, folded; {i} an id, {r}
 * some ids, {d} a date, {w} words, {e} encoded words, {b} base64, {#} a number, {t} a trace of
 * some hops; ~ a fold; every line ends with |. */
static const char *const shapes[] = {
    /* web mail of a large house */
    "{t}DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;~d=mail.example; s=2023; "
    "t={#}; x={#};~h=to:subject:message-id:date:from:mime-version;~bh={b}=;~b={b}~{b}|"
    "X-Gm-Message-State: {b}|X-Received: by 2002:a17:906:b00c:b0 with SMTP id {#};~{d}|"
    "MIME-Version: 1.0|From: {n}|Date: {d}|Message-ID: <{b}@mail.example>|Subject: {e}|To: {l}|"
    "Content-Type: multipart/alternative; boundary=\"{#}\"|",
    /* an office suite */
    "{t}ARC-Seal: i=1; a=rsa-sha256; s=arc; d=corp.example; cv=none;~b={b}|"
    "ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed;~h=From:Date:Subject; bh={b}|"
    "ARC-Authentication-Results: i=1; mx.corp.example 1; spf=pass|From: {n}|To: {l}|CC: {l}|"
    "Subject: RE: {w}|Thread-Topic: {w}|Thread-Index: {b}|Date: {d}|Message-ID:~<{i}>|"
    "References: {r}|In-Reply-To: <{i}>|Accept-Language: en-US|Content-Language: en-US|"
    "X-MS-Has-Attach:|X-MS-TNEF-Correlator:|x-ms-exchange-antispam-messagedata: {b}~ {b}|"
    "Content-Type: multipart/mixed;~boundary=\"_004_{#}_\"|MIME-Version: 1.0|",
    /* a desktop mailer */
    "{t}Message-ID: <{i}>|Date: {d}|MIME-Version: 1.0|User-Agent: Mozilla Thunderbird|"
    "Subject: {e}|Content-Language: de-DE|To: {l}|References: {r}|From: {n}|"
    "In-Reply-To: <{i}>|Content-Type: text/plain; charset=UTF-8; format=flowed|"
    "Content-Transfer-Encoding: 8bit|",
    /* a telephone */
    "{t}Content-Type: text/plain; charset=us-ascii|Content-Transfer-Encoding: quoted-printable|"
    "From: {n}|Mime-Version: 1.0 (1.0)|Subject: Re: {w}|Date: {d}|Message-Id: <{i}>|"
    "References: <{i}>|In-Reply-To: <{i}>|To: {n}|X-Mailer: Phone Mail (21A360)|",
    /* a terminal */
    "{t}Date: {d}|From: {n}|To: {l}|Cc: {l}|Subject: {w}|Message-ID: <{i}>|"
    "Mail-Followup-To: {l}|MIME-Version: 1.0|Content-Type: text/plain; charset=us-ascii|"
    "Content-Disposition: inline|",
    /* cron */
    "{t}From: root@host.example (Cron Daemon)|To: root@host.example|"
    "Subject: Cron <root@host> test -x /usr/sbin/x && ( {w} )|MIME-Version: 1.0|"
    "Content-Type: text/plain; charset=UTF-8|X-Cron-Env: <SHELL=/bin/sh>|"
    "X-Cron-Env: <HOME=/root>|X-Cron-Env: <LOGNAME=root>|Message-Id: <{i}>|Date: {d} (CET)|",
    /* a bounce */
    "{t}Date: {d}|From: MAILER-DAEMON@mx.example (Mail Delivery System)|"
    "Subject: Undelivered Mail Returned to Sender|To: {a}|Auto-Submitted: auto-replied|"
    "MIME-Version: 1.0|Content-Type: multipart/report; report-type=delivery-status;~"
    "boundary=\"{b}/mx.example\"|Content-Transfer-Encoding: 8bit|Message-Id: <{i}>|",
    /* an older bounce: a From without an address */
    "{t}Date: {d}|From: Mail Delivery Subsystem <MAILER-DAEMON>|Message-Id: <{i}>|To: <{a}>|"
    "MIME-Version: 1.0|Content-Type: multipart/report; report-type=delivery-status|"
    "Subject: Returned mail: see transcript for details|Auto-Submitted: auto-generated|",
    /* an ancient one: nothing but the least */
    "Date: {d}|From: MAILER-DAEMON@host.example|To: {a}|Subject: failure notice||",
    /* a mailing list */
    "{t}X-Original-To: list@l.example|Delivered-To: list@l.example|Date: {d}|From: {n}|"
    "To: list@l.example|Message-ID: <{i}>|References: {r}|MIME-Version: 1.0|"
    "Subject: [List] {e}|X-BeenThere: list@l.example|Precedence: list|List-Id: {w} "
    "<list.l.example>|List-Unsubscribe: <https://l.example/opt>,~ <mailto:l@l.example?"
    "subject=unsubscribe>|List-Archive: <https://l.example/>|List-Post: <mailto:l@l.example>|"
    "Errors-To: list-bounces@l.example|Sender: \"List\" <list-bounces@l.example>|",
    /* a newsletter */
    "{t}DKIM-Signature: v=1; a=rsa-sha256; s=k1; d=news.example;~h=From:To:Subject; "
    "bh={b};~b={b}|"
    "Received: by n.example id {#} for <{a}>; {d}|Subject: =?utf-8?Q?{w}?=|"
    "From: =?utf-8?Q?News?= <news@news.example>|Reply-To: =?utf-8?Q?News?= <{a}>|To: {a}|"
    "Date: {d}|Message-ID: <{i}>|X-Mailer: MailChimp Mailer - **CID{#}**|X-Campaign: {b}|"
    "X-campaignid: {#}|Feedback-ID: {#}:{#}.{#}:us1:mc|X-Report-Abuse: Please report abuse|"
    "List-Unsubscribe: <https://n.example/u?u={b}>|List-Unsubscribe-Post: List-Unsubscribe="
    "One-Click|MIME-Version: 1.0|Content-Type: multipart/alternative; boundary=\"_----{b}\"|",
    /* a script's library */
    "Date: {d}|To: {n}|From: {n}|Subject: {e}|Message-ID: <{b}@www.example>|"
    "X-Mailer: PHPMailer 6.8.0 (https://github.com/PHPMailer/PHPMailer)|MIME-Version: 1.0|"
    "Content-Type: text/html; charset=iso-8859-1|",
    /* another: names in lower case, no ids */
    "from: {a}|to: {a}|subject: {w}|date: {d}|content-type: text/plain|",
    /* a code house */
    "{t}Date: {d}|From: {n}|Reply-To: a/b <reply+{b}@reply.g.example>|To: a/b <b@n.g.example>|"
    "Cc: Mention <m@n.g.example>|Message-ID: <a/b/pull/{#}@g.example>|"
    "In-Reply-To: <a/b/pull/{#}@g.example>|References: <a/b/pull/{#}@g.example>|"
    "Subject: Re: [a/b] {w} (PR #{#})|Mime-Version: 1.0|Content-Type: text/plain;~ "
    "charset=UTF-8|"
    "X-Auto-Response-Suppress: All|",
    /* a tracker in Java, which folds at every chance */
    "{t}Date: {d}|From: \"{w} (JIRA)\" <jira@j.example>|To: {a}|"
    "Message-ID:~ <JIRA.{#}.{#}.{#}@Atlassian.JIRA>|In-Reply-To:~ <JIRA.{#}@Atlassian.JIRA>|"
    "References: <JIRA.{#}@Atlassian.JIRA>~ <JIRA.{#}@jira.j.example>|Subject:~ [jira] {e}|"
    "MIME-Version: 1.0|Content-Type: multipart/alternative;~\tboundary=\"----=_Part_{#}\"|"
    "X-JIRA-FingerPrint: {b}|",
    /* a groupware of the nineties */
    "{t}Subject: {w}|To: {l}|X-Mailer: Lotus Notes Release 5.0.3 March 21, 2000|"
    "Message-ID: <OF{b}.{b}-ON{b}@corp.example>|From: {n}|Date: {d}|X-MIMETrack: Serialize by "
    "Router on D01/CORP(Release 8.5) at~ {d},~\tSerialize complete at {d}|"
    "MIME-Version: 1.0|Content-type: text/plain; charset=us-ascii|",
    /* raw Japanese of seven bits */
    "{t}Date: {d}|From: {n}|To: {l}|Subject: \x1b$B$3$s$K$A$O\x1b(B {w}|"
    "X-Mailer: Becky! ver. 2.65|MIME-Version: 1.0|"
    "Content-Type: text/plain; charset=\"ISO-2022-JP\"|Message-Id: <{i}>|",
    /* obsolete forms: white space before the colon, lines of white space, empty fields */
    "{t}Date : {d}|From\t: {n}|To:|Cc: |Subject:~ ~|X-Empty:|Message-ID : <{i}>|"
    "X-Folded: {w}~\t~ {w}|Comments: {w}|Keywords: a, b|",
    /* resent, blocks before the original */
    "Resent-Date: {d}|Resent-From: {n}|Resent-To: {l}|Resent-Message-ID: <{i}>|"
    "Resent-Date: {d}|Resent-From: {n}|Resent-To: {l}|{t}Date: {d}|From: {n}|Sender: {n}|"
    "To: {l}|Bcc:|Subject: {w}|Message-Id: <{i}>|Comments: {w}|Comments: {w}|",
    /* several authors */
    "Return-Path: <{a}>|{t}From: {l}|Sender: {n}|Reply-To: {l}|To: undisclosed-recipients:;|"
    "Date: {d}|Subject: {e}|Message-ID: <{i}>|",
    /* a calendar, MIME fields twice by a gateway */
    "{t}From: {n}|To: {l}|Subject: Invitation: {w} @ {d}|Date: {d}|Message-ID: "
    "<calendar-{b}@c>|"
    "Sender: Calendar <calendar@c.example>|Auto-Submitted: auto-generated|MIME-Version: 1.0|"
    "MIME-Version: 1.0|Content-Type: text/calendar; method=REQUEST|Content-Class: urn:x|",
    /* a scanner, a fax, a machine without a clock that knows zones */
    "From: scanner@printer.example|To: {a}|Date: Mon, 01 Jan 2007 00:00:{#}|Subject:|"
    "X-Mailer: KONICA MINOLTA bizhub C360|X-Priority: 3|MIME-Version:1.0|"
    "Content-Type:multipart/mixed;boundary={#}|",
    /* lines up to the limit */
    "{t}Date: {d}|From: {n}|To: {l}|X-Long: {998}|Subject: {w}|Message-ID: <{i}>|",
};

struct text {
    char b[32768];
    size_t n;
};

static void put(struct text *t, const char *z)
{
    size_t n = strlen(z);

    ck_assert_uint_lt(t->n + n, sizeof t->b);
    memcpy(t->b + t->n, z, n);
    t->n += n;
}

static const char *pick(struct prng *r, const char *const *of, uint64_t count)
{
    return of[prng_below(r, count)];
}

static void put_number(struct text *t, struct prng *r)
{
    char z[24];

    snprintf(z, sizeof z, "%u", (unsigned)prng_below(r, 100000000));
    put(t, z);
}

static void put_base64(struct text *t, struct prng *r)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char z[2] = {0};

    for (uint64_t n = 8 + prng_below(r, 60); n > 0; n--) {
        z[0] = digits[prng_below(r, 64)];
        put(t, z);
    }
}

static void put_words(struct text *t, struct prng *r)
{
    static const char *const words[] = {"offer",      "Re:",      "minutes",  "of",    "the",
                                        "meeting,",   "Fwd:",     "(was: x)", "10%",   "#42",
                                        "\"quoted\"", "From: me", "a:b",      "don't", "=?",
                                        "?=",         "<tag>",    ";"};

    for (uint64_t n = 1 + prng_below(r, 9); n > 0; n--) {
        put(t, pick(r, words, COUNT(words)));
        if (n > 1)
            put(t, prng_below(r, 12) == 0 ? "\r\n " : " ");
    }
}

static void put_encoded(struct text *t, struct prng *r)
{
    if (prng_below(r, 3) == 0) {
        put_words(t, r);
        return;
    }
    for (uint64_t n = 1 + prng_below(r, 3); n > 0; n--) {
        put(t, prng_below(r, 2) == 0 ? "=?UTF-8?B?" : "=?iso-8859-1?Q?=E4");
        put_number(t, r);
        put(t, n > 1 ? "?=\r\n =" : "?=");
    }
}

static void put_address(struct text *t, struct prng *r)
{
    static const char *const addresses[] = {"joe@b.example",
                                            "j.doe+tag@sub.b.example",
                                            "\"j doe\"@b.example",
                                            "o'neil@c.example",
                                            "bounce-4711-x=y.example@lists.example",
                                            "USER@EXAMPLE.ORG",
                                            "a@[192.0.2.1]",
                                            "=?utf-8?q?x?=@b.example",
                                            "1234567890@mms.example"};

    put(t, pick(r, addresses, COUNT(addresses)));
}

static void put_mailbox(struct text *t, struct prng *r)
{
    static const char *const names[] = {"Joe Doe",
                                        "\"Doe, Joe\"",
                                        "=?UTF-8?B?SsO8cmdlbg==?=",
                                        "\"joe@b.example\"",
                                        "'Joe'",
                                        "Joe \"Q.\" Doe",
                                        ""};
    const char *name = pick(r, names, COUNT(names));

    put(t, name);
    put(t, name[0] != '\0' ? " <" : "<");
    put_address(t, r);
    put(t, prng_below(r, 5) == 0 ? "> (comment (nested))" : ">");
}

static void put_list(struct text *t, struct prng *r)
{
    static const char *const folds[] = {", ", ",\r\n\t", ",\r\n ", ","};

    for (uint64_t n = 1 + prng_below(r, 6); n > 0; n--) {
        put_mailbox(t, r);
        if (n > 1)
            put(t, pick(r, folds, COUNT(folds)));
    }
}

static void put_id(struct text *t, struct prng *r)
{
    put_number(t, r);
    put(t, ".");
    put_base64(t, r);
    put(t, prng_below(r, 2) == 0 ? "@host.example" : "@[10.0.0.1]");
}

static void put_date(struct text *t, struct prng *r)
{
    static const char *const dates[] = {
        "Mon, 30 Nov 2026 03:04:05 +0100", "30 Nov 2026 03:04:05 GMT",
        "Mon, 3 Nov 26 3:04 EST",          "Mon, 30 Nov 2026 03:04:05 -0000 (UTC)",
        "Mon,  3 Nov 2026 03:04:05 +0530", "Monday, 30-Nov-26 03:04:05 UTC"};

    put(t, pick(r, dates, COUNT(dates)));
}

static void put_ids(struct text *t, struct prng *r)
{
    for (uint64_t n = 1 + prng_below(r, 8); n > 0; n--) {
        put(t, "<");
        put_id(t, r);
        put(t, n > 1 ? ">\r\n " : ">");
    }
}

static void put_trace(struct text *t, struct prng *r)
{
    for (uint64_t n = prng_below(r, 8); n > 0; n--) {
        put(t, prng_below(r, 6) == 0
                   ? "Received-SPF: pass (x: y)\r\nReceived: from a ([10.1.1.1])"
                   : "Received: from mx.example (unknown [192.0.2.1])");
        put(t, "\r\n\tby b.example (Postfix) with ESMTPS id ");
        put_number(t, r);
        put(t, "\r\n\tfor <c@d.example>; ");
        put_date(t, r);
        put(t, "\r\n");
    }
}

static void put_long(struct text *t)
{
    for (int i = 0; i < LIMIT_HEADER_LINE_BYTES - (int)sizeof "X-Long:"; i++)
        put(t, "x");
}

static void put_item(struct text *t, struct prng *r, char what)
{
    static const struct {
        char what;
        void (*put)(struct text *t, struct prng *r);
    } items[] = {{'a', put_address}, {'n', put_mailbox}, {'l', put_list},  {'i', put_id},
                 {'r', put_ids},     {'d', put_date},    {'w', put_words}, {'e', put_encoded},
                 {'b', put_base64},  {'#', put_number},  {'t', put_trace}};

    for (int i = 0; i < COUNT(items); i++)
        if (items[i].what == what)
            items[i].put(t, r);
}

static void generate(struct text *t, const char *shape, struct prng *r)
{
    char z[2] = {0};

    t->n = 0;
    for (const char *p = shape; *p != '\0'; p++) {
        z[0] = *p;
        if (*p == '{' && p[1] == '9') {
            put_long(t);
            p += 4;
        } else if (*p == '{') {
            put_item(t, r, p[1]);
            p += 2;
        } else {
            put(t, *p == '|'   ? "\r\n"
                   : *p == '~' ? (prng_below(r, 2) ? "\r\n " : "\r\n\t")
                               : z);
        }
    }
}

/* In pieces of up to `most` bytes, with a body behind. */
static struct headers judged(struct str text, size_t most, bool smtputf8, struct prng *r)
{
    struct headers h;

    headers_init(&h, smtputf8);
    while (text.n > 0) {
        size_t n = 1 + (size_t)prng_below(r, most);

        n = n < text.n ? n : text.n;
        headers_feed(&h, str_head(text, n));
        text = str_from(text, n);
    }
    (void)headers_end(&h);
    return h;
}

static const char *reply(const struct headers *h, char buf[static HEADERS_REPLY_BYTES])
{
    return h->verdict == HEADERS_OK ? "ok" : headers_reply(h, buf).p;
}

START_TEST(S28_not_one_of_1000_good_messages_is_refused)
{
    struct text t;
    struct prng r;
    char buf[HEADERS_REPLY_BYTES];

    for (int i = 0; i < 1000; i++) {
        struct headers h;
        size_t header;

        prng_seed(&r, (uint64_t)i + 1);
        generate(&t, shapes[i % COUNT(shapes)], &r);
        header = t.n;
        if (prng_below(&r, 10) > 0)
            put(&t, "\r\nBody\n: \r and \xff, which nobody looks at\r\n");
        h = judged((struct str){t.b, t.n}, 1 + (size_t)prng_below(&r, 100), false, &r);
        ck_assert_msg(h.verdict == HEADERS_OK && h.done, "message %d: %s\n%.*s", i,
                      reply(&h, buf), (int)header, t.b);
    }
}
END_TEST

/* --- and broken ones --- */

static const struct {
    const char *line; /* put in front of the message */
    enum headers_verdict verdict;
    const char *reply;
} faults[] = {
    {"From: a@b\r\n", HEADERS_TWICE, NULL},
    {"FROM : a@b\r\n", HEADERS_TWICE, NULL},
    {"date: x\r\n", HEADERS_TWICE, NULL},
    {"To: a@b\r\nTo: a@b\r\n", HEADERS_TWICE, "550 5.6.0 Header line 2: a second To field"},
    {"Cc: a@b\r\nX: y\r\nCC: a@b\r\n", HEADERS_TWICE,
     "550 5.6.0 Header line 3: a second Cc field"},
    {"Bcc:\r\nBcc:\r\n", HEADERS_TWICE, NULL},
    {"Sender: a@b\r\nSender: a@b\r\n", HEADERS_TWICE, NULL},
    {"Reply-To: a@b\r\n c\r\nReply-To: a@b\r\n", HEADERS_TWICE, NULL},
    {"Message-ID: <a@b>\r\nMessage-Id: <a@b>\r\n", HEADERS_TWICE, NULL},
    {"In-Reply-To: <a@b>\r\nIn-Reply-To: <a@b>\r\n", HEADERS_TWICE, NULL},
    {"References: <a@b>\r\nReferences: <a@b>\r\n", HEADERS_TWICE, NULL},
    {"Subject: a\r\nSubject: b\r\n", HEADERS_TWICE, NULL},
    {"Hello, world\r\n", HEADERS_NOT_A_FIELD,
     "550 5.6.0 Header line 1: neither a field nor its continuation"},
    {"X: y\r\nno colon here\r\n", HEADERS_NOT_A_FIELD, NULL},
    {"X y: z\r\n", HEADERS_NOT_A_FIELD, NULL},
    {": z\r\n", HEADERS_NOT_A_FIELD, NULL},
    {" continued\r\n", HEADERS_NOT_A_FIELD, NULL},
    {"\tcontinued\r\n", HEADERS_NOT_A_FIELD, NULL},
    {"From a@b Mon Nov 30 03:04:05 2026\r\n", HEADERS_NOT_A_FIELD, NULL},
    {">From a@b Mon Nov 30 03:04:05 2026\r\n", HEADERS_NOT_A_FIELD, NULL},
    {"N\xc3\xa4me: x\r\n", HEADERS_NOT_A_FIELD, NULL},
    {"Na\x7fme: x\r\n", HEADERS_NOT_A_FIELD, NULL},
    {"Na\x01me: x\r\n", HEADERS_NOT_A_FIELD, NULL},
    {"Name\r\n", HEADERS_NOT_A_FIELD, NULL},
    {"X: a\nY: b\r\n", HEADERS_BAD_BYTE,
     "550 5.6.0 Header line 1: a NUL, a bare CR or a bare LF"},
    {"X: a\rY: b\r\n", HEADERS_BAD_BYTE, NULL},
    {"X: a\r\r\n", HEADERS_BAD_BYTE, NULL},
    {"\n", HEADERS_BAD_BYTE, NULL},
    {"\rX: a\r\n", HEADERS_BAD_BYTE, NULL},
    {"X\rY: a\r\n", HEADERS_NOT_A_FIELD, NULL},
    {"X: gr\xc3\xbc\xc3\x9f\r\n", HEADERS_EIGHT_BIT,
     "550 5.6.0 Header line 1: a byte above 127 without SMTPUTF8"},
    {"X: a\r\n \xe4\r\n", HEADERS_EIGHT_BIT, NULL},
    {"From: \r\n \r\n", HEADERS_EMPTY, "550 5.6.0 Header: the From field is empty"},
    {"Date:\r\n", HEADERS_EMPTY, NULL},
    {"\r\n", HEADERS_MISSING, "550 5.6.0 Header has no From field"},
    {"From: a@b\r\n\r\n", HEADERS_MISSING, "550 5.6.0 Header has no Date field"},
    {"Date: x\r\n\r\n", HEADERS_MISSING, NULL},
    {"Resent-From: a@b\r\nResent-Date: x\r\n\r\n", HEADERS_MISSING, NULL},
};

START_TEST(S28_every_broken_message_is_refused_with_a_word_why)
{
    char buf[HEADERS_REPLY_BYTES];
    int refused = 0;
    struct text good, t;
    struct prng r;

    prng_seed(&r, 5);
    for (int i = 0; i < 6 * COUNT(faults); i++) {
        int f = i % COUNT(faults);
        struct headers h;

        generate(&good, shapes[i % COUNT(shapes)], &r);
        t.n = 0;
        put(&t, faults[f].line);
        ck_assert_uint_lt(t.n + good.n, sizeof t.b);
        memcpy(t.b + t.n, good.b, good.n);
        t.n += good.n;
        h = judged((struct str){t.b, t.n}, 1 + (size_t)prng_below(&r, 40), false, &r);
        ck_assert_msg(h.verdict == faults[f].verdict, "%d '%s': %s", f, faults[f].line,
                      headers_verdict_text(h.verdict));
        ck_assert(strncmp(reply(&h, buf), "550 5.6.0 ", 10) == 0);
        if (faults[f].reply != NULL)
            ck_assert_str_eq(buf, faults[f].reply);
        refused++;
    }
    ck_assert_int_ge(refused, 100);
}
END_TEST

static enum headers_verdict verdict_of(struct str text, bool smtputf8)
{
    struct prng r;

    prng_seed(&r, 1);
    return judged(text, 7, smtputf8, &r).verdict;
}

#define HEAD "From: a@b\r\nDate: x\r\n"

START_TEST(limits_hold_to_the_last_byte)
{
    static char line[] = HEAD "X: ", text[LIMIT_HEADER_BYTES + 100];
    size_t n = 0, head = sizeof line - 1 - 3;
    char buf[HEADERS_REPLY_BYTES];
    struct headers h;

    memcpy(text, line, sizeof line - 1);
    memset(text + sizeof line - 1, 'y', 1200);
    memcpy(text + head + 998, "\r\n", 2);
    ck_assert_int_eq(verdict_of((struct str){text, head + 1000}, false), HEADERS_OK);
    memcpy(text + head + 998, "y\r\n", 3);
    ck_assert_int_eq(verdict_of((struct str){text, head + 1001}, false), HEADERS_LINE_TOO_LONG);
    for (n = 0; n < LIMIT_HEADER_BYTES; n += 64)
        memcpy(text + n, "X-Pad-Pad-Pad-Pad: 0123456789012345678901234567890123456789abc\r\n",
               64);
    memcpy(text, "From:\r\n a@b\r\nDate: x\r\nX:", 24);
    ck_assert_int_eq(verdict_of((struct str){text, n}, false), HEADERS_OK);
    memcpy(text + n, "\r\n", 2);
    headers_init(&h, false);
    headers_feed(&h, (struct str){text, n + 2});
    ck_assert_int_eq(h.verdict, HEADERS_TOO_BIG);
    ck_assert_str_eq(headers_reply(&h, buf).p, "552 5.3.4 Header larger than 262144 bytes");
}
END_TEST

static const struct {
    const char *bytes;
    bool good;
} utf8[] = {
    {"a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z", true},
    {"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\xf0\x90\x80\x80", true},
    {"\x80", false},
    {"\xc1\xbf", false},
    {"\xc3", false},
    {"\xe0\x9f\xbf", false},
    {"\xed\xa0\x80", false},
    {"\xe2\x82", false},
    {"\xf5", false},
    {"\xf0\x8f\xbf\xbf", false},
    {"\xf4\x90\x80\x80", false},
    {"\xc3\xc3", false},
    {"\xff", false},
    {"\xe2\x82z", false},
};

START_TEST(with_smtputf8_values_are_utf8)
{
    char text[64];

    snprintf(text, sizeof text, "%sX: %s\r\n\r\n", HEAD, utf8[_i].bytes);
    ck_assert_int_eq(verdict_of(str_of(text), true),
                     utf8[_i].good ? HEADERS_OK : HEADERS_NOT_UTF8);
    ck_assert_int_eq(verdict_of(str_of(text), false), HEADERS_EIGHT_BIT);
}
END_TEST

START_TEST(the_end_may_come_anywhere)
{
    ck_assert_int_eq(verdict_of(STR(HEAD), false), HEADERS_OK);
    ck_assert_int_eq(verdict_of(STR(HEAD "\r\n"), false), HEADERS_OK);
    ck_assert_int_eq(verdict_of(STR(HEAD "X: y"), false), HEADERS_NOT_A_FIELD);
    ck_assert_int_eq(verdict_of(STR(HEAD "X: y\r"), false), HEADERS_BAD_BYTE);
    ck_assert_int_eq(verdict_of(STR(HEAD "X"), false), HEADERS_NOT_A_FIELD);
    ck_assert_int_eq(verdict_of(STR(""), false), HEADERS_MISSING);
    ck_assert_int_eq(verdict_of(STR("From: a\r\nDate:\r\n"), false), HEADERS_EMPTY);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("headers");
    TCase *tc = tcase_create("headers");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, S28_not_one_of_1000_good_messages_is_refused);
    tcase_add_test(tc, S28_every_broken_message_is_refused_with_a_word_why);
    tcase_add_test(tc, limits_hold_to_the_last_byte);
    tcase_add_loop_test(tc, with_smtputf8_values_are_utf8, 0, COUNT(utf8));
    tcase_add_test(tc, the_end_may_come_anywhere);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
