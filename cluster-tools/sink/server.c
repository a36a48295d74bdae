#include "cluster-tools/sink/server.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "cluster-tools/common/now.h"
#include "cluster-tools/common/number.h"
#include "cluster-tools/common/words.h"

#define BACKLOG        4096
#define ACCEPTS_A_TURN 256
#define PATH_ROOM      4096

static void say(const char *what)
{
    fprintf(stderr, "trispool-sink: %s: %s\n", what, strerror(errno));
}

/* ---- listeners ---- */

static enum err open_listener(struct server *s, struct listener *l)
{
    const struct address *a = l->address;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
    int one = 1, family = a->sa.ss_family;

    l->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd >= 0 && setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        (family != AF_INET6 ||
         setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) == 0) &&
        bind(l->fd, (const struct sockaddr *)&a->sa, a->sa_bytes) == 0 &&
        listen(l->fd, BACKLOG) == 0 &&
        epoll_ctl(s->intake.epoll_fd, EPOLL_CTL_ADD, l->fd, &ev) == 0)
        return OK;
    say(a->text);
    return E_IO;
}

static void close_listeners(struct server *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        if (s->listeners[i].fd >= 0)
            close(s->listeners[i].fd);
        s->listeners[i].fd = -1;
    }
}

static enum err go_up(struct server *s)
{
    if (s->up)
        return OK;
    for (size_t i = 0; i < s->listener_count; i++)
        if (open_listener(s, &s->listeners[i]) != OK) {
            close_listeners(s);
            return E_IO;
        }
    s->up = true;
    s->intake.stats.up_us = tool_wall_us();
    s->intake.stats.first_us = s->intake.stats.last_us = 0;
    return OK;
}

/* ---- connections ---- */

static void bury(struct server *s, struct conn *c)
{
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    /* Epoll may have reported it in this turn, behind the event that is being looked at. */
    c->over = true;
    wire_cut(&c->wire);
    c->next = s->dead;
    s->dead = c;
}

static void go_down(struct server *s)
{
    close_listeners(s);
    while (s->conns != NULL)
        bury(s, s->conns);
    s->up = false;
}

static void run_conn(struct server *s, struct conn *c, uint64_t now_us)
{
    if (c->over)
        return; /* buried in this turn */
    conn_run(c, now_us);
    if (!c->over)
        return;
    wire_close(&c->wire);
    bury(s, c);
}

static void accept_some(struct server *s, const struct listener *l, uint64_t now_us)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&l->address->sa;
    int one = 1;

    static_assert(offsetof(struct sockaddr_in, sin_port) ==
                      offsetof(struct sockaddr_in6, sin6_port),
                  "the port stands at one place in both families");
    for (int i = 0; i < ACCEPTS_A_TURN && l->fd >= 0; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        bool busy = s->max_conns > 0 && s->intake.stats.open >= s->max_conns;
        struct conn *c;

        if (fd < 0)
            return; /* none left, or no descriptor: epoll comes back */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* slower without: fine */
        c = conn_new(&s->intake, fd, ntohs(v4->sin_port), busy, now_us);
        if (c == NULL)
            return;
        c->next = s->conns;
        if (s->conns != NULL)
            s->conns->prev = c;
        s->conns = c;
        if (c->over)
            bury(s, c); /* dropped at the banner */
        else
            run_conn(s, c, now_us);
    }
}

void server_on_event(struct server *s, enum source *source, uint64_t now_us)
{
    if (*source == SOURCE_LISTENER)
        accept_some(s, (const struct listener *)source, now_us);
    else
        run_conn(s, (struct conn *)source, now_us);
}

/* Lets go of answers whose delay is over, and finds out when the next one is due. */
static void release_held(struct server *s, uint64_t now_us)
{
    struct conn *c, *next;

    s->intake.release_us = UINT64_MAX;
    for (c = s->conns; c != NULL; c = next) {
        next = c->next;
        if (c->hold_until_us == 0)
            continue;
        if (c->hold_until_us <= now_us) {
            c->hold_until_us = 0;
            run_conn(s, c, now_us);
        }
        if (!c->over && c->hold_until_us > 0 && c->hold_until_us < s->intake.release_us)
            s->intake.release_us = c->hold_until_us;
    }
}

uint64_t server_end_turn(struct server *s, uint64_t now_us)
{
    if (s->intake.release_us <= now_us)
        release_held(s, now_us);
    while (s->dead != NULL) {
        struct conn *c = s->dead;

        s->dead = c->next;
        conn_free(&c);
    }
    return s->intake.release_us;
}

/* ---- control ---- */

static enum answer answer_error(FILE *to, const char *why)
{
    fprintf(to, "error: %s\n", why);
    return ANSWER_ERROR;
}

static enum answer answer_ok(FILE *to)
{
    fputs("ok\n", to);
    return ANSWER_OK;
}

/* Statistics into a file, which appears complete or not at all. */
static enum answer write_stats(struct server *s, struct str path, FILE *to)
{
    char name[PATH_ROOM], part[PATH_ROOM + 8];
    FILE *f;
    bool good;

    if (path.n >= sizeof name)
        return answer_error(to, "the name is too long");
    snprintf(name, sizeof name, STR_FMT, STR_ARG(path));
    snprintf(part, sizeof part, "%s.part", name);
    f = fopen(part, "we");
    if (f == NULL)
        return answer_error(to, strerror(errno));
    stats_print(&s->intake.stats, &s->intake.fault, s->up, f);
    good = !ferror(f);
    if (fclose(f) != 0 || !good || rename(part, name) < 0)
        return answer_error(to, strerror(errno));
    return answer_ok(to);
}

static enum answer set_max_conns(struct server *s, struct str rest, FILE *to)
{
    if (number_count(words_cut(&rest), UINT32_MAX, &s->max_conns) != OK)
        return answer_error(to, "max-conns wants a number; 0: no limit");
    return answer_ok(to);
}

static enum answer set_fault(struct server *s, struct str word, struct str rest, FILE *to)
{
    const char *why = "";

    switch (fault_command(&s->intake.fault, word, rest, &why)) {
    case OK:
        return answer_ok(to);
    case E_PROTO:
        return answer_error(to, why);
    default:
        return answer_error(to, "there are up, down, accept, tempfail, reject, drop, stall, "
                                "ackloss, delay, max-conns, stats, reset, quit");
    }
}

enum answer server_command(struct server *s, struct str line, FILE *to)
{
    struct str word = words_cut(&line), rest = line;

    if (str_eq(word, STR("stats"))) {
        struct str path = words_cut(&rest);

        if (path.n > 0)
            return write_stats(s, path, to);
        stats_print(&s->intake.stats, &s->intake.fault, s->up, to);
        return ANSWER_DATA;
    }
    if (str_eq(word, STR("max-conns")))
        return set_max_conns(s, rest, to);
    if (str_eq(word, STR("up")))
        return go_up(s) == OK ? answer_ok(to) : answer_error(to, "cannot listen");
    if (str_eq(word, STR("down")))
        go_down(s);
    else if (str_eq(word, STR("reset")))
        stats_reset(&s->intake.stats, tool_wall_us());
    else if (str_eq(word, STR("quit")))
        s->stop = true;
    else
        return set_fault(s, word, rest, to);
    return answer_ok(to);
}

/* ---- life ---- */

static enum err open_intake(struct intake *in, const struct sink_options *o)
{
    if (o->cert_path != NULL) {
        in->tls = tls_context_new_server(o->cert_path, o->key_path);
        if (in->tls == NULL)
            return E_IO;
    }
    in->ids = idtable_new();
    in->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (in->ids == NULL || in->epoll_fd < 0) {
        say("epoll");
        return E_IO;
    }
    if (store_open(&in->store, o->dir_path) != OK) {
        say(o->dir_path);
        return E_IO;
    }
    if (ledger_open(&in->ledger, o->ledger_path) != OK) {
        say(o->ledger_path);
        return E_IO;
    }
    return OK;
}

/* The first control line decides how the sink comes up; "--mode down" must not listen before.
 */
static enum err first_mode(struct server *s, const char *mode)
{
    struct str line = mode == NULL ? STR("up") : str_of(mode);
    struct str rest = line, word = words_cut(&rest);
    char *answer = NULL;
    size_t n = 0;
    FILE *to;
    enum answer kind;

    if (!str_eq(word, STR("down")) && go_up(s) != OK)
        return E_IO;
    to = open_memstream(&answer, &n);
    if (to == NULL)
        return E_IO;
    kind = server_command(s, line, to);
    fclose(to);
    if (kind == ANSWER_ERROR)
        fprintf(stderr, "trispool-sink: --mode: %s", answer);
    free(answer);
    return kind == ANSWER_ERROR ? E_IO : OK;
}

enum err server_init(struct server *s, const struct sink_options *o)
{
    *s = (struct server){.max_conns = o->max_conns, .listener_count = o->listen_count};
    s->intake.config = o->session;
    s->intake.lenient = o->lenient;
    s->intake.epoll_fd = s->intake.store.dir_fd = -1;
    s->intake.release_us = UINT64_MAX;
    fault_init(&s->intake.fault, tool_wall_us() ^ (uint64_t)getpid());
    stats_reset(&s->intake.stats, tool_wall_us());
    for (size_t i = 0; i < s->listener_count; i++)
        s->listeners[i] = (struct listener){SOURCE_LISTENER, -1, &o->listen[i]};
    if (open_intake(&s->intake, o) != OK)
        return E_IO;
    return first_mode(s, o->mode);
}

enum err server_fini(struct server *s)
{
    struct intake *in = &s->intake;

    go_down(s);
    server_end_turn(s, 0);
    store_close(&in->store);
    idtable_free(&in->ids);
    tls_context_free(&in->tls);
    if (in->epoll_fd >= 0)
        close(in->epoll_fd);
    return ledger_close(&in->ledger);
}
