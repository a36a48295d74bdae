#include "node/config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/limits.h"
#include "node/config_dnsbl.h"

#define DAY_MS        UINT64_C(86400000)
#define TEXT_OF(x)    TEXT_OF_(x)
#define TEXT_OF_(x)   #x
#define AT(m)         offsetof(struct node_config, m)
#define LISTEN_PRESET "0.0.0.0:25 [::]:25"
#define TIB           (1024 * GiB)
#define PAGE_BYTES    4096

static_assert(LIMIT_BODY_BYTES == 50 * MiB, "the preset of smtp.max_message says 50MiB");
static_assert(LIMIT_CLUSTER_NAME_BYTES == 63, "the message of check_cluster says 63");
static_assert(LIMIT_ADDRESS_BYTES == 262, "the message of check_endpoint says 262");
static_assert(LIMIT_GREY_DELAY_MS == 60000, "the preset of greylist.delay says 60s");
static_assert(LIMIT_HOLD_DEFAULT_S == 14 * 86400, "the preset of hold says 14d");

static const char *const level_words[] = {"debug", "info",  "notice", "warn",
                                          "error", "alarm", NULL};

/* Letters, digits and hyphens: it stands in file names, metrics and certificates. */
static const char *check_cluster(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-", s.p[i]) == NULL)
            return "must be of lower-case letters, digits and hyphens";
    return s.n > LIMIT_CLUSTER_NAME_BYTES ? "is longer than 63 characters" : NULL;
}

/* A dot-atom that is a token as well: node/policy/auth_results writes it as it is. */
static const char *check_authserv_id(struct str s)
{
    bool after_dot = true;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? after_dot
                          : strchr("abcdefghijklmnopqrstuvwxyz0123456789-", s.p[i]) == NULL)
            return "must be a name of lower-case letters, digits, hyphens and inner dots";
        after_dot = s.p[i] == '.';
    }
    if (after_dot)
        return "must be a name of lower-case letters, digits, hyphens and inner dots";
    return s.n > LIMIT_SMTP_DOMAIN_BYTES ? "is longer than 253 characters" : NULL;
}

static const char *check_socket(struct str s)
{
    return s.n < sizeof((struct sockaddr_un *)0)->sun_path
               ? NULL
               : "is longer than the path of a UNIX socket may be (107 bytes)";
}

/* RFC 5321 4.1.2 Dot-string; a quoted local part is legal, and nobody's postmaster. */
static bool is_dot_string(struct str s)
{
    if (s.n == 0 || s.n > LIMIT_SMTP_LOCAL_PART_BYTES || s.p[0] == '.' || str_ends(s, '.'))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                   "!#$%&'*+-/=?^_`{|}~.",
                   s.p[i]) == NULL ||
            (s.p[i] == '.' && s.p[i - 1] == '.'))
            return false;
    return true;
}

static bool is_domain(struct str s)
{
    if (s.n == 0 || s.n > LIMIT_SMTP_DOMAIN_BYTES)
        return false;
    while (s.n > 0) {
        struct str label = str_split(&s, '.');

        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || str_ends(label, '-'))
            return false;
        for (size_t i = 0; i < label.n; i++)
            if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-",
                       label.p[i]) == NULL)
                return false;
    }
    return true;
}

static const char *check_mailbox(struct str s)
{
    size_t at = str_find_last(s, '@');

    if (at == s.n || s.n > LIMIT_SMTP_PATH_BYTES || str_ends(s, '.') ||
        !is_dot_string(str_head(s, at)) || !is_domain(str_from(s, at + 1)))
        return "must be a mail address such as admin@example.com";
    return NULL;
}

/* As proto/command.h has it for the addresses of members. */
static const char *check_endpoint(struct str s)
{
    static const char *const wrong =
        "must be ADDRESS:PORT such as 192.0.2.1:7301 or '[2001:db8::1]:7301'";
    size_t colon = str_find_last(s, ':');
    struct str host = str_head(s, colon), port = str_from(s, colon);
    bool bracketed = host.n > 3 && host.p[0] == '[' && str_ends(host, ']');
    uint64_t n;

    if (s.n > LIMIT_ADDRESS_BYTES)
        return "is longer than 262 characters";
    if (port.n < 2 || port.n > 6 || port.p[1] == '0' || !str_to_u64(str_from(port, 1), &n) ||
        n > UINT16_MAX)
        return wrong;
    if (bracketed)
        host = str_head(str_from(host, 1), host.n - 2);
    for (size_t i = 0; i < host.n; i++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_",
                   host.p[i]) == NULL &&
            !(bracketed && host.p[i] == ':'))
            return wrong;
    return host.n > 0 ? NULL : wrong;
}

static const char *check_list(struct str s)
{
    struct config_dnsbl list;

    return config_dnsbl_parse(s, &list);
}

/* Address and port, an IPv6 address in brackets. */
static bool read_inet(struct str s, struct sockaddr_storage *ss, socklen_t *bytes)
{
    struct sockaddr_in *v4 = (void *)ss;
    struct sockaddr_in6 *v6 = (void *)ss;
    char host[INET6_ADDRSTRLEN];
    size_t colon = str_find_last(s, ':');
    bool bracketed = colon > 2 && s.p[0] == '[' && s.p[colon - 1] == ']';
    uint64_t port;

    if (check_endpoint(s) != NULL || !str_to_u64(str_from(s, colon + 1), &port))
        return false;
    s = bracketed ? str_from(str_head(s, colon - 1), 1) : str_head(s, colon);
    if (!str_to_z(s, host, sizeof host))
        return false;
    if (bracketed) {
        *v6 =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        *bytes = sizeof *v6;
        return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
    }
    *v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    *bytes = sizeof *v4;
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

static bool read_policy_server(struct str s, struct sockaddr_storage *ss, socklen_t *bytes)
{
    struct sockaddr_un *un = (void *)ss;

    *ss = (struct sockaddr_storage){0};
    if (str_cut_nocase(&s, STR("inet:")))
        return read_inet(s, ss, bytes);
    if (!str_cut_nocase(&s, STR("unix:")) || s.n == 0 || s.p[0] != '/')
        return false;
    un->sun_family = AF_UNIX;
    *bytes = sizeof *un;
    return str_to_z(s, un->sun_path, sizeof un->sun_path);
}

static const char *check_policy_server(struct str s)
{
    struct sockaddr_storage ss;
    socklen_t bytes;

    return read_policy_server(s, &ss, &bytes)
               ? NULL
               : "must be unix:/PATH (at most 107 bytes) or inet:ADDRESS:PORT such as "
                 "inet:127.0.0.1:10023 or 'inet:[::1]:10023'";
}

static const struct config_key keys[] = {
    {.name = "site",
     .type = CONFIG_INT,
     .offset = AT(site),
     .min = 1,
     .max = 3,
     .required = true,
     .restart = true,
     .help = "number of this site in the fleet, another one on each node"},
    {.name = "hostname",
     .type = CONFIG_HOSTNAME,
     .offset = AT(hostname),
     .required = true,
     .help =
         "full host name of this node: in the banner, in Received, and what MX records name"},
    {.name = "cluster",
     .type = CONFIG_STRING,
     .offset = AT(cluster),
     .preset = "trispool",
     .restart = true,
     .check = check_cluster,
     .help = "name of the fleet, the same on each node"},
    {.name = "authserv_id",
     .type = CONFIG_STRING,
     .offset = AT(authserv_id),
     .check = check_authserv_id,
     .help = "name that our Authentication-Results fields bear, the same on each node, and "
             "one that nobody else writes: fields with it that come from outside are taken "
             "out; the name of the fleet if not set"},
    {.name = "copies",
     .type = CONFIG_INT,
     .offset = AT(copies),
     .min = 1,
     .max = 2,
     .required = true,
     .restart = true,
     .help =
         "durable copies that a 250 stands for: 1, a lone node with one disk; 2, a member of "
         "a cluster of three sites"},
    {.name = "near_sites",
     .type = CONFIG_BOOL,
     .offset = AT(near_sites),
     .preset = "false",
     .restart = true,
     .help =
         "round trips between the sites are under 50 ms, so a lost node is replaced sooner; "
         "the same on each node"},
    {.name = "data_dir",
     .type = CONFIG_PATH,
     .offset = AT(data_dir),
     .preset = "/var/lib/trispool",
     .restart = true,
     .help = "directory of the spool and of the control store"},
    {.name = "control_socket",
     .type = CONFIG_PATH,
     .offset = AT(control_socket),
     .preset = "/run/trispool/control.sock",
     .restart = true,
     .check = check_socket,
     .help = "UNIX socket that the command line tool talks to"},
    {.name = "postmaster",
     .type = CONFIG_STRING,
     .offset = AT(postmaster),
     .required = true,
     .check = check_mailbox,
     .help = "mail address of the operator, where mail to a bare postmaster goes"},
    {.name = "hold",
     .type = CONFIG_DURATION,
     .offset = AT(hold_ms),
     .preset = "14d",
     .min = LIMIT_HOLD_MIN_S * UINT64_C(1000),
     .max = LIMIT_HOLD_MAX_S * UINT64_C(1000),
     .help = "how long mail is kept for a primary that is away, unless the domain's plan says "
             "otherwise; mail that is already here keeps the time it was taken with"},

    {.name = "peers",
     .type = CONFIG_SECTION,
     .help = "The other members of the cluster; with `copies: 2` only, and there both are "
             "needed"},
    {.name = "peers.control",
     .type = CONFIG_STRING,
     .offset = AT(peers.control),
     .restart = true,
     .check = check_endpoint,
     .help = "address and port of this node that the other members reach its control plane at"},
    {.name = "peers.data",
     .type = CONFIG_STRING,
     .offset = AT(peers.data),
     .restart = true,
     .check = check_endpoint,
     .help = "the same for copies of mail; another port"},

    {.name = "smtp", .type = CONFIG_SECTION, .help = "Taking mail"},
    {.name = "smtp.listen",
     .type = CONFIG_ADDRESSES,
     .offset = AT(smtp.listen),
     .preset = LISTEN_PRESET,
     .restart = true,
     .help = "addresses and ports that take mail"},
    {.name = "smtp.threads",
     .type = CONFIG_INT,
     .offset = AT(smtp.threads),
     .preset = "2",
     .min = 1,
     .max = 64,
     .restart = true,
     .help = "threads that share all SMTP connections"},
    {.name = "smtp.max_sessions",
     .type = CONFIG_INT,
     .offset = AT(smtp.max_sessions),
     .preset = TEXT_OF(LIMIT_SMTP_SESSIONS),
     .min = 1,
     .max = 100000,
     .help = "sessions open at a time; one more is answered 421"},
    {.name = "smtp.max_sessions_per_client",
     .type = CONFIG_INT,
     .offset = AT(smtp.max_sessions_per_client),
     .preset = TEXT_OF(LIMIT_SMTP_SESSIONS_PER_CLIENT),
     .min = 1,
     .max = 100000,
     .help = "of them, sessions of one client: an IPv4 address, or a /64 of IPv6"},
    {.name = "smtp.max_sessions_per_network",
     .type = CONFIG_INT,
     .offset = AT(smtp.max_sessions_per_network),
     .preset = TEXT_OF(LIMIT_SMTP_SESSIONS_PER_NETWORK),
     .min = 1,
     .max = 100000,
     .help = "of them, sessions of one network: a /24 of IPv4, or a /48 of IPv6; never less "
             "than smtp.max_sessions_per_client"},
    {.name = "smtp.max_rate_per_client",
     .type = CONFIG_INT,
     .offset = AT(smtp.max_rate_per_client),
     .preset = TEXT_OF(LIMIT_SMTP_RATE_PER_CLIENT),
     .min = 0,
     .max = 1000000,
     .help = "new sessions a minute of one client, all of which may come at once; one more is "
             "answered 421; 0: any number"},
    {.name = "smtp.max_rate_per_network",
     .type = CONFIG_INT,
     .offset = AT(smtp.max_rate_per_network),
     .preset = TEXT_OF(LIMIT_SMTP_RATE_PER_NETWORK),
     .min = 0,
     .max = 1000000,
     .help = "the same of one network"},
    {.name = "smtp.greet_delay",
     .type = CONFIG_DURATION,
     .offset = AT(smtp.greet_delay_ms),
     .preset = "0s",
     .min = 0,
     .max = LIMIT_GREET_DELAY_MS,
     .help = "how long the banner waits for clients that speak before it, which are refused; "
             "those that have spoken by then are refused in any case"},
    {.name = "smtp.max_message",
     .type = CONFIG_SIZE,
     .offset = AT(smtp.max_message_bytes),
     .preset = "50MiB",
     .min = 64 * KiB,
     .max = LIMIT_BODY_BYTES,
     .help = "largest message that is taken, told to senders as SIZE"},
    {.name = "smtp.require_tls",
     .type = CONFIG_BOOL,
     .offset = AT(smtp.require_tls),
     .preset = "false",
     .help = "take mail over TLS only; senders that cannot do TLS will not reach this node"},
    {.name = "smtp.tls_certificate_file",
     .type = CONFIG_PATH,
     .offset = AT(smtp.tls_certificate_file),
     .help = "PEM file with the certificate and its chain; without it STARTTLS is not offered"},
    {.name = "smtp.tls_key_file",
     .type = CONFIG_PATH,
     .offset = AT(smtp.tls_key_file),
     .help = "PEM file with the key of the certificate"},

    {.name = "smtp.policy_server",
     .type = CONFIG_STRING,
     .offset = AT(smtp.policy_server),
     .check = check_policy_server,
     .help = "a server that speaks Postfix's policy protocol, unix:/PATH or "
             "inet:ADDRESS:PORT; it is asked about recipients of domains that have the check "
             "server on"},
    {.name = "smtp.policy_timeout",
     .type = CONFIG_DURATION,
     .offset = AT(smtp.policy_timeout_ms),
     .preset = "10s",
     .min = 100,
     .max = LIMIT_DELEGATE_MAX_MS,
     .help = "how long its answer is waited for; without one the mail comes"},

    {.name = "delivery", .type = CONFIG_SECTION, .help = "Handing mail to the primaries"},
    {.name = "delivery.helo",
     .type = CONFIG_HOSTNAME,
     .offset = AT(delivery.helo),
     .help = "name given in EHLO; the hostname if not set"},
    {.name = "delivery.own_names",
     .type = CONFIG_HOSTNAMES,
     .offset = AT(delivery.own_names),
     .help = "further names under which MX records mean this fleet: mail is never delivered to "
             "them; hostname and helo always count"},
    {.name = "delivery.own_addresses",
     .type = CONFIG_IPS,
     .offset = AT(delivery.own_addresses),
     .help = "addresses that are this fleet as the Internet sees it (behind NAT too): mail is "
             "never delivered to them"},
    {.name = "delivery.allow_private_addresses",
     .type = CONFIG_BOOL,
     .offset = AT(delivery.allow_private_addresses),
     .preset = "false",
     .help = "deliver to loopback, private and link-local addresses too"},
    {.name = "delivery.max_connections",
     .type = CONFIG_INT,
     .offset = AT(delivery.max_connections),
     .preset = TEXT_OF(LIMIT_CONNS_PER_DEST),
     .min = 1,
     .max = LIMIT_CONNS_OUT,
     .help = "connections at a time to one address of a primary"},
    {.name = "delivery.dsn_route",
     .type = CONFIG_HOSTS,
     .offset = AT(delivery.dsn_route),
     .empty_word = "mx",
     .port = 25,
     .help = "where delivery status notifications go: to the MX of the sender's domain, or to "
             "these hosts"},
    {.name = "delivery.digest_every",
     .type = CONFIG_DURATION,
     .offset = AT(delivery.digest_every_ms),
     .preset = "24h",
     .min = 1000,
     .max = 30 * UINT64_C(86400000),
     .help = "how often at most the owner of a domain (`--digest`) is told of mail that ended "
             "undelivered and whose sender was not told"},
    {.name = "delivery.tls_ca_file",
     .type = CONFIG_PATH,
     .offset = AT(delivery.tls_ca_file),
     .help = "PEM file with the authorities that vouch for the primaries of domains with `tls: "
             "require`; if not set, their certificates are not looked at"},

    {.name = "spool", .type = CONFIG_SECTION, .help = "The mail on disk"},
    {.name = "spool.quota",
     .type = CONFIG_SIZE,
     .offset = AT(spool.quota_bytes),
     .preset = "10GiB",
     .min = 1 * MiB,
     .max = 64 * TIB,
     .help = "bytes of mail at which new mail is answered 4xx; at most 7/8 of spool.map"},
    {.name = "spool.map",
     .type = CONFIG_SIZE,
     .offset = AT(spool.map_bytes),
     .preset = "1TiB",
     .min = 1 * MiB,
     .max = 64 * TIB,
     .restart = true,
     .help =
         "address space set aside for the spool file, which grows as needed; not memory, not "
         "disk"},
    {.name = "spool.scrub_rate",
     .type = CONFIG_SIZE,
     .offset = AT(spool.scrub_rate_bytes),
     .preset = "1MiB",
     .min = 0,
     .max = 1 * GiB,
     .help = "bytes a second that are read in the background to find damage early; 0KiB: none"},

    {.name = "dns", .type = CONFIG_SECTION, .help = "Looking up names"},
    {.name = "dns.servers",
     .type = CONFIG_ADDRESSES,
     .offset = AT(dns.servers),
     .empty_word = "system",
     .port = 53,
     .restart = true,
     .help = "name servers; system: those of /etc/resolv.conf"},

    {.name = "greylist", .type = CONFIG_SECTION, .help = "Strangers who are to come again"},
    {.name = "greylist.delay",
     .type = CONFIG_DURATION,
     .offset = AT(greylist.delay_ms),
     .preset = "60s",
     .min = 1000,
     .max = 3600000,
     .help = "how long after its first try a stranger's next one is taken, at any site"},

    {.name = "dnsbl",
     .type = CONFIG_SECTION,
     .help = "Lists in DNS that a domain's check `dnsbl` asks about a client. Each is tested "
             "every 5 minutes while some domain has the check on, and is not used while it "
             "does not do what a list must do. An item is `ZONE=ANSWER[*WEIGHT],...`, an "
             "answer an address of 127.0.0.0/8 or two with a hyphen between them, a weight 1 "
             "unless it is given, and below zero for a list that speaks for a client; behind "
             "them may stand `,key_file=PATH`, a file with the key (a label before the zone)"},
    {.name = "dnsbl.lists",
     .type = CONFIG_STRINGS,
     .offset = AT(dnsbl.lists),
     .preset = "zen.spamhaus.org=127.0.0.2-127.0.0.11",
     .empty_word = "none",
     .check = check_list,
     .help = "the lists; mind their terms of use, and ask them through a resolver of your own, "
             "as they refuse public ones"},
    {.name = "dnsbl.threshold",
     .type = CONFIG_INT,
     .offset = AT(dnsbl.threshold),
     .preset = "1",
     .min = 1,
     .max = LIMIT_DNSBL_WEIGHT,
     .help = "sum of the weights at which a client counts as listed"},

    {.name = "log", .type = CONFIG_SECTION, .help = "What is logged"},
    {.name = "log.level",
     .type = CONFIG_WORD,
     .offset = AT(log.level),
     .preset = "info",
     .words = level_words,
     .help = "events below this level are left out"},
};

static const struct config_schema schema = {keys, sizeof keys / sizeof *keys};

static_assert(sizeof keys / sizeof *keys <= NODE_CONFIG_KEYS_MAX, "callers have that much");

static void check_tls(struct config *s, const struct node_config *c)
{
    bool cert = config_is_set(s, "smtp.tls_certificate_file");
    bool key = config_is_set(s, "smtp.tls_key_file");

    if (cert && !key)
        config_error(s, "smtp.tls_certificate_file", "needs smtp.tls_key_file");
    if (key && !cert)
        config_error(s, "smtp.tls_key_file", "needs smtp.tls_certificate_file");
    if (c->smtp.require_tls && !cert)
        config_error(s, "smtp.require_tls", "needs smtp.tls_certificate_file");
}

/* The error stands at the value that is in the file; presets agree with each other. */
static void check_spool(struct config *s, const struct node_config *c)
{
    uint64_t room = c->spool.map_bytes / 8 * 7;
    char text[CONFIG_NUMBER_BYTES];

    if (c->spool.map_bytes % PAGE_BYTES != 0)
        config_error(s, "spool.map", "must be a multiple of 4KiB");
    if (c->spool.quota_bytes <= room || config_is_bad(s, "spool.quota") ||
        config_is_bad(s, "spool.map"))
        return;
    if (config_is_set(s, "spool.quota"))
        config_error(s, "spool.quota", "must be at most 7/8 of spool.map (%s)",
                     config_number_text(CONFIG_SIZE, c->spool.map_bytes, text));
    else
        config_error(s, "spool.map", "must be at least 8/7 of spool.quota (%s)",
                     config_number_text(CONFIG_SIZE, c->spool.quota_bytes, text));
}

static void check_sessions(struct config *s, const struct node_config *c)
{
    const char *each = "smtp.max_sessions_per_client";

    if (c->smtp.max_sessions_per_client <= c->smtp.max_sessions || config_is_bad(s, each) ||
        config_is_bad(s, "smtp.max_sessions"))
        return;
    if (config_is_set(s, each))
        config_error(s, each, "must be at most smtp.max_sessions (%llu)",
                     (unsigned long long)c->smtp.max_sessions);
    else
        config_error(s, "smtp.max_sessions",
                     "must be at least smtp.max_sessions_per_client (%llu)",
                     (unsigned long long)c->smtp.max_sessions_per_client);
}

/* A member needs its two sockets, and a lone node must not look like a member. */
static void check_peers(struct config *s, const struct node_config *c)
{
    static const char *const own[] = {"peers.control", "peers.data"};

    if (config_is_bad(s, "copies") || !config_is_set(s, "copies"))
        return;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        bool is_set = config_is_set(s, own[i]);

        if (c->copies == 2 && !is_set)
            config_error(s, own[i],
                         "is missing: copies: 2 makes this node a member of a cluster, which "
                         "the others reach at peers.control and peers.data");
        if (c->copies == 1 && is_set)
            config_error(s, own[i],
                         "a lone node (copies: 1) has no peers; write copies: 2 for a member "
                         "of a cluster, or leave it out");
    }
    if (c->peers.control != NULL && c->peers.data != NULL &&
        strcmp(c->peers.control, c->peers.data) == 0)
        config_error(s, "peers.data", "is the same as peers.control; give it another port");
}

static void check_lists(struct config *s, const struct node_config *c)
{
    struct config_strings lists = c->dnsbl.lists;
    struct config_dnsbl list, before;

    if (lists.n > LIMIT_DNSBL_LISTS)
        config_error(s, "dnsbl.lists", "has more than %d lists", LIMIT_DNSBL_LISTS);
    for (size_t i = 1; i < lists.n && config_dnsbl_parse(str_of(lists.v[i]), &list) == NULL;
         i++)
        for (size_t k = 0; k < i; k++)
            if (config_dnsbl_parse(str_of(lists.v[k]), &before) == NULL &&
                str_eq_nocase(list.zone, before.zone))
                config_error_item(s, "dnsbl.lists", i, "the zone stands there twice");
}

static void check_fields(struct config *s, const struct node_config *c)
{
    check_lists(s, c);
    check_peers(s, c);
    if (c->smtp.listen.n == 0 && !config_is_bad(s, "smtp.listen"))
        config_error(s, "smtp.listen", "names no address");
    check_tls(s, c);
    check_spool(s, c);
    check_sessions(s, c);
}

static void add_own_name(struct config_strings *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (name == NULL || strcmp(names->v[i], name) == 0)
            return;
    if (name != NULL)
        names->v[names->n++] = name;
}

/* Values that come from others. E_FULL: memory. */
static enum err derive(struct config *s, struct node_config *c)
{
    struct config_strings given = c->delivery.own_names, all = {0};

    struct config_address *policy = &c->smtp.policy_address;

    if (c->smtp.policy_server != NULL &&
        read_policy_server(str_of(c->smtp.policy_server), &policy->ss, &policy->ss_bytes))
        policy->text = c->smtp.policy_server;
    if (c->delivery.helo == NULL)
        c->delivery.helo = c->hostname;
    if (c->authserv_id == NULL)
        c->authserv_id = c->cluster;
    all.v = config_take(s, (given.n + 2) * sizeof *all.v);
    if (all.v == NULL)
        return E_FULL;
    for (size_t i = 0; i < given.n; i++)
        all.v[all.n++] = given.v[i];
    add_own_name(&all, c->hostname);
    add_own_name(&all, c->delivery.helo);
    c->delivery.own_names = all;
    return OK;
}

/* Takes s. */
static enum err load(struct config *s, struct node_config **out, FILE *err)
{
    struct node_config *c = calloc(1, sizeof *c);

    *out = NULL;
    if (c == NULL) {
        config_close(&s);
        return E_FULL;
    }
    c->source = s;
    config_bind(s, &schema, c);
    check_fields(s, c);
    if (derive(s, c) == OK && config_error_count(s) == 0) {
        *out = c;
        return OK;
    }
    if (err != NULL)
        config_print_errors(s, err);
    node_config_free(&c);
    return E_PROTO;
}

enum err node_config_load(const char *path, struct node_config **out, FILE *err)
{
    return load(config_open(path), out, err);
}

enum err node_config_from_text(const char *name, struct str text, struct node_config **out,
                               FILE *err)
{
    return load(config_from_text(name, text), out, err);
}

void node_config_free(struct node_config **c)
{
    if (*c == NULL)
        return;
    config_close(&(*c)->source);
    free(*c);
    *c = NULL;
}

int node_config_check(const char *path, FILE *out)
{
    struct node_config *c;

    if (node_config_load(path, &c, out) != OK)
        return NODE_CONFIG_EXIT_BAD;
    node_config_free(&c);
    fprintf(out, "%s: ok\n", path);
    return 0;
}

void node_config_print(const struct node_config *c, FILE *out)
{
    config_print(&schema, c, out);
}

size_t node_config_diff(const struct node_config *before, const struct node_config *after,
                        struct config_change *out, size_t max)
{
    return config_diff(&schema, before, after, out, max);
}

void node_config_print_reference(FILE *out)
{
    fputs(
        "# trispool.yaml\n"
        "\n"
        "The settings of one node; this page is made from the table in `node/config.c`. "
        "Domains,\n"
        "plans and users are not here: they live in the control store (`trispool domain`).\n"
        "\n"
        "The daemon reads `/etc/trispool/trispool.yaml` and, if there are any, the files\n"
        "`conf.d/*.yaml` beside it, in the order of their names. A section may be spread over\n"
        "files; a key may be set once. `trispoold --check FILE` tells all mistakes in one "
        "run,\n"
        "each with file, line and column, and touches nothing but the files: it ends with 0 "
        "or\n"
        "78. `trispool config show --effective` prints every value in force.\n"
        "\n"
        "The format is YAML without anchors, aliases, tags and merge keys, in UTF-8, at most\n"
        "1 MiB in all. Sizes need a unit: `kB` `MB` `GB` `TB` (powers of 1000) or `KiB` `MiB`\n"
        "`GiB` `TiB` (powers of 1024). Durations need a unit: `ms` `s` `m` `h` `d`. An IPv6\n"
        "address with a port stands in brackets and quotes: `'[2001:db8::1]:25'`.\n"
        "\n"
        "*In force after*: SIGHUP or `trispool config reload` makes a changed value count\n"
        "(*reload*), or it waits for the next start (*restart*) and the log says so.\n"
        "\n"
        "## General\n",
        out);
    config_print_reference(&schema, out);
}
