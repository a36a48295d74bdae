/* trispool-sink: stands in for the customer's own mail server, does what it is told, and keeps
 * book. See options.c for what it can do, ledger.h for its ledger, docs/man/trispool-sink.1.scd
 * for a description. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "cluster-tools/common/now.h"
#include "cluster-tools/common/version.h"
#include "cluster-tools/sink/control.h"

#define EVENTS       256
#define MAX_SLEEP_MS 200
#define EXPECT_WAIT_US                                                                         \
    UINT64_C(300000) /* a second copy of the last message shows up by then                     \
                      */

struct signal_source {
    enum source source;
    int fd;
};

static bool watch_signals(struct signal_source *sig, int epoll_fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = sig};
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sig->source = SOURCE_SIGNAL;
    sig->fd = sigprocmask(SIG_BLOCK, &set, NULL) < 0
                  ? -1
                  : signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return sig->fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, sig->fd, &ev) == 0;
}

static bool all_arrived(const struct server *s, const struct sink_options *o)
{
    const struct stats *st = &s->intake.stats;

    return o->expect > 0 && st->unique + st->untagged >= o->expect &&
           (st->open == 0 || tool_wall_us() - st->last_us > EXPECT_WAIT_US);
}

static void dispatch(struct server *s, struct control *c, const struct epoll_event *ev)
{
    enum source *source = ev->data.ptr;

    switch (*source) {
    case SOURCE_SIGNAL:
        s->stop = true;
        break;
    case SOURCE_CONTROL:
        control_on_event(c, source);
        break;
    case SOURCE_LISTENER:
    case SOURCE_CONN:
        server_on_event(s, source, tool_now_us());
        break;
    }
}

static void serve(struct server *s, struct control *c, const struct sink_options *o)
{
    uint64_t start_us = tool_now_us(), wake_us = UINT64_MAX;
    struct epoll_event events[EVENTS];

    while (!s->stop && !all_arrived(s, o)) {
        uint64_t now = tool_now_us();
        int sleep_ms = MAX_SLEEP_MS, n;

        if (o->timeout_us > 0 && now - start_us > o->timeout_us)
            return;
        if (wake_us <= now)
            sleep_ms = 0;
        else if (wake_us - now < MAX_SLEEP_MS * 1000)
            sleep_ms = (int)((wake_us - now + 999) / 1000);
        n = epoll_wait(s->intake.epoll_fd, events, EVENTS, sleep_ms);
        for (int i = 0; i < n && !s->stop; i++)
            dispatch(s, c, &events[i]);
        wake_us = server_end_turn(s, tool_now_us());
    }
}

static void raise_file_limit(void)
{
    struct rlimit rl;

    /* As many as may be; a sink that runs out of them stops accepting, which is a fine test. */
    if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
        rl.rlim_cur = rl.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
            perror("trispool-sink: open files");
    }
}

static int run_server(const struct sink_options *o)
{
    static struct server server; /* with control, too large for a stack */
    static struct control control;
    struct signal_source sig;
    int status = EXIT_SUCCESS;

    raise_file_limit();
    if (server_init(&server, o) != OK || !watch_signals(&sig, server.intake.epoll_fd))
        return EXIT_MACHINE;
    if (control_init(&control, &server, o->fifo_path, o->socket_path) == OK)
        serve(&server, &control, o);
    else
        status = EXIT_MACHINE;
    control_fini(&control);
    stats_print(&server.intake.stats, &server.intake.fault, server.up, stdout);
    if (server_fini(&server) != OK) {
        fprintf(stderr, "trispool-sink: the ledger is not complete\n");
        status = EXIT_MACHINE;
    }
    return status;
}

int main(int argc, char **argv)
{
    static struct sink_options opt;
    bool good = false;
    enum err e = OK;

    sink_options_parse(&opt, argc, argv);
    switch (opt.task) {
    case TASK_SERVE:
        return run_server(&opt);
    case TASK_CHECK:
        e = check_run(&opt.check, stdout, &good);
        break;
    case TASK_COMPARE:
        e = compare_run(&opt.compare, stdout, &good);
        break;
    }
    if (e != OK)
        return EXIT_MACHINE;
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
