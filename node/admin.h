/*
 * admin: the control socket of a daemon: what `trispool` asks and orders. node/admin has the
 * socket and the protocol; the admin_*.c files of this folder have the commands.
 *
 * Reads of the spool go through a reader of its own, in batches of LIMIT_ADMIN_BATCH records;
 * changes go through the control log only; what other threads know is asked for by mail.
 *
 * Threads: all in the main thread, whose event_base it uses.
 */
#pragma once

#include <event2/event.h>
#include <stdint.h>

#include "base/err.h"
#include "node/node.h"

struct admin;

struct admin_options {
    const char *path;        /* absolute; of the socket */
    int64_t started_wall_ms; /* of the daemon, for the uptime shown */

    /* `trispool config reload`: reads the configuration again, as SIGHUP does, and publishes it
     * in node.settings when it is good; before it returns. */
    void (*reload)(void *ctx);
    void *ctx;
};

/* Borrows `n` and the base until stop. n->spool, control, writer and cluster must run.
 * E_EXISTS: another process answers on the path. E_IO, E_FULL. Logged. */
MUST_CHECK enum err admin_start(struct admin **out, struct node *n, struct event_base *base,
                                const struct admin_options *o);
/* Cuts all sessions and removes the socket: when the daemon begins to stop. */
void admin_close(struct admin *a);
/* Closes, and frees. After cluster_stop() and control_thread_stop(), which may still answer,
 * and before spool_close(). */
void admin_stop(struct admin **a);
