#include "node/policy/delegate.h"

#include <stdio.h>

#include "base/utf8.h"

#define TEXT_BYTES 400 /* of a reply, the server's part */

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* --- the question --- */

struct pen {
    char *p;
    size_t n;
};

/* Byte by byte: a NUL would end it in printf(). Addresses in other scripts as they are, as
 * Postfix sends them: two of them must not look the same. */
static void put_bytes(struct pen *pen, struct str s)
{
    bool is_text = utf8_is_valid(s);

    ASSERT(s.n < LIMIT_DELEGATE_REQUEST_BYTES - pen->n);
    for (size_t i = 0; i < s.n; i++)
        pen->p[pen->n++] =
            is_printable(s.p[i]) || (is_text && (uint8_t)s.p[i] >= 0x80) ? s.p[i] : '?';
}

static void put(struct pen *pen, const char *name, struct str value)
{
    put_bytes(pen, str_of(name));
    put_bytes(pen, STR("="));
    put_bytes(pen, value);
    ASSERT(pen->n < LIMIT_DELEGATE_REQUEST_BYTES);
    pen->p[pen->n++] = '\n';
}

static void put_number(struct pen *pen, const char *name, const char *format, uint64_t number)
{
    char text[32];

    snprintf(text, sizeof text, format, (unsigned long long)number);
    put(pen, name, str_of(text));
}

/* A name that is asked for only when the domain wants it, see the judge; Postfix writes the
 * same of one that it does not know. */
#define NOT_KNOWN STR("unknown")

struct str delegate_request(const struct delegate_facts *f,
                            char buf[static LIMIT_DELEGATE_REQUEST_BYTES])
{
    struct pen pen = {buf, 0};
    struct str cipher = f->tls, version = str_split(&cipher, ' ');

    put(&pen, "request", STR("smtpd_access_policy"));
    put(&pen, "protocol_state", STR("RCPT"));
    put(&pen, "protocol_name", f->esmtp ? STR("ESMTP") : STR("SMTP"));
    put(&pen, "client_address", f->client);
    put(&pen, "client_name", NOT_KNOWN);
    put(&pen, "reverse_client_name", NOT_KNOWN);
    put(&pen, "helo_name", f->helo);
    put(&pen, "sender", f->sender);
    put(&pen, "recipient", f->recipient);
    put(&pen, "recipient_count", STR("0")); /* as Postfix has it before DATA */
    put(&pen, "queue_id", STR_NONE);
    put_number(&pen, "instance", "%016llx", f->instance);
    put_number(&pen, "size", "%llu", f->size_bytes);
    put(&pen, "etrn_domain", STR_NONE);
    put(&pen, "stress", STR_NONE);
    put(&pen, "sasl_method", STR_NONE);
    put(&pen, "sasl_username", STR_NONE);
    put(&pen, "sasl_sender", STR_NONE);
    put(&pen, "ccert_subject", STR_NONE);
    put(&pen, "ccert_issuer", STR_NONE);
    put(&pen, "ccert_fingerprint", STR_NONE);
    put(&pen, "ccert_pubkey_fingerprint", STR_NONE);
    put(&pen, "encryption_protocol", version);
    put(&pen, "encryption_cipher", cipher);
    put(&pen, "encryption_keysize", STR("0"));
    ASSERT(pen.n < LIMIT_DELEGATE_REQUEST_BYTES);
    buf[pen.n++] = '\n';
    return (struct str){buf, pen.n};
}

/* --- the answer --- */

/* Length of an enhanced status code of that class and the blanks behind it, or 0. RFC 3463. */
static size_t enhanced_length(struct str s, char class)
{
    size_t n = 2;

    if (s.n < 5 || s.p[0] != class || s.p[1] != '.')
        return 0;
    for (int part = 0; part < 2; part++) {
        size_t digits = 0;

        for (; n < s.n && is_digit(s.p[n]) && digits < 3; n++)
            digits++;
        if (digits == 0 || (part == 0 && (n == s.n || s.p[n++] != '.')))
            return 0;
    }
    return n == s.n || s.p[n] == ' ' ? n : 0;
}

static void refuse(struct delegate_answer *a, const char code[static 3], struct str text)
{
    const char *preset = code[0] == '4' ? "4.7.1 Try again later" : "5.7.1 Refused by policy";
    char clean[TEXT_BYTES];
    size_t enhanced;

    str_skip(&text, ' ');
    while (str_ends(text, ' '))
        text.n--;
    if (text.n > TEXT_BYTES)
        text.n = TEXT_BYTES;
    for (size_t i = 0; i < text.n; i++) /* a NUL would end it in printf() */
        clean[i] = is_printable(text.p[i]) ? text.p[i] : '?';
    text.p = clean;
    enhanced = enhanced_length(text, code[0]);
    if (text.n == enhanced) /* none, or a status code alone */
        snprintf(a->reply, sizeof a->reply, "%.3s %s", code, preset);
    else
        snprintf(a->reply, sizeof a->reply, "%.3s %s" STR_FMT, code,
                 enhanced > 0     ? ""
                 : code[0] == '4' ? "4.7.1 "
                                  : "5.7.1 ",
                 STR_ARG(text));
    a->act = DELEGATE_REFUSE;
    a->closes = memcmp(code + 1, "21", 2) == 0;
}

static bool is_number(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_digit(s.p[i]))
            return false;
    return s.n > 0;
}

/* RFC 5321 4.2: the second digit of a reply goes to 5. */
static bool is_refusal_code(struct str s)
{
    return s.n == 3 && is_number(s) && (s.p[0] == '4' || s.p[0] == '5') && s.p[1] <= '5';
}

static void understand(struct str value, struct delegate_answer *a)
{
    static const struct {
        struct str word;
        const char *code; /* NULL: the mail may come */
    } actions[] = {
        {{"DUNNO", 5}, NULL},
        {{"OK", 2}, NULL},
        {{"PERMIT", 6}, NULL},
        {{"DEFER_IF_REJECT", 15}, NULL},
        {{"REJECT", 6}, "554"},
        {{"DEFER", 5}, "450"},
        {{"DEFER_IF_PERMIT", 15}, "450"},
    };
    struct str rest = value, word;

    str_skip(&rest, ' ');
    word = str_split(&rest, ' ');
    for (size_t i = 0; i < word.n && i + 1 < sizeof a->word; i++)
        a->word[i] = (char)(is_printable(word.p[i]) ? word.p[i] : '?');
    a->act = DELEGATE_UNKNOWN;
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (!str_eq_nocase(word, actions[i].word))
            continue;
        a->act = DELEGATE_PASS;
        if (actions[i].code != NULL)
            refuse(a, actions[i].code, rest);
        return;
    }
    if (is_refusal_code(word))
        refuse(a, word.p, rest);
    else if (is_number(word) && rest.n == 0) /* access(5): all-numerical is OK */
        a->act = DELEGATE_PASS;
}

static struct str cut_line(struct str *rest)
{
    struct str line = str_split(rest, '\n');

    if (str_ends(line, '\r'))
        line.n--;
    return line;
}

enum delegate_read delegate_read(struct str in, size_t *used, struct delegate_answer *a)
{
    struct str rest = in, line, value = STR_NONE;
    unsigned actions = 0;

    *used = 0;
    *a = (struct delegate_answer){.act = DELEGATE_PASS};
    while (str_find(rest, '\n') < rest.n) {
        line = cut_line(&rest);
        if ((size_t)(rest.p - in.p) > LIMIT_DELEGATE_ANSWER_BYTES)
            return DELEGATE_BAD;
        if (line.n == 0 && actions == 1) {
            *used = (size_t)(rest.p - in.p);
            understand(value, a);
            return DELEGATE_DONE;
        }
        if (str_find(line, '=') == line.n) /* an empty line without an action, too */
            return DELEGATE_BAD;
        if (str_cut_nocase(&line, STR("action="))) {
            value = line;
            actions++;
        }
    }
    return in.n < LIMIT_DELEGATE_ANSWER_BYTES && actions <= 1 ? DELEGATE_MORE : DELEGATE_BAD;
}

void delegate_soften(struct delegate_answer *a, uint8_t mode)
{
    if (a->act != DELEGATE_REFUSE || mode == CHECK_REFUSE)
        return;
    if (mode == CHECK_DEFER && a->reply[0] == '5') {
        a->reply[0] = a->reply[4] = '4'; /* refuse() writes a status code of the same class */
    } else if (mode != CHECK_DEFER) {
        a->act = DELEGATE_PASS;
        a->closes = false;
        a->reply[0] = 0;
    }
}

/* --- whether it is asked at all --- */

bool delegate_is_resting(const struct delegate_rest *r, uint64_t now_ms)
{
    return now_ms < r->until_ms;
}

void delegate_failed(struct delegate_rest *r, uint64_t now_ms)
{
    r->until_ms = now_ms + LIMIT_DELEGATE_REST_MS;
    r->timeouts = 0;
}

bool delegate_timed_out(struct delegate_rest *r, uint64_t now_ms)
{
    if (++r->timeouts < LIMIT_DELEGATE_TIMEOUTS)
        return false;
    delegate_failed(r, now_ms);
    return true;
}

void delegate_answered(struct delegate_rest *r)
{
    r->timeouts = 0;
}
