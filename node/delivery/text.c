#include "node/delivery/text.h"

#include <stdio.h>

#include "base/utf8.h"
#include "node/smtp/received.h"

void text_put(struct text *t, struct str s)
{
    if (t->full || s.n > t->size - t->n) {
        t->full = true;
        return;
    }
    if (s.n > 0)
        memcpy(t->p + t->n, s.p, s.n);
    t->n += s.n;
}

void text_z(struct text *t, const char *s)
{
    text_put(t, str_of(s));
}

void text_char(struct text *t, char c)
{
    text_put(t, (struct str){&c, 1});
}

void text_date(struct text *t, int64_t wall_ms)
{
    char date[RFC5322_DATE_SIZE];

    text_z(t, rfc5322_date(wall_ms, date));
}

void text_clean(struct text *t, struct str s, size_t max)
{
    for (size_t i = 0; i < s.n && i < max; i++)
        text_char(t, s.p[i] >= 0x20 && s.p[i] <= 0x7e ? s.p[i] : '?');
}

/* Of valid UTF-8. Its length; t NULL: only that. */
static size_t put_xtext(struct text *t, struct str path)
{
    struct utf8 u = {0};
    char buf[16];
    size_t n = 0;

    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];

        if (!utf8_step(&u, (uint8_t)c) || u.left > 0)
            continue;
        if (c > ' ' && c <= '~' && c != '\\' && c != '+' && c != '=')
            snprintf(buf, sizeof buf, "%c", c);
        else
            snprintf(buf, sizeof buf, "\\x{%02X}", (unsigned)u.character);
        n += strlen(buf);
        if (t != NULL)
            text_z(t, buf);
    }
    return n;
}

bool text_is_foreign(struct str path)
{
    return utf8_has_8bit(path) && utf8_is_valid(path) &&
           put_xtext(NULL, path) <= TEXT_ADDRESS_BYTES;
}

bool text_address(struct text *t, struct str path)
{
    if (!text_is_foreign(path)) {
        text_clean(t, path, LIMIT_SMTP_PATH_BYTES);
        return false;
    }
    put_xtext(t, path);
    return true;
}
