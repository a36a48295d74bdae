/*
 * A small reader of DSNs that knows nothing of how they are built: lines, parts, fields. For
 * tests and the fuzzer only.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

#define DSN_HOLD(cond)                                                                         \
    do {                                                                                       \
        if (!(cond)) {                                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                         \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

struct dsn_seen {
    unsigned delimiters, ends, blocks, final_recipients, statuses, diagnostics, header_lines;
    unsigned to, from, auto_submitted, content_types;
};

static inline struct str dsn_line(struct str *rest)
{
    size_t lf = str_find(*rest, '\n');
    struct str line;

    DSN_HOLD(lf < rest->n);                      /* the last line is whole too */
    DSN_HOLD(lf > 0 && rest->p[lf - 1] == '\r'); /* LF only behind CR */
    line = str_head(*rest, lf - 1);
    *rest = str_from(*rest, lf + 1);
    DSN_HOLD(line.n <= 998);
    for (size_t i = 0; i < line.n; i++)
        DSN_HOLD(line.p[i] == '\t' || (line.p[i] >= 0x20 && line.p[i] <= 0x7e));
    return line;
}

static inline void dsn_count(struct dsn_seen *seen, struct str line)
{
    seen->final_recipients += str_starts_nocase(line, STR("Final-Recipient: rfc822; ")) ||
                              str_starts_nocase(line, STR("Final-Recipient: utf-8; "));
    seen->statuses += str_starts_nocase(line, STR("Status: "));
    seen->diagnostics += str_starts_nocase(line, STR("Diagnostic-Code: smtp; "));
}

/* Reads one whole DSN and aborts when it is not well formed. Fields are counted in the
 * message's header and in the second part; the third part counts lines alone, as they are the
 * sender's. */
static inline struct dsn_seen dsn_check(struct str text)
{
    struct dsn_seen seen = {0};
    char boundary[64] = "";
    size_t boundary_n = 0;
    bool header = true, part_header = false;

    while (text.n > 0) {
        struct str line = dsn_line(&text);

        if (header) {
            struct str l = line;

            seen.to += str_starts_nocase(line, STR("To: "));
            seen.from += str_starts_nocase(line, STR("From: "));
            seen.auto_submitted += str_eq(line, STR("Auto-Submitted: auto-replied"));
            if (str_cut_nocase(&l, STR(" boundary=\""))) {
                DSN_HOLD(l.n > 1 && l.n < sizeof boundary - 2 && str_ends(l, '"'));
                boundary_n =
                    (size_t)snprintf(boundary, sizeof boundary, "--%.*s", (int)l.n - 1, l.p);
            }
            header = line.n > 0;
            continue;
        }
        if (str_starts_nocase(line, (struct str){boundary, boundary_n})) {
            DSN_HOLD(seen.ends == 0);
            seen.delimiters += line.n == boundary_n;
            seen.ends += line.n == boundary_n + 2;
            part_header = seen.ends == 0;
            DSN_HOLD(line.n == boundary_n || str_ends(line, '-'));
            continue;
        }
        DSN_HOLD(seen.ends == 0 && seen.delimiters >= 1 && seen.delimiters <= 3);
        if (part_header) {
            seen.content_types += str_starts_nocase(line, STR("Content-Type: "));
            part_header = line.n > 0;
            continue;
        }
        if (seen.delimiters < 3)
            DSN_HOLD(!str_starts_nocase(line, STR("--")));
        if (seen.delimiters == 2)
            dsn_count(&seen, line);
        seen.blocks += seen.delimiters == 2 && line.n == 0;
        seen.header_lines += seen.delimiters == 3 && line.n > 0;
    }
    DSN_HOLD(!header && boundary_n > 0 && seen.delimiters == 3 && seen.ends == 1);
    DSN_HOLD(seen.to == 1 && seen.from == 1 && seen.auto_submitted == 1);
    DSN_HOLD(seen.content_types == 3 && !part_header);
    return seen;
}
