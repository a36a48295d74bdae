#include "cluster-tools/sink/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/limits.h"
#include "cluster-tools/common/number.h"
#include "cluster-tools/common/words.h"

#define MAX_SHOWN 50

/* What the counters of an id mean. */
enum counter { RECEIVED, WITHHELD, ACKED, UNKNOWN, TEMP, PERM, GIVEN_UP, DAMAGED };

static_assert(DAMAGED < IDTABLE_COUNTERS, "the table has a counter for each");

void check_journal_line(struct check_result *r, struct idtable *ids, struct str line)
{
    static const char kinds[] = "AUTPG";
    static const enum counter counters[] = {ACKED, UNKNOWN, TEMP, PERM, GIVEN_UP};
    struct str kind = words_cut(&line), id = words_cut(&line), target = words_cut(&line);
    const char *at = kind.n == 1 ? memchr(kinds, kind.p[0], sizeof kinds - 1) : NULL;
    struct idtable_entry *entry;

    if (at == NULL || target.n == 0 || idtable_get(ids, id, &entry) != OK) {
        r->unread++;
        return;
    }
    entry->count[counters[at - kinds]]++;
}

static void add_noncanonical(struct check_result *r, struct str line)
{
    struct str id = words_cut(&line), when = words_cut(&line), count = words_cut(&line);
    uint64_t n;

    if (id.n == 0 || when.n == 0 || number_count(count, UINT64_MAX, &n) != OK)
        r->unread++;
    else
        r->noncanonical += n;
}

void check_ledger_line(struct check_result *r, struct idtable *ids, struct str line)
{
    struct str kind = words_cut(&line), rest = line, id = words_cut(&line);
    struct str when = words_cut(&line), verdict = words_cut(&line);
    bool withheld = str_eq(kind, STR("K"));
    struct idtable_entry *entry;

    if (str_eq(kind, STR("N"))) {
        add_noncanonical(r, rest);
        return;
    }
    if ((!withheld && !str_eq(kind, STR("R"))) || when.n == 0 || verdict.n == 0) {
        r->unread++;
        return;
    }
    if (str_eq(verdict, STR("untagged"))) {
        r->untagged++;
        return;
    }
    if (idtable_get(ids, id, &entry) != OK) {
        r->unread++;
        return;
    }
    entry->count[RECEIVED]++;
    entry->count[WITHHELD] += withheld;
    entry->count[DAMAGED] += !str_eq(verdict, STR("ok"));
}

static void show(FILE *shown, unsigned *n, const char *what, const struct idtable_entry *e)
{
    if (shown != NULL && ++*n <= MAX_SHOWN)
        fprintf(shown, "%s " STR_FMT " x%u\n", what, STR_ARG(e->id), e->count[RECEIVED]);
}

static void sum_received(struct check_result *r, const struct idtable_entry *e, FILE *shown,
                         unsigned *n)
{
    const uint32_t *c = e->count;
    uint64_t extra = c[RECEIVED] - 1;
    uint64_t excuses = (uint64_t)c[WITHHELD] + c[UNKNOWN] + (c[ACKED] > 1 ? c[ACKED] - 1 : 0);
    uint64_t excused = excuses < extra ? excuses : extra;

    r->delivered++;
    r->excused += excused;
    r->duplicates += extra - excused;
    if (extra > excused)
        show(shown, n, "DUPLICATE", e);
    if (c[DAMAGED] > 0) {
        r->altered++;
        show(shown, n, "ALTERED", e);
    }
    if (c[ACKED] > 0)
        return;
    if (c[UNKNOWN] > 0)
        r->unknown_delivered++;
    else if (c[TEMP] + c[PERM] + c[GIVEN_UP] > 0)
        r->refused_delivered++;
    else
        r->foreign++;
}

void check_sum(struct check_result *r, const struct idtable *ids, FILE *shown)
{
    const struct idtable_entry *e;
    unsigned n = 0;
    size_t at = 0;

    while ((e = idtable_next(ids, &at)) != NULL) {
        if (e->count[ACKED] > 0)
            r->acked++;
        if (e->count[RECEIVED] > 0) {
            sum_received(r, e, shown, &n);
        } else if (e->count[ACKED] > 0) {
            r->lost++;
            show(shown, &n, "LOST", e);
        }
    }
}

bool check_passes(const struct check_result *r, const struct check_setup *setup)
{
    return r->lost == 0 && r->altered == 0 && r->unread == 0 &&
           (setup->lenient || r->noncanonical == 0) && r->duplicates <= setup->max_duplicates;
}

static void print(const struct check_result *r, bool pass, FILE *to)
{
    fprintf(to,
            "{\"acked\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"lost\":%" PRIu64
            ",\"altered\":%" PRIu64 ",\"duplicates\":%" PRIu64
            ",\"excused_duplicates\":%" PRIu64 ",\"delivered_unknown_outcome\":%" PRIu64
            ",\"delivered_after_refusal\":%" PRIu64 ",\"not_in_journal\":%" PRIu64
            ",\"untagged\":%" PRIu64 ",\"noncanonical\":%" PRIu64 ",\"unread_lines\":%" PRIu64
            ",\"verdict\":\"%s\"}\n",
            r->acked, r->delivered, r->lost, r->altered, r->duplicates, r->excused,
            r->unknown_delivered, r->refused_delivered, r->foreign, r->untagged,
            r->noncanonical, r->unread, pass ? "PASS" : "FAIL");
}

typedef void line_fn(struct check_result *, struct idtable *, struct str);

static enum err read_file(const char *path, line_fn *on_line, struct check_result *r,
                          struct idtable *ids)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    bool good;

    if (f == NULL) {
        fprintf(stderr, "trispool-sink: %s: %s\n", path, strerror(errno));
        return E_NOTFOUND;
    }
    while ((n = getline(&line, &room, f)) > 0) {
        if (line[n - 1] == '\n')
            n--;
        on_line(r, ids, (struct str){line, (size_t)n});
    }
    good = !ferror(f);
    if (!good)
        fprintf(stderr, "trispool-sink: %s: %s\n", path, strerror(errno));
    free(line);
    fclose(f);
    return good ? OK : E_NOTFOUND;
}

static enum err read_all(const struct check_setup *setup, struct check_result *r,
                         struct idtable *ids)
{
    enum err e = OK;

    for (size_t i = 0; e == OK && i < setup->journal_count; i++)
        e = read_file(setup->journals[i], check_journal_line, r, ids);
    for (size_t i = 0; e == OK && i < setup->ledger_count; i++)
        e = read_file(setup->ledgers[i], check_ledger_line, r, ids);
    return e;
}

enum err check_run(const struct check_setup *setup, FILE *to, bool *pass)
{
    struct check_result r = {0};
    struct idtable *ids = idtable_new();
    enum err e = ids == NULL ? E_FULL : read_all(setup, &r, ids);

    *pass = false;
    if (e == OK) {
        check_sum(&r, ids, setup->verbose ? stderr : NULL);
        *pass = check_passes(&r, setup);
        print(&r, *pass, to);
    }
    idtable_free(&ids);
    return e;
}
