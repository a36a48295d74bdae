/* trispool-check: reads a spool that nobody has open, and says what does not fit together. The
 * work is spool/spool_check.h; docs/man/trispool-check.1.scd is its description. */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cluster-tools/common/version.h"
#include "spool/spool_check.h"

#define EXIT_FINDINGS 1
#define EXIT_CONFIG   78 /* EX_CONFIG: there is nothing here that could be checked */

struct options {
    const char *dir;
    bool json;
};

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "One JSON object a line: findings, then the summary", 0}, {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;

    switch (key) {
    case 'j':
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->dir != NULL)
            argp_error(state, "one directory at a time");
        o->dir = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which directory?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Takes obj. */
static void print_json(json_t *obj)
{
    ASSERT(obj != NULL);
    json_dumpf(obj, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(obj);
}

static void on_finding(void *user, const struct spool_finding *f)
{
    const struct options *o = user;

    if (o->json)
        print_json(
            json_pack("{s:s, s:s, s:s}", "finding", f->what, "table", f->table, "key", f->key));
    else
        printf("%s %s: %s\n", f->table, f->key, f->what);
}

static void print_summary(const struct options *o, const struct spool_check_summary *s)
{
    const struct {
        const char *name;
        uint64_t n;
    } rows[] = {
        {"messages", s->messages},     {"body_bytes", s->body_bytes},
        {"chunks", s->chunks},         {"orphan_chunks", s->orphan_chunks},
        {"undecided", s->undecided},   {"aborted", s->aborted},
        {"sessions", s->sessions},     {"marks", s->marks},
        {"intervals", s->intervals},   {"traces", s->traces},
        {"agings", s->agings},         {"file_pages", s->file_pages},
        {"used_pages", s->used_pages}, {"free_pages", s->free_pages},
        {"findings", s->findings},
    };
    json_t *obj = json_object();

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (o->json)
            json_object_set_new(obj, rows[i].name, json_integer((json_int_t)rows[i].n));
        else
            printf("%-14s %llu\n", rows[i].name, (unsigned long long)rows[i].n);
    }
    if (o->json)
        print_json(obj);
    else
        json_decref(obj);
}

static int refused(const struct options *o, enum err e)
{
    const char *why = "reading failed";
    int status = EXIT_CONFIG;

    if (e == E_AGAIN)
        why = "in use: stop the daemon first, or check a copy";
    else if (e == E_CORRUPT)
        why = "not a spool, or too damaged to be opened as one";
    else if (e == E_PROTO)
        why = "written by another version";
    else
        status = EXIT_MACHINE;
    fprintf(stderr, "trispool-check: %s: %s\n", o->dir, why);
    return status;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "DIR",
        .doc = "Checks the spool in DIR (folder `spool` of the node) while the daemon is down. "
               "Changes nothing.",
    };
    struct options o = {0};
    struct spool_check_summary sum;
    enum err e;

    version_announce("trispool-check");
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    e = spool_check(o.dir, on_finding, &o, &sum);
    if (e != OK)
        return refused(&o, e);
    print_summary(&o, &sum);
    if (fflush(stdout) != 0)
        return EXIT_MACHINE;
    return sum.findings == 0 ? EXIT_SUCCESS : EXIT_FINDINGS;
}
