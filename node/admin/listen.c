#include "node/admin/listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"

#define SOCKET_MODE 0660

static enum err failed(const char *path, const char *op, enum err e)
{
    int why = errno;

    LOG(EV_ADMIN_SOCKET, L_CSTR("path", path), L_CSTR("op", op), L_ERR(e),
        L_CSTR("why", why != 0 ? strerror(why) : "in use"));
    return e;
}

/* Does somebody answer there? */
static bool is_alive(const struct sockaddr_un *sa)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool alive;

    if (fd < 0)
        return true; /* not known: leave the file alone */
    alive = connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0 || errno != ECONNREFUSED;
    close(fd);
    return alive;
}

/* Makes way for bind(), if what stands there is a socket that nobody owns any more. */
static enum err remove_stale(const struct sockaddr_un *sa)
{
    struct stat st;

    if (lstat(sa->sun_path, &st) < 0)
        return errno == ENOENT ? OK : E_IO;
    errno = 0;
    if (!S_ISSOCK(st.st_mode) || is_alive(sa)) {
        errno = 0;
        return E_EXISTS;
    }
    return unlink(sa->sun_path) == 0 || errno == ENOENT ? OK : E_IO;
}

static enum err bind_at(struct listen_socket *l, const struct sockaddr_un *sa,
                        const struct access_rule *rule)
{
    struct stat st;

    /* The mode of the descriptor becomes that of the file, so that at no moment more people
     * can connect than at the end. */
    if (fchmod(l->fd, 0600) < 0 || bind(l->fd, (const struct sockaddr *)sa, sizeof *sa) < 0)
        return E_IO;
    if (lstat(sa->sun_path, &st) < 0)
        return E_IO;
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    /* A daemon that is not in the group cannot give the file to it; uid and root remain. */
    if (rule->has_group && lchown(sa->sun_path, (uid_t)-1, rule->group) < 0 && errno != EPERM)
        return E_IO;
    if (chmod(sa->sun_path, SOCKET_MODE) < 0 || listen(l->fd, LIMIT_ADMIN_SESSIONS) < 0)
        return E_IO;
    return OK;
}

enum err listen_open(struct listen_socket *l, const char *path, const struct access_rule *rule)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    enum err e;

    *l = (struct listen_socket){.fd = -1};
    if (!str_to_z(str_of(path), sa.sun_path, sizeof sa.sun_path)) {
        errno = ENAMETOOLONG;
        return failed(path, "name", E_IO);
    }
    e = remove_stale(&sa);
    if (e != OK)
        return failed(path, "replace", e);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return failed(path, "socket", E_IO);
    e = bind_at(l, &sa, rule);
    if (e != OK) {
        e = failed(path, "bind", e);
        listen_close(l, path);
    }
    return e;
}

void listen_close(struct listen_socket *l, const char *path)
{
    struct stat st;

    if (l->ino != 0 && lstat(path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        (void)unlink(path);
    if (l->fd >= 0)
        close(l->fd);
    *l = (struct listen_socket){.fd = -1};
}
