#include "cluster-tools/cli/text.h"

#include <stdio.h>

#define KILO 1024u

static size_t put(char *buf, size_t size, size_t n, char c)
{
    if (n + 1 < size)
        buf[n++] = c;
    return n;
}

size_t text_escape(struct str s, char *buf, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char b = (unsigned char)s.p[i];

        if (b >= 0x20 && b < 0x7f) {
            n = put(buf, size, n, (char)b);
            continue;
        }
        if (n + 5 > size) /* no half of an escape */
            break;
        n = put(buf, size, n, '\\');
        n = put(buf, size, n, 'x');
        n = put(buf, size, n, hex[b >> 4]);
        n = put(buf, size, n, hex[b & 15]);
    }
    buf[n] = 0;
    return n;
}

void text_bytes(uint64_t n, char buf[TEXT_SMALL])
{
    static const char units[] = "KMGTPE";
    uint64_t whole = n, rest = 0;
    size_t unit = 0;

    if (n < KILO) {
        snprintf(buf, TEXT_SMALL, "%lluB", (unsigned long long)n);
        return;
    }
    for (; whole >= KILO; unit++) {
        rest = whole % KILO;
        whole /= KILO;
    }
    if (whole < 10)
        snprintf(buf, TEXT_SMALL, "%u.%u%c", (unsigned)whole, (unsigned)(rest * 10 / KILO),
                 units[unit - 1]);
    else
        snprintf(buf, TEXT_SMALL, "%u%c", (unsigned)whole, units[unit - 1]);
}

void text_age(uint64_t seconds, char buf[TEXT_SMALL])
{
    unsigned long long s = seconds;

    if (s < 60)
        snprintf(buf, TEXT_SMALL, "%llus", s);
    else if (s < 3600)
        snprintf(buf, TEXT_SMALL, "%llum%02llus", s / 60, s % 60);
    else if (s < 86400)
        snprintf(buf, TEXT_SMALL, "%lluh%02llum", s / 3600, s / 60 % 60);
    else if (s / 3600 % 24 == 0)
        snprintf(buf, TEXT_SMALL, "%llud", s / 86400);
    else
        snprintf(buf, TEXT_SMALL, "%llud%02lluh", s / 86400, s / 3600 % 24);
}

void text_ms(uint64_t ms, char buf[TEXT_SMALL])
{
    if (ms < 1000)
        snprintf(buf, TEXT_SMALL, "%llums", (unsigned long long)ms);
    else if (ms < 60000)
        snprintf(buf, TEXT_SMALL, "%llu.%llus", (unsigned long long)(ms / 1000),
                 (unsigned long long)(ms % 1000 / 100));
    else
        text_age(ms / 1000, buf);
}

static struct str string_of(const json_t *v)
{
    return (struct str){json_string_value(v), json_string_length(v)};
}

static size_t copy(const char *z, char *buf, size_t size)
{
    return text_escape(str_of(z), buf, size);
}

static size_t list(const json_t *v, char *buf, size_t size)
{
    size_t count = json_array_size(v), n;
    char more[TEXT_SMALL] = "";

    if (count == 0)
        return copy("-", buf, size);
    n = text_escape(string_of(json_array_get(v, 0)), buf, size);
    if (count > 1)
        snprintf(more, sizeof more, " +%zu", count - 1);
    return n + copy(more, buf + n, size - n);
}

static size_t number(const json_t *v, enum cli_format format, char *buf, size_t size)
{
    uint64_t n = json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0;
    char text[TEXT_SMALL];

    if (format == CLI_F_BYTES)
        text_bytes(n, text);
    else if (format == CLI_F_AGE)
        text_age(n, text);
    else if (format == CLI_F_MS)
        text_ms(n, text);
    else
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
    return copy(text, buf, size);
}

size_t text_value(const json_t *v, enum cli_format format, char *buf, size_t size)
{
    if (json_is_array(v))
        return list(v, buf, size);
    if (json_is_integer(v))
        return number(v, format, buf, size);
    if (json_is_boolean(v))
        return copy(json_is_true(v) ? "yes" : "no", buf, size);
    if (json_is_string(v) && json_string_length(v) > 0)
        return text_escape(string_of(v), buf, size);
    return copy(format == CLI_F_SENDER && v != NULL ? "<>" : "-", buf, size);
}

bool text_is_right(enum cli_format format)
{
    return format == CLI_F_COUNT || format == CLI_F_BYTES || format == CLI_F_AGE ||
           format == CLI_F_MS;
}

enum text_mood text_mood(const char *state)
{
    static const char bad[] = "down|critical|bounced|expired|no-answer|no-domain|no-mx|"
                              "no-address|null-mx|loops-to-self|all-private";
    static const char note[] =
        "held|deferred|paused|closing|warning|purged|dsn|given-up|withheld";

    if (cli_is_word(bad, state))
        return TEXT_BAD;
    return cli_is_word(note, state) ? TEXT_NOTE : TEXT_PLAIN;
}
