#include "node/net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "node/net/tls.h"

#define FINISH_S 5 /* how long a finished connection may take to end */

/* Seconds: a primary that went away without a word while we wait for its reply is noticed
 * within 11 s, one that came back has forgotten the connection and says so at the next
 * question. */
#define KEEPALIVE_IDLE_S     5
#define KEEPALIVE_INTERVAL_S 2
#define KEEPALIVE_PROBES     3

enum conn_state {
    CONN_CONNECTING,
    CONN_PLAIN,
    CONN_TLS_WANTED,
    CONN_SHAKING,
    CONN_TLS,
    CONN_DEAD
};

struct conn {
    struct conn_loop *loop;
    struct conn *next; /* of loop->finishing */
    const struct conn_ops *ops;
    void *owner;
    struct event *readable, *writable, *timer, *flush;
    struct evbuffer *out;
    SSL *ssl;
    int fd;
    enum conn_state state;
    int depth; /* callbacks under way; memory goes at zero */
    bool paused, server, ended, write_armed, flush_armed;
    bool stuffed;   /* the input buffer is full: not polled until the owner consumes */
    bool finishing; /* the owner is gone: flush, say goodbye, wait for the peer's end */
    enum conn_end end;
    uint64_t deadline_ms;
    size_t in_at, in_n; /* unread: in[in_at .. in_n) */
    char in[LIMIT_INPUT_BYTES];
};

static void conn_destroy(struct conn *c)
{
    struct conn **at = &c->loop->finishing;

    while (c->finishing && *at != c)
        at = &(*at)->next;
    if (c->finishing)
        *at = c->next;
    if (c->ssl != NULL)
        SSL_free(c->ssl);
    event_free(c->readable);
    event_free(c->writable);
    event_free(c->timer);
    event_free(c->flush);
    evbuffer_free(c->out);
    close(c->fd);
    free(c);
}

static void enter(struct conn *c)
{
    c->depth++;
}

/* True: the connection was closed meanwhile and is gone. */
static bool leave(struct conn *c)
{
    ASSERT(c->depth > 0);
    if (--c->depth > 0 || c->state != CONN_DEAD)
        return c->state == CONN_DEAD;
    conn_destroy(c);
    return true;
}

static void kill_conn(struct conn *c);

static void tell_end(struct conn *c, enum conn_end why)
{
    if (c->ended || c->state == CONN_DEAD)
        return;
    if (c->finishing) {
        kill_conn(c);
        return;
    }
    c->ended = true;
    event_del(c->readable);
    event_del(c->writable);
    c->ops->on_end(c->owner, why);
}

static bool is_tls(const struct conn *c)
{
    return c->state == CONN_TLS || c->state == CONN_SHAKING;
}

/* Puts bytes into the buffer. Positive: how many; 0: nothing now; -1: the peer has ended. */
static ssize_t read_some(struct conn *c)
{
    ssize_t n;

    if (c->in_at > 0) {
        memmove(c->in, c->in + c->in_at, c->in_n - c->in_at);
        c->in_n -= c->in_at;
        c->in_at = 0;
    }
    if (c->in_n == sizeof c->in)
        return 0;
    if (c->state == CONN_TLS) {
        int got, room = (int)(sizeof c->in - c->in_n);

        ERR_clear_error();
        got = SSL_read(c->ssl, c->in + c->in_n, room);
        if (got <= 0) {
            int e = SSL_get_error(c->ssl, got);
            if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
                return 0;
            c->end = e == SSL_ERROR_ZERO_RETURN ? CONN_EOF : CONN_RESET;
            return -1;
        }
        c->in_n += (size_t)got;
        return got;
    }
    n = recv(c->fd, c->in + c->in_n, sizeof c->in - c->in_n, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        c->end = n == 0 ? CONN_EOF : CONN_RESET;
        return -1;
    }
    c->in_n += (size_t)n;
    return n;
}

static void want_write(struct conn *c, bool on)
{
    if (on && !c->write_armed)
        event_add(c->writable, NULL);
    else if (!on && c->write_armed)
        event_del(c->writable);
    c->write_armed = on;
}

/* One write of at most one piece. False: would block, or failed. */
static bool write_some(struct conn *c)
{
    int got;

    if (c->state != CONN_TLS) {
        int n = evbuffer_write(c->out, c->fd);
        return n > 0 || (n < 0 && errno == EINTR);
    }
    {
        struct evbuffer_iovec v;

        if (evbuffer_peek(c->out, 16384, NULL, &v, 1) < 1)
            return false;
        ERR_clear_error();
        got = SSL_write(c->ssl, v.iov_base, v.iov_len > 16384 ? 16384 : (int)v.iov_len);
        if (got <= 0)
            return false;
        evbuffer_drain(c->out, (size_t)got);
        return true;
    }
}

static void shake(struct conn *c);

static void flush(struct conn *c)
{
    bool had = evbuffer_get_length(c->out) > 0;

    if (c->state == CONN_CONNECTING || c->state == CONN_SHAKING || c->state == CONN_DEAD)
        return;
    if (had && c->state == CONN_TLS && evbuffer_get_length(c->out) <= 16384)
        evbuffer_pullup(c->out, -1); /* one record, one write */
    while (evbuffer_get_length(c->out) > 0 && write_some(c))
        ;
    if (evbuffer_get_length(c->out) > 0 && c->state == CONN_TLS_WANTED && errno != EAGAIN &&
        errno != EINTR) {
        tell_end(c, CONN_RESET); /* nobody reads in this state, so nobody else would notice */
        return;
    }
    if (evbuffer_get_length(c->out) > 0) {
        want_write(c, true); /* a broken pipe shows on the read side */
        return;
    }
    want_write(c, false);
    if (c->state == CONN_TLS_WANTED) {
        c->state = CONN_SHAKING;
        shake(c);
    } else if (c->finishing) {
        if (c->state == CONN_TLS)
            SSL_shutdown(c->ssl);
        shutdown(c->fd, SHUT_WR);
    } else if (had) {
        c->ops->on_drained(c->owner);
    }
}

static void shake(struct conn *c)
{
    int rc, e;

    ERR_clear_error();
    rc = c->server ? SSL_accept(c->ssl) : SSL_connect(c->ssl);
    if (rc == 1) {
        c->state = CONN_TLS;
        want_write(c, false);
        c->ops->on_tls(c->owner);
        return;
    }
    e = SSL_get_error(c->ssl, rc);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
        want_write(c, e == SSL_ERROR_WANT_WRITE);
        return;
    }
    tell_end(c, CONN_TLS_FAILED);
}

static void pump_input(struct conn *c)
{
    bool kept = c->in_at < c->in_n; /* after a pause the owner has not seen what it left */

    for (;;) {
        ssize_t n = read_some(c);

        if (n < 0) {
            tell_end(c, c->end);
            return;
        }
        if (n == 0 && !kept)
            return;
        kept = false;
        if (c->finishing)
            conn_discard_input(c);
        else
            c->ops->on_input(c->owner);
        if (c->state != CONN_DEAD && c->in_n - c->in_at == sizeof c->in && !c->paused) {
            c->stuffed = true; /* else a level-triggered poll would spin */
            event_del(c->readable);
        }
        if (c->state == CONN_DEAD || c->paused || c->ended)
            return;
        /* TLS keeps decrypted bytes inside; a plain socket wakes us again */
        if (c->state != CONN_TLS || SSL_pending(c->ssl) == 0)
            return;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    enter(c);
    if (c->state == CONN_SHAKING)
        shake(c);
    else if (c->state == CONN_PLAIN || c->state == CONN_TLS)
        pump_input(c);
    leave(c);
}

static void finish_connect(struct conn *c)
{
    int error = 0;
    socklen_t n = sizeof error;

    want_write(c, false);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error != 0) {
        tell_end(c, CONN_REFUSED);
        return;
    }
    c->state = CONN_PLAIN;
    if (!c->paused)
        event_add(c->readable, NULL);
    c->ops->on_connected(c->owner);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    enter(c);
    if (c->state == CONN_CONNECTING)
        finish_connect(c);
    else if (c->state == CONN_SHAKING)
        shake(c);
    else
        flush(c);
    leave(c);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    c->flush_armed = false;
    enter(c);
    flush(c);
    leave(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    c->deadline_ms = 0;
    enter(c);
    if (c->finishing)
        kill_conn(c);
    else if (c->state != CONN_DEAD && !c->ended)
        c->ops->on_timeout(c->owner);
    leave(c);
}

static struct conn *conn_new(struct conn_loop *loop, int fd, const struct conn_ops *ops,
                             void *owner, enum conn_state state)
{
    struct conn *c = malloc(sizeof *c);
    int one = 1;

    if (c == NULL) {
        close(fd);
        return NULL;
    }
    memset(c, 0, offsetof(struct conn, in));
    c->loop = loop;
    c->fd = fd;
    c->ops = ops;
    c->owner = owner;
    c->state = state;
    c->out = evbuffer_new();
    c->readable = event_new(loop->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(loop->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    c->timer = event_new(loop->base, -1, 0, on_timer, c);
    c->flush = event_new(loop->base, -1, 0, on_flush, c);
    ASSERT(c->out && c->readable && c->writable && c->timer && c->flush);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return c;
}

struct conn *conn_accepted(struct conn_loop *loop, int fd, const struct conn_ops *ops,
                           void *owner)
{
    struct conn *c = conn_new(loop, fd, ops, owner, CONN_PLAIN);

    if (c != NULL)
        event_add(c->readable, NULL);
    return c;
}

static void keep_alive(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
                   {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
                   {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES}};

    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

bool conn_is_unheard(const struct conn *c, uint32_t ms)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;

    if (c->ended || c->state == CONN_CONNECTING ||
        getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0)
        return false;
    return (info.tcpi_unacked > 0 || info.tcpi_probes > 0) && info.tcpi_last_ack_recv >= ms;
}

enum err conn_connect(struct conn_loop *loop, const struct sockaddr *addr, socklen_t addr_n,
                      const struct conn_ops *ops, void *owner, struct conn **out)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *out = NULL;
    if (fd < 0) /* a machine without IPv6 says so here; all else is our own want */
        return errno == EAFNOSUPPORT ? E_IO : E_FULL;
    keep_alive(fd);
    if (connect(fd, addr, addr_n) != 0 && errno != EINPROGRESS) {
        /* IPv4: no port left; IPv6: more likely no address to start from */
        bool no_port = errno == EADDRNOTAVAIL && addr->sa_family == AF_INET;
        bool ours = no_port || errno == ENOBUFS || errno == EAGAIN;

        close(fd);
        return ours ? E_FULL : E_IO;
    }
    *out = conn_new(loop, fd, ops, owner, CONN_CONNECTING);
    if (*out == NULL)
        return E_FULL;
    want_write(*out, true);
    return OK;
}

void conn_close(struct conn **cp)
{
    struct conn *c = *cp;

    *cp = NULL;
    if (c == NULL)
        return;
    ASSERT(c->state != CONN_DEAD);
    if (c->state == CONN_TLS && !c->ended)
        SSL_shutdown(c->ssl); /* close_notify, sent if there is room */
    kill_conn(c);
}

void conn_finish(struct conn **cp)
{
    struct conn *c = *cp;
    struct timeval limit = {FINISH_S, 0};

    if (c == NULL || c->ended || c->state == CONN_CONNECTING || c->state == CONN_SHAKING ||
        c->state == CONN_TLS_WANTED) {
        conn_close(cp);
        return;
    }
    *cp = NULL;
    c->finishing = true;
    c->next = c->loop->finishing;
    c->loop->finishing = c;
    conn_discard_input(c);
    conn_pause(c, false);
    event_add(c->timer, &limit);
    if (!c->flush_armed) {
        c->flush_armed = true;
        event_active(c->flush, EV_TIMEOUT, 0);
    }
}

void conn_loop_end(struct conn_loop *loop)
{
    while (loop->finishing != NULL) {
        ASSERT(loop->finishing->depth == 0);
        kill_conn(loop->finishing);
    }
}

static void kill_conn(struct conn *c)
{
    c->state = CONN_DEAD;
    event_del(c->readable);
    event_del(c->writable);
    event_del(c->timer);
    event_del(c->flush);
    if (c->depth == 0)
        conn_destroy(c);
}

struct str conn_input(struct conn *c)
{
    return (struct str){c->in + c->in_at, c->in_n - c->in_at};
}

static void unstuff(struct conn *c, size_t room)
{
    if (!c->stuffed || room == 0 || c->ended)
        return;
    c->stuffed = false;
    if (!c->paused)
        event_add(c->readable, NULL);
    if (is_tls(c) && SSL_pending(c->ssl) > 0) /* decrypted already: no event will say so */
        event_active(c->readable, EV_READ, 0);
}

void conn_consume(struct conn *c, size_t n)
{
    ASSERT(n <= c->in_n - c->in_at);
    c->in_at += n;
    unstuff(c, n);
}

void conn_discard_input(struct conn *c)
{
    c->in_at = c->in_n = 0;
    unstuff(c, 1);
}

bool conn_input_pending(struct conn *c)
{
    return c->in_at < c->in_n || (!c->ended && read_some(c) > 0);
}

void conn_pause(struct conn *c, bool paused)
{
    if (c->paused == paused || c->ended)
        return;
    c->paused = paused;
    if (c->state == CONN_CONNECTING)
        return;
    if (paused) {
        event_del(c->readable);
    } else {
        c->stuffed = false;
        event_add(c->readable, NULL);
        if (c->in_at < c->in_n || (is_tls(c) && SSL_pending(c->ssl) > 0))
            event_active(c->readable, EV_READ, 0);
    }
}

void conn_write(struct conn *c, struct str bytes)
{
    int rc;

    if (bytes.n == 0 || c->state == CONN_DEAD || c->ended)
        return;
    rc = evbuffer_add(c->out, bytes.p, bytes.n);
    ASSERT(rc == 0);
    if (!c->flush_armed) {
        c->flush_armed = true;
        event_active(c->flush, EV_TIMEOUT, 0);
    }
}

size_t conn_output_pending(const struct conn *c)
{
    return evbuffer_get_length(c->out);
}

/* RFC 6066 section 3: a server name is never an address. */
static bool is_address(const char *host)
{
    struct in6_addr ip;

    return inet_pton(AF_INET, host, &ip) == 1 || inet_pton(AF_INET6, host, &ip) == 1;
}

size_t conn_start_tls(struct conn *c, SSL_CTX *ctx, bool server, const char *host, bool verify)
{
    size_t thrown = c->in_n - c->in_at;

    ASSERT(c->state == CONN_PLAIN);
    conn_discard_input(c);
    c->ssl = SSL_new(ctx);
    ASSERT(c->ssl != NULL);
    ASSERT(SSL_set_fd(c->ssl, c->fd) == 1);
    c->server = server;
    if (!server) {
        if (host != NULL && !is_address(host))
            SSL_set_tlsext_host_name(c->ssl, host);
        if (verify && host != NULL)
            SSL_set1_host(c->ssl, host);
        else
            SSL_set_verify(c->ssl, SSL_VERIFY_NONE, NULL);
    }
    c->state = CONN_TLS_WANTED;
    if (!c->flush_armed) { /* pending replies first, then the handshake */
        c->flush_armed = true;
        event_active(c->flush, EV_TIMEOUT, 0);
    }
    return thrown;
}

const char *conn_tls(const struct conn *c, char *buf, size_t size)
{
    if (c->state == CONN_TLS)
        return tls_describe(c->ssl, buf, size);
    buf[0] = 0;
    return buf;
}

void conn_deadline(struct conn *c, uint64_t at_boot_ms, uint64_t now_boot_ms)
{
    struct timeval tv;
    uint64_t left;

    if (c->deadline_ms == at_boot_ms)
        return;
    c->deadline_ms = at_boot_ms;
    if (at_boot_ms == 0) {
        event_del(c->timer);
        return;
    }
    left = at_boot_ms > now_boot_ms ? at_boot_ms - now_boot_ms : 0;
    tv = (struct timeval){(time_t)(left / 1000), (suseconds_t)(left % 1000 * 1000)};
    event_add(c->timer, &tv);
}
