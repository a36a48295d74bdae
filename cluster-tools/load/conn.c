#include "cluster-tools/load/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "cluster-tools/common/now.h"

#define RAW_BYTES       8192 /* of a message, read and stuffed at a time */
#define QUIT_TIMEOUT_US UINT64_C(2000000)
#define IDLE_TIMEOUT_US UINT64_C(30000000)

static const struct conn_event no_event = {CONN_NOTHING, 0};

void conn_init(struct conn *c, const struct conn_options *opt, int epoll_fd)
{
    *c = (struct conn){.opt = opt, .epoll_fd = epoll_fd};
    wire_init(&c->wire, -1);
    body_init(&c->body);
    outbuf_init(&c->out, LIMIT_TOOL_OUT_BYTES);
}

void conn_close(struct conn *c)
{
    body_close(&c->body);
    outbuf_fini(&c->out);
    wire_close(&c->wire);
    conn_init(c, c->opt, c->epoll_fd);
}

bool conn_is_open(const struct conn *c)
{
    return c->wire.fd >= 0;
}

/* Bind to `from` without holding one of its ports for good (many connections, few addresses).
 */
static enum err bind_source(int fd, const struct address *from)
{
    int one = 1;

    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) < 0)
        return E_FULL;
    if (bind(fd, (const struct sockaddr *)&from->sa, from->sa_bytes) < 0)
        return E_FULL;
    return OK;
}

static void ask_for(struct conn *c, uint32_t interest)
{
    struct epoll_event ev = {.events = interest, .data.ptr = c};
    int rc;

    if (c->interest == interest)
        return;
    rc = epoll_ctl(c->epoll_fd, c->interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->wire.fd,
                   &ev);
    ASSERT(rc == 0);
    c->interest = interest;
}

enum err conn_connect(struct conn *c, const struct address *to, const struct address *from,
                      uint64_t now_us)
{
    int one = 1, fd;

    ASSERT(!conn_is_open(c));
    fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return E_FULL;
    wire_init(&c->wire, fd);
    client_init(&c->client, &c->opt->client);
    reply_init(&c->reader);
    c->connecting = true;
    c->connect_us = c->progress_us = now_us;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        (from != NULL && bind_source(fd, from) != OK))
        return E_FULL;
    if (connect(fd, (const struct sockaddr *)&to->sa, to->sa_bytes) < 0 && errno != EINPROGRESS)
        return E_NOTFOUND;
    ask_for(c, EPOLLIN | EPOLLOUT);
    return OK;
}

static struct conn_event finish_connect(struct conn *c)
{
    struct sockaddr_storage peer;
    socklen_t peer_bytes = sizeof peer, bytes = sizeof(int);
    int failure = 0;

    if (getsockopt(c->wire.fd, SOL_SOCKET, SO_ERROR, &failure, &bytes) < 0 || failure != 0)
        return (struct conn_event){CONN_CONNECT_FAILED, 0};
    if (getpeername(c->wire.fd, (struct sockaddr *)&peer, &peer_bytes) == 0)
        c->connecting = false;
    return no_event;
}

/* The connection is of no more use. Where was the session? */
static struct conn_event gone(const struct conn *c)
{
    int state = c->client.state;

    if (state == CLIENT_IDLE || state == CLIENT_RSET || state == CLIENT_QUIT)
        return (struct conn_event){CONN_ENDED, 0};
    return (struct conn_event){CONN_LOST, 0};
}

/* Reads once. WIRE_OK: there is something in c->in now. */
static enum wire_result read_more(struct conn *c)
{
    enum wire_result r;
    size_t got;

    if (c->in_start == c->in_end)
        c->in_start = c->in_end = 0;
    if (c->in_end == sizeof c->in)
        return WIRE_OK;
    r = wire_read(&c->wire, c->in + c->in_end, sizeof c->in - c->in_end, &got);
    c->in_end += got;
    if (r == WIRE_OK)
        c->progress_us = c->now_us = tool_now_us();
    return r;
}

/* Puts the next piece of the message into the output. False: not now. */
static bool add_body(struct conn *c)
{
    bool chunk = client_uses_bdat(&c->client);
    char raw[RAW_BYTES], *room;
    struct str piece;
    size_t got;

    if (body_read(&c->body, raw, sizeof raw, &got) != OK) {
        fprintf(stderr, "trispool-load: a file was changed while it was being sent\n");
        c->write_failed = true;
        return false;
    }
    if (got == 0) {
        /* Nothing comes between 354 and the end of the data (RFC 5321 4.3.2). A reply that is
         * here already belongs to no dot of ours; taking it for the answer would be a lie. */
        if (c->reader.line_bytes > 0 || c->reader.code != 0 || c->in_start < c->in_end ||
            read_more(c) == WIRE_OK)
            return false;
        room = outbuf_room(&c->out, DOTSTUFF_END_ROOM);
        ASSERT(room != NULL);
        outbuf_filled(&c->out, chunk ? 0 : dotstuff_end(&c->stuff, room));
        c->body_ended = true;
        return true;
    }
    piece = (struct str){raw, got};
    room = outbuf_room(&c->out, 2 * sizeof raw);
    if (room == NULL)
        return false;
    if (chunk) {
        memcpy(room, raw, got);
        outbuf_filled(&c->out, got);
    } else {
        outbuf_filled(&c->out, dotstuff_write(&c->stuff, &piece, room, 2 * sizeof raw));
        ASSERT(piece.n == 0);
    }
    return true;
}

/* Writes what the kernel takes. A failed write is not reported: the read side sees the end
 * too, and a reply may be waiting there. */
static void flush(struct conn *c)
{
    while (!c->write_failed) {
        enum wire_result r;
        struct str pending;
        size_t sent;

        /* Fill up before writing, so that a small message leaves in one packet. */
        while (c->sending_body && !c->body_ended && outbuf_pending(&c->out).n < 2 * RAW_BYTES &&
               add_body(c))
            continue;
        pending = outbuf_pending(&c->out);
        if (pending.n == 0)
            break;
        r = wire_write(&c->wire, pending, &sent);
        if (r == WIRE_AGAIN)
            return;
        if (r == WIRE_CLOSED) {
            c->write_failed = true;
            outbuf_clear(&c->out);
            return;
        }
        outbuf_sent(&c->out, sent);
        c->progress_us = c->now_us = tool_now_us();
    }
    if (c->sending_body && c->body_ended && !c->write_failed) {
        client_body_sent(&c->client);
        c->sending_body = false;
        c->dot_us = c->now_us;
        body_close(&c->body);
    }
}

static struct conn_event start_tls(struct conn *c)
{
    if (c->in_start < c->in_end) /* RFC 3207 4.2: somebody put words into the server's mouth */
        return (struct conn_event){CONN_MALFORMED, 0};
    if (wire_start_tls(&c->wire, c->opt->tls, c->opt->tls_name) != OK)
        return (struct conn_event){CONN_LOST, 0};
    c->handshaking = true;
    return no_event;
}

static struct conn_event start_body(struct conn *c)
{
    if (c->in_start < c->in_end)
        return (struct conn_event){CONN_MALFORMED, 0};
    dotstuff_init(&c->stuff);
    c->sending_body = true;
    c->body_ended = false;
    return no_event;
}

static struct conn_event on_result(struct conn *c, struct client_result r)
{
    static const enum conn_event_type types[] = {
        [CLIENT_GREETED] = CONN_GREETED, [CLIENT_READY] = CONN_READY,
        [CLIENT_ACKED] = CONN_ACKED,     [CLIENT_TEMP] = CONN_TEMP,
        [CLIENT_PERM] = CONN_PERM,       [CLIENT_REFUSED] = CONN_REFUSED,
        [CLIENT_ENDED] = CONN_ENDED,
    };

    switch (r.act) {
    case CLIENT_NOTHING:
        return no_event;
    case CLIENT_DO_TLS:
        return start_tls(c);
    case CLIENT_DO_BODY:
        return start_body(c);
    case CLIENT_TEMP:
    case CLIENT_PERM:
        c->sending_body = false;
        body_close(&c->body);
        break;
    case CLIENT_GREETED:
    case CLIENT_READY:
    case CLIENT_ACKED:
    case CLIENT_REFUSED:
    case CLIENT_ENDED:
        break;
    }
    return (struct conn_event){types[r.act], r.code};
}

/* One line of c->in. *more: there may be another one. */
static struct conn_event take_line(struct conn *c, bool *more)
{
    struct str in = {c->in + c->in_start, c->in_end - c->in_start};
    struct reply_line line;
    enum err e = reply_next(&c->reader, &in, &line);

    c->in_start = c->in_end - in.n;
    *more = e == OK;
    if (e == OK)
        return on_result(c, client_line(&c->client, &line, &c->out));
    if (e != E_AGAIN)
        return (struct conn_event){CONN_MALFORMED, 0};
    return no_event;
}

static struct conn_event shake_hands(struct conn *c)
{
    enum wire_result r = wire_handshake(&c->wire);

    if (r == WIRE_AGAIN)
        return no_event;
    c->handshaking = false;
    if (r == WIRE_CLOSED) {
        c->write_failed = true; /* no QUIT on half a TLS session */
        return (struct conn_event){CONN_REFUSED, 0};
    }
    client_secured(&c->client, &c->out);
    return (struct conn_event){CONN_SECURED, 0};
}

/* Reads and obeys lines until something is worth telling or nothing is left to read. */
static struct conn_event converse(struct conn *c)
{
    for (;;) {
        struct conn_event ev = no_event;
        enum wire_result r;
        bool more = false;

        while (c->in_start < c->in_end) {
            ev = take_line(c, &more);
            if (ev.type != CONN_NOTHING)
                return ev;
            if (c->handshaking || !more)
                break;
        }
        if (c->handshaking)
            return no_event;
        flush(c);
        if (c->out.failed)
            return (struct conn_event){CONN_LOST, 0};
        if (c->in_start < c->in_end)
            continue; /* read while the end of the body was held back */
        r = read_more(c);
        if (r == WIRE_AGAIN)
            return no_event;
        if (r == WIRE_CLOSED)
            return gone(c);
    }
}

struct conn_event conn_next(struct conn *c)
{
    struct conn_event ev = no_event;

    if (!conn_is_open(c))
        return ev;
    c->now_us = tool_now_us();
    if (c->connecting) {
        ev = finish_connect(c);
        if (c->connecting || ev.type != CONN_NOTHING)
            return ev;
    }
    if (!c->handshaking) {
        flush(c); /* what the owner has queued since */
        ev = converse(c);
    }
    if (ev.type == CONN_NOTHING && c->handshaking)
        ev = shake_hands(c);
    if (ev.type == CONN_NOTHING)
        ask_for(c, EPOLLIN | (outbuf_pending(&c->out).n > 0 || c->wire.wants_write
                                  ? (uint32_t)EPOLLOUT
                                  : 0));
    return ev;
}

void conn_begin(struct conn *c, const struct client_message *msg, uint64_t now_us)
{
    c->begin_us = now_us;
    client_begin(&c->client, msg, &c->out);
}

void conn_quit(struct conn *c)
{
    bool can = !c->connecting && !c->handshaking && !c->write_failed && !c->client.body_cut;

    if (can && c->client.state != CLIENT_QUIT)
        client_quit(&c->client, &c->out);
    if (can)
        flush(c);
    if (!can || !c->opt->wait_quit || c->write_failed)
        conn_close(c);
}

bool conn_timed_out(const struct conn *c, uint64_t now_us)
{
    uint64_t limit_us = c->opt->io_timeout_us;

    if (c->connecting)
        limit_us = c->opt->connect_timeout_us;
    else if (c->client.state == CLIENT_QUIT)
        limit_us = QUIT_TIMEOUT_US;
    else if (c->client.state == CLIENT_IDLE)
        limit_us = IDLE_TIMEOUT_US;
    return conn_is_open(c) && now_us - c->progress_us > limit_us;
}
