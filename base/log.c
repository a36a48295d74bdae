#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_BYTES 2048

static const struct {
    const char *name;
    enum log_level level;
} events[] = {
#define X(name, level, text) [EV_##name] = {#name, LOG_##level},
#include "base/log_events.def"
#undef X
};

static const char *const level_names[] = {"debug", "info", "notice", "warn", "error", "alarm"};
static atomic_int threshold = LOG_INFO;

struct line {
    char *p;
    size_t n, size;
};

static void put(struct line *l, char c)
{
    if (l->n + 1 < l->size)
        l->p[l->n++] = c;
}

static void put_z(struct line *l, const char *z)
{
    for (; *z != 0; z++)
        put(l, *z);
}

static void put_lower(struct line *l, const char *z)
{
    for (; *z != 0; z++)
        put(l, (char)(*z >= 'A' && *z <= 'Z' ? *z + ('a' - 'A') : *z));
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return s.n > 0;
}

/* The one place where bytes from outside become text for a terminal. */
static void put_value(struct line *l, struct str s)
{
    static const char hex[] = "0123456789abcdef";

    if (is_plain(s)) {
        for (size_t i = 0; i < s.n; i++)
            put(l, s.p[i]);
        return;
    }
    put(l, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '"' || c == '\\') {
            put(l, '\\');
            put(l, (char)c);
        } else if (c >= 0x20 && c < 0x7f) {
            put(l, (char)c);
        } else {
            put_z(l, "\\x");
            put(l, hex[c >> 4]);
            put(l, hex[c & 15]);
        }
    }
    put(l, '"');
}

static void put_field(struct line *l, const struct log_field *f)
{
    char num[32];

    put(l, ' ');
    put_z(l, f->key);
    put(l, '=');
    switch (f->type) {
    case LOG_F_STR:
        put_value(l, f->s);
        break;
    case LOG_F_U64:
        snprintf(num, sizeof num, "%llu", (unsigned long long)f->u);
        put_z(l, num);
        break;
    case LOG_F_I64:
        snprintf(num, sizeof num, "%lld", (long long)f->u);
        put_z(l, num);
        break;
    case LOG_F_MID:
        put_z(l, mid_text(f->id, num));
        break;
    }
}

size_t log_format(char *buf, size_t size, int64_t wall_ms, enum log_event ev,
                  const struct log_field *fields, size_t count)
{
    struct line l = {buf, 0, size};
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    char ts[40];

    ASSERT(ev < EV_COUNT && size > 64);
    gmtime_r(&s, &tm);
    strftime(ts, sizeof ts, "%Y-%m-%dT%H:%M:%S", &tm);
    put_z(&l, "ts=");
    put_z(&l, ts);
    snprintf(ts, sizeof ts, ".%03dZ", (int)(wall_ms % 1000));
    put_z(&l, ts);
    put_z(&l, " level=");
    put_z(&l, level_names[events[ev].level]);
    put_z(&l, " ev=");
    put_lower(&l, events[ev].name);
    for (size_t i = 0; i < count; i++)
        put_field(&l, &fields[i]);
    l.p[l.n++] = '\n';
    return l.n;
}

void log_write(enum log_event ev, const struct log_field *fields, size_t count)
{
    char buf[LINE_BYTES];
    size_t n;
    ssize_t w;

    if ((int)events[ev].level < atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    n = log_format(buf, sizeof buf, clock_wall_ms(), ev, fields, count);
    w = write(STDERR_FILENO, buf, n);
    (void)w; /* nowhere to report a log that cannot be written */
}

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

bool log_level_parse(struct str name, enum log_level *out)
{
    for (int i = LOG_DEBUG; i <= LOG_ALARM; i++) {
        if (!str_eq(name, str_of(level_names[i])))
            continue;
        *out = (enum log_level)i;
        return true;
    }
    return false;
}

const char *log_event_name(enum log_event ev)
{
    ASSERT(ev < EV_COUNT);
    return events[ev].name;
}
