/*
 * server: listeners, connections and control lines of the sink, in one epoll set.
 *
 * "down" closes the listeners and cuts every session, as a machine that crashes; "up" listens
 * again. Threads: one owner. Limits: LIMIT_TOOL_LISTENERS; max_conns sessions, further ones get
 * 421; LIMIT_TOOL_CONTROLLERS control connections, further ones are closed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "cluster-tools/common/address.h"
#include "cluster-tools/sink/conn.h"
#include "cluster-tools/sink/options.h"

struct listener {
    enum source source;
    int fd; /* -1: down */
    const struct address *address;
};

struct server {
    struct intake intake;
    struct listener listeners[LIMIT_TOOL_LISTENERS];
    size_t listener_count;
    struct conn *conns; /* a doubly linked list */
    struct conn *dead;  /* to be freed at the end of the turn; linked by next */
    uint64_t max_conns; /* 0: no limit */
    bool up, stop;
};

/* Opens ledger, store and TLS, and listens, all as `o` says. `o` is borrowed for the life of
 * the server. Errors: E_IO; the reason is on stderr. server_fini() in every case. */
MUST_CHECK enum err server_init(struct server *s, const struct sink_options *o);

/* E_IO: the ledger could not be written in full. */
MUST_CHECK enum err server_fini(struct server *s);

/* What has been reported for a listener or a connection. */
void server_on_event(struct server *s, enum source *source, uint64_t now_us);

/* After the events of a turn: answers whose delay is over, and dead connections. Returns when
 * to be called again at the latest; UINT64_MAX: after the next event. */
uint64_t server_end_turn(struct server *s, uint64_t now_us);

enum answer { ANSWER_OK, ANSWER_ERROR, ANSWER_DATA };

/* Obeys one control line; see docs/man/trispool-sink.1.scd. Writes one line to `to`: "ok",
 * "error: why", or the statistics. */
enum answer server_command(struct server *s, struct str line, FILE *to);
