#include "cluster-tools/common/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/assert.h"

#define HOST_SIZE 256 /* RFC 1035 2.3.4: a name has at most 255 bytes */

static enum err parse_port(struct str text, uint16_t *port)
{
    uint64_t v;

    if (!str_to_u64(text, &v) || v == 0 || v > UINT16_MAX)
        return E_PROTO;
    *port = (uint16_t)v;
    return OK;
}

enum err address_split(struct str text, struct str *host, uint16_t *port)
{
    size_t colon = str_find_last(text, ':');

    if (colon == text.n || colon == 0)
        return E_PROTO;
    *host = str_head(text, colon);
    if (host->p[0] == '[') {
        if (host->n < 3 || !str_ends(*host, ']'))
            return E_PROTO;
        *host = str_from(str_head(*host, colon - 1), 1);
    } else if (str_find(*host, ':') < host->n) {
        return E_PROTO; /* ::1:25 could be read two ways */
    }
    return parse_port(str_from(text, colon + 1), port);
}

static void set_text(struct address *a, uint16_t port)
{
    char host[INET6_ADDRSTRLEN] = "";
    bool v6 = a->sa.ss_family == AF_INET6;
    const void *from = v6 ? (const void *)&((struct sockaddr_in6 *)&a->sa)->sin6_addr
                          : (const void *)&((struct sockaddr_in *)&a->sa)->sin_addr;
    const char *got = inet_ntop(a->sa.ss_family, from, host, sizeof host);
    int n;

    ASSERT(got != NULL);
    if (port == 0)
        n = snprintf(a->text, sizeof a->text, "%s", host);
    else
        n = snprintf(a->text, sizeof a->text, v6 ? "[%s]:%u" : "%s:%u", host, port);
    ASSERT(n > 0 && (size_t)n < sizeof a->text);
}

enum err address_numeric(struct str host, uint16_t port, struct address *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->sa;
    char text[HOST_SIZE];

    *out = (struct address){0};
    if (!str_to_z(host, text, sizeof text))
        return E_PROTO;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        out->sa_bytes = sizeof *v4;
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        out->sa_bytes = sizeof *v6;
    } else {
        return E_PROTO;
    }
    set_text(out, port);
    return OK;
}

static enum err ask_resolver(struct str host, uint16_t port, struct address *out, size_t room,
                             size_t *n)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    char name[HOST_SIZE], service[8];

    *n = 0;
    if (!str_to_z(host, name, sizeof name))
        return E_PROTO;
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(name, service, &hints, &list) != 0)
        return E_NOTFOUND;
    for (struct addrinfo *ai = list; ai != NULL && *n < room; ai = ai->ai_next) {
        struct address *a = &out[*n];

        if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6)
            continue;
        *a = (struct address){.sa_bytes = ai->ai_addrlen};
        memcpy(&a->sa, ai->ai_addr, ai->ai_addrlen);
        set_text(a, port);
        ++*n;
    }
    freeaddrinfo(list);
    return *n > 0 ? OK : E_NOTFOUND;
}

enum err address_resolve(struct str text, struct address *out, size_t room, size_t *n)
{
    struct str host;
    uint16_t port;

    ASSERT(room > 0);
    *n = 0;
    if (address_split(text, &host, &port) != OK)
        return E_PROTO;
    if (address_numeric(host, port, out) == OK) {
        *n = 1;
        return OK;
    }
    return ask_resolver(host, port, out, room, n);
}
