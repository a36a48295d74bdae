#include "base/config_tree.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/utf8.h"

#define MESSAGE_BYTES  ((size_t)1024)
#define SHOWN_BYTES    ((size_t)60) /* of a value in a message */
#define WINDOW_COLUMNS ((size_t)80) /* of a source line below a message */

void *config_take(struct config *c, size_t bytes)
{
    void *p = arena_take(&c->memory, bytes);

    c->starved |= p == NULL;
    return p;
}

const char *config_copy(struct config *c, struct str s)
{
    char *copy = config_take(c, s.n + 1);

    if (copy == NULL)
        return "";
    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    return copy;
}

size_t config_utf8(struct str s, uint32_t *character)
{
    struct utf8 u = {0};

    for (size_t i = 0; i < s.n && utf8_step(&u, (uint8_t)s.p[i]); i++) {
        if (u.left > 0)
            continue;
        *character = u.character;
        return i + 1;
    }
    return 0;
}

/* Copies s into buf, at most `columns` characters, each that cannot be shown as '?'. A tab
 * becomes a space, so that a caret below stands where it should. Returns bytes of s used. */
static size_t show(struct str s, size_t columns, char *buf, size_t size)
{
    size_t used = 0, n = 0;

    for (; used < s.n && columns > 0; columns--) {
        uint32_t cp = 0;
        size_t bytes = config_utf8(str_from(s, used), &cp);

        if (n + 5 > size)
            break;
        if (bytes == 0 || utf8_is_hidden(cp)) {
            buf[n++] = cp == '\t' ? ' ' : '?';
            bytes = bytes == 0 ? 1 : bytes;
        } else {
            memcpy(buf + n, s.p + used, bytes);
            n += bytes;
        }
        used += bytes;
    }
    buf[n] = 0;
    return used;
}

const char *config_shown(struct config *c, struct str value)
{
    char buf[SHOWN_BYTES + 8];
    size_t used = show(value, SHOWN_BYTES, buf, SHOWN_BYTES + 4);

    if (used < value.n)
        memcpy(buf + strlen(buf), "...", 4);
    return config_copy(c, str_of(buf));
}

void config_mistake_v(struct config *c, struct config_mark at, const char *before,
                      const char *fmt, va_list args)
{
    char text[MESSAGE_BYTES];
    size_t n = 0;
    size_t number = c->mistake_count++;

    if (number >= LIMIT_CONFIG_ERRORS)
        return;
    if (before != NULL) {
        int wrote = snprintf(text, sizeof text, "%s: ", before);

        n = wrote < 0 ? 0 : (size_t)wrote < sizeof text ? (size_t)wrote : sizeof text - 1;
    }
    vsnprintf(text + n, sizeof text - n, fmt, args);
    c->mistakes[number] = (struct config_mistake){
        .at = at, .number = number, .text = config_copy(c, str_of(text))};
}

void config_mistake(struct config *c, struct config_mark at, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    config_mistake_v(c, at, NULL, fmt, args);
    va_end(args);
}

size_t config_error_count(const struct config *c)
{
    return c->mistake_count + c->starved;
}

struct str config_line(const struct config_file *f, size_t line)
{
    struct str rest = f->text, found = str_split(&rest, '\n');

    while (--line > 0)
        found = str_split(&rest, '\n');
    return str_ends(found, '\r') ? str_head(found, found.n - 1) : found;
}

/* What YAML forbids, and what an editor or a terminal hides from who reads the file. */
static void complain(struct config *c, struct config_mark at, uint32_t cp)
{
    if (cp == 0)
        config_mistake(c, at, "NUL byte");
    else if (cp == '\r')
        config_mistake(c, at, "carriage return without a line feed behind it");
    else if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
        config_mistake(c, at, "control character U+%04X", (unsigned)cp);
    else
        config_mistake(c, at, "invisible character U+%04X", (unsigned)cp);
}

static void check_bytes(struct config *c, size_t file)
{
    struct str text = c->files[file].text;
    struct config_mark m = {.file = file, .line = 1, .column = 1};

    for (size_t at = 0; at < text.n; m.column++) {
        struct str rest = str_from(text, at);
        uint32_t cp = 0;
        size_t n = config_utf8(rest, &cp);
        bool is_crlf = cp == '\r' && rest.n > 1 && rest.p[1] == '\n';
        size_t before = c->mistake_count;

        if (n == 0)
            config_mistake(c, m, "byte 0x%02x is not UTF-8 text",
                           (unsigned)(unsigned char)rest.p[0]);
        else if (utf8_is_hidden(cp) && cp != '\t' && cp != '\n' && !is_crlf)
            complain(c, m, cp);
        c->unreadable |= c->mistake_count > before;
        at += n > 0 ? n : 1;
        if (n > 0 && cp == '\n') {
            m.line++;
            m.column = 0;
        }
    }
}

static size_t text_bytes(const struct config *c)
{
    size_t sum = 0;

    for (size_t i = 0; i < c->file_count; i++)
        sum += c->files[i].text.n;
    return sum;
}

struct config_file *config_add_file(struct config *c, const char *name)
{
    struct config_file *f = &c->files[c->file_count++];

    f->name = config_copy(c, str_of(name));
    return f;
}

void config_set_text(struct config *c, struct config_file *f, struct str text)
{
    static const char mark[] = "\xef\xbb\xbf";
    size_t file = (size_t)(f - c->files);

    if (text.n > LIMIT_CONFIG_BYTES - text_bytes(c)) {
        config_mistake(c, (struct config_mark){.file = file},
                       "the configuration is larger than %llu bytes", LIMIT_CONFIG_BYTES);
        c->unreadable = true;
        return;
    }
    if (text.n >= 3 && memcmp(text.p, mark, 3) == 0)
        text = str_from(text, 3);
    f->text = text;
    check_bytes(c, file);
}

static int by_place(const void *a, const void *b)
{
    const struct config_mistake *x = a, *y = b;

    if (x->at.file != y->at.file)
        return x->at.file < y->at.file ? -1 : 1;
    if (x->at.line != y->at.line)
        return x->at.line < y->at.line ? -1 : 1;
    if (x->at.column != y->at.column)
        return x->at.column < y->at.column ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

/* The source line with a caret below; of a long line a window around the caret. */
static void print_source(const struct config_file *f, struct config_mark at, FILE *out)
{
    struct str line = config_line(f, at.line);
    size_t skip = at.column > WINDOW_COLUMNS - 20 ? at.column - WINDOW_COLUMNS / 2 : 0;
    const char *lead = skip > 0 ? "..." : "";
    char shown[4 * WINDOW_COLUMNS + 8];
    size_t used;

    while (skip > 0 && line.n > 0) {
        char scratch[4 * WINDOW_COLUMNS + 8];
        size_t columns = skip < WINDOW_COLUMNS ? skip : WINDOW_COLUMNS;

        line = str_from(line, show(line, columns, scratch, sizeof scratch));
        skip -= columns;
        at.column -= columns;
    }
    used = show(line, WINDOW_COLUMNS, shown, sizeof shown);
    fprintf(out, "%5zu | %s%s%s\n", at.line, lead, shown, used < line.n ? "..." : "");
    fprintf(out, "      | %*s^\n", (int)(at.column - 1 + strlen(lead)), "");
}

void config_print_errors(const struct config *c, FILE *out)
{
    struct config_mistake sorted[LIMIT_CONFIG_ERRORS];
    size_t kept = c->mistake_count;

    if (kept > LIMIT_CONFIG_ERRORS)
        kept = LIMIT_CONFIG_ERRORS;
    memcpy(sorted, c->mistakes, kept * sizeof *sorted);
    qsort(sorted, kept, sizeof *sorted, by_place);
    for (size_t i = 0; i < kept; i++) {
        const struct config_mistake *m = &sorted[i];
        const struct config_file *f = &c->files[m->at.file];

        if (m->at.line == 0) {
            fprintf(out, "%s: %s\n", f->name, m->text);
            continue;
        }
        fprintf(out, "%s:%zu:%zu: %s\n", f->name, m->at.line, m->at.column, m->text);
        if (!m->at.without_source)
            print_source(f, m->at, out);
    }
    if (c->mistake_count > kept)
        fprintf(out, "%zu more\n", c->mistake_count - kept);
    if (c->starved)
        fprintf(out, "the configuration needs too much memory\n");
}
