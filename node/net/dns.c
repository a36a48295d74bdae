#include "node/net/dns.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/stats.h"
#include "node/net/dns_cache.h"

/* Of the fourth byte of a message (RFC 4035 3.2.2, 3.2.3; RFC 6840 5.7). */
#define FLAG_AD 0x20
#define FLAG_CD 0x10

/* c-ares goes from one server that fails to the next, and tells in the end that nobody was
 * there. UNCHECKED says what a server says. */
enum dns_way { CHECKED, UNCHECKED, WAYS };

struct dns_channel {
    struct dns *dns;
    ares_channel ares;
};

struct dns_socket {
    struct dns_socket *next;
    struct dns_channel *channel;
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
    bool unchecked;         /* asked again, for an answer that nobody has validated */
    enum dns_status status;
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* without a final dot */
};

struct dns {
    struct event_base *base;
    struct dns_channel channels[WAYS];
    struct event *timer;
    struct dns_socket *sockets;
    struct dns_query *queries;
    struct dns_later *laters; /* answered in the next turn */
    struct dns_cache *cache;  /* NULL: none */
    size_t under_way;
    bool is_local; /* all servers are on this machine: what they say of signatures counts */
    bool closing;
};

static void rearm(struct dns *d)
{
    struct timeval next = {1, 0};

    for (int i = 0; i < WAYS; i++) {
        struct timeval tv;

        next = *ares_timeout(d->channels[i].ares, &next, &tv);
    }
    if (d->under_way > 0)
        event_add(d->timer, &next);
    else
        event_del(d->timer);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct dns *d = arg;

    (void)fd;
    (void)what;
    for (int i = 0; i < WAYS; i++)
        ares_process_fd(d->channels[i].ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    rearm(d);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct dns_channel *c = arg;

    ares_process_fd(c->ares, what & EV_READ ? fd : ARES_SOCKET_BAD,
                    what & EV_WRITE ? fd : ARES_SOCKET_BAD);
    rearm(c->dns);
}

/* c-ares tells which of its sockets it wants watched. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns_channel *c = arg;
    struct dns_socket **at = &c->dns->sockets, *s;
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
    *s = (struct dns_socket){c->dns->sockets, c,
                             event_new(c->dns->base, fd, what, on_socket, c), fd};
    ASSERT(s->ev != NULL);
    c->dns->sockets = s;
    event_add(s->ev, NULL);
}

static void open_channel(struct dns *d, enum dns_way way)
{
    struct dns_channel *c = &d->channels[way];
    struct ares_options o = {.timeout = 1500,
                             .tries = 4,
                             .sock_state_cb = on_socket_state,
                             .sock_state_cb_data = c,
                             .flags = ARES_FLAG_NOALIASES};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_FLAGS;

    if (way == UNCHECKED)
        o.flags |= ARES_FLAG_NOCHECKRESP;
    c->dns = d;
    ASSERT(ares_init_options(&c->ares, &o, mask) == ARES_SUCCESS);
}

static bool is_loopback(const struct ares_addr_port_node *n)
{
    if (n->family == AF_INET)
        return ntohl(n->addr.addr4.s_addr) >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)&n->addr.addr6);
}

static void look_at_servers(struct dns *d)
{
    struct ares_addr_port_node *all = NULL;

    if (ares_get_servers_ports(d->channels[CHECKED].ares, &all) != ARES_SUCCESS)
        return;
    d->is_local = all != NULL;
    for (const struct ares_addr_port_node *n = all; n != NULL; n = n->next)
        d->is_local = d->is_local && is_loopback(n);
    if (all != NULL)
        ares_free_data(all);
}

enum err dns_open(struct event_base *base, const char *servers, struct dns **out)
{
    struct dns *d = calloc(1, sizeof *d);
    bool is_good = true;

    ASSERT(d != NULL);
    d->base = base;
    ASSERT(ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS);
    d->timer = event_new(base, -1, 0, on_timer, d);
    ASSERT(d->timer != NULL);
    for (int i = 0; i < WAYS; i++) {
        open_channel(d, (enum dns_way)i);
        if (servers != NULL && servers[0] != 0)
            is_good &= ares_set_servers_ports_csv(d->channels[i].ares, servers) == ARES_SUCCESS;
    }
    *out = d;
    if (!is_good) {
        dns_close(out);
        return E_PROTO;
    }
    look_at_servers(d);
    return OK;
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

static void on_answer(void *arg, int status, int timeouts, unsigned char *msg, int n);

/* CHECKED: say what you know of signatures; UNCHECKED: do not look at them. */
static void put_question(struct dns_query *q, enum dns_way way)
{
    unsigned short id = 0;
    unsigned char *msg = NULL;
    int n = 0, status;

    ASSERT(getrandom(&id, sizeof id, 0) == (ssize_t)sizeof id);
    q->submitting = true;
    status = ares_create_query(q->name, ns_c_in, (int)q->type, id, 1, &msg, &n, 0);
    if (status == ARES_SUCCESS) {
        ASSERT(n > NS_HFIXEDSZ);
        msg[3] |= way == CHECKED ? FLAG_AD : FLAG_CD;
        ares_send(q->dns->channels[way].ares, msg, n, on_answer, q);
    } else {
        on_answer(q, status, 0, NULL, 0);
    }
    if (msg != NULL)
        ares_free_string(msg);
    q->submitting = false;
}

static void keep(struct dns_query *q, const struct dns_answer *a, struct str message)
{
    if (q->dns->cache != NULL && a->ttl_s > 0 &&
        (a->status == DNS_OK || a->status == DNS_NXDOMAIN || a->status == DNS_NODATA))
        dns_cache_put(q->dns->cache, str_of(q->name), q->type, message, a->ttl_s,
                      clock_boot_ms());
}

static void parse(const struct dns *d, enum dns_type type, struct str message,
                  struct dns_answer *a)
{
    dns_parse((const unsigned char *)message.p, (int)message.n, type, a);
    a->is_authentic = a->is_authentic && d->is_local;
}

/* The answer to a question that was asked again: the servers had failed, or were not there. */
static enum dns_status of_unchecked(enum dns_status s)
{
    return s == DNS_OK || s == DNS_NXDOMAIN || s == DNS_NODATA ? DNS_BOGUS : s;
}

/* Of failures alone c-ares says in the end that nobody was there, or that time was up, if a
 * server took long for one of them. Of silence it says so only after LIMIT_DNS_MS. */
static bool has_failed(int ares)
{
    return status_of(ares) == DNS_SERVFAIL || ares == ARES_ECONNREFUSED ||
           ares == ARES_ETIMEOUT;
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *msg, int n)
{
    struct dns_query *q = arg;
    enum dns_status said = status_of(status);
    struct str message = {(const char *)msg, (size_t)n};
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
    if (said == DNS_OK)
        parse(q->dns, q->type, message, &a);
    else
        dns_answer_clear(&a, said);
    if (has_failed(status) && !q->unchecked && q->done != NULL) {
        q->unchecked = true;
        put_question(q, UNCHECKED);
        return;
    }
    if (q->unchecked)
        dns_answer_clear(&a, of_unchecked(a.status));
    keep(q, &a, message);
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
        parse(s->dns, s->type, (struct str){(const char *)s->message, (size_t)s->message_n},
              &a);
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
    for (int i = 0; i < WAYS; i++)
        ares_destroy(d->channels[i].ares);
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

/* name: without a final dot, legal. */
static void begin(struct dns *d, struct str name, enum dns_type type, dns_done *done, void *arg)
{
    struct timeval limit = {LIMIT_DNS_MS / 1000, LIMIT_DNS_MS % 1000 * 1000};
    struct dns_query *q = calloc(1, sizeof *q);

    ASSERT(q != NULL);
    *q = (struct dns_query){
        .next = d->queries, .dns = d, .type = type, .done = done, .arg = arg};
    ASSERT(str_to_z(name, q->name, sizeof q->name));
    if (d->queries != NULL)
        d->queries->prev = q;
    d->queries = q;
    d->under_way++;
    q->deadline = event_new(d->base, -1, 0, on_deadline, q);
    ASSERT(q->deadline != NULL);
    event_add(q->deadline, &limit);
    put_question(q, CHECKED);
    rearm(d);
}

void dns_query(struct dns *d, const char *name, enum dns_type type, dns_done *done, void *arg)
{
    struct str relative = str_of(name);

    if (str_ends(relative, '.'))
        relative.n--;
    if (!dns_name_is_legal(relative)) {
        (void)answer_later(d, DNS_NXDOMAIN, done, arg);
    } else if (answer_from_cache(d, relative, type, done, arg)) {
        return;
    } else if (d->under_way >= LIMIT_DNS_QUERIES) {
        stat_add(STAT_DNS_SHED_TOTAL, 1);
        (void)answer_later(d, DNS_SERVFAIL, done, arg);
    } else {
        begin(d, relative, type, done, arg);
    }
}

void dns_probe(struct dns *d, dns_done *done, void *arg)
{
    begin(d, STR_NONE, DNS_A, done, arg);
}
