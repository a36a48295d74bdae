#include "cluster-tools/sink/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/assert.h"
#include "base/limits.h"
#include "cluster-tools/common/now.h"

#define READ_BYTES     16384 /* a whole TLS record, so that none hides from epoll */
#define READS_A_TURN   64    /* then others have their turn */
#define OUT_HIGH_BYTES (64 * KiB)

void conn_free(struct conn **c)
{
    struct intake *in = (*c)->intake;

    in->stats.open--;
    store_drop(&in->store, &(*c)->file);
    wire_close(&(*c)->wire);
    session_fini(&(*c)->session);
    outbuf_fini(&(*c)->out);
    free(*c);
    *c = NULL;
}

static void cut(struct conn *c)
{
    outbuf_clear(&c->out);
    wire_cut(&c->wire);
    c->over = true;
}

static void note_noncanonical(struct conn *c, uint64_t total, uint64_t *counted, struct str id)
{
    struct intake *in = c->intake;

    if (total == *counted)
        return;
    in->stats.noncanonical += total - *counted;
    ledger_add_noncanonical(&in->ledger, id, tool_wall_us(), total - *counted, c->port);
    *counted = total;
}

static void begin_message(struct conn *c)
{
    data_init(&c->data, c->intake->lenient);
    tag_init(&c->tag);
    c->data_counted = 0;
    store_drop(&c->intake->store, &c->file); /* of chunks that RSET has ended */
    store_begin(&c->intake->store, &c->file);
}

static void hold(struct conn *c, uint64_t until_us)
{
    c->hold_until_us = until_us;
    if (until_us < c->intake->release_us)
        c->intake->release_us = until_us;
}

/* Does what the session wants. */
static void obey(struct conn *c, struct session_out out, uint64_t now_us)
{
    stats_count_fault(&c->intake->stats, out.fault);
    if (out.delay_us > 0)
        hold(c, now_us + out.delay_us);
    switch (out.act) {
    case SESSION_GO_ON:
        break;
    case SESSION_DO_DATA:
        begin_message(c);
        c->mode = CONN_DATA;
        break;
    case SESSION_DO_CHUNK:
        if (out.chunk_first && !out.chunk_unwanted)
            begin_message(c);
        c->mode = CONN_CHUNK;
        c->chunk_left = out.chunk_bytes;
        c->chunk_last = out.chunk_last;
        c->chunk_unwanted = out.chunk_unwanted;
        break;
    case SESSION_DO_TLS:
        c->tls_next = true;
        break;
    case SESSION_CLOSE:
        c->closing = true;
        break;
    case SESSION_DROP:
        cut(c);
        break;
    case SESSION_STALL:
        c->mode = CONN_STALLED;
        break;
    }
}

struct conn *conn_new(struct intake *intake, int fd, uint16_t port, bool busy, uint64_t now_us)
{
    struct conn *c = calloc(1, sizeof *c);
    struct wire wire;

    wire_init(&wire, fd);
    if (c == NULL) {
        wire_close(&wire);
        return NULL;
    }
    c->source = SOURCE_CONN;
    c->intake = intake;
    c->wire = wire;
    c->port = port;
    session_init(&c->session, &intake->config, &intake->fault);
    lines_init(&c->lines, intake->lenient);
    store_message_init(&c->file);
    outbuf_init(&c->out, LIMIT_TOOL_OUT_BYTES);
    intake->stats.connections++;
    intake->stats.open++;
    c->mode = CONN_LINES;
    obey(c, session_open(&c->session, busy, &c->out), now_us);
    return c;
}

/* The message is whole and shall be kept. False: the disk refused. */
static bool keep(struct conn *c, bool withheld)
{
    struct intake *in = c->intake;
    struct stats *st = &in->stats;
    enum tag_verdict verdict = tag_verdict(&c->tag);
    struct ledger_entry entry = {
        .withheld = withheld,
        .id = tag_id(&c->tag),
        .wall_us = tool_wall_us(),
        .verdict = tag_verdict_text(verdict),
        .rcpts = c->session.rcpts,
        .port = c->port,
    };
    struct idtable_entry *seen;

    if (store_keep(&in->store, &c->file, outbuf_pending(&c->session.envelope)) != OK) {
        st->not_kept++;
        return false;
    }
    ledger_add(&in->ledger, &entry);
    st->received++;
    st->last_us = entry.wall_us;
    if (st->first_us == 0)
        st->first_us = entry.wall_us;
    if (verdict == TAG_UNTAGGED)
        st->untagged++;
    else if (verdict != TAG_OK)
        st->corrupt++;
    if (verdict != TAG_UNTAGGED && idtable_get(in->ids, entry.id, &seen) == OK) {
        if (seen->count[0]++ == 0)
            st->unique++;
        else
            st->duplicates++;
    }
    return true;
}

static void end_message(struct conn *c, uint64_t now_us)
{
    struct session_out out;
    bool take, kept = false;

    out = session_message_end(&c->session, &take, &c->out);
    if (take)
        kept = keep(c, out.fault == FAULT_ACKLOSS);
    if (take && out.act != SESSION_DROP)
        session_taken(kept, &c->out);
    store_drop(&c->intake->store, &c->file);
    c->mode = CONN_LINES;
    session_reset(&c->session);
    obey(c, out, now_us);
}

/* A piece of the message, without doubled dots. */
static void add_body(struct conn *c, struct str bytes, uint64_t now_us)
{
    uint64_t max = c->intake->config.max_bytes;

    c->intake->stats.bytes += bytes.n;
    tag_add(&c->tag, bytes);
    obey(c, session_body(&c->session, bytes.n), now_us);
    if (!c->over && (max == 0 || c->session.message_bytes <= max))
        store_add(&c->intake->store, &c->file, bytes);
}

static void take_data(struct conn *c, struct str *in, uint64_t now_us)
{
    char plain[READ_BYTES];
    size_t n = data_read(&c->data, in, plain, sizeof plain);

    if (n > 0)
        add_body(c, (struct str){plain, n}, now_us);
    note_noncanonical(c, data_noncanonical(&c->data), &c->data_counted, tag_id(&c->tag));
    if (c->mode == CONN_DATA && !c->over && c->data.state == DATA_END)
        end_message(c, now_us);
}

static void end_chunk(struct conn *c, uint64_t now_us)
{
    c->mode = CONN_LINES;
    if (c->chunk_unwanted) {
        if (!c->chunk_last)
            return;
        store_drop(&c->intake->store, &c->file);
        session_reset(&c->session);
    } else if (c->chunk_last) {
        end_message(c, now_us);
    } else {
        session_chunk_end(&c->out);
    }
}

static void take_chunk(struct conn *c, struct str *in, uint64_t now_us)
{
    size_t n = in->n < c->chunk_left ? in->n : (size_t)c->chunk_left;
    struct str piece = str_head(*in, n);

    *in = str_from(*in, n);
    c->chunk_left -= n;
    if (n > 0 && !c->chunk_unwanted) {
        data_scan(&c->data, piece);
        add_body(c, piece, now_us);
        note_noncanonical(c, data_noncanonical(&c->data), &c->data_counted, tag_id(&c->tag));
    }
    if (c->mode == CONN_CHUNK && !c->over && c->chunk_left == 0)
        end_chunk(c, now_us);
}

static void take_line(struct conn *c, struct str *in, uint64_t now_us)
{
    struct str line;
    enum err e = lines_next(&c->lines, in, &line);

    note_noncanonical(c, c->lines.bare_cr + c->lines.bare_lf, &c->lines_counted, STR(""));
    if (e == E_AGAIN)
        return;
    if (e != OK) {
        outbuf_add(&c->out, STR("500 5.5.6 Line too long\r\n"));
        c->closing = true;
        return;
    }
    obey(c, session_line(&c->session, line, &c->out), now_us);
    if (c->mode == CONN_CHUNK && c->chunk_left == 0)
        end_chunk(c, now_us);
}

static void take_input(struct conn *c, struct str in, uint64_t now_us)
{
    while (in.n > 0 && !c->closing && !c->over && !c->tls_next) {
        switch (c->mode) {
        case CONN_LINES:
            take_line(c, &in, now_us);
            break;
        case CONN_DATA:
            take_data(c, &in, now_us);
            break;
        case CONN_CHUNK:
            take_chunk(c, &in, now_us);
            break;
        case CONN_STALLED:
        case CONN_HANDSHAKE:
            return;
        }
    }
    /* RFC 3207 4.2: what came in the clear behind STARTTLS must not be obeyed. */
    if (c->tls_next)
        c->intake->stats.early_bytes += in.n;
}

static void shake_hands(struct conn *c)
{
    enum wire_result r = wire_handshake(&c->wire);

    if (r == WIRE_CLOSED)
        c->over = true;
    if (r != WIRE_OK)
        return;
    c->intake->stats.tls_sessions++;
    session_secured(&c->session);
    lines_init(&c->lines, c->intake->lenient);
    c->lines_counted = 0;
    c->mode = CONN_LINES;
}

static void flush(struct conn *c)
{
    struct str pending;

    while (!c->over && (pending = outbuf_pending(&c->out)).n > 0) {
        size_t sent;
        enum wire_result r = wire_write(&c->wire, pending, &sent);

        if (r == WIRE_AGAIN)
            return;
        if (r == WIRE_CLOSED)
            c->over = true;
        outbuf_sent(&c->out, sent);
    }
    if (c->over)
        return;
    if (c->closing || c->out.failed)
        c->over = true;
    if (!c->tls_next)
        return;
    c->tls_next = false;
    c->mode = CONN_HANDSHAKE;
    if (wire_start_tls(&c->wire, c->intake->tls, NULL) != OK)
        c->over = true;
}

static void ask_for(struct conn *c, uint32_t interest)
{
    struct epoll_event ev = {.events = interest, .data.ptr = c};
    int op = c->interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    int rc;

    if (c->interest == interest)
        return;
    /* While replies are held back nothing is asked for: a connection that breaks meanwhile
     * would be reported again and again. */
    rc = epoll_ctl(c->intake->epoll_fd, interest == 0 ? EPOLL_CTL_DEL : op, c->wire.fd, &ev);
    ASSERT(rc == 0);
    c->interest = interest;
}

static bool held(const struct conn *c, uint64_t now_us)
{
    return c->hold_until_us > now_us;
}

/* Reads and obeys until there is nothing to read, or a reason not to. */
static void converse(struct conn *c, uint64_t now_us)
{
    char buffer[READ_BYTES];

    for (int i = 0; i < READS_A_TURN && !c->over && !held(c, now_us); i++) {
        enum wire_result r;
        size_t got;

        flush(c);
        if (c->over || outbuf_pending(&c->out).n > OUT_HIGH_BYTES || c->tls_next)
            return;
        if (c->mode == CONN_HANDSHAKE) {
            shake_hands(c);
            if (c->mode == CONN_HANDSHAKE)
                return;
        }
        r = wire_read(&c->wire, buffer, sizeof buffer, &got);
        if (r == WIRE_CLOSED)
            c->over = true;
        if (r != WIRE_OK)
            return;
        take_input(c, (struct str){buffer, got}, now_us);
    }
    if (!held(c, now_us))
        flush(c);
}

void conn_run(struct conn *c, uint64_t now_us)
{
    uint32_t interest = EPOLLIN;
    size_t pending;

    if (c->over || held(c, now_us))
        return;
    converse(c, now_us);
    if (c->over)
        return;
    pending = outbuf_pending(&c->out).n;
    if (pending > OUT_HIGH_BYTES || c->closing)
        interest = 0;
    if (pending > 0 || c->wire.wants_write)
        interest |= (uint32_t)EPOLLOUT;
    ask_for(c, held(c, now_us) ? 0 : interest);
}
