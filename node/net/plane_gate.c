#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "node/net/plane_private.h"

#include <arpa/inet.h>

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_FRAMES   7    /* version, request, domain, address, identity, mechanism, key */
#define TELL_MS      1000 /* between two calls of ops.refused */

/* --- telling --- */

static void tell(struct plane *p, uint64_t now)
{
    struct plane_refusals *r = &p->refusals;
    uint64_t count = r->untold;

    if (count == 0 || (r->told_ms != 0 && now < r->told_ms + TELL_MS))
        return; /* the timer comes back to it */
    r->untold = 0;
    r->told_ms = now;
    if (p->o.ops.refused != NULL)
        p->o.ops.refused(p->o.ops.ctx, r->from, count);
}

void plane_refused(struct plane *p, const char *from)
{
    struct plane_refusals *r = &p->refusals;

    snprintf(r->from, sizeof r->from, "%s", from[0] != 0 ? from : "unknown");
    r->untold++;
    p->counts.refused++;
}

void plane_gate_tick(struct plane *p, uint64_t now)
{
    tell(p, now);
}

/* --- ZAP (RFC 27 of ZeroMQ): may this key come in? --- */

struct zap_request {
    char id[256], address[PLANE_FROM_BYTES];
    size_t id_bytes;
    bool is_curve;
    uint8_t key[PLANE_KEY_BYTES];
};

static void zap_frame(struct zap_request *r, int at, zmq_msg_t *m)
{
    const char *data = zmq_msg_data(m);
    size_t n = zmq_msg_size(m);

    switch (at) {
    case 1:
        r->id_bytes = n <= sizeof r->id ? n : 0;
        memcpy(r->id, data, r->id_bytes);
        return;
    case 3:
        snprintf(r->address, sizeof r->address, "%.*s", (int)n, data);
        return;
    case 5:
        r->is_curve = n == 5 && memcmp(data, "CURVE", 5) == 0;
        return;
    case 6:
        r->is_curve = r->is_curve && n == PLANE_KEY_BYTES;
        if (r->is_curve)
            memcpy(r->key, data, n);
        return;
    default:
        return;
    }
}

/* False: none waits. */
static bool zap_read(struct plane *p, struct zap_request *r)
{
    int at = 0, more = 1;

    memset(r, 0, sizeof *r);
    while (more) {
        zmq_msg_t m;

        zmq_msg_init(&m);
        if (zmq_msg_recv(&m, p->zap, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&m);
            return false;
        }
        zap_frame(r, at++, &m);
        more = zmq_msg_more(&m);
        zmq_msg_close(&m);
    }
    r->is_curve = r->is_curve && at == ZAP_FRAMES;
    return true;
}

/* A refused one gets no answer at all (300, not 400): its connection is closed. A member's that
 * comes before its record is applied here tries again; after a 400 ZeroMQ never would. */
static void zap_answer(struct plane *p, const struct zap_request *r, bool is_member)
{
    const char *code = is_member ? "200" : "300";
    char user[PLANE_KEY_TEXT] = "";

    if (is_member)
        plane_key_text(r->key, user);
    zmq_send(p->zap, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(p->zap, r->id, r->id_bytes, ZMQ_SNDMORE);
    zmq_send(p->zap, code, 3, ZMQ_SNDMORE);
    zmq_send(p->zap, "", 0, ZMQ_SNDMORE);
    zmq_send(p->zap, user, strlen(user), ZMQ_SNDMORE);
    zmq_send(p->zap, "", 0, 0);
}

static void on_zap(evutil_socket_t fd, short what, void *arg)
{
    struct plane *p = arg;
    struct zap_request r;
    int n = 0;

    (void)fd, (void)what;
    while (n < LIMIT_PLANE_TURN && zap_read(p, &r)) {
        bool is_member = r.is_curve && plane_member_of(p, r.key) != NULL;

        if (!is_member)
            plane_refused(p, r.address);
        zap_answer(p, &r, is_member);
        n++;
    }
    if (n == LIMIT_PLANE_TURN)
        event_active(p->zap_event, EV_READ, 0);
    tell(p, clock_boot_ms());
}

enum err plane_gate_open(struct plane *p)
{
    p->zap = zmq_socket(p->zmq, ZMQ_REP);
    if (p->zap == NULL || zmq_bind(p->zap, ZAP_ENDPOINT) != 0)
        return E_IO;
    return plane_watch(p, p->zap, on_zap, &p->zap_event);
}

void plane_gate_close(struct plane *p)
{
    if (p->zap_event != NULL)
        event_free(p->zap_event);
    if (p->zap != NULL)
        zmq_close(p->zap);
    p->zap_event = NULL;
    p->zap = NULL;
}

/* --- handshakes that never came as far as ZAP --- */

static void address_text(int fd, char out[PLANE_FROM_BYTES])
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof sa;

    out[0] = 0; /* gone already */
    if (getpeername(fd, (struct sockaddr *)&sa, &n) != 0)
        return;
    if (sa.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)&sa)->sin_addr, out,
                  PLANE_FROM_BYTES);
    else if (sa.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)&sa)->sin6_addr, out,
                  PLANE_FROM_BYTES);
}

/* ZeroMQ says which connection came and which ended, but not which one's handshake failed: it
 * is the one that ends next, for all of them live in one thread. */
static void monitored(struct plane *p, unsigned event, int value)
{
    struct plane_refusals *r = &p->refusals;
    size_t at = (size_t)(value < 0 ? 0 : value) % PLANE_ACCEPTED;

    if (event == ZMQ_EVENT_ACCEPTED) {
        r->accepted[at].fd = value;
        address_text(value, r->accepted[at].from);
    } else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
               event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) {
        r->failed = true;
    } else if (event == ZMQ_EVENT_DISCONNECTED) {
        if (r->failed)
            plane_refused(p, r->accepted[at].fd == value ? r->accepted[at].from : "");
        r->failed = false;
        r->accepted[at].fd = -1;
    }
}

static bool monitor_read(struct plane *p)
{
    zmq_msg_t m;
    uint16_t event = 0;
    int32_t value = 0;
    int more = 1;
    bool is_first = true;

    while (more) {
        zmq_msg_init(&m);
        if (zmq_msg_recv(&m, p->monitor, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&m);
            return false;
        }
        if (is_first && zmq_msg_size(&m) >= sizeof event + sizeof value) {
            memcpy(&event, zmq_msg_data(&m), sizeof event);
            memcpy(&value, (char *)zmq_msg_data(&m) + sizeof event, sizeof value);
        }
        is_first = false;
        more = zmq_msg_more(&m);
        zmq_msg_close(&m);
    }
    monitored(p, event, value);
    return true;
}

static void on_monitor(evutil_socket_t fd, short what, void *arg)
{
    struct plane *p = arg;
    int n = 0;

    (void)fd, (void)what;
    while (n < LIMIT_PLANE_TURN && monitor_read(p))
        n++;
    if (n == LIMIT_PLANE_TURN)
        event_active(p->monitor_event, EV_READ, 0);
    tell(p, clock_boot_ms());
}

enum err plane_monitor_open(struct plane *p)
{
    const int events = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                       ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
    char name[64];
    int no_limit = 0; /* at a limit ZeroMQ's own thread would wait for us */

    snprintf(name, sizeof name, "inproc://monitor.%u", p->number);
    p->monitor = zmq_socket(p->zmq, ZMQ_PAIR);
    if (p->monitor == NULL || zmq_socket_monitor(p->router, name, events) != 0)
        return E_IO;
    zmq_setsockopt(p->monitor, ZMQ_RCVHWM, &no_limit, sizeof no_limit);
    if (zmq_connect(p->monitor, name) != 0)
        return E_IO;
    return plane_watch(p, p->monitor, on_monitor, &p->monitor_event);
}

void plane_monitor_close(struct plane *p)
{
    if (p->monitor_event != NULL)
        event_free(p->monitor_event);
    if (p->router != NULL)
        zmq_socket_monitor(p->router, NULL, 0);
    if (p->monitor != NULL)
        zmq_close(p->monitor);
    p->monitor_event = NULL;
    p->monitor = NULL;
    p->refusals.failed = false;
}
