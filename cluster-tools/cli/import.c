#include "cluster-tools/cli/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tools/cli/ask.h"
#include "cluster-tools/cli/show.h"
#include "cluster-tools/common/version.h"
#include "node/idn.h"
#include "proto/roster.h"

#define PIECE 500 /* recipients in one request */

/* Local parts, sorted, each once; "@" is the catch-all. */
struct names {
    struct str *list;
    size_t count, room;
};

struct import {
    const struct cli_run *run;
    const char *domain;
    char *text; /* of the file; the names of `file` are in it, lowered */
    struct names file, listed;
    json_t *rows; /* of the list, which the names of `listed` are in */
    json_int_t generation;
    uint64_t added, removed;
    struct cli_error why;
};

static bool names_add(struct names *n, struct str name)
{
    if (n->count == n->room) {
        size_t room = n->room == 0 ? 1024 : n->room * 2;
        struct str *more = realloc(n->list, room * sizeof *more);

        if (more == NULL)
            return false;
        n->list = more;
        n->room = room;
    }
    n->list[n->count++] = name;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return roster_compare(*(const struct str *)a, *(const struct str *)b);
}

static void names_sort(struct names *n)
{
    size_t kept = 0;

    if (n->count > 0)
        qsort(n->list, n->count, sizeof *n->list, by_name);
    for (size_t i = 0; i < n->count; i++)
        if (kept == 0 || !str_eq(n->list[kept - 1], n->list[i]))
            n->list[kept++] = n->list[i];
    n->count = kept;
}

static enum err no_memory(struct import *m)
{
    cli_error_set(&m->why, EXIT_MACHINE, NULL, NULL, "out of memory");
    return E_FULL;
}

/* --- the file --- */

static enum err read_stream(struct import *m, FILE *in, const char *path)
{
    size_t n = 0, got;

    m->text = malloc(LIMIT_TOOL_IMPORT_BYTES + 1);
    if (m->text == NULL)
        return no_memory(m);
    do {
        got = fread(m->text + n, 1, LIMIT_TOOL_IMPORT_BYTES - n, in);
        n += got;
    } while (got > 0);
    m->text[n] = 0;
    if (ferror(in) != 0) {
        cli_error_set(&m->why, EXIT_USAGE, path, NULL, "cannot be read");
        return E_IO;
    }
    if (n == LIMIT_TOOL_IMPORT_BYTES || memchr(m->text, 0, n) != NULL) {
        cli_error_set(&m->why, EXIT_USAGE, path, NULL, "is no text, or longer than 32 MiB");
        return E_PROTO;
    }
    return OK;
}

static enum err read_file(struct import *m)
{
    const char *path = m->run->file;
    FILE *in;
    enum err e;

    if (path == NULL) {
        cli_error_set(&m->why, EXIT_USAGE, "--file", "trispool recipient import --help",
                      "say which file: --file FILE, or --file - for standard input");
        return E_PROTO;
    }
    if (strcmp(path, "-") == 0)
        return read_stream(m, stdin, "standard input");
    in = fopen(path, "re");
    if (in == NULL) {
        cli_error_set(&m->why, EXIT_USAGE, path, NULL, "%s", strerror(errno));
        return E_IO;
    }
    e = read_stream(m, in, path);
    fclose(in);
    return e;
}

static struct str trimmed(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_from(s, 1);
    while (s.n > 0 && (str_ends(s, ' ') || str_ends(s, '\t') || str_ends(s, '\r')))
        s = str_head(s, s.n - 1);
    return s;
}

static bool is_the_domain(const struct import *m, struct str domain)
{
    char text[4 * LIMIT_SMTP_DOMAIN_BYTES], ascii[LIMIT_SMTP_DOMAIN_BYTES + 1];

    return str_to_z(domain, text, sizeof text) && idn_to_ascii(text, ascii) == NULL &&
           strcmp(ascii, m->domain) == 0;
}

/* "local@domain", "local", "@domain" or "@". NULL: taken; else why not. */
static const char *take_line(struct import *m, struct str line)
{
    size_t at = str_find_last(line, '@');
    struct str local = at == 0 ? ROSTER_CATCH_ALL : str_head(line, at);
    const char *why;

    if (at + 1 < line.n && !is_the_domain(m, str_from(line, at + 1)))
        return "an address of another domain";
    for (size_t i = 0; at > 0 && i < local.n; i++) { /* in place: it lies in m->text */
        char *c = m->text + (local.p - m->text) + i;

        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    }
    why = roster_local_check(local);
    if (why == NULL && !names_add(&m->file, local))
        why = "out of memory";
    return why;
}

static enum err take_lines(struct import *m)
{
    struct str rest = str_of(m->text);
    unsigned long number = 0;
    char where[300];

    while (rest.n > 0) {
        struct str line = trimmed(str_split(&rest, '\n'));
        const char *why;

        number++;
        if (line.n == 0 || line.p[0] == '#')
            continue;
        why = take_line(m, line);
        if (why != NULL) {
            snprintf(where, sizeof where, "%s:%lu", m->run->file, number);
            cli_error_set(&m->why, EXIT_USAGE, where, "nothing was changed", "%s", why);
            return E_PROTO;
        }
    }
    names_sort(&m->file);
    if (m->file.count == 0) {
        cli_error_set(&m->why, EXIT_USAGE, m->run->file, "nothing was changed",
                      "names no recipient");
        return E_PROTO;
    }
    if (m->file.count > LIMIT_ROSTER_PER_DOMAIN) {
        cli_error_set(&m->why, EXIT_USAGE, m->run->file, "nothing was changed",
                      "names %zu recipients; a domain lists at most %d", m->file.count,
                      LIMIT_ROSTER_PER_DOMAIN);
        return E_PROTO;
    }
    return OK;
}

/* --- the list --- */

static void take_listed(void *to, json_t *row)
{
    struct import *m = to;
    const char *text = json_string_value(json_object_get(row, "recipient"));
    struct str address = text != NULL ? str_of(text) : STR_NONE;
    size_t at = str_find_last(address, '@');

    (void)json_array_append_new(m->rows, row);
    if (text != NULL)
        (void)names_add(&m->listed, at == 0 ? ROSTER_CATCH_ALL : str_head(address, at));
}

static enum err read_list(struct import *m)
{
    json_t *last;
    enum err e;

    m->rows = json_array();
    e = ask_talk(m->run, "recipient.list", json_pack("{s:s}", "domain", m->domain), take_listed,
                 m, &last, &m->why);
    if (e != OK)
        return e;
    m->generation = json_integer_value(json_object_get(last, "generation"));
    if (json_array_size(m->rows) != m->listed.count) {
        json_decref(last);
        return no_memory(m);
    }
    json_decref(last);
    names_sort(&m->listed);
    return OK;
}

/* --- the difference --- */

static bool has(const struct names *n, struct str name)
{
    return n->count > 0 && bsearch(&name, n->list, n->count, sizeof *n->list, by_name) != NULL;
}

static void count_change(void *to, json_t *row)
{
    struct import *m = to;

    m->added += (uint64_t)json_integer_value(json_object_get(row, "added"));
    m->removed += (uint64_t)json_integer_value(json_object_get(row, "removed"));
    json_decref(row);
}

/* Takes the names. */
static enum err send_piece(struct import *m, const char *op, json_t *names)
{
    json_t *last, *args = json_pack("{s:s, s:s, s:I, s:o, s:b}", "op", op, "domain", m->domain,
                                    "generation", m->generation, "recipients", names, "dry_run",
                                    m->run->dry_run);
    enum err e = ask_talk(m->run, "recipient.change", args, count_change, m, &last, &m->why);

    json_decref(last);
    return e;
}

/* What is in `these` and not in `those`. */
static enum err send_all(struct import *m, const char *op, const struct names *these,
                         const struct names *those)
{
    json_t *piece = json_array();
    enum err e = OK;

    for (size_t i = 0; e == OK && i < these->count; i++) {
        if (has(those, these->list[i]))
            continue;
        (void)json_array_append_new(piece, json_stringn(these->list[i].p, these->list[i].n));
        if (json_array_size(piece) == PIECE) {
            e = send_piece(m, op, piece);
            piece = json_array();
        }
    }
    if (e == OK && json_array_size(piece) > 0)
        return send_piece(m, op, piece);
    json_decref(piece);
    return e;
}

static json_t *outcome(const struct import *m)
{
    uint64_t before = m->listed.count;

    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:b}", "domain", m->domain, "added",
                     (json_int_t)m->added, "removed", (json_int_t)m->removed, "unchanged",
                     (json_int_t)(before - m->removed), "listed",
                     (json_int_t)(m->run->dry_run ? before : before + m->added - m->removed),
                     "dry_run", m->run->dry_run);
}

bool import_is_meant(const struct cli_run *run)
{
    return run->command->noun != NULL && strcmp(run->command->noun, "recipient") == 0 &&
           strcmp(run->command->verb, "import") == 0;
}

int import_run(const struct cli_run *run)
{
    struct import m = {.run = run,
                       .domain = json_string_value(json_object_get(run->args, "domain"))};
    struct show show;
    int status;
    enum err e = read_file(&m);

    if (e == OK)
        e = take_lines(&m);
    if (e == OK)
        e = read_list(&m);
    if (e == OK)
        e = send_all(&m, "add", &m.file, &m.listed);
    if (e == OK && run->replace)
        e = send_all(&m, "remove", &m.listed, &m.file);
    show_begin(&show, run, stdout, stderr);
    if (e != OK) {
        status = show_error(&show, &m.why);
    } else {
        show_row(&show, outcome(&m));
        status = show_end(&show, NULL, 0);
    }
    json_decref(m.rows);
    free(m.text);
    free(m.file.list);
    free(m.listed.list);
    return status;
}
