/*
 * control: control lines, by a FIFO or over a UNIX socket.
 *
 * A line written to the FIFO is obeyed; errors go to stderr, statistics to stdout. A line sent
 * over the socket is obeyed and answered with one line: "ok", "error: why", or the statistics.
 *
 * Threads: one owner. Limits: LIMIT_TOOL_CONTROL_BYTES a line (a longer one closes the
 * connection, or empties the FIFO's line), LIMIT_TOOL_CONTROLLERS connections.
 */
#pragma once

#include "base/err.h"
#include "cluster-tools/sink/server.h"

struct controller {
    enum source source;
    int fd; /* -1: unused */
    size_t n;
    char line[LIMIT_TOOL_CONTROL_BYTES];
};

struct control {
    struct server *server; /* borrowed */
    const char *fifo_path, *socket_path;
    struct controller fifo, listener, clients[LIMIT_TOOL_CONTROLLERS];
};

/* Makes the FIFO and the socket at the paths (NULL: none); what is there already is replaced
 * when it is a FIFO or a socket. E_IO: the reason is on stderr. control_fini() in every case.
 */
MUST_CHECK enum err control_init(struct control *c, struct server *server,
                                 const char *fifo_path, const char *socket_path);
void control_fini(struct control *c);

/* What has been reported for SOURCE_CONTROL. */
void control_on_event(struct control *c, enum source *source);
