#include "node/admin/access.h"

#include <grp.h>
#include <sys/socket.h>
#include <unistd.h>

void access_rule_init(struct access_rule *r, const char *group)
{
    char buf[65536];
    struct group g, *found = NULL;

    *r = (struct access_rule){.uid = geteuid()};
    if (group == NULL || getgrnam_r(group, &g, buf, sizeof buf, &found) != 0 || found == NULL)
        return;
    r->has_group = true;
    r->group = found->gr_gid;
}

enum err access_peer_of(int fd, struct access_peer *out)
{
    struct ucred cred;
    socklen_t n = sizeof cred;

    out->group_count = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0 || n != sizeof cred)
        return E_IO;
    out->uid = cred.uid;
    out->gid = cred.gid;
    /* ERANGE, with more groups than we hold: the primary one is all we know. */
    n = sizeof out->groups;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, out->groups, &n) == 0)
        out->group_count = n / sizeof out->groups[0];
    return OK;
}

bool access_allowed(const struct access_rule *r, const struct access_peer *p)
{
    if (p->uid == 0 || p->uid == r->uid)
        return true;
    if (!r->has_group)
        return false;
    if (p->gid == r->group)
        return true;
    for (size_t i = 0; i < p->group_count; i++)
        if (p->groups[i] == r->group)
            return true;
    return false;
}
