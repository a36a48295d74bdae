/* listen: the socket file of server.c. Threads: any, no state. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"
#include "node/admin/access.h"

struct listen_socket {
    int fd; /* -1: none */
    dev_t dev;
    ino_t ino; /* of the file that we made */
};

/* Binds and listens; path must live until listen_close(). Errors as admin_server_start(). */
MUST_CHECK enum err listen_open(struct listen_socket *l, const char *path,
                                const struct access_rule *rule);
/* Also removes the file, unless another one stands in its place. */
void listen_close(struct listen_socket *l, const char *path);
