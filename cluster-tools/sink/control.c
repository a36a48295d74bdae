#include "cluster-tools/sink/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"

static enum err complain(const char *path)
{
    fprintf(stderr, "trispool-sink: %s: %s\n", path, strerror(errno));
    return E_IO;
}

static enum err watch(struct control *c, struct controller *who)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = who};

    return epoll_ctl(c->server->intake.epoll_fd, EPOLL_CTL_ADD, who->fd, &ev) == 0 ? OK : E_IO;
}

static void drop(struct controller *who)
{
    if (who->fd >= 0)
        close(who->fd);
    who->fd = -1;
    who->n = 0;
}

/* Removes what an earlier run has left, and nothing else: a mistyped path must not cost a file.
 */
static void remove_old(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
        unlink(path);
}

static enum err open_fifo(struct control *c, const char *path)
{
    remove_old(path);
    if (mkfifo(path, 0600) < 0)
        return complain(path);
    c->fifo_path = path;
    /* For writing, too: else a writer that closes would leave an end of file to read for ever.
     */
    c->fifo.fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (c->fifo.fd < 0 || watch(c, &c->fifo) != OK)
        return complain(path);
    return OK;
}

static enum err open_socket(struct control *c, const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof sa.sun_path) {
        errno = ENAMETOOLONG;
        return complain(path);
    }
    memcpy(sa.sun_path, path, strlen(path));
    remove_old(path);
    c->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->listener.fd < 0 || bind(c->listener.fd, (const struct sockaddr *)&sa, sizeof sa) < 0)
        return complain(path);
    c->socket_path = path;
    if (listen(c->listener.fd, LIMIT_TOOL_CONTROLLERS) < 0 || watch(c, &c->listener) != OK)
        return complain(path);
    return OK;
}

enum err control_init(struct control *c, struct server *server, const char *fifo_path,
                      const char *socket_path)
{
    enum err e = OK;

    c->server = server;
    c->fifo_path = c->socket_path = NULL;
    c->fifo = c->listener = (struct controller){.source = SOURCE_CONTROL, .fd = -1};
    for (size_t i = 0; i < LIMIT_TOOL_CONTROLLERS; i++)
        c->clients[i] = c->fifo;
    if (fifo_path != NULL)
        e = open_fifo(c, fifo_path);
    if (e == OK && socket_path != NULL)
        e = open_socket(c, socket_path);
    return e;
}

void control_fini(struct control *c)
{
    drop(&c->fifo);
    drop(&c->listener);
    for (size_t i = 0; i < LIMIT_TOOL_CONTROLLERS; i++)
        drop(&c->clients[i]);
    if (c->fifo_path != NULL)
        unlink(c->fifo_path);
    if (c->socket_path != NULL)
        unlink(c->socket_path);
}

static void accept_one(struct control *c)
{
    int fd = accept4(c->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    for (size_t i = 0; i < LIMIT_TOOL_CONTROLLERS; i++)
        if (c->clients[i].fd < 0) {
            c->clients[i].fd = fd;
            if (watch(c, &c->clients[i]) != OK)
                drop(&c->clients[i]);
            return;
        }
    close(fd);
}

/* Sends an answer, or gives up: answers are short, and who asks has to read. */
static void send_answer(struct controller *who, struct str answer)
{
    if (send(who->fd, answer.p, answer.n, MSG_NOSIGNAL) != (ssize_t)answer.n)
        drop(who);
}

static void on_line(struct control *c, struct controller *who, struct str line)
{
    char *answer = NULL;
    size_t n = 0;
    FILE *to;
    enum answer kind;

    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n == 0)
        return;
    to = open_memstream(&answer, &n);
    if (to == NULL)
        return;
    kind = server_command(c->server, line, to);
    fclose(to);
    if (who != &c->fifo)
        send_answer(who, (struct str){answer, n});
    else if (kind != ANSWER_OK)
        fputs(answer, kind == ANSWER_ERROR ? stderr : stdout);
    if (who == &c->fifo)
        fflush(stdout);
    free(answer);
}

static void on_input(struct control *c, struct controller *who)
{
    ssize_t got = read(who->fd, who->line + who->n, sizeof who->line - who->n);
    char *lf;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        drop(who);
        return;
    }
    who->n += (size_t)got;
    while (who->fd >= 0 && (lf = memchr(who->line, '\n', who->n)) != NULL) {
        size_t used = (size_t)(lf - who->line);

        on_line(c, who, (struct str){who->line, used});
        if (who->fd < 0)
            return;
        who->n -= used + 1;
        memmove(who->line, lf + 1, who->n);
    }
    if (who->n < sizeof who->line)
        return;
    if (who == &c->fifo)
        who->n = 0;
    else
        drop(who);
}

void control_on_event(struct control *c, enum source *source)
{
    struct controller *who = (struct controller *)source;

    if (who == &c->listener)
        accept_one(c);
    else if (who->fd >= 0)
        on_input(c, who);
}
