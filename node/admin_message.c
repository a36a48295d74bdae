/* message cat: the bytes as they will go to the primary: our trace fields, then the body as it
 * was received, before dot-stuffing. Reading other people's mail is written to the log. */
#include "base/base64.h"
#include "base/limits.h"
#include "node/admin_parts.h"

#define ENVELOPE_ARENA (RECORD_ARENA_BYTES + 65536)
#define PIECE_BYTES    49152

struct cat_state {
    bool begun;
    bool headers_only, header_done;
    struct arena arena;
    struct envelope env;
    uint64_t offset;
    unsigned matched; /* bytes of CRLF CRLF seen last; 2 at the start of the body */
};

static void cat_end(struct admin_call *c, void *state)
{
    struct cat_state *s = state;

    (void)c;
    if (s->begun)
        arena_reset(&s->arena);
}

static void emit_bytes(struct admin_call *c, struct str bytes)
{
    char text[BASE64_SIZE(PIECE_BYTES)];
    json_t *row = json_object();
    size_t n = base64_encode(bytes, text);

    admin_set(row, "base64", json_stringn(text, n));
    admin_emit(c, row);
}

static bool cat_begin(struct admin_call *c, struct cat_state *s)
{
    struct admin *a = c->ctx;
    struct mid id;
    enum err e;

    if (!admin_id_arg(c, &id))
        return false;
    arena_init(&s->arena, ENVELOPE_ARENA);
    s->begun = true;
    s->headers_only = admin_flag(c, "headers");
    s->matched = 2; /* an empty line may come first: a body without header fields */
    e = admin_queued(a, id, &s->arena, &s->env);
    if (e == E_NOTFOUND || e == E_AGAIN)
        (void)admin_fail(c, ADMIN_EXIT_NEGATIVE, "no such message is queued", "id",
                         "of settled mail only the trace is kept: trispool queue trace ID");
    else if (e != OK)
        (void)admin_fail_err(c, e, "id");
    else
        emit_bytes(c, s->env.trace_header);
    return e == OK;
}

/* Bytes up to and with the empty line that ends the header; all of them when it is not here. */
static size_t header_part(struct cat_state *s, struct str bytes)
{
    static const char end[] = "\r\n\r\n";

    for (size_t i = 0; i < bytes.n; i++) {
        if (bytes.p[i] == end[s->matched])
            s->matched++;
        else
            s->matched = bytes.p[i] == '\r' ? 1 : 0;
        if (s->matched == 4) {
            s->header_done = true;
            return i + 1;
        }
    }
    return bytes.n;
}

static enum admin_next cat_step(struct admin_call *c, void *state)
{
    struct cat_state *s = state;
    struct admin *a = c->ctx;
    char buf[PIECE_BYTES];
    size_t got = 0;
    json_t *more;
    enum err e;

    if (!s->begun && !cat_begin(c, s))
        return ADMIN_END;
    e = spool_read_body(a->reader, &s->env, s->offset, buf, sizeof buf, &got);
    if (e == E_NOTFOUND)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "the message was settled while it was read",
                          "id", NULL);
    if (e != OK)
        return admin_fail_err(c, e, "body");
    s->offset += got;
    if (got > 0) {
        struct str piece = {buf, got};

        emit_bytes(c, s->headers_only ? str_head(piece, header_part(s, piece)) : piece);
    }
    if (got > 0 && !s->header_done)
        return ADMIN_AGAIN;
    more = json_object();
    admin_set_u64(more, "trace_bytes", s->env.trace_header.n);
    admin_set_u64(more, "body_bytes", s->env.body_bytes);
    return admin_done(c, ADMIN_EXIT_OK, more);
}

static const struct admin_arg cat_args[] = {
    {"id", ADMIN_ARG_TEXT, 64, true},
    {"headers", ADMIN_ARG_BOOL, 0, false},
};

static const struct admin_command rows[] = {
    {"message.cat", ADMIN_ARGS(cat_args), true, sizeof(struct cat_state), cat_step, cat_end},
};

struct admin_table admin_message_table(void)
{
    return ADMIN_TABLE(rows);
}
