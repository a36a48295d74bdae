/*
 * server: the control socket. A UNIX stream socket, mode 0660, of the group that may use it;
 * sessions of JSON lines (call.h), one request after the other on each.
 *
 * Start: a socket file that nobody answers on is replaced; one that is answered, and anything
 * that is not a socket, is left alone (E_EXISTS). The file goes at stop, if it is still ours.
 *
 * Back-pressure: a call is stepped only while less than LIMIT_ADMIN_OUT_BYTES wait for its
 * reader, one step a turn of the loop, so a long listing neither fills memory nor holds up the
 * other events of the thread.
 *
 * Threads: all functions in the thread of `base`.
 * Limits: LIMIT_ADMIN_SESSIONS (more are answered with exit 75), LIMIT_ADMIN_REQUEST_BYTES,
 * LIMIT_ADMIN_REQUEST_MS, LIMIT_ADMIN_STALL_MS, LIMIT_ADMIN_SESSION_MS, LIMIT_ADMIN_OUT_BYTES.
 * SIGPIPE must be ignored by the process.
 */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "node/admin/call.h"

struct admin_server;

struct admin_server_options {
    const char *path; /* absolute */
    struct event_base *base;
    const char *group; /* name; NULL or unknown: uid 0 and our own uid only */
    struct admin_table table;
};

/* Borrows the table and base until stop. E_EXISTS, see above; E_IO: cannot bind; logged. */
MUST_CHECK enum err admin_server_start(struct admin_server **out,
                                       const struct admin_server_options *o);
/* Cuts all sessions. */
void admin_server_stop(struct admin_server **s);

/* NULL: that call has ended. Its state, for an answer that came. */
void *admin_server_state(struct admin_server *s, uint64_t number);
/* The call that waits is stepped, in a turn of its own. Nothing happens when it has ended. */
void admin_server_wake(struct admin_server *s, uint64_t number);
