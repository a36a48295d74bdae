#include "node/net/dns.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/stats.h"
#include "node/net/dns_cache.h"

struct dns_socket {
    struct dns_socket *next;
    struct dns *dns;
    struct event *ev;
    int fd;
};

struct dns_query {
    struct dns_query *next, *prev;
    struct dns *dns;
    enum dns_type type;
    dns_done *done; /* NULL: answered, c-ares still holds it */
    void *arg;
    struct event *deadline;
    bool submitting, early; /* c-ares answered inside the submit call: told next turn */
    enum dns_status status;
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* without a final dot */
};

struct dns {
    struct event_base *base;
    ares_channel channel;
    struct event *timer;
    struct dns_socket *sockets;
    struct dns_query *queries;
    struct dns_later *laters; /* answered in the next turn */
    struct dns_cache *cache;  /* NULL: none */
    size_t under_way;
    bool closing;
};

static void rearm(struct dns *d)
{
    struct timeval max = {1, 0}, tv, *left = ares_timeout(d->channel, &max, &tv);

    if (d->under_way > 0)
        event_add(d->timer, left);
    else
        event_del(d->timer);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct dns *d = arg;

    (void)fd;
    (void)what;
    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    rearm(d);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct dns *d = arg;

    ares_process_fd(d->channel, what & EV_READ ? fd : ARES_SOCKET_BAD,
                    what & EV_WRITE ? fd : ARES_SOCKET_BAD);
    rearm(d);
}

/* c-ares tells which of its sockets it wants watched. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns *d = arg;
    struct dns_socket **at = &d->sockets, *s;
    short what = (short)(EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));

    while (*at != NULL && (*at)->fd != fd)
        at = &(*at)->next;
    s = *at;
    if (s != NULL) {
        *at = s->next;
        event_free(s->ev);
        free(s);
    }
    if (!readable && !writable)
        return;
    s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    *s = (struct dns_socket){d->sockets, d, event_new(d->base, fd, what, on_socket, d), fd};
    ASSERT(s->ev != NULL);
    d->sockets = s;
    event_add(s->ev, NULL);
}

enum err dns_open(struct event_base *base, const char *servers, struct dns **out)
{
    struct dns *d = calloc(1, sizeof *d);
    struct ares_options o = {.timeout = 1500,
                             .tries = 4,
                             .sock_state_cb = on_socket_state,
                             .sock_state_cb_data = d,
                             .flags = ARES_FLAG_NOALIASES};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_FLAGS;

    ASSERT(d != NULL);
    d->base = base;
    ASSERT(ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS);
    ASSERT(ares_init_options(&d->channel, &o, mask) == ARES_SUCCESS);
    d->timer = event_new(base, -1, 0, on_timer, d);
    ASSERT(d->timer != NULL);
    *out = d;
    if (servers == NULL || servers[0] == 0)
        return OK;
    if (ares_set_servers_ports_csv(d->channel, servers) == ARES_SUCCESS)
        return OK;
    dns_close(out);
    return E_PROTO;
}

static void forget(struct dns_query *q)
{
    struct dns *d = q->dns;

    if (q->prev != NULL)
        q->prev->next = q->next;
    else
        d->queries = q->next;
    if (q->next != NULL)
        q->next->prev = q->prev;
    event_free(q->deadline);
    free(q);
    d->under_way--;
}

static void answer(struct dns_query *q, const struct dns_answer *a)
{
    dns_done *done = q->done;

    q->done = NULL;
    event_del(q->deadline);
    if (done != NULL && !q->dns->closing)
        done(q->arg, a);
}

static enum dns_status status_of(int ares)
{
    switch (ares) {
    case ARES_SUCCESS:
        return DNS_OK;
    case ARES_ENOTFOUND:
        return DNS_NXDOMAIN;
    case ARES_ENODATA:
        return DNS_NODATA;
    case ARES_ETIMEOUT:
    case ARES_ECONNREFUSED:
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        return DNS_SILENCE;
    default:
        return DNS_SERVFAIL;
    }
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *msg, int n)
{
    struct dns_query *q = arg;
    enum dns_status said = status_of(status);
    struct dns_answer a;

    (void)timeouts;
    if (q->dns->closing)
        return; /* dns_close() frees all */
    if (q->submitting) {
        q->early = true;
        q->status = said == DNS_OK ? DNS_SERVFAIL : said;
        event_active(q->deadline, EV_TIMEOUT, 0);
        return;
    }
    if (msg != NULL && (said == DNS_OK || said == DNS_NXDOMAIN || said == DNS_NODATA))
        dns_parse(msg, n, q->type, &a);
    else
        dns_answer_clear(&a, said);
    if (said != DNS_OK && a.status != said) /* what c-ares says of a denial counts */
        dns_answer_clear(&a, said);
    if (q->dns->cache != NULL && a.status != DNS_SERVFAIL && n > 0 && a.ttl_s > 0)
        dns_cache_put(q->dns->cache, str_of(q->name), q->type,
                      (struct str){(const char *)msg, (size_t)n}, a.ttl_s, clock_boot_ms());
    answer(q, &a);
    forget(q);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct dns_query *q = arg;
    struct dns_answer a;

    (void)fd;
    (void)what;
    dns_answer_clear(&a, q->early ? q->status : DNS_SILENCE);
    answer(q, &a);
    if (q->early)
        forget(q); /* else c-ares still holds it, until it calls on_answer() */
}

struct dns_later {
    struct dns_later *next, *prev;
    struct dns *dns;
    struct event *turn;
    dns_done *done;
    void *arg;
    enum dns_status status;
    enum dns_type type;
    unsigned char *message; /* DNS_OK: of the cache */
    int message_n;
};

static void later_free(struct dns_later *s)
{
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        s->dns->laters = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    event_free(s->turn);
    free(s->message);
    free(s);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
    struct dns_later *s = arg;
    struct dns_answer a;

    (void)fd;
    (void)what;
    dns_answer_clear(&a, s->status);
    if (s->message != NULL)
        dns_parse(s->message, s->message_n, s->type, &a);
    s->done(s->arg, &a);
    later_free(s);
}

/* Answers in the next turn, without a question to anybody. */
static struct dns_later *answer_later(struct dns *d, enum dns_status status, dns_done *done,
                                      void *arg)
{
    struct dns_later *s = calloc(1, sizeof *s);

    ASSERT(s != NULL);
    *s = (struct dns_later){
        .next = d->laters, .dns = d, .done = done, .arg = arg, .status = status};
    s->turn = event_new(d->base, -1, 0, on_later, s);
    ASSERT(s->turn != NULL);
    if (d->laters != NULL)
        d->laters->prev = s;
    d->laters = s;
    event_active(s->turn, EV_TIMEOUT, 0);
    return s;
}

static bool answer_from_cache(struct dns *d, struct str name, enum dns_type type,
                              dns_done *done, void *arg)
{
    struct dns_later *s;
    struct str message;

    if (d->cache == NULL || !dns_cache_get(d->cache, name, type, clock_boot_ms(), &message))
        return false;
    s = answer_later(d, DNS_OK, done, arg);
    s->message = malloc(message.n);
    ASSERT(s->message != NULL);
    memcpy(s->message, message.p, message.n);
    s->message_n = (int)message.n;
    s->type = type;
    return true;
}

void dns_keep_answers(struct dns *d)
{
    if (d->cache == NULL)
        d->cache = dns_cache_new(clock_boot_ms() ^ (uint64_t)(uintptr_t)d);
}

void dns_close(struct dns **dp)
{
    struct dns *d = *dp;

    *dp = NULL;
    d->closing = true;
    ares_destroy(d->channel);
    while (d->queries != NULL)
        forget(d->queries);
    while (d->laters != NULL)
        later_free(d->laters);
    if (d->cache != NULL)
        dns_cache_free(&d->cache);
    while (d->sockets != NULL) {
        struct dns_socket *s = d->sockets;

        d->sockets = s->next;
        event_free(s->ev);
        free(s);
    }
    event_free(d->timer);
    free(d);
}

void dns_query(struct dns *d, const char *name, enum dns_type type, dns_done *done, void *arg)
{
    struct timeval limit = {LIMIT_DNS_MS / 1000, LIMIT_DNS_MS % 1000 * 1000};
    struct dns_query *q;
    struct str relative = str_of(name);

    if (str_ends(relative, '.'))
        relative.n--;
    if (!dns_name_is_legal(relative)) {
        (void)answer_later(d, DNS_NXDOMAIN, done, arg);
        return;
    }
    if (answer_from_cache(d, relative, type, done, arg))
        return;
    if (d->under_way >= LIMIT_DNS_QUERIES) {
        stat_add(STAT_DNS_SHED_TOTAL, 1);
        (void)answer_later(d, DNS_SERVFAIL, done, arg);
        return;
    }
    q = calloc(1, sizeof *q);
    ASSERT(q != NULL);
    *q = (struct dns_query){
        .next = d->queries, .dns = d, .type = type, .done = done, .arg = arg};
    ASSERT(str_to_z(relative, q->name, sizeof q->name));
    if (d->queries != NULL)
        d->queries->prev = q;
    d->queries = q;
    d->under_way++;
    q->deadline = event_new(d->base, -1, 0, on_deadline, q);
    ASSERT(q->deadline != NULL);
    event_add(q->deadline, &limit);
    q->submitting = true;
    ares_query(d->channel, name, ns_c_in, (int)type, on_answer, q);
    q->submitting = false;
    rearm(d);
}
