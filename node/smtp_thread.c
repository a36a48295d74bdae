#include "node/smtp_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/policy/familiar.h"
#include "node/resolver.h"

#define ACCEPT_PER_TURN 64
#define ACCEPT_PAUSE_MS 100 /* after running out of descriptors */
#define SMTP_BOX        16384

struct listener {
    struct listener *next;
    struct smtp_thread *thread;
    struct event *event, *resume;
    int fd;
};

/* --- accepting --- */

/* Out of descriptors: one client is told, the rest waits in the kernel for a moment. */
static void shed_descriptors(struct listener *l)
{
    static const char line[] = "421 4.3.2 Too many connections, try the next MX\r\n";
    struct smtp_thread *t = l->thread;
    struct timeval pause = {0, ACCEPT_PAUSE_MS * 1000};
    ssize_t n;
    int fd;

    close(t->spare_fd);
    fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        n = send(fd, line, sizeof line - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)n; /* a courtesy */
        close(fd);
    }
    t->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    stat_add(STAT_SESSIONS_SHED_TOTAL, 1);
    LOG(EV_SHED, L_CSTR("limit", "file descriptors"));
    event_del(l->event);
    event_add(l->resume, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;

    (void)fd;
    (void)what;
    event_add(l->event, NULL);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;

    (void)what;
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        struct sockaddr_storage ss;
        socklen_t n = sizeof ss;
        int client = accept4(fd, (struct sockaddr *)&ss, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (client >= 0) {
            inbound_accept(l->thread, client, (struct sockaddr *)&ss);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            shed_descriptors(l);
        return;
    }
}

static enum err listen_failed(int fd, const char *address, const char *what)
{
    LOG(EV_INTERNAL, L_CSTR("call", what), L_CSTR("address", address),
        L_CSTR("error", strerror(errno)));
    if (fd >= 0)
        close(fd);
    return E_IO;
}

static enum err listener_open(struct smtp_thread *t, const struct config_address *a)
{
    struct listener *l;
    int one = 1, fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return listen_failed(fd, a->text, "socket");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0)
        return listen_failed(fd, a->text, "setsockopt");
    if (a->ss.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&a->ss, a->ss_bytes) != 0)
        return listen_failed(fd, a->text, "bind");
    if (listen(fd, SOMAXCONN) != 0)
        return listen_failed(fd, a->text, "listen");
    l = calloc(1, sizeof *l);
    ASSERT(l != NULL);
    l->thread = t;
    l->fd = fd;
    l->event = event_new(t->base, fd, EV_READ | EV_PERSIST, on_accept, l);
    l->resume = event_new(t->base, -1, 0, on_resume, l);
    ASSERT(l->event != NULL && l->resume != NULL);
    event_add(l->event, NULL);
    l->next = t->listeners;
    t->listeners = l;
    return OK;
}

/* True: nobody else listens there. The threads share an address, and whoever runs as the same
 * user could share it, too, and get half of the clients: so it is tried first without that. */
static bool is_free(const struct config_address *a)
{
    int one = 1, fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0;

    if (ok && a->ss.ss_family == AF_INET6)
        ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) == 0;
    ok = ok && bind(fd, (const struct sockaddr *)&a->ss, a->ss_bytes) == 0;
    if (!ok)
        fprintf(stderr,
                "trispoold: cannot listen: %s\n  where: %s (smtp.listen)\n  do:    %s\n",
                strerror(errno), a->text,
                errno == EADDRINUSE      ? "ss -ltnp shows who has the port"
                : errno == EACCES        ? "ports below 1024 need CAP_NET_BIND_SERVICE"
                : errno == EADDRNOTAVAIL ? "ip address shows what this machine has"
                                         : "look at the address");
    if (fd >= 0)
        close(fd);
    return ok;
}

enum err smtp_thread_may_listen(struct node *n)
{
    struct snapshot_ref *ref = snapshot_hold(n->settings);
    const struct node_settings *s = snapshot_value(ref);
    enum err e = OK;

    for (size_t i = 0; i < s->config->smtp.listen.n; i++)
        if (!is_free(&s->config->smtp.listen.v[i]))
            e = E_IO;
    snapshot_release(&ref);
    return e;
}

static void listeners_close(struct smtp_thread *t)
{
    while (t->listeners != NULL) {
        struct listener *l = t->listeners;

        t->listeners = l->next;
        event_free(l->event);
        event_free(l->resume);
        close(l->fd);
        free(l);
    }
}

/* --- the loop --- */

static void drain(struct smtp_thread *t)
{
    outbound_drain(t, t->draining);
    t->draining = true;
    listeners_close(t);
    inbound_drain(t);
}

static void dispatch(struct smtp_thread *t, struct mail *m)
{
    switch ((enum smtp_mail)m->kind) {
    case SMTP_MAIL_STORED:
        inbound_stored((struct writer_request *)m);
        break;
    case SMTP_MAIL_DOT:
        outbound_consent(t, (struct writer_request *)m);
        break;
    case SMTP_MAIL_TAKEN:
        inbound_taken(t, (struct intake *)m);
        break;
    case SMTP_MAIL_CONSENT:
        outbound_answer(t, (struct consent_ask *)m);
        break;
    case SMTP_MAIL_EDGE:
        inbound_greylisted((struct edge_ask *)m);
        break;
    case SMTP_MAIL_RECIPIENT:
        inbound_recipient_known((struct edge_rcpt *)m);
        break;
    case SMTP_MAIL_OPEN:
        outbound_open(t, (struct conn_order *)m);
        break;
    case SMTP_MAIL_QUIT:
        outbound_quit(t, (struct conn_order *)m);
        break;
    case SMTP_MAIL_GIVE:
        outbound_give(t, (struct delivery_job *)m);
        break;
    case SMTP_MAIL_RECALL:
        outbound_recall(t, (struct conn_order *)m);
        break;
    case SMTP_MAIL_DRAIN:
        free(m);
        drain(t);
        break;
    case SMTP_MAIL_STOP:
        free(m);
        event_base_loopbreak(t->base);
        break;
    }
}

static void on_mail(evutil_socket_t fd, short what, void *arg)
{
    struct smtp_thread *t = arg;
    struct mail *m = mailbox_take(t->box), *next;

    (void)fd;
    (void)what;
    for (; m != NULL; m = next) {
        next = m->next;
        dispatch(t, m);
    }
}

static void on_pulse(evutil_socket_t fd, short what, void *arg)
{
    struct smtp_thread *t = arg;

    (void)fd;
    (void)what;
    outbound_pulse(t);
    if (t->outbound != NULL)
        smtp_thread_beat(t);
}

void smtp_thread_beat(struct smtp_thread *t)
{
    if (!event_pending(t->pulse, EV_TIMEOUT, NULL))
        event_add(t->pulse, &(struct timeval){.tv_sec = 1});
}

static void *smtp_main(void *arg)
{
    struct smtp_thread *t = arg;

    event_base_loop(t->base, EVLOOP_NO_EXIT_ON_EMPTY);
    return NULL;
}

static struct event_base *base_new(void)
{
    struct event_config *c = event_config_new();
    struct event_base *b;

    ASSERT(c != NULL);
    event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    b = event_base_new_with_config(c);
    event_config_free(c);
    ASSERT(b != NULL);
    return b;
}

static void thread_free(struct smtp_thread *t)
{
    if (t->dns != NULL)
        dns_close(&t->dns);
    judging_free_all(&t->judgings);
    inbound_home_free_all(t);
    inbound_delegate_free_all(t);
    if (t->reader != NULL)
        spool_reader_close(&t->reader);
    if (t->box_event != NULL)
        event_free(t->box_event);
    if (t->pulse != NULL)
        event_free(t->pulse);
    conn_loop_end(&t->conns);
    event_base_free(t->base);
    if (t->spare_fd >= 0)
        close(t->spare_fd);
    mailbox_free(&t->box);
    free(t->familiar);
    free(t);
}

static struct familiar *familiar_new(void)
{
    struct familiar *f = calloc(1, sizeof *f);
    uint64_t secret[2] = {clock_boot_us(), (uint64_t)(uintptr_t)f};

    ASSERT(f != NULL);
    if (getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret)
        LOG(EV_INTERNAL, L_CSTR("call", "getrandom"));
    familiar_init(f, secret);
    return f;
}

enum err smtp_thread_start(struct node *n, struct smtp_thread **out)
{
    struct smtp_thread *t = calloc(1, sizeof *t);
    struct snapshot_ref *ref = snapshot_hold(n->settings);
    const struct node_settings *s = snapshot_value(ref);
    enum err e;

    ASSERT(t != NULL);
    t->node = n;
    t->box = mailbox_new(SMTP_BOX);
    t->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    t->base = base_new();
    t->conns.base = t->base;
    t->familiar = familiar_new();
    e = spool_reader_open(n->spool, &t->reader);
    if (e == OK)
        e = resolver_open(t->base, s->config, &t->dns);
    if (e == OK)
        dns_keep_answers(t->dns);
    t->judgings = (struct judging_place){.node = n, .base = t->base, .dns = t->dns};
    for (size_t i = 0; e == OK && i < s->config->smtp.listen.n; i++)
        e = listener_open(t, &s->config->smtp.listen.v[i]);
    snapshot_release(&ref);
    t->box_event = event_new(t->base, mailbox_fd(t->box), EV_READ | EV_PERSIST, on_mail, t);
    t->pulse = event_new(t->base, -1, 0, on_pulse, t);
    ASSERT(t->box_event != NULL && t->pulse != NULL);
    event_add(t->box_event, NULL);
    if (e == OK && pthread_create(&t->thread, NULL, smtp_main, t) != 0)
        e = E_IO;
    if (e != OK) {
        listeners_close(t);
        thread_free(t);
        return e;
    }
    pthread_setname_np(t->thread, "smtp");
    *out = t;
    return OK;
}

static void post(struct smtp_thread *t, enum smtp_mail kind)
{
    struct mail *m = calloc(1, sizeof *m);

    ASSERT(m != NULL);
    m->kind = (int)kind;
    mailbox_answer(t->box, m);
}

void smtp_thread_drain(struct smtp_thread *t)
{
    post(t, SMTP_MAIL_DRAIN);
}

void smtp_thread_join(struct smtp_thread *t)
{
    post(t, SMTP_MAIL_STOP);
    pthread_join(t->thread, NULL);
    t->joined = true;
    listeners_close(t);
    inbound_close_all(t);
    outbound_close_all(t);
}

void smtp_thread_free(struct smtp_thread **tp)
{
    struct smtp_thread *t = *tp;

    *tp = NULL;
    on_mail(-1, 0, t); /* what the writer answered last */
    ASSERT(t->inbound == NULL && t->outbound == NULL);
    thread_free(t);
}
