#include "node/policy/auth_strip.h"

#include "node/policy/auth_results.h"

/* What becomes of the field that the next byte belongs to. */
enum at {
    KEEP,
    HOLD, /* it may be one that goes */
    DROP
};

static const struct str NAME = {"authentication-results", 22};

void auth_strip_init(struct auth_strip *s, struct str authserv_id)
{
    ASSERT(authserv_id.n > 0 && authserv_id.n <= sizeof s->id);
    s->removed_bytes = 0;
    s->removed = 0;
    s->done = false;
    s->is_line_start = true;
    s->at = KEEP;
    s->held_n = 0;
    s->id_n = (uint32_t)authserv_id.n;
    memcpy(s->id, authserv_id.p, authserv_id.n);
}

static struct str id_of(const struct auth_strip *s)
{
    return (struct str){s->id, s->id_n};
}

static struct str held(const struct auth_strip *s)
{
    return (struct str){s->held, s->held_n};
}

static struct str release(struct auth_strip *s)
{
    struct str all = held(s);

    s->held_n = 0;
    return all;
}

static void remove_held(struct auth_strip *s)
{
    s->removed++;
    s->removed_bytes += s->held_n;
    s->held_n = 0;
}

/* The field before is over. True: it stays, and is still held. */
static bool field_stays(struct auth_strip *s)
{
    if (s->at != HOLD || s->held_n == 0)
        return false;
    s->at = KEEP;
    if (!auth_results_claims(held(s), id_of(s)))
        return true;
    remove_held(s);
    return false;
}

static bool may_be_name(char c)
{
    return c == 'a' || c == 'A';
}

static void begin_field(struct auth_strip *s, char c)
{
    s->at = may_be_name(c) ? HOLD : KEEP;
    s->done = c == '\r';
}

/* One byte of a field that is held back. False: it is decided, and the byte was not taken. */
static bool hold(struct auth_strip *s, char c)
{
    char lower = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;

    if (s->held_n < NAME.n ? lower == NAME.p[s->held_n] : s->held_n < sizeof s->held) {
        s->held[s->held_n++] = c;
        s->is_line_start = c == '\n';
        return true;
    }
    s->at = KEEP;
    if (s->held_n == sizeof s->held && auth_results_start_claims(held(s), id_of(s))) {
        remove_held(s);
        s->at = DROP;
    }
    return false;
}

/* Bytes up to the end of the line, or all. */
static size_t line_bytes(struct auth_strip *s, struct str in)
{
    size_t n = str_find(in, '\n');

    s->is_line_start = n < in.n;
    return n + s->is_line_start;
}

/* Lines that stay, whatever they are: up to one that is to be looked at. */
static size_t run_bytes(struct auth_strip *s, struct str in)
{
    size_t n = 0;

    do
        n += line_bytes(s, str_from(in, n));
    while (n < in.n && !may_be_name(in.p[n]) && in.p[n] != '\r');
    return n;
}

static struct str take(struct str *in, size_t n)
{
    struct str head = str_head(*in, n);

    *in = str_from(*in, n);
    return head;
}

struct str auth_strip_next(struct auth_strip *s, struct str *in)
{
    while (in->n > 0) {
        char c = in->p[0];

        if (s->done)
            return take(in, in->n);
        if (s->is_line_start && c != ' ' && c != '\t') { /* else it goes with its field */
            if (field_stays(s))
                return release(s);
            begin_field(s, c);
            if (s->done)
                continue;
        }
        s->is_line_start = false;
        if (s->at == KEEP)
            return take(in, run_bytes(s, *in));
        if (s->at == DROP)
            s->removed_bytes += take(in, line_bytes(s, *in)).n;
        else if (hold(s, c))
            (void)take(in, 1);
        else if (s->at == KEEP && s->held_n > 0)
            return release(s);
    }
    return STR_NONE;
}

struct str auth_strip_end(struct auth_strip *s)
{
    (void)field_stays(s);
    s->done = true;
    return release(s);
}
