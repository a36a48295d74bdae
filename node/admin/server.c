#include "node/admin/server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "node/admin/access.h"
#include "node/admin/listen.h"

struct session {
    struct session *next;
    struct admin_server *server;
    struct bufferevent *bev;
    struct event *turn;     /* the next step, or the end of a wait */
    struct event *deadline; /* of a request, or of the session */
    uint64_t end_ms;        /* boot time: of the session */
    struct admin_call call; /* .command: NULL when idle */
    bool waiting;           /* the call waits for admin_server_wake() */
    bool clogged;           /* the call waits for its reader */
    bool eof;               /* the client has closed its side; it may still read */
    bool closing;           /* no more requests; gone when the last byte is out */
};

struct admin_server {
    struct admin_server_options o;
    char *path;
    struct access_rule rule;
    struct listen_socket socket;
    struct event *accept;
    struct session *sessions;
    size_t session_count;
    uint64_t last_number;
};

static void arm(struct event *ev, uint64_t ms)
{
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
                         .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    int rc = evtimer_add(ev, &tv);

    ASSERT(rc == 0);
}

static void session_free(struct session *s)
{
    struct session **at = &s->server->sessions;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->server->session_count--;
    if (s->call.command != NULL)
        admin_call_end(&s->call);
    if (s->turn != NULL)
        event_free(s->turn);
    if (s->deadline != NULL)
        event_free(s->deadline);
    if (s->bev != NULL)
        bufferevent_free(s->bev);
    free(s);
}

static void sink_write(void *to, const char *bytes, size_t count)
{
    struct session *s = to;

    /* Out of memory: a torn line is not an answer; the reader sees the cut. */
    if (evbuffer_add(bufferevent_get_output(s->bev), bytes, count) < 0)
        s->closing = true;
}

static size_t waiting_bytes(const struct session *s)
{
    return evbuffer_get_length(bufferevent_get_output(s->bev));
}

/* The session is done when nothing is left to say. True: it was freed. */
static bool close_if_done(struct session *s)
{
    if (!s->closing || s->call.command != NULL || waiting_bytes(s) > 0)
        return false;
    session_free(s);
    return true;
}

static void refuse(struct session *s, int exit, const char *what, const char *act)
{
    admin_sink_error((struct admin_sink){sink_write, s}, exit, what, "control socket", act);
    s->closing = true;
}

static void arm_deadline(struct session *s)
{
    uint64_t now = clock_boot_ms(), left = s->end_ms > now ? s->end_ms - now : 0;
    bool idle = s->call.command == NULL && !s->closing;

    arm(s->deadline, idle && left > LIMIT_ADMIN_REQUEST_MS ? LIMIT_ADMIN_REQUEST_MS : left);
}

static void schedule(struct session *s, enum admin_next next)
{
    s->waiting = next == ADMIN_WAIT;
    s->clogged = next == ADMIN_AGAIN && waiting_bytes(s) >= LIMIT_ADMIN_OUT_BYTES;
    if (!s->clogged)
        arm(s->turn, s->waiting ? s->call.wait_ms : 0);
}

static void begin(struct session *s, struct str line)
{
    s->call.sink = (struct admin_sink){sink_write, s};
    s->call.number = ++s->server->last_number;
    if (!admin_call_begin(&s->call, &s->server->o.table, line)) {
        LOG(EV_ADMIN_FAILED, L_CSTR("why", "request"), L_U64("uid", s->call.uid));
        return;
    }
    if (s->call.command->audited)
        LOG(EV_OPERATOR, L_U64("uid", s->call.uid), L_CSTR("asked", s->call.command->name),
            L_STR("request", line));
    schedule(s, ADMIN_AGAIN);
}

/* Takes the next request, if the session is idle and there is one. */
static void read_requests(struct session *s)
{
    struct evbuffer *in = bufferevent_get_input(s->bev);

    while (s->call.command == NULL && !s->closing) {
        size_t n = 0;
        char *line = evbuffer_readln(in, &n, EVBUFFER_EOL_LF);

        if (line == NULL) {
            if (evbuffer_get_length(in) >= LIMIT_ADMIN_REQUEST_BYTES)
                refuse(s, ADMIN_EXIT_USAGE, "the request is too long", "name fewer messages");
            /* What came without a newline before the end is no request. */
            s->closing |= s->eof;
            break;
        }
        begin(s, (struct str){line, n});
        free(line);
    }
    arm_deadline(s);
}

static void turn_cb(evutil_socket_t fd, short what, void *arg)
{
    struct session *s = arg;
    enum admin_next next;

    (void)fd;
    (void)what;
    if (s->call.command == NULL)
        return;
    s->call.timed_out = s->waiting;
    s->waiting = false;
    next = admin_call_step(&s->call);
    if (next != ADMIN_END) {
        schedule(s, next);
        return;
    }
    admin_call_end(&s->call);
    read_requests(s);
    (void)close_if_done(s);
}

static void read_cb(struct bufferevent *bev, void *arg)
{
    struct session *s = arg;

    (void)bev;
    if (s->closing)
        return;
    read_requests(s);
    (void)close_if_done(s);
}

static void write_cb(struct bufferevent *bev, void *arg)
{
    struct session *s = arg;

    (void)bev;
    if (s->clogged) {
        s->clogged = false;
        arm(s->turn, 0);
    }
    (void)close_if_done(s);
}

static void event_cb(struct bufferevent *bev, short what, void *arg)
{
    struct session *s = arg;

    (void)bev;
    if ((what & BEV_EVENT_EOF) == 0) {
        session_free(s);
        return;
    }
    s->eof = true;
    read_requests(s);
    (void)close_if_done(s);
}

static void deadline_cb(evutil_socket_t fd, short what, void *arg)
{
    struct session *s = arg;

    (void)fd;
    (void)what;
    session_free(s);
}

static void judge(struct session *s, int fd)
{
    struct access_peer peer = {.uid = (uid_t)-1};

    if (access_peer_of(fd, &peer) != OK || !access_allowed(&s->server->rule, &peer)) {
        LOG(EV_ADMIN_FAILED, L_CSTR("why", "not permitted"), L_U64("uid", peer.uid));
        refuse(s, ADMIN_EXIT_DENIED, "you may not use the control socket",
               "become root or a member of the daemon's group");
    } else if (s->server->session_count > LIMIT_ADMIN_SESSIONS) {
        LOG(EV_SHED, L_CSTR("limit", "LIMIT_ADMIN_SESSIONS"));
        refuse(s, ADMIN_EXIT_TEMPORARY, "too many control sessions are open", "try again");
    }
    s->call.uid = peer.uid;
}

/* Takes the descriptor. */
static void session_new(struct admin_server *server, int fd)
{
    struct timeval stall = {.tv_sec = LIMIT_ADMIN_STALL_MS / 1000};
    struct session *s = calloc(1, sizeof *s);

    if (s == NULL) {
        close(fd);
        return;
    }
    s->server = server;
    s->next = server->sessions;
    server->sessions = s;
    server->session_count++;
    s->end_ms = clock_boot_ms() + LIMIT_ADMIN_SESSION_MS;
    s->turn = evtimer_new(server->o.base, turn_cb, s);
    s->deadline = evtimer_new(server->o.base, deadline_cb, s);
    s->bev = bufferevent_socket_new(server->o.base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (s->turn == NULL || s->deadline == NULL || s->bev == NULL) {
        if (s->bev == NULL)
            close(fd);
        session_free(s);
        return;
    }
    bufferevent_setcb(s->bev, read_cb, write_cb, event_cb, s);
    bufferevent_setwatermark(s->bev, EV_READ, 0, LIMIT_ADMIN_REQUEST_BYTES);
    bufferevent_setwatermark(s->bev, EV_WRITE, LIMIT_ADMIN_OUT_BYTES / 4, 0);
    bufferevent_set_timeouts(s->bev, NULL, &stall);
    judge(s, fd);
    (void)bufferevent_enable(s->bev, EV_READ | EV_WRITE);
    arm_deadline(s);
}

static void accept_cb(evutil_socket_t listener, short what, void *arg)
{
    struct admin_server *server = arg;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)what;
    /* Refused callers hold a place until they have read why; past twice the limit, no word. */
    if (fd >= 0 && server->session_count < 2 * LIMIT_ADMIN_SESSIONS)
        session_new(server, fd);
    else if (fd >= 0)
        close(fd);
}

enum err admin_server_start(struct admin_server **out, const struct admin_server_options *o)
{
    struct admin_server *s = calloc(1, sizeof *s);
    enum err e = E_FULL;

    *out = NULL;
    if (s == NULL)
        return E_FULL;
    s->o = *o;
    s->socket.fd = -1;
    s->path = strdup(o->path);
    if (s->path != NULL) {
        access_rule_init(&s->rule, o->group);
        e = listen_open(&s->socket, s->path, &s->rule);
    }
    if (e == OK) {
        s->accept = event_new(o->base, s->socket.fd, EV_READ | EV_PERSIST, accept_cb, s);
        e = s->accept != NULL && event_add(s->accept, NULL) == 0 ? OK : E_FULL;
    }
    if (e != OK)
        admin_server_stop(&s);
    *out = s;
    return e;
}

void admin_server_stop(struct admin_server **server)
{
    struct admin_server *s = *server;

    while (s->sessions != NULL)
        session_free(s->sessions);
    if (s->accept != NULL)
        event_free(s->accept);
    if (s->path != NULL)
        listen_close(&s->socket, s->path);
    free(s->path);
    free(s);
    *server = NULL;
}

static struct session *find(struct admin_server *server, uint64_t number)
{
    for (struct session *s = server->sessions; s != NULL; s = s->next)
        if (s->call.command != NULL && s->call.number == number)
            return s;
    return NULL;
}

void *admin_server_state(struct admin_server *server, uint64_t number)
{
    struct session *s = find(server, number);

    return s != NULL ? s->call.state : NULL;
}

void admin_server_wake(struct admin_server *server, uint64_t number)
{
    struct session *s = find(server, number);

    if (s == NULL || !s->waiting)
        return;
    s->waiting = false;
    arm(s->turn, 0);
}
