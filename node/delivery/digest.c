#include "node/delivery/digest.h"

#include <inttypes.h>
#include <stdio.h>

#include "node/delivery/text.h"

#define REPLY_BYTES 256  /* of a primary's reply, and of why a sender was not told */
#define FIXED_BYTES 4096 /* all but the rows: six times a name or an address, and words */

static_assert(FIXED_BYTES > 1500 + 6 * LIMIT_SMTP_PATH_BYTES &&
                  LIMIT_DIGEST_ROWS_BYTES + FIXED_BYTES <= LIMIT_DIGEST_BYTES,
              "a digest with all its rows must fit");

static void put_count(struct text *t, uint64_t n, const char *one, const char *many)
{
    char buf[24];

    snprintf(buf, sizeof buf, "%" PRIu64, n);
    text_z(t, buf);
    text_z(t, n == 1 ? one : many);
}

/* --- rows --- */

bool digest_tells_of(const struct rcpt *r)
{
    return r->fate == FATE_BOUNCED || r->fate == FATE_EXPIRED;
}

bool digest_tells(const struct envelope *e)
{
    bool any = false;

    for (uint32_t i = 0; i < e->rcpt_count; i++)
        any |= digest_tells_of(&e->rcpts[i]);
    return any && e->dsn != DSN_SENT;
}

uint64_t digest_ended_ms(const struct envelope *e)
{
    uint64_t ms = e->settled_ms;

    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].final_ms > ms)
            ms = e->rcpts[i].final_ms;
    return ms;
}

static void put_recipient(struct text *t, const struct rcpt *r)
{
    text_z(t, "  to        <");
    text_address(t, r->path);
    text_z(t, r->fate == FATE_EXPIRED ? ">, not taken in time" : ">, refused");
    if (r->reply.n > 0) {
        text_z(t, "\r\n            ");
        text_clean(t, r->reply, REPLY_BYTES);
    }
    text_z(t, "\r\n");
}

static void put_message(struct text *t, const struct envelope *e)
{
    char id[MID_TEXT_SIZE];

    text_z(t, "\r\n");
    text_z(t, mid_text(e->id, id));
    text_z(t, "\r\n  from      <");
    text_address(t, e->sender);
    text_z(t, ">\r\n  received  ");
    text_date(t, e->received_wall_ms);
    text_z(t, "\r\n  ended     ");
    text_date(t, e->settled_wall_ms);
    text_z(t, "\r\n");
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (digest_tells_of(&e->rcpts[i]))
            put_recipient(t, &e->rcpts[i]);
    text_z(t, "  not told  ");
    if (e->sender.n == 0)
        text_z(t, "(the null sender is never told)");
    else if (e->dsn_reply.n == 0)
        text_z(t, "(given up)");
    else
        text_clean(t, e->dsn_reply, REPLY_BYTES);
    text_z(t, "\r\n");
}

void digest_begin(struct digest *d, char rows[LIMIT_DIGEST_ROWS_BYTES])
{
    *d = (struct digest){.rows = rows};
}

void digest_add(struct digest *d, const struct envelope *e)
{
    struct text t = {.p = d->rows, .n = d->n, .size = LIMIT_DIGEST_ROWS_BYTES};

    d->messages++;
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        d->rcpts += digest_tells_of(&e->rcpts[i]);
    if (d->listed + 1 < d->messages) /* one did not fit: a list without gaps says more */
        return;
    put_message(&t, e);
    if (t.full)
        return;
    d->n = t.n;
    d->listed++;
}

/* --- the message --- */

static void put_header(struct text *t, const struct digest_in *in)
{
    char id[64];

    text_z(t, "Date: ");
    text_date(t, in->now_wall_ms);
    text_z(t, "\r\nFrom: Mail delivery <MAILER-DAEMON@");
    text_put(t, in->hostname);
    text_z(t, ">\r\nTo: <");
    text_put(t, in->to);
    text_z(t, ">\r\nSubject: Undelivered mail for ");
    text_put(t, in->domain);
    snprintf(id, sizeof id, "\r\nMessage-ID: <digest.%" PRIu64 ".%" PRIu64 "@", in->generation,
             in->until_ms);
    text_z(t, id);
    text_put(t, in->hostname);
    text_z(t, ">\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
              "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
}

static void put_words(struct text *t, const struct digest *d, const struct digest_in *in)
{
    text_z(t, "This is the mail system at ");
    text_put(t, in->hostname);
    text_z(t, ", which keeps mail for\r\n");
    text_put(t, in->domain);
    text_z(
        t,
        " while its own server is away.\r\n\r\n"
        "The mail below ended here: that server refused it for good, or did not take it in\r\n"
        "time. Whoever sent it was not told; the last line of each says why. If some of it\r\n"
        "was wanted, write to its sender.\r\n\r\n");
    put_count(t, d->messages, " message, ", " messages, ");
    put_count(t, d->rcpts, " recipient.", " recipients.");
    if (d->listed < d->messages) {
        text_z(t, " Too many for one mail: here are the first ");
        put_count(t, d->listed, ".", ".");
    }
    text_z(t, " Who runs\r\nthis system can list all of it for 30 days: trispool queue "
              "undelivered.\r\n");
}

size_t digest_end(const struct digest *d, const struct digest_in *in,
                  char buf[LIMIT_DIGEST_BYTES])
{
    struct text t = {.p = buf, .size = LIMIT_DIGEST_BYTES};

    ASSERT(in->to.n <= LIMIT_SMTP_PATH_BYTES && in->domain.n <= LIMIT_SMTP_DOMAIN_BYTES);
    put_header(&t, in);
    put_words(&t, d, in);
    text_put(&t, (struct str){d->rows, d->n});
    ASSERT(!t.full);
    return t.n;
}
