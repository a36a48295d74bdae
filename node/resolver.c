#include "node/resolver.h"

enum err resolver_open(struct event_base *base, const struct node_config *c, struct dns **out)
{
    char servers[2048] = "";
    size_t n = 0;

    for (size_t i = 0; i < c->dns.servers.n; i++) {
        const char *text = c->dns.servers.v[i].text;
        size_t left = sizeof servers - n, len = strlen(text);

        if (len + 2 > left)
            break;
        if (n > 0)
            servers[n++] = ',';
        memcpy(servers + n, text, len + 1);
        n += len;
    }
    return dns_open(base, n > 0 ? servers : NULL, out);
}
