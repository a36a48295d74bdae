#include "cluster-tools/cli/link.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"

#define EXIT_UNREACHABLE 69
#define EXIT_TEMPORARY   75
#define EXIT_DENIED      77
#define FIRST_BYTES      65536

static enum err cannot_connect(const char *path, struct cli_error *why)
{
    switch (errno) {
    case ENOENT:
    case ECONNREFUSED:
        cli_error_set(
            why, EXIT_UNREACHABLE, path,
            "start it: systemctl start trispoold, or trispoold --config FILE; another "
            "socket: --socket PATH",
            "the daemon is not running");
        break;
    case EACCES:
    case EPERM:
        cli_error_set(why, EXIT_DENIED, path, "become root or a member of the group trispool",
                      "you may not use the control socket");
        break;
    case EAGAIN:
        cli_error_set(why, EXIT_TEMPORARY, path, "try again",
                      "the daemon has too many control sessions");
        break;
    default:
        cli_error_set(why, EXIT_UNREACHABLE, path, NULL, "%s", strerror(errno));
    }
    return E_IO;
}

enum err link_open(struct link *l, const char *path, struct cli_error *why)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    *l = (struct link){.fd = -1};
    if (!str_to_z(str_of(path), sa.sun_path, sizeof sa.sun_path)) {
        errno = ENAMETOOLONG;
        return cannot_connect(path, why);
    }
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->fd < 0 || connect(l->fd, (const struct sockaddr *)&sa, sizeof sa) < 0) {
        (void)cannot_connect(path, why);
        link_close(l);
        return E_IO;
    }
    return OK;
}

void link_close(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    free(l->buf);
    *l = (struct link){.fd = -1};
}

static enum err cut(struct cli_error *why)
{
    cli_error_set(why, EXIT_UNREACHABLE, "control socket",
                  "look at the daemon's log; what was ordered may have been done",
                  "the daemon ended the connection before its answer was whole");
    return E_IO;
}

enum err link_send(struct link *l, const char *command, json_t *args, struct cli_error *why)
{
    json_t *request = json_pack("{s:s, s:o}", "cmd", command, "args", args);
    char *text = json_dumps(request, JSON_COMPACT | JSON_ENSURE_ASCII);
    size_t n = text != NULL ? strlen(text) : 0, sent = 0;

    json_decref(request);
    if (text == NULL)
        return cut(why);
    text[n++] = '\n'; /* in place of the NUL */
    while (sent < n) {
        ssize_t w = send(l->fd, text + sent, n - sent, MSG_NOSIGNAL);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            break; /* it may have said why before it closed: read on */
        sent += (size_t)w;
    }
    free(text);
    return OK;
}

/* Room for more bytes behind what is there. */
static bool make_room(struct link *l)
{
    size_t size = l->size == 0 ? FIRST_BYTES : l->size * 2;
    char *more;

    if (l->start > 0) {
        memmove(l->buf, l->buf + l->start, l->used - l->start);
        l->used -= l->start;
        l->looked -= l->start;
        l->start = 0;
    }
    if (l->used < l->size)
        return true;
    more = size <= LIMIT_TOOL_ANSWER_BYTES ? realloc(l->buf, size) : NULL;
    if (more == NULL)
        return false;
    l->buf = more;
    l->size = size;
    return true;
}

static enum err fill(struct link *l, struct cli_error *why)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    ssize_t n;
    int rc;

    if (!make_room(l))
        return cut(why);
    do
        rc = poll(&p, 1, LIMIT_TOOL_SILENCE_MS);
    while (rc < 0 && errno == EINTR);
    if (rc == 0) {
        cli_error_set(why, EXIT_UNREACHABLE, "control socket", "look at its log",
                      "the daemon does not answer");
        return E_IO;
    }
    do
        n = read(l->fd, l->buf + l->used, l->size - l->used);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return cut(why);
    l->used += (size_t)n;
    return OK;
}

enum err link_read(struct link *l, json_t **out, struct cli_error *why)
{
    size_t at = l->looked;

    for (;;) {
        struct str unseen = {l->buf, l->used};

        unseen = str_from(unseen, l->looked);
        at = l->looked + str_find(unseen, '\n');
        if (at < l->used)
            break;
        l->looked = l->used;
        if (fill(l, why) != OK)
            return E_IO;
    }
    *out = json_loadb(l->buf + l->start, at - l->start, JSON_REJECT_DUPLICATES, NULL);
    l->start = l->looked = at + 1;
    if (json_is_object(*out))
        return OK;
    json_decref(*out);
    return cut(why);
}
