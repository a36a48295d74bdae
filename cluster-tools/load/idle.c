/* --idle: many sessions that do nothing, to see what they cost a server. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cluster-tools/common/now.h"
#include "cluster-tools/load/engine.h"

#define EVENTS      256
#define MAX_PENDING 200 /* connections under way, so that no listen queue overflows */
#define TURN_MS     100

enum idle_state { IDLE_UNUSED, IDLE_PENDING, IDLE_UP, IDLE_FAILED };

struct idle_conn {
    struct conn conn; /* first: epoll hands out its address */
    enum idle_state state;
};

struct idle {
    const struct engine_setup *setup;
    struct idle_conn *list;
    unsigned asked, opened, pending, up, failed;
    uint64_t start_us, ready_us;
    int epoll_fd;
    bool stop;
};

static void move(struct idle *d, struct idle_conn *c, enum idle_state next)
{
    d->pending -= c->state == IDLE_PENDING;
    d->up -= c->state == IDLE_UP;
    d->pending += next == IDLE_PENDING;
    d->up += next == IDLE_UP;
    d->failed += next == IDLE_FAILED;
    c->state = next;
    if (next == IDLE_FAILED)
        conn_close(&c->conn);
}

static void on_io(struct idle *d, struct idle_conn *c)
{
    while (conn_is_open(&c->conn)) {
        struct conn_event ev = conn_next(&c->conn);

        if (ev.type == CONN_NOTHING)
            return;
        if (ev.type == CONN_READY)
            move(d, c, IDLE_UP);
        else if (ev.type != CONN_GREETED && ev.type != CONN_SECURED)
            move(d, c, IDLE_FAILED);
    }
}

static enum err open_some(struct idle *d)
{
    const struct targets *t = &d->setup->opt->targets;

    while (d->opened < d->asked && d->pending < MAX_PENDING && !d->stop) {
        struct idle_conn *c = &d->list[d->opened];
        enum err e =
            conn_connect(&c->conn, &t->list[d->opened % t->n].address, NULL, tool_now_us());

        d->opened++;
        if (e == E_FULL)
            return E_FULL;
        move(d, c, e == OK ? IDLE_PENDING : IDLE_FAILED);
    }
    return OK;
}

static void drop_late(struct idle *d, uint64_t now)
{
    for (unsigned i = 0; i < d->opened; i++)
        if (d->list[i].state == IDLE_PENDING && conn_timed_out(&d->list[i].conn, now))
            move(d, &d->list[i], IDLE_FAILED);
}

static bool turn(struct idle *d)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(d->epoll_fd, events, EVENTS, TURN_MS);
    uint64_t now;

    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == NULL)
            d->stop = true;
        else
            on_io(d, events[i].data.ptr);
    }
    now = tool_now_us();
    drop_late(d, now);
    if (d->ready_us == 0 && d->opened == d->asked && d->pending == 0) {
        d->ready_us = now;
        printf("READY up=%u failed=%u in %.2fs\n", d->up, d->failed,
               (double)(now - d->start_us) / 1e6);
        fflush(stdout);
    }
    return !d->stop && (d->ready_us == 0 || now - d->ready_us < d->setup->opt->hold_us);
}

enum err idle_run(const struct engine_setup *setup, bool *all)
{
    struct idle d = {.setup = setup, .asked = setup->opt->idle, .start_us = tool_now_us()};
    struct epoll_event stop = {.events = EPOLLIN, .data.ptr = NULL};
    enum err e = E_FULL;

    d.list = calloc(d.asked, sizeof *d.list);
    d.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (d.list == NULL || d.epoll_fd < 0 ||
        epoll_ctl(d.epoll_fd, EPOLL_CTL_ADD, setup->stop_fd, &stop) < 0)
        goto out;
    for (unsigned i = 0; i < d.asked; i++)
        conn_init(&d.list[i].conn, &setup->opt->conn, d.epoll_fd);
    do {
        e = open_some(&d);
    } while (e == OK && turn(&d));
    printf("{\"idle_up\":%u,\"idle_failed\":%u,\"asked\":%u}\n", d.up, d.failed, d.asked);
    *all = d.up == d.asked;
    for (unsigned i = 0; i < d.opened; i++)
        conn_close(&d.list[i].conn);
out:
    if (e != OK)
        fprintf(stderr, "trispool-load: %s\n", strerror(errno));
    if (d.epoll_fd >= 0)
        close(d.epoll_fd);
    free(d.list);
    return e;
}
