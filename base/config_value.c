#include "base/config_tree.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>

#include "base/utf8.h"

#define HOSTNAME_BYTES ((size_t)253)
#define LABEL_BYTES    ((size_t)63)
#define PATH_BYTES     ((size_t)4095)
#define TEXT_BYTES     ((size_t)4095)

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: the first that divides a number prints it. */
static const struct unit size_units[] = {
    {"TiB", 1024 * GiB}, {"TB", 1000000000000}, {"GiB", GiB}, {"GB", 1000000000}, {"MiB", MiB},
    {"MB", 1000000},     {"KiB", KiB},          {"kB", 1000}, {NULL, 0},
};
static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};

bool config_type_is_list(enum config_type t)
{
    return t == CONFIG_STRINGS || t == CONFIG_HOSTNAMES || t == CONFIG_IPS ||
           t == CONFIG_ADDRESSES || t == CONFIG_HOSTS;
}

static const struct unit *units_of(enum config_type t)
{
    return t == CONFIG_SIZE ? size_units : duration_units;
}

const char *config_number_text(enum config_type type, uint64_t n, char buf[CONFIG_NUMBER_BYTES])
{
    const char *name = "";

    if (type == CONFIG_SIZE || type == CONFIG_DURATION) {
        const struct unit *u = units_of(type);

        if (n == 0) /* 0TiB would be true, and odd */
            u += type == CONFIG_SIZE ? 6 : 3;
        while (u[1].name != NULL && n % u->factor != 0)
            u++;
        n /= u->factor;
        name = u->name;
    }
    snprintf(buf, CONFIG_NUMBER_BYTES, "%llu%s", (unsigned long long)n, name);
    return buf;
}

const char *config_said(struct config *c, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return config_copy(c, str_of(text));
}

static struct str trim(struct str s)
{
    str_skip(&s, ' ');
    while (str_ends(s, ' '))
        s.n--;
    return s;
}

size_t config_distance(struct str a, struct str b)
{
    size_t rows[3][CONFIG_SIMILAR_BYTES + 1];
    size_t *two_back = rows[0], *back = rows[1], *row = rows[2];
    char x[CONFIG_SIMILAR_BYTES], y[CONFIG_SIMILAR_BYTES];

    if (a.n > CONFIG_SIMILAR_BYTES || b.n > CONFIG_SIMILAR_BYTES)
        return SIZE_MAX;
    a = str_lower(a, x, sizeof x);
    b = str_lower(b, y, sizeof y);
    for (size_t j = 0; j <= b.n; j++)
        back[j] = two_back[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t *spare = two_back;

        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t best = back[j - 1] + (x[i - 1] != y[j - 1]);

            best = back[j] + 1 < best ? back[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1] &&
                two_back[j - 2] + 1 < best)
                best = two_back[j - 2] + 1;
            row[j] = best;
        }
        two_back = back;
        back = row;
        row = spare;
    }
    return back[b.n];
}

bool config_similar(struct str a, struct str b, size_t *distance)
{
    *distance = config_distance(a, b);
    return *distance != SIZE_MAX && a.n > 0 && *distance <= (b.n + 2) / 3;
}

static const char *read_bool(struct config *c, struct str text, bool *out)
{
    *out = str_eq(text, STR("true"));
    if (!*out && !str_eq(text, STR("false")))
        return config_said(c, "must be true or false, got '%s'", config_shown(c, text));
    return NULL;
}

static const char *check_range(struct config *c, const struct config_key *row, uint64_t n)
{
    char low[CONFIG_NUMBER_BYTES], high[CONFIG_NUMBER_BYTES], got[CONFIG_NUMBER_BYTES];

    if ((row->min == 0 && row->max == 0) || (n >= row->min && n <= row->max))
        return NULL;
    return config_said(
        c, "must be between %s and %s, got %s", config_number_text(row->type, row->min, low),
        config_number_text(row->type, row->max, high), config_number_text(row->type, n, got));
}

static size_t digits(struct str s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

static const char *read_int(struct config *c, const struct config_key *row, struct str text,
                            uint64_t *out)
{
    if (text.n == 0 || digits(text) < text.n)
        return config_said(c, "must be a whole number, got '%s'", config_shown(c, text));
    if (!str_to_u64(text, out))
        return config_said(c, "%s is too large", config_shown(c, text));
    return check_range(c, row, *out);
}

static const char *no_such_unit(struct config *c, const struct unit *units, struct str unit)
{
    const char *guess = NULL;
    size_t best = SIZE_MAX;

    for (const struct unit *u = units; u->name != NULL; u++) {
        size_t d = config_distance(unit, str_of(u->name));

        if (d <= 1 && d < best) {
            guess = u->name;
            best = d;
        }
    }
    return config_said(c, "unknown unit '%s'%s%s%s; the units are %s", config_shown(c, unit),
                       guess != NULL ? " (did you mean '" : "", guess != NULL ? guess : "",
                       guess != NULL ? "'?)" : "",
                       units == size_units ? "kB, MB, GB, TB and KiB, MiB, GiB, TiB"
                                           : "ms, s, m, h and d");
}

static const char *read_quantity(struct config *c, const struct config_key *row,
                                 struct str text, uint64_t *out)
{
    const struct unit *u = units_of(row->type);
    struct str number = str_head(text, digits(text));
    struct str unit = trim(str_from(text, number.n));
    uint64_t n = 0;

    if (number.n == 0 || (unit.n > 0 && unit.p[0] == '.'))
        return config_said(c, "must be a whole number with a unit, such as %s, got '%s'",
                           row->type == CONFIG_SIZE ? "10MiB" : "14d", config_shown(c, text));
    if (unit.n == 0 && row->type == CONFIG_SIZE)
        return config_said(c, "needs a unit: write %sKiB, %sMiB or %sGiB (or kB, MB, GB)",
                           config_shown(c, number), config_shown(c, number),
                           config_shown(c, number));
    if (unit.n == 0)
        return config_said(c, "needs a unit: write %sms, %ss, %sm, %sh or %sd",
                           config_shown(c, number), config_shown(c, number),
                           config_shown(c, number), config_shown(c, number),
                           config_shown(c, number));
    while (u->name != NULL && !str_eq(unit, str_of(u->name)))
        u++;
    if (u->name == NULL)
        return no_such_unit(c, units_of(row->type), unit);
    if (!str_to_u64(number, &n) || n > UINT64_MAX / u->factor)
        return config_said(c, "%s is too large", config_shown(c, text));
    *out = n * u->factor;
    return check_range(c, row, *out);
}

static const char *read_word(struct config *c, const struct config_key *row, struct str text,
                             int *out)
{
    const char *guess = NULL;
    size_t best = SIZE_MAX, d = 0, n = 0;
    char list[256] = "";

    for (int i = 0; row->words[i] != NULL; i++) {
        int wrote = 0;

        *out = i;
        if (str_eq(text, str_of(row->words[i])))
            return NULL;
        if (config_similar(text, str_of(row->words[i]), &d) && d < best) {
            guess = row->words[i];
            best = d;
        }
        wrote = snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? ", " : "", row->words[i]);
        ASSERT(wrote > 0 && (size_t)wrote < sizeof list - n); /* the table is ours */
        n += (size_t)wrote;
    }
    return config_said(c, "must be one of %s, got '%s'%s%s%s", list, config_shown(c, text),
                       guess != NULL ? " (did you mean '" : "", guess != NULL ? guess : "",
                       guess != NULL ? "'?)" : "");
}

/* Escapes in quotes can make any character, also those that a file may not have. */
static const char *read_text(struct config *c, struct str text, size_t max, const char **out)
{
    for (struct str rest = text; rest.n > 0;) {
        uint32_t character = 0;
        size_t n = config_utf8(rest, &character);

        if (n == 0 || utf8_is_hidden(character))
            return config_said(c, "may not hold the character U+%04X", (unsigned)character);
        rest = str_from(rest, n);
    }
    if (text.n == 0)
        return "may not be empty";
    if (text.n > max)
        return config_said(c, "is longer than %zu bytes", max);
    *out = config_copy(c, text);
    return NULL;
}

static bool is_label(struct str s)
{
    if (s.n == 0 || s.n > LABEL_BYTES || s.p[0] == '-' || str_ends(s, '-'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-'))
            return false;
    }
    return true;
}

/* RFC 1123 2.1: letters, digits, hyphens; the last label is not a number (nor the name an
 * address). `s` is in lower case. */
static bool is_hostname(struct str s, size_t min_labels)
{
    struct str rest = s, label = STR_NONE;
    size_t labels = 0;

    if (s.n == 0 || s.n > HOSTNAME_BYTES || str_ends(s, '.'))
        return false;
    while (rest.n > 0) {
        label = str_split(&rest, '.');
        if (!is_label(label))
            return false;
        labels++;
    }
    return labels >= min_labels && digits(label) < label.n;
}

static const char *read_hostname(struct config *c, struct str text, size_t min_labels,
                                 const char **out)
{
    char buf[HOSTNAME_BYTES];
    struct str low = text.n <= sizeof buf ? str_lower(text, buf, sizeof buf) : STR_NONE;

    if (!is_hostname(low, min_labels))
        return config_said(c, "must be a full host name such as mx1.example.com, got '%s'",
                           config_shown(c, text));
    *out = config_copy(c, low);
    return NULL;
}

/* An address without port or brackets. */
static bool read_ip(struct str text, struct config_address *out)
{
    char z[INET6_ADDRSTRLEN];
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    *out = (struct config_address){0};
    if (!str_to_z(text, z, sizeof z))
        return false;
    if (inet_pton(AF_INET, z, &v4.sin_addr) == 1) {
        memcpy(&out->ss, &v4, sizeof v4);
        out->ss_bytes = sizeof v4;
    } else if (inet_pton(AF_INET6, z, &v6.sin6_addr) == 1) {
        memcpy(&out->ss, &v6, sizeof v6);
        out->ss_bytes = sizeof v6;
    }
    return out->ss_bytes > 0;
}

static void set_port(struct config_address *a, uint16_t port)
{
    if (a->ss.ss_family == AF_INET)
        ((struct sockaddr_in *)&a->ss)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)&a->ss)->sin6_port = htons(port);
}

static const char *ip_text(const struct config_address *a, char buf[INET6_ADDRSTRLEN])
{
    const void *bytes = a->ss.ss_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)&a->ss)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)&a->ss)->sin6_addr;
    const char *text = inet_ntop(a->ss.ss_family, bytes, buf, INET6_ADDRSTRLEN);

    ASSERT(text != NULL); /* the buffer is long enough and the family one of the two */
    return text;
}

struct endpoint {
    struct str host;
    bool bracketed;
    bool has_port;
    uint64_t port;
};

/* HOST, HOST:PORT, [V6], [V6]:PORT; a bare V6 (two colons) has no port. */
static bool split_endpoint(struct str text, struct endpoint *out)
{
    size_t close = str_find(text, ']'), colon = str_find(text, ':');
    struct str port;

    *out = (struct endpoint){.host = text, .bracketed = text.n > 0 && text.p[0] == '['};
    if (out->bracketed) {
        if (close == text.n)
            return false;
        out->host = str_from(str_head(text, close), 1);
        port = str_from(text, close + 1);
        if (port.n == 0)
            return true;
    } else {
        if (colon == text.n || str_find_last(text, ':') != colon)
            return true;
        out->host = str_head(text, colon);
        port = str_from(text, colon);
    }
    out->has_port = true;
    return port.p[0] == ':' && str_to_u64(str_from(port, 1), &out->port) && out->port >= 1 &&
           out->port <= UINT16_MAX;
}

static const char *read_address(struct config *c, const struct config_key *row, struct str text,
                                struct config_address *out)
{
    struct endpoint e;
    char ip[INET6_ADDRSTRLEN];
    bool ok = split_endpoint(text, &e) && read_ip(e.host, out) &&
              e.bracketed <= (out->ss.ss_family == AF_INET6);

    if (row->type == CONFIG_IPS && (!ok || e.has_port || e.bracketed))
        return config_said(c,
                           "must be an IP address such as 192.0.2.1 or 2001:db8::1, got '%s'",
                           config_shown(c, text));
    if (!ok || (!e.has_port && row->port == 0 && row->type != CONFIG_IPS))
        return config_said(
            c,
            "must be ADDRESS:PORT such as 192.0.2.1:25 or '[2001:db8::1]:25', got "
            "'%s'",
            config_shown(c, text));
    ip_text(out, ip);
    if (row->type == CONFIG_IPS) {
        out->text = config_said(c, "%s", ip);
        return NULL;
    }
    e.port = e.has_port ? e.port : row->port;
    set_port(out, (uint16_t)e.port);
    out->text = config_said(c, out->ss.ss_family == AF_INET ? "%s:%u" : "[%s]:%u", ip,
                            (unsigned)e.port);
    return NULL;
}

static const char *read_host(struct config *c, const struct config_key *row, struct str text,
                             struct config_host *out)
{
    struct endpoint e;
    struct config_address a = {0};
    bool ok = split_endpoint(text, &e) && (e.has_port || row->port > 0);
    bool is_ip = ok && read_ip(e.host, &a);
    char ip[INET6_ADDRSTRLEN];

    if (is_ip) {
        ok = e.bracketed <= (a.ss.ss_family == AF_INET6);
        out->name = config_said(c, "%s", ip_text(&a, ip));
    } else if (ok) {
        ok = !e.bracketed && read_hostname(c, e.host, 1, &out->name) == NULL;
    }
    if (!ok)
        return config_said(c, "must be HOST:PORT such as mail.example.com:25, got '%s'",
                           config_shown(c, text));
    out->port = (uint16_t)(e.has_port ? e.port : row->port);
    out->text = config_said(c, is_ip && a.ss.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u",
                            out->name, (unsigned)out->port);
    return NULL;
}

static const char *read_path(struct config *c, struct str text, const char **out)
{
    const char *wrong = read_text(c, text, PATH_BYTES, out);

    if (wrong == NULL && text.p[0] != '/')
        wrong = config_said(c, "must be an absolute path, got '%s'", config_shown(c, text));
    return wrong;
}

static const char *read_by_type(struct config *c, const struct config_key *row, struct str text,
                                struct config_value *out)
{
    switch (row->type) {
    case CONFIG_BOOL:
        return read_bool(c, text, &out->truth);
    case CONFIG_INT:
        return read_int(c, row, text, &out->number);
    case CONFIG_SIZE:
    case CONFIG_DURATION:
        return read_quantity(c, row, text, &out->number);
    case CONFIG_WORD:
        return read_word(c, row, text, &out->word);
    case CONFIG_STRING:
    case CONFIG_STRINGS:
        return read_text(c, text, TEXT_BYTES, &out->text);
    case CONFIG_PATH:
        return read_path(c, text, &out->text);
    case CONFIG_HOSTNAME:
    case CONFIG_HOSTNAMES:
        return read_hostname(c, text, 2, &out->text);
    case CONFIG_IPS:
    case CONFIG_ADDRESSES:
        return read_address(c, row, text, &out->address);
    case CONFIG_HOSTS:
        return read_host(c, row, text, &out->host);
    case CONFIG_SECTION:
        break;
    }
    ASSERT(false); /* a section has no value */
    return NULL;
}

const char *config_read_value(struct config *c, const struct config_key *row, struct str text,
                              struct config_value *out)
{
    const char *wrong = NULL;

    *out = (struct config_value){0};
    wrong = read_by_type(c, row, text, out);
    if (wrong == NULL && row->check != NULL)
        wrong = row->check(text);
    return wrong;
}
