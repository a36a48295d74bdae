#include "node/smtp/received.h"

#include <stdio.h>

#include "base/limits.h"
#include "node/smtp/address.h"

#define NAME_BYTES   (sizeof "Received:" - 1)
#define FOLD_COLUMNS 77 /* a line stays below 78 bytes, CRLF not counted */

/* Appends words to a field and folds in front of one that would pass the column. */
struct writer {
    char *buf;
    size_t n, column;
};

static void put(struct writer *w, struct str s)
{
    ASSERT(w->n + s.n <= RECEIVED_SIZE);
    if (s.n > 0)
        memcpy(w->buf + w->n, s.p, s.n);
    w->n += s.n;
    w->column += s.n;
}

/* One word of three parts, without a fold between them. */
static void word3(struct writer *w, struct str a, struct str b, struct str c)
{
    bool is_first = w->n == NAME_BYTES; /* a line of white space is obsolete syntax */

    if (!is_first && w->column + 1 + a.n + b.n + c.n > FOLD_COLUMNS) {
        put(w, STR("\r\n\t"));
        w->column = 8; /* as a tab shows */
    } else {
        put(w, STR(" "));
    }
    put(w, a);
    put(w, b);
    put(w, c);
}

static void word(struct writer *w, struct str s)
{
    word3(w, s, STR(""), STR(""));
}

/* --- what may stand in the field --- */

/* A host name as they come: like a domain, but underscores happen and do no harm. */
static bool is_host_name(struct str s)
{
    if (s.n == 0 || s.n > LIMIT_SMTP_HELO_BYTES)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '-' || c == '_'))
            return false;
    }
    return true;
}

/* The address as a literal of RFC 5321 4.1.3 in buf; empty when it is not an address. */
static struct str literal_of(struct str addr, char *buf, size_t size)
{
    bool v6 = str_find(addr, ':') < addr.n;
    int n = addr.n >= size
                ? 0
                : snprintf(buf, size, "[%s" STR_FMT "]", v6 ? "IPv6:" : "", STR_ARG(addr));
    struct str literal = {buf, n > 0 && (size_t)n < size ? (size_t)n : 0};

    return address_is_literal(literal) ? literal : STR_NONE;
}

static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    return true;
}

/* Text for the inside of a comment: nothing in it may close, open or escape. */
static bool is_comment_text(struct str s)
{
    return is_printable(s) && str_find(s, '(') == s.n && str_find(s, ')') == s.n &&
           str_find(s, '\\') == s.n;
}

/* --- clauses --- */

static void put_from(struct writer *w, const struct received *r)
{
    char buf[80];
    struct str literal = literal_of(r->client_addr, buf, sizeof buf);

    if (is_host_name(r->helo) ||
        (r->helo.n <= LIMIT_SMTP_HELO_BYTES && address_is_literal(r->helo)))
        word3(w, STR("from "), r->helo, STR(""));
    else
        word3(w, STR("from "), literal.n > 0 ? literal : STR("unknown"), STR(""));
    if (literal.n > 0)
        word3(w, STR("("), literal, STR(")"));
}

static void put_with(struct writer *w, const struct received *r)
{
    /* RFC 3848 has no name for SMTP with TLS, and TLS is there only by way of ESMTP */
    if (r->tls.n == 0) {
        word(w, r->smtputf8 ? STR("with UTF8SMTP")
                : r->esmtp  ? STR("with ESMTP")
                            : STR("with SMTP"));
        return;
    }
    word(w, r->smtputf8 ? STR("with UTF8SMTPS") : STR("with ESMTPS"));
    if (r->tls.n <= LIMIT_TLS_TEXT_BYTES && is_comment_text(r->tls))
        word3(w, STR("("), r->tls, STR(")"));
}

struct str received_format(const struct received *r, char buf[static RECEIVED_SIZE])
{
    struct writer w = {.buf = buf};
    char id[MID_TEXT_SIZE], date[RFC5322_DATE_SIZE];
    bool has_for = r->rcpt.n > 0 && r->rcpt.n <= LIMIT_SMTP_PATH_BYTES && is_printable(r->rcpt);

    ASSERT(is_host_name(r->host));
    ASSERT(r->cluster.n <= LIMIT_CLUSTER_NAME_BYTES && is_comment_text(r->cluster));
    put(&w, STR("Received:"));
    put_from(&w, r);
    word3(&w, STR("by "), r->host, STR(""));
    word3(&w, STR("(trispool "), r->cluster, STR(")"));
    put_with(&w, r);
    word3(&w, STR("id "), str_of(mid_text(r->id, id)), has_for ? STR("") : STR(";"));
    if (has_for)
        word3(&w, STR("for <"), r->rcpt, STR(">;"));
    word(&w, str_of(rfc5322_date(r->wall_ms, date)));
    put(&w, STR("\r\n"));
    return (struct str){buf, w.n};
}

/* --- the date --- */

#define MS_PER_DAY INT64_C(86400000)
#define MAX_DAY    INT64_C(2932896) /* 31 December 9999 */

struct civil {
    int year, month, day;
};

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Gregorian date of a day counted from 1 January 1970. */
static struct civil civil_of(int64_t days)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    /* 146,097 days are 400 years, at any start */
    struct civil c = {.year = 1970 + (int)(days / 146097) * 400, .month = 1};
    int left = (int)(days % 146097);

    for (; left >= 365 + is_leap(c.year); c.year++)
        left -= 365 + is_leap(c.year);
    for (; left >= month_days[c.month - 1] + (c.month == 2 && is_leap(c.year)); c.month++)
        left -= month_days[c.month - 1] + (c.month == 2 && is_leap(c.year));
    c.day = left + 1;
    return c;
}

const char *rfc5322_date(int64_t wall_ms, char buf[static RFC5322_DATE_SIZE])
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1 January 1970 was a Thursday */
    int64_t ms = wall_ms < 0 ? 0 : wall_ms;
    int64_t days;
    int second, n;
    struct civil c;

    if (ms / MS_PER_DAY > MAX_DAY)
        ms = (MAX_DAY + 1) * MS_PER_DAY - 1;
    days = ms / MS_PER_DAY;
    second = (int)(ms % MS_PER_DAY / 1000);
    c = civil_of(days);
    n = snprintf(buf, RFC5322_DATE_SIZE, "%.3s, %02d %.3s %04d %02d:%02d:%02d +0000",
                 weekdays + 3 * (days % 7), c.day, names + 3 * (c.month - 1), c.year,
                 second / 3600, second / 60 % 60, second % 60);
    ASSERT(n > 0 && n < RFC5322_DATE_SIZE);
    return buf;
}
