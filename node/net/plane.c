#include "node/net/plane.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/net/plane_private.h"

#define HANDSHAKE_MS     2000 /* and so long one that is refused waits to be closed */
#define CONNECT_MS       2000
#define RECONNECT_MS     100
#define RECONNECT_MAX_MS 1000
#define HEARTBEAT_MS     500  /* a path that died is noticed ... */
#define SILENCE_MS       2000 /* ... after so long */
#define UNACKED_MS       5000 /* TCP: sent, and not acknowledged */
#define LINGER_MS        100
#define CURVE_BYTES      64   /* what encryption adds to a frame, at most */
#define STUCK_MS         5000 /* ZeroMQ gives up after some errors of a peer: begin anew */
#define TICK_MS          1000
#define BACKLOG          64

/* --- small --- */

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

static bool set_key(void *socket, int option, const uint8_t key[PLANE_KEY_BYTES])
{
    return zmq_setsockopt(socket, option, key, PLANE_KEY_BYTES) == 0;
}

static int events_of(void *socket)
{
    int events = 0;
    size_t n = sizeof events;

    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &n) == 0 ? events : 0;
}

enum err plane_watch(struct plane *p, void *socket, event_callback_fn cb, struct event **out)
{
    int fd = -1;
    size_t n = sizeof fd;

    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &n) != 0)
        return E_IO;
    *out = event_new(p->o.base, fd, EV_READ | EV_PERSIST, cb, p);
    if (*out == NULL || event_add(*out, NULL) != 0)
        return E_IO;
    /* The descriptor tells of changes only: what is there already is looked for once. */
    event_active(*out, EV_READ, 0);
    return OK;
}

struct plane_member *plane_member_of(struct plane *p, const uint8_t key[PLANE_KEY_BYTES])
{
    for (uint32_t i = 0; i < p->member_count; i++) {
        const struct plane_peer *is = &p->members[i].is;

        if (memcmp(is->key, key, PLANE_KEY_BYTES) == 0 ||
            (is->has_old_key && memcmp(is->old_key, key, PLANE_KEY_BYTES) == 0))
            return &p->members[i];
    }
    return NULL;
}

static struct plane_member *member_at(struct plane *p, uint16_t site)
{
    for (uint32_t i = 0; i < p->member_count; i++)
        if (p->members[i].is.site == site)
            return &p->members[i];
    return NULL;
}

/* --- ways out --- */

static void way_close(struct plane_way *w)
{
    if (w->socket != NULL)
        zmq_close(w->socket);
    w->socket = NULL;
}

static bool way_set(struct plane *p, void *s, const struct plane_way *w)
{
    return set_int(s, ZMQ_CURVE_SERVER, 0) && set_key(s, ZMQ_CURVE_SERVERKEY, w->key) &&
           set_key(s, ZMQ_CURVE_PUBLICKEY, p->public_key) &&
           set_key(s, ZMQ_CURVE_SECRETKEY, p->secret_key) &&
           set_int(s, ZMQ_IMMEDIATE, 1) && /* nothing is queued for one that is away */
           set_int(s, ZMQ_SNDHWM, LIMIT_LINK_QUEUE) && set_int(s, ZMQ_RCVHWM, 1) &&
           set_int(s, ZMQ_LINGER, LINGER_MS) && set_int(s, ZMQ_IPV6, 1) &&
           set_int(s, ZMQ_RECONNECT_IVL, RECONNECT_MS) &&
           set_int(s, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS) &&
           set_int(s, ZMQ_CONNECT_TIMEOUT, CONNECT_MS) &&
           set_int(s, ZMQ_TCP_MAXRT, UNACKED_MS) &&
           set_int(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) &&
           set_int(s, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS) &&
           set_int(s, ZMQ_HEARTBEAT_TIMEOUT, SILENCE_MS);
}

/* Without one frames are dropped, and it is tried again: STUCK_MS. */
static void way_open(struct plane *p, struct plane_way *w, const char *address)
{
    char url[LIMIT_ADDRESS_BYTES + 8];
    int64_t most = (int64_t)LIMIT_FRAME_BYTES + CURVE_BYTES;

    snprintf(url, sizeof url, "tcp://%s", address);
    w->stuck_ms = 0;
    w->socket = zmq_socket(p->zmq, ZMQ_DEALER);
    if (w->socket == NULL)
        return;
    if (!way_set(p, w->socket, w) ||
        zmq_setsockopt(w->socket, ZMQ_MAXMSGSIZE, &most, sizeof most) != 0 ||
        zmq_connect(w->socket, url) != 0)
        way_close(w);
}

static void lane_open(struct plane *p, struct plane_member *m, struct plane_way ways[2])
{
    const uint8_t *keys[2] = {m->is.key, m->is.has_old_key ? m->is.old_key : NULL};

    for (size_t i = 0; i < 2; i++) {
        struct plane_way *w = &ways[i];

        if (w->socket != NULL || keys[i] == NULL)
            continue;
        memcpy(w->key, keys[i], PLANE_KEY_BYTES);
        way_open(p, w, m->is.address);
    }
}

static void ways_open(struct plane *p, struct plane_member *m)
{
    lane_open(p, m, m->ways[PLANE_URGENT]);
    if (p->o.has_bulk)
        lane_open(p, m, m->ways[PLANE_BULK]);
}

static void ways_close(struct plane_member *m)
{
    for (size_t i = 0; i < PLANE_LANES; i++) {
        way_close(&m->ways[i][0]);
        way_close(&m->ways[i][1]);
    }
}

static void way_tick(struct plane *p, const struct plane_member *m, struct plane_way *w,
                     uint64_t now)
{
    if (w->socket == NULL)
        return;
    if (events_of(w->socket) & ZMQ_POLLOUT) {
        w->stuck_ms = 0;
    } else if (w->stuck_ms == 0) {
        w->stuck_ms = now;
    } else if (now >= w->stuck_ms + STUCK_MS) {
        way_close(w);
        way_open(p, w, m->is.address);
    }
}

static void ways_tick(struct plane *p, struct plane_member *m, uint64_t now)
{
    ways_open(p, m);
    for (size_t i = 0; i < PLANE_LANES; i++) {
        way_tick(p, m, &m->ways[i][0], now);
        way_tick(p, m, &m->ways[i][1], now);
    }
}

static bool way_send(const struct plane_way *w, struct str bytes)
{
    if (w->socket == NULL)
        return false;
    if (zmq_send(w->socket, bytes.p, bytes.n, ZMQ_DONTWAIT) >= 0)
        return true;
    /* It may not have looked at a connection that came just now. */
    return errno == EAGAIN && (events_of(w->socket) & ZMQ_POLLOUT) &&
           zmq_send(w->socket, bytes.p, bytes.n, ZMQ_DONTWAIT) >= 0;
}

static bool lane_send(const struct plane_way ways[2], struct str bytes)
{
    return way_send(&ways[0], bytes) || way_send(&ways[1], bytes);
}

bool plane_send(struct plane *p, uint16_t site, enum plane_lane lane, struct str bytes)
{
    struct plane_member *m = member_at(p, site);

    ASSERT(bytes.n <= LIMIT_FRAME_BYTES);
    if (m == NULL || !(lane_send(m->ways[lane], bytes) ||
                       (lane != PLANE_URGENT && lane_send(m->ways[PLANE_URGENT], bytes)))) {
        p->counts.dropped++;
        return false;
    }
    p->counts.sent++;
    p->counts.sent_bytes += bytes.n;
    return true;
}

/* --- what comes in --- */

static void frame_came(struct plane *p, zmq_msg_t *m)
{
    const char *user = zmq_msg_gets(m, "User-Id");
    uint8_t key[PLANE_KEY_BYTES];
    struct plane_member *from = NULL;

    if (user != NULL && plane_key_parse(str_of(user), key))
        from = plane_member_of(p, key);
    if (from == NULL) { /* its connection is older than its removal */
        const char *address = zmq_msg_gets(m, "Peer-Address");

        plane_refused(p, address != NULL ? address : "");
    }
    if (from == NULL || zmq_msg_size(m) > LIMIT_FRAME_BYTES ||
        clock_boot_ms() < from->cut_until_ms) {
        p->counts.ignored++;
        return;
    }
    p->counts.received++;
    p->counts.received_bytes += zmq_msg_size(m);
    p->o.ops.frame(p->o.ops.ctx, from->is.site, from->is.incarnation,
                   (struct str){zmq_msg_data(m), zmq_msg_size(m)});
}

/* One message: the name that the ROUTER gave the connection, then the frame, nothing more. */
static bool router_read(struct plane *p)
{
    zmq_msg_t parts[3];
    int count = 0, more = 1;
    bool any = true;

    while (more && any) {
        int at = count < 2 ? count : 2;

        if (count > 2)
            zmq_msg_close(&parts[2]);
        zmq_msg_init(&parts[at]);
        any = zmq_msg_recv(&parts[at], p->router, ZMQ_DONTWAIT) >= 0;
        more = any && zmq_msg_more(&parts[at]);
        count = count < 3 ? count + 1 : 4;
    }
    if (any && count == 2)
        frame_came(p, &parts[1]);
    else if (any)
        p->counts.ignored++;
    for (int i = 0; i < count && i < 3; i++)
        zmq_msg_close(&parts[i]);
    return any;
}

static enum err router_open(struct plane *p);
static void router_close(struct plane *p);

static enum err router_reopen(struct plane *p)
{
    if (p->is_busy) {
        p->wants_reopen = true;
        return OK;
    }
    p->wants_reopen = false;
    router_close(p);
    return router_open(p);
}

/* The timer tries again what failed here. */
static void router_again(struct plane *p)
{
    if (router_reopen(p) != OK)
        LOG(EV_PLANE_FAILED, L_CSTR("bind", p->bind), L_CSTR("why", zmq_strerror(errno)));
}

static void on_router(evutil_socket_t fd, short what, void *arg)
{
    struct plane *p = arg;
    int n = 0;

    (void)fd, (void)what;
    p->is_busy = true;
    while (n < LIMIT_PLANE_TURN && !p->wants_reopen && router_read(p))
        n++;
    p->is_busy = false;
    if (p->wants_reopen)
        router_again(p);
    else if (n == LIMIT_PLANE_TURN)
        event_active(p->router_event, EV_READ, 0);
}

static bool router_set(struct plane *p, void *s)
{
    return set_int(s, ZMQ_CURVE_SERVER, 1) && set_key(s, ZMQ_CURVE_SECRETKEY, p->secret_key) &&
           zmq_setsockopt(s, ZMQ_ZAP_DOMAIN, "trispool", 8) == 0 && set_int(s, ZMQ_SNDHWM, 1) &&
           set_int(s, ZMQ_RCVHWM, LIMIT_LINK_QUEUE) && set_int(s, ZMQ_LINGER, 0) &&
           set_int(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) &&
           set_int(s, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS) &&
           set_int(s, ZMQ_HEARTBEAT_TIMEOUT, SILENCE_MS);
}

static enum err router_open(struct plane *p)
{
    int64_t most = (int64_t)LIMIT_FRAME_BYTES + CURVE_BYTES;
    int fd = fcntl(p->listen_fd, F_DUPFD_CLOEXEC, 0);

    p->number++;
    p->router = zmq_socket(p->zmq, ZMQ_ROUTER);
    if (p->router == NULL || fd < 0 || !router_set(p, p->router) ||
        zmq_setsockopt(p->router, ZMQ_MAXMSGSIZE, &most, sizeof most) != 0 ||
        plane_monitor_open(p) != OK || !set_int(p->router, ZMQ_USE_FD, fd) ||
        zmq_bind(p->router, "tcp://127.0.0.1:*") != 0) { /* where the descriptor is bound */
        if (fd >= 0)
            close(fd);
        return E_IO;
    }
    return plane_watch(p, p->router, on_router, &p->router_event);
}

static void router_close(struct plane *p)
{
    plane_monitor_close(p);
    if (p->router_event != NULL)
        event_free(p->router_event);
    if (p->router != NULL)
        zmq_close(p->router);
    p->router_event = NULL;
    p->router = NULL;
}

/* --- the peers --- */

static bool ways_are_same(const struct plane_peer *a, const struct plane_peer *b)
{
    return a->site == b->site && strcmp(a->address, b->address) == 0 &&
           memcmp(a->key, b->key, sizeof a->key) == 0 && a->has_old_key == b->has_old_key &&
           (!a->has_old_key || memcmp(a->old_key, b->old_key, sizeof a->old_key) == 0);
}

enum err plane_peers(struct plane *p, const struct plane_peer *peers, uint32_t count)
{
    struct plane_member old[PLANE_PEERS];
    uint32_t old_count = p->member_count;

    if (count > PLANE_PEERS)
        return E_FULL;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (peers[k].site == peers[i].site)
                return E_CONFLICT;
    memcpy(old, p->members, sizeof old);
    p->member_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct plane_member *m = &p->members[i];

        *m = (struct plane_member){.is = peers[i]};
        for (uint32_t k = 0; k < old_count; k++) {
            if (old[k].is.site == m->is.site && old[k].is.incarnation == m->is.incarnation)
                m->cut_until_ms = old[k].cut_until_ms;
            if (!ways_are_same(&old[k].is, &m->is))
                continue;
            memcpy(m->ways, old[k].ways, sizeof m->ways);
            memset(old[k].ways, 0, sizeof old[k].ways);
        }
        ways_open(p, m);
    }
    for (uint32_t k = 0; k < old_count; k++)
        ways_close(&old[k]);
    /* A connection of a key that is shut out stays open and unheard: to end it, the ROUTER
     * would have to be made anew, and all the others would be cut for the second that closes
     * the gate (INV-6). */
    return OK;
}

enum err plane_rekey(struct plane *p, const uint8_t *public_key, const uint8_t *secret_key)
{
    memcpy(p->public_key, public_key, PLANE_KEY_BYTES);
    memcpy(p->secret_key, secret_key, PLANE_KEY_BYTES);
    for (uint32_t i = 0; i < p->member_count; i++) {
        ways_close(&p->members[i]);
        ways_open(p, &p->members[i]);
    }
    return router_reopen(p);
}

void plane_cut(struct plane *p, uint16_t site, uint64_t for_ms)
{
    struct plane_member *m = member_at(p, site);

    if (m != NULL)
        m->cut_until_ms = clock_boot_ms() + for_ms;
}

void plane_counts(const struct plane *p, struct plane_counts *out)
{
    *out = p->counts;
}

/* --- open and close --- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct plane *p = arg;
    uint64_t now = clock_boot_ms();

    (void)fd, (void)what;
    if (p->router_event == NULL)
        router_again(p);
    for (uint32_t i = 0; i < p->member_count; i++)
        ways_tick(p, &p->members[i], now);
    plane_gate_tick(p, now);
}

/* E_PROTO: no "host:port". */
static enum err look_up(const char *bind, struct addrinfo **out, const char **why)
{
    char host[LIMIT_ADDRESS_BYTES + 1];
    struct str all = str_of(bind);
    size_t colon = str_find_last(all, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct str name;
    int rc;

    *why = "not host:port";
    if (all.n >= sizeof host || colon >= all.n || colon == 0)
        return E_PROTO;
    name = str_head(all, colon);
    if (name.p[0] == '[' && str_ends(name, ']'))
        name = (struct str){name.p + 1, name.n - 2};
    memcpy(host, name.p, name.n);
    host[name.n] = 0;
    rc = getaddrinfo(host, bind + colon + 1, &hints, out);
    *why = rc != 0 ? gai_strerror(rc) : NULL;
    return rc == 0 ? OK : E_IO;
}

/* The own descriptor stays open for good: a ROUTER can be replaced without a moment in which
 * somebody else could take the address, or the old one still has it. */
static enum err listen_at(struct plane *p, const char *bind_at)
{
    struct addrinfo *found = NULL;
    const char *why;
    enum err e = look_up(bind_at, &found, &why);
    int on = 1, fd = -1;

    for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
            bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
            why = strerror(errno);
            if (fd >= 0)
                close(fd);
            fd = -1;
        }
    }
    if (found != NULL)
        freeaddrinfo(found);
    p->listen_fd = fd;
    if (fd >= 0)
        return OK;
    LOG(EV_PLANE_FAILED, L_CSTR("bind", bind_at), L_CSTR("why", why));
    return e != OK ? e : E_IO;
}

static enum err open_all(struct plane *p)
{
    const struct timeval tick = {.tv_sec = TICK_MS / 1000};

    p->zmq = zmq_ctx_new();
    if (p->zmq == NULL || plane_gate_open(p) != OK || router_open(p) != OK)
        return E_IO;
    p->timer = event_new(p->o.base, -1, EV_PERSIST, on_timer, p);
    return p->timer != NULL && event_add(p->timer, &tick) == 0 ? OK : E_IO;
}

enum err plane_open(struct plane **out, const struct plane_options *o)
{
    struct plane *p = calloc(1, sizeof *p);
    enum err e;

    ASSERT(p != NULL);
    p->o = *o;
    memcpy(p->public_key, o->public_key, PLANE_KEY_BYTES);
    memcpy(p->secret_key, o->secret_key, PLANE_KEY_BYTES);
    snprintf(p->bind, sizeof p->bind, "%s", o->bind);
    e = listen_at(p, o->bind);
    if (e == OK) {
        e = open_all(p);
        if (e != OK)
            LOG(EV_PLANE_FAILED, L_CSTR("bind", o->bind), L_CSTR("why", zmq_strerror(errno)));
    }
    if (e != OK)
        plane_close(&p);
    *out = p;
    return e;
}

void plane_close(struct plane **pp)
{
    struct plane *p = *pp;

    ASSERT(!p->is_busy);
    if (p->timer != NULL)
        event_free(p->timer);
    for (uint32_t i = 0; i < p->member_count; i++)
        ways_close(&p->members[i]);
    router_close(p);
    plane_gate_close(p);
    if (p->zmq != NULL)
        zmq_ctx_term(p->zmq);
    if (p->listen_fd >= 0)
        close(p->listen_fd);
    explicit_bzero(p->secret_key, sizeof p->secret_key);
    free(p);
    *pp = NULL;
}
