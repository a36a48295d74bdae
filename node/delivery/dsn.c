#include "node/delivery/dsn.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/utf8.h"
#include "node/delivery/reply.h"
#include "node/delivery/text.h"

#define LINE_BYTES      998  /* RFC 5322 2.1.1, without CRLF */
#define TEXT_DIAG_BYTES 128  /* of a reply, in the part for people */
#define FIXED_BYTES     4096 /* all that does not grow with recipients or headers */

/* Per recipient: address and reply in the part for people, then in the one for programs. */
static_assert(FIXED_BYTES + LIMIT_DSN_HEADER_BYTES +
                      LIMIT_SMTP_RCPTS * (2 * TEXT_ADDRESS_BYTES + TEXT_DIAG_BYTES + 64 +
                                          LIMIT_DSN_DIAG_BYTES + 200) <=
                  LIMIT_DSN_BYTES,
              "a DSN for the largest envelope must fit");

/* --- replies of the primary, without what is behind its door --- */

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           c == '.' || c == ':' || c == '-' || c == '_';
}

static bool is_ipv4(struct str word)
{
    int parts = 0;

    word = str_split(&word, ':'); /* a port may follow */
    while (word.n > 0) {
        struct str part = str_split(&word, '.');
        uint64_t value;

        if (part.n > 3 || !str_to_u64(part, &value))
            return false;
        parts++;
    }
    return parts == 4;
}

static bool is_ipv6(struct str word)
{
    int colons = 0;
    bool pair = false;

    str_cut_nocase(&word, STR("IPv6:"));
    for (size_t i = 0; i < word.n; i++) {
        char c = word.p[i];
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');

        if (!hex && c != ':' && c != '.')
            return false;
        colons += c == ':';
        pair |= c == ':' && i > 0 && word.p[i - 1] == ':';
    }
    return colons >= 4 || (pair && word.n > 2);
}

static bool is_inner_host(struct str word)
{
    static const char *const ends[] = {".local", ".internal",  ".lan",        ".corp",
                                       ".intra", ".home.arpa", ".localdomain"};

    word = str_split(&word, ':');
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct str end = str_of(ends[i]);

        if (word.n > end.n && str_eq_nocase(str_from(word, word.n - end.n), end))
            return true;
    }
    return false;
}

/* Cuts a run of word bytes, or one other byte, off the front. */
static struct str cut_word(struct str *s)
{
    size_t n = 0;
    struct str word;

    while (n < s->n && is_word(s->p[n]))
        n++;
    word = str_head(*s, n > 0 ? n : 1);
    *s = str_from(*s, word.n);
    return word;
}

static struct str masked(struct str word)
{
    struct str bare = word;

    while (str_ends(bare, '.') || str_ends(bare, ':')) /* the end of a sentence */
        bare = str_head(bare, bare.n - 1);
    if (is_ipv4(bare) || is_ipv6(bare))
        return STR("[address]");
    return is_inner_host(bare) ? STR("[host]") : word;
}

static void put_reply(struct text *t, struct str reply, size_t max)
{
    while (reply.n > 0 && max > 0) {
        struct str word = masked(cut_word(&reply));
        size_t n = word.n < max ? word.n : max;

        text_clean(t, word, n);
        max -= n;
    }
}

/* --- the parts --- */

static void put_boundary(struct text *t, const struct dsn_in *in, struct str before,
                         struct str after)
{
    char id[MID_TEXT_SIZE];

    text_put(t, before);
    text_put(t, STR("=_dsn_"));
    text_put(t, str_of(mid_text(in->env->id, id)));
    text_put(t, after);
}

static bool is_reported(const struct rcpt *r)
{
    return r->fate == FATE_BOUNCED || r->fate == FATE_EXPIRED;
}

static void put_header(struct text *t, const struct dsn_in *in)
{
    char id[MID_TEXT_SIZE];

    text_put(t, STR("Date: "));
    text_date(t, in->now_wall_ms);
    text_put(t, STR("\r\nFrom: Mail delivery <MAILER-DAEMON@"));
    text_put(t, in->hostname);
    text_put(t, STR(">\r\nTo: "));
    if (utf8_has_8bit(in->env->sender)) { /* this header is ASCII */
        text_put(t, STR("undisclosed-recipients:;"));
    } else {
        text_put(t, STR("<"));
        text_address(t, in->env->sender);
        text_put(t, STR(">"));
    }
    text_put(t, STR("\r\nSubject: Your message could not be delivered\r\nMessage-ID: <"));
    text_put(t, str_of(mid_text(in->env->id, id)));
    text_put(t, STR(".dsn@"));
    text_put(t, in->hostname);
    text_put(t, STR(">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
                    "Content-Type: multipart/report; report-type=delivery-status;\r\n"));
    put_boundary(t, in, STR(" boundary=\""), STR("\"\r\n\r\n"));
}

static void put_for_people(struct text *t, const struct dsn_in *in)
{
    const struct envelope *env = in->env;
    uint16_t code;
    struct enhanced e;

    put_boundary(t, in, STR("--"), STR("\r\n"));
    text_put(t, STR("Content-Type: text/plain; charset=us-ascii\r\n\r\n"
                    "This is the mail system at "));
    text_put(t, in->hostname);
    text_put(t,
             STR(".\r\n\r\nYour message could not be delivered to these recipients, and is no "
                 "longer\r\ntried for them:\r\n"));
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        const struct rcpt *r = &env->rcpts[i];

        if (!is_reported(r))
            continue;
        text_put(t, STR("\r\n  <"));
        text_address(t, r->path);
        text_put(t, r->fate == FATE_EXPIRED ? STR(">\r\n    not taken in time")
                                            : STR(">\r\n    refused"));
        if (reply_text_parse(r->reply, &code, &e)) {
            text_put(t, STR("; last answer: "));
            put_reply(t, r->reply, TEXT_DIAG_BYTES);
        }
        text_put(t, STR("\r\n"));
    }
    text_put(t, STR("\r\nThe header of your message is attached.\r\n\r\n"));
}

/* RFC 3464 2.3.4. A bounce never bears a status of another class than 5. */
static void put_status(struct text *t, const struct rcpt *r)
{
    uint16_t code;
    struct enhanced e = {0};
    char buf[32];
    int n;

    if (r->fate == FATE_EXPIRED)
        e = (struct enhanced){4, 4, 7}; /* RFC 3463: delivery time expired */
    else if (!reply_text_parse(r->reply, &code, &e) || e.klass != 5)
        e = (struct enhanced){5, 0, 0};
    n = snprintf(buf, sizeof buf, "Status: %u.%u.%u\r\n", e.klass, e.subject, e.detail);
    ASSERT(n > 0 && (size_t)n < sizeof buf);
    text_put(t, (struct str){buf, (size_t)n});
}

static void put_one_recipient(struct text *t, const struct envelope *env, const struct rcpt *r)
{
    uint16_t code;
    struct enhanced e;

    text_put(t, text_is_foreign(r->path) ? STR("\r\nFinal-Recipient: utf-8; ")
                                         : STR("\r\nFinal-Recipient: rfc822; "));
    text_address(t, r->path);
    text_put(t, STR("\r\nAction: failed\r\n"));
    put_status(t, r);
    if (reply_text_parse(r->reply, &code, &e)) {
        text_put(t, STR("Diagnostic-Code: smtp; "));
        put_reply(t, r->reply, LIMIT_DSN_DIAG_BYTES);
        text_put(t, STR("\r\n"));
    }
    if (r->last_ms > 0 && r->last_ms >= env->received_ms) { /* cluster time to wall time */
        text_put(t, STR("Last-Attempt-Date: "));
        text_date(t, env->received_wall_ms + (int64_t)(r->last_ms - env->received_ms));
        text_put(t, STR("\r\n"));
    }
}

static void put_for_programs(struct text *t, const struct dsn_in *in)
{
    const struct envelope *env = in->env;

    put_boundary(t, in, STR("--"), STR("\r\n"));
    text_put(t, STR("Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; "));
    text_put(t, in->hostname);
    text_put(t, STR("\r\nArrival-Date: "));
    text_date(t, env->received_wall_ms);
    text_put(t, STR("\r\n"));
    for (uint32_t i = 0; i < env->rcpt_count; i++)
        if (is_reported(&env->rcpts[i]))
            put_one_recipient(t, env, &env->rcpts[i]);
    text_put(t, STR("\r\n"));
}

/* "name: value". A line that starts with "--" could close the
 * part, a line that is no field is somebody's text: neither is sent to what may be a forged
 * sender. */
static bool is_field(struct str line)
{
    size_t colon = str_find(line, ':');

    if (colon == 0 || colon == line.n || str_starts_nocase(line, STR("--")))
        return false;
    for (size_t i = 0; i < colon; i++)
        if (line.p[i] <= 0x20 || line.p[i] > 0x7e)
            return false;
    return true;
}

static void put_original_header(struct text *t, const struct dsn_in *in)
{
    struct str rest = in->body_start;
    size_t room = LIMIT_DSN_HEADER_BYTES;
    bool sent = false;

    put_boundary(t, in, STR("--"), STR("\r\n"));
    text_put(t, STR("Content-Type: text/rfc822-headers\r\n\r\n"));
    while (rest.n > 0 && str_find(rest, '\n') < rest.n) { /* a line cut in half is left out */
        struct str line = str_split(&rest, '\n');

        if (str_ends(line, '\r'))
            line = str_head(line, line.n - 1);
        if (line.n == 0)
            break;
        if (line.p[0] != ' ' && line.p[0] != '\t') /* else it goes the way of its field */
            sent = is_field(line);
        if (!sent)
            continue;
        if (line.n > LINE_BYTES)
            line = str_head(line, LINE_BYTES);
        if (line.n + 2 > room)
            break;
        room -= line.n + 2;
        for (size_t i = 0; i < line.n; i++)
            text_char(t, line.p[i] == '\t' || (line.p[i] >= 0x20 && line.p[i] <= 0x7e)
                             ? line.p[i]
                             : '?');
        text_put(t, STR("\r\n"));
    }
    put_boundary(t, in, STR("\r\n--"), STR("--\r\n"));
}

enum err dsn_build(const struct dsn_in *in, char *buf, size_t size, size_t *n)
{
    struct text t = {.p = buf, .size = size};
    uint32_t reported = 0;

    *n = 0;
    for (uint32_t i = 0; i < in->env->rcpt_count; i++)
        reported += is_reported(&in->env->rcpts[i]);
    if (reported == 0 || in->env->sender.n == 0)
        return E_NOTFOUND;
    put_header(&t, in);
    put_for_people(&t, in);
    put_for_programs(&t, in);
    put_original_header(&t, in);
    if (t.full)
        return E_FULL;
    *n = t.n;
    return OK;
}
