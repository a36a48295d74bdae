#include "node/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/access_view.h"
#include "node/admin.h"
#include "node/cluster.h"
#include "node/daemon_member.h"
#include "node/dnsbl_set.h"
#include "node/edge.h"
#include "node/net/tls.h"
#include "node/node.h"
#include "node/policy/crowd.h"
#include "node/replica_thread.h"
#include "node/scrub.h"
#include "node/smtp_thread.h"
#include "node/watch.h"

#define WATCH_LOOKS   4 /* in the time after which the service manager kills */
#define STOP_POLL_MS  20
#define STOP_HURRY_MS 2000  /* tries that have not sent their dot by then are cut */
#define STOP_MS       15000 /* sessions that take longer are cut */

struct daemon {
    struct node *node;
    const char *config_path;
    struct event_base *base;
    struct event *term, *intr, *hup, *stop_poll, *fence;
    struct watch *watch; /* NULL: no service manager asked for it */
    struct admin *admin;
    struct scrub *scrub;
    struct identity identity; /* of a member */
    atomic_int why;           /* enum err: of the fence */
    uint64_t stop_at_ms;
    bool hurried;
    char path[512];
};

/* --- settings --- */

static void settings_free(void *value)
{
    struct node_settings *s = value;

    node_config_free(&s->config);
    SSL_CTX_free(s->server_tls);
    SSL_CTX_free(s->client_tls);
    dnsbl_set_free(&s->dnsbl);
    free(s);
}

/* NULL: the configuration or a file it names is wrong; said on stderr. */
static struct node_settings *settings_load(const char *path)
{
    struct node_settings *s = calloc(1, sizeof *s);
    char why[512];

    ASSERT(s != NULL);
    if (node_config_load(path, &s->config, stderr) != OK) {
        free(s);
        return NULL;
    }
    if ((s->config->smtp.tls_certificate_file != NULL &&
         tls_server_context(s->config->smtp.tls_certificate_file, s->config->smtp.tls_key_file,
                            &s->server_tls, why, sizeof why) != OK) ||
        tls_client_context(s->config->delivery.tls_ca_file, &s->client_tls, why, sizeof why) !=
            OK) {
        fprintf(stderr, "%s: TLS: %s\n", path, why);
        settings_free(s);
        return NULL;
    }
    s->dnsbl = dnsbl_set_new(s->config, why, sizeof why);
    if (s->dnsbl != NULL)
        return s;
    fprintf(stderr, "%s: %s\n", path, why);
    settings_free(s);
    return NULL;
}

static void reload(void *ctx)
{
    struct daemon *d = ctx;
    struct node_settings *fresh = settings_load(d->config_path);
    struct config_change changes[NODE_CONFIG_KEYS_MAX];
    struct snapshot_ref *ref;
    size_t n;

    if (fresh == NULL) {
        LOG(EV_RELOAD_FAILED, L_CSTR("file", d->config_path));
        sd_notify(0, "STATUS=the configuration has errors; the old one stays in force");
        return;
    }
    ref = snapshot_hold(d->node->settings);
    dnsbl_set_inherit(fresh->dnsbl, ((const struct node_settings *)snapshot_value(ref))->dnsbl);
    n = node_config_diff(((const struct node_settings *)snapshot_value(ref))->config,
                         fresh->config, changes, NODE_CONFIG_KEYS_MAX);
    snapshot_release(&ref);
    for (size_t i = 0; i < n && i < NODE_CONFIG_KEYS_MAX; i++)
        if (changes[i].restart)
            LOG(EV_SETTING_IGNORED, L_CSTR("key", changes[i].key));
    log_set_level((enum log_level)fresh->config->log.level);
    snapshot_publish(d->node->settings, fresh);
    LOG(EV_RELOAD, L_CSTR("file", d->config_path), L_U64("changes", n));
    sd_notify(0, "STATUS=running");
}

/* --- signals and timers --- */

static void on_term(evutil_socket_t sig, short what, void *arg)
{
    struct daemon *d = arg;
    struct timeval tv = {0, STOP_POLL_MS * 1000};

    (void)sig;
    (void)what;
    if (atomic_exchange(&d->node->stopping, true))
        return;
    sd_notify(0, "STOPPING=1");
    d->stop_at_ms = clock_boot_ms() + STOP_MS;
    /* What it holds is given away at once; mail of open sessions is still taken. Before anybody
     * says that all is quiet. */
    if (d->node->replica != NULL)
        control_thread_leave(d->node->control);
    cluster_drain(d->node->cluster);
    for (size_t i = 0; i < d->node->smtp_count; i++)
        smtp_thread_drain(d->node->smtp[i]);
    event_add(d->stop_poll, &tv);
}

/* A member has nothing under way, and the others know that it has ended. Where nobody leads the
 * log there is nobody to tell: its session ends by itself. */
static bool has_left(struct daemon *d)
{
    struct control_core_status status;
    struct control_lease lease;

    if (d->node->replica == NULL)
        return true;
    control_thread_lease(d->node->control, &lease);
    control_thread_status(d->node->control, &status);
    return replica_thread_pending(d->node->replica) == 0 &&
           (lease.is_over || lease.session == 0 ||
            (status.leader == 0 && clock_boot_ms() + STOP_MS >= d->stop_at_ms + STOP_HURRY_MS));
}

static void on_stop_poll(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *d = arg;
    bool idle =
        atomic_load(&d->node->sessions) == 0 && stat_get(STAT_CONNS_OUT) == 0 && has_left(d);

    (void)fd;
    (void)what;
    if (!d->hurried && clock_boot_ms() + STOP_MS >= d->stop_at_ms + STOP_HURRY_MS) {
        d->hurried = true;
        for (size_t i = 0; i < d->node->smtp_count; i++)
            smtp_thread_drain(d->node->smtp[i]);
    }
    if (idle || clock_boot_ms() >= d->stop_at_ms)
        event_base_loopbreak(d->base);
}

static void on_hup(evutil_socket_t sig, short what, void *arg)
{
    (void)sig;
    (void)what;
    reload(arg);
}

static void on_alive(void *ctx)
{
    (void)ctx;
    sd_notify(0, "WATCHDOG=1");
}

/* The first disk error of any thread ends the node: it must acknowledge nothing more. */
static void on_fence(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *d = arg;

    (void)fd;
    (void)what;
    if (atomic_load(&d->node->fenced))
        event_base_loopbreak(d->base);
}

static void fence(void *ctx, enum err why)
{
    struct daemon *d = ctx;

    atomic_store(&d->why, (int)why); /* logged where it arose */
    atomic_store(&d->node->fenced, true);
    event_active(d->fence, EV_TIMEOUT, 0); /* the base has locks: from any thread */
}

static void events_new(struct daemon *d)
{
    d->term = evsignal_new(d->base, SIGTERM, on_term, d);
    d->intr = evsignal_new(d->base, SIGINT, on_term, d);
    d->hup = evsignal_new(d->base, SIGHUP, on_hup, d);
    d->stop_poll = event_new(d->base, -1, EV_PERSIST, on_stop_poll, d);
    d->fence = event_new(d->base, -1, 0, on_fence, d);
    ASSERT(d->term && d->intr && d->hup && d->stop_poll && d->fence);
    event_add(d->term, NULL);
    event_add(d->intr, NULL);
    event_add(d->hup, NULL);
}

static void events_free(struct daemon *d)
{
    event_free(d->term);
    event_free(d->intr);
    event_free(d->hup);
    event_free(d->stop_poll);
    event_free(d->fence);
}

/* --- start --- */

static enum err make_dir(const char *path)
{
    if (mkdir(path, 0750) == 0 || errno == EEXIST)
        return OK;
    LOG(EV_INTERNAL, L_CSTR("call", "mkdir"), L_CSTR("path", path),
        L_CSTR("error", strerror(errno)));
    return E_IO;
}

static const char *sub_dir(struct daemon *d, const struct node_config *c, const char *name)
{
    snprintf(d->path, sizeof d->path, "%s/%s", c->data_dir, name);
    return d->path;
}

/* The spool, and of a member its identity: before any thread can promise anything. */
static enum err open_spool(struct daemon *d, const struct node_config *c, bool *is_new)
{
    struct node *n = d->node;
    enum err e = make_dir(c->data_dir);

    if (e == OK)
        e = c->copies > 1 ? daemon_member_load(c->data_dir, &d->identity)
                          : daemon_member_none(c->data_dir);
    if (e == OK)
        e = make_dir(sub_dir(d, c, "control"));
    if (e == OK)
        e = make_dir(sub_dir(d, c, "spool"));
    if (e != OK)
        return e;
    *is_new = access(sub_dir(d, c, "spool/data"), F_OK) != 0;
    e = spool_open(&n->spool, &(struct spool_options){.dir = sub_dir(d, c, "spool"),
                                                      .map_bytes = c->spool.map_bytes,
                                                      .quota_bytes = c->spool.quota_bytes});
    if (e == OK && c->copies > 1)
        e = daemon_member_spool(c->data_dir, &d->identity, n->spool);
    return e;
}

static enum err open_control(struct daemon *d, const struct node_config *c, bool is_new)
{
    struct node *n = d->node;
    bool is_member = c->copies > 1;
    struct control_thread_options o = {
        .dir = sub_dir(d, c, "control"),
        .site = (uint16_t)c->site,
        .create = is_new && !is_member,
        .near_sites = c->near_sites,
        .bind = c->peers.control,
        .identity = is_member ? &d->identity : NULL,
        .fence = fence,
        .fence_ctx = d,
        .notices = {
            {cluster_box(n->cluster), CLUSTER_MAIL_NOTICE},
            [ACCESS_VIEW_SUBSCRIBER] = {access_view_box(n->access), access_view_notice_kind()},
            [EDGE_SUBSCRIBER] = {edge_box(n->edge), edge_notice_kind()}}};
    enum err e;

    if (is_member)
        o.notices[1] = (struct control_subscriber){replica_thread_box(n->replica),
                                                   replica_thread_notice_kind()};
    e = control_thread_start(&n->control, &o);
    if (e == OK)
        e = access_view_run(n->access, n->control);
    if (e == OK)
        n->session_epoch = control_thread_session(n->control);
    return e;
}

static void on_facts(void *ctx, uint16_t site, struct str facts)
{
    edge_heard(((struct daemon *)ctx)->node->edge, site, facts);
}

static void on_link(void *ctx, uint16_t site, bool is_up)
{
    edge_link(((struct daemon *)ctx)->node->edge, site, is_up);
}

static enum err open_stores(struct daemon *d, const struct node_config *c)
{
    struct node *n = d->node;
    bool is_new = false;
    enum err e = open_spool(d, c, &is_new);

    if (e == OK && c->copies > 1)
        e = replica_thread_new(
            &n->replica, n,
            &(struct replica_thread_options){.bind = c->peers.data,
                                             .identity = &d->identity,
                                             .news = cluster_box(n->cluster),
                                             .news_kind = CLUSTER_MAIL_REPLICA,
                                             .fence = fence,
                                             .facts = on_facts,
                                             .link = on_link,
                                             .ctx = d});
    return e == OK ? open_control(d, c, is_new) : e;
}

static uint64_t cluster_ms(void *ctx)
{
    struct daemon *d = ctx;

    return control_now_ms(d->node->control);
}

static enum err start_threads(struct daemon *d, const struct node_config *c)
{
    struct node *n = d->node;
    struct writer_options w = {.spool = n->spool,
                               .blocks = &n->blocks,
                               .copies =
                                   n->replica != NULL ? replica_thread_store(n->replica) : NULL,
                               .cluster_ms = cluster_ms,
                               .fence = fence,
                               .ctx = d};
    enum err e;

    e = writer_start(&n->writer, &w);
    if (e == OK)
        e = edge_run(n->edge, sub_dir(d, c, "known"));
    if (e == OK && n->replica != NULL)
        e = replica_thread_run(n->replica);
    if (e == OK)
        e = smtp_thread_may_listen(n);
    for (uint64_t i = 0; e == OK && i < c->smtp.threads; i++) {
        e = smtp_thread_start(n, &n->smtp[n->smtp_count]);
        if (e == OK)
            n->smtp_count++;
    }
    if (e == OK)
        e = cluster_run(n->cluster);
    if (e == OK)
        e = scrub_start(&d->scrub, n->spool, c->spool.scrub_rate_bytes);
    if (e == OK)
        e = admin_start(&d->admin, n, d->base,
                        &(struct admin_options){.path = c->control_socket,
                                                .started_wall_ms = clock_wall_ms(),
                                                .reload = reload,
                                                .ctx = d});
    return e;
}

/* One look that is missed because a thread was slow must not be the end. */
static void start_watch(struct daemon *d)
{
    struct node *n = d->node;
    uint64_t usec = 0;

    if (sd_watchdog_enabled(0, &usec) <= 0 || usec < 1000 * WATCH_LOOKS)
        return;
    d->watch = watch_new(&(struct watch_options){
        .base = d->base, .period_ms = usec / 1000 / WATCH_LOOKS, .alive = on_alive});
    watch_add(d->watch, "writer", writer_box(n->writer));
    watch_add(d->watch, "control", control_thread_box(n->control));
    watch_add(d->watch, "cluster", cluster_box(n->cluster));
    watch_add(d->watch, "access", access_view_box(n->access));
    watch_add(d->watch, "edge", edge_box(n->edge));
    if (n->replica != NULL)
        watch_add(d->watch, "replica", replica_thread_box(n->replica));
    for (size_t i = 0; i < n->smtp_count; i++)
        watch_add(d->watch, "smtp", n->smtp[i]->box);
}

/* --- stop: see the header; each part exists or not --- */

static void stop_all(struct daemon *d)
{
    struct node *n = d->node;

    watch_free(&d->watch);
    if (d->admin != NULL)
        admin_close(d->admin);
    cluster_drain(n->cluster); /* a fence or a failed start comes here without it */
    if (d->scrub != NULL)
        scrub_stop(&d->scrub);
    for (size_t i = 0; i < n->smtp_count; i++)
        smtp_thread_join(n->smtp[i]);
    edge_stop(n->edge);
    cluster_join(n->cluster);
    if (n->control != NULL && n->writer != NULL)
        cluster_take_last(n->cluster); /* results that came while stopping become writes */
    if (n->replica != NULL)
        replica_thread_join(n->replica);
    if (n->writer != NULL)
        writer_join(n->writer);
    if (n->replica != NULL)
        replica_thread_end(n->replica);
    for (size_t i = 0; i < n->smtp_count; i++)
        smtp_thread_free(&n->smtp[i]);
    cluster_end(n->cluster);
    edge_end(n->edge);
    access_view_stop(n->access);
    if (n->control != NULL)
        control_thread_stop(&n->control);
    access_view_free(&n->access);
    if (d->admin != NULL)
        admin_stop(&d->admin);
    cluster_free(&n->cluster);
    if (n->replica != NULL)
        replica_thread_free(&n->replica);
    edge_free(&n->edge);
    if (n->writer != NULL)
        writer_free(&n->writer);
    if (n->spool != NULL)
        spool_close(&n->spool);
}

static void raise_fd_limit(void)
{
    struct rlimit rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_NOFILE, &rl);
    }
}

static void announce(const struct node *n, const struct node_config *c)
{
    stat_set(STAT_COPIES_REQUIRED, c->copies);
    if (c->copies == 1)
        LOG(EV_ONE_COPY, L_U64("copies", 1));
    LOG(EV_START, L_CSTR("version", TRISPOOL_VERSION), L_CSTR("hostname", c->hostname),
        L_U64("site", c->site), L_U64("copies", c->copies), L_U64("epoch", n->session_epoch),
        L_U64("pid", getpid()));
    sd_notify(0, "READY=1\nSTATUS=running");
}

/* A disk error may be gone after a restart; a member that must join anew stays what it is. */
static int fenced_status(struct daemon *d)
{
    return atomic_load(&d->why) == E_CONFLICT ? DAEMON_EXIT_START : DAEMON_EXIT_FENCED;
}

static int run(struct daemon *d, const struct node_config *c)
{
    int status = 0;

    if (open_stores(d, c) != OK || start_threads(d, c) != OK) {
        status = atomic_load(&d->node->fenced) ? fenced_status(d) : DAEMON_EXIT_START;
    } else {
        start_watch(d);
        announce(d->node, c);
        event_base_dispatch(d->base);
        if (atomic_load(&d->node->fenced))
            status = fenced_status(d);
    }
    stop_all(d);
    LOG(EV_STOP, L_I64("status", status));
    return status;
}

/* Nobody can choose who shares a limit with whom. */
static void crowds_new(struct node *n)
{
    uint64_t secret[4];
    ssize_t got;

    n->clients = calloc(1, sizeof *n->clients);
    n->networks = calloc(1, sizeof *n->networks);
    ASSERT(n->clients != NULL && n->networks != NULL);
    got = getrandom(secret, sizeof secret, 0);
    ASSERT(got == (ssize_t)sizeof secret);
    crowd_init(n->clients, secret);
    crowd_init(n->networks, secret + 2);
}

int daemon_run(const char *config_path)
{
    struct daemon d = {.config_path = config_path};
    struct node_settings *settings = settings_load(config_path);
    struct snapshot_ref *ref;
    int status;

    if (settings == NULL)
        return NODE_CONFIG_EXIT_BAD;
    signal(SIGPIPE, SIG_IGN);
    evthread_use_pthreads();
    raise_fd_limit();
    log_set_level((enum log_level)settings->config->log.level);
    d.node = calloc(1, sizeof *d.node);
    d.base = event_base_new();
    ASSERT(d.node != NULL && d.base != NULL);
    d.node->site = (uint16_t)settings->config->site;
    atomic_init(&d.node->next_counter, 1);
    crowds_new(d.node);
    block_pool_init(&d.node->blocks, LIMIT_NODE_BLOCK_BYTES);
    d.node->settings = snapshot_new(settings, settings_free);
    d.node->cluster = cluster_new(d.node);
    d.node->access = access_view_new();
    d.node->edge = edge_new(d.node);
    events_new(&d);
    ref = snapshot_hold(d.node->settings);
    status = run(&d, settings->config);
    snapshot_release(&ref);
    events_free(&d);
    event_base_free(d.base);
    snapshot_free(&d.node->settings);
    free(d.node->clients);
    free(d.node->networks);
    free(d.node);
    return status;
}
