/*
 * power_cut: cuts the power of a spool at every moment that matters, and looks at what is left.
 *
 * A run of random batches is recorded: each write to data.mdb, each sync, and when each batch
 * was acknowledged. Then files are rebuilt as a disk might hold them after a cut: what a
 * completed sync covers, plus some of the later writes, sector by sector (so that pages and
 * meta pages tear). Each is opened as a spool and must hold exactly what was acknowledged, or
 * that and the whole of the batch under way.
 *
 * The same is done with LMDB's syncs switched off: those runs must lose mail, or this test
 * would not see a loss.
 *
 *   power_cut [--images N] [--batches N] [--seed S]
 */
#include <lmdb.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/log.h"
#include "spool/spool_check.h"
#include "tests/crash/model.h"
#include "tests/support/io_tap.h"

#define MAP_BYTES      (256 * MiB)
#define CHILD_SECONDS  30
#define SECTOR_MIN     512
#define CREATION_PLACE "data.new"

const bool spool_test_build = true;

struct event {
    enum io_op op;
    uint64_t offset;
    size_t n;
    char *data;
    bool creating; /* in data.new, before the spool is in its place */
};

struct ack {
    size_t at; /* events before the answer */
    struct model model;
};

struct recording {
    struct event *events;
    size_t n, room;
    struct ack *acks; /* [0]: the empty spool */
    size_t ack_count;
    uint64_t file_bytes;
};

enum style { STYLE_NONE, STYLE_ALL, STYLE_PREFIX, STYLE_HALF, STYLE_MOST, STYLE_FEW, STYLES };
static const char *const style_names[STYLES] = {"none", "all", "prefix", "half", "90%", "10%"};

/* --- Recording --- */

static void on_io(void *user, const char *path, enum io_op op, const void *data, size_t n,
                  uint64_t offset)
{
    struct recording *rec = user;
    struct event *e;

    if (rec->n == rec->room) {
        rec->room = rec->room > 0 ? 2 * rec->room : 4096;
        rec->events = realloc(rec->events, rec->room * sizeof *rec->events);
        ASSERT(rec->events != NULL);
    }
    e = &rec->events[rec->n++];
    *e = (struct event){.op = op, .offset = offset, .n = n};
    e->creating = strstr(path, "/" CREATION_PLACE "/") != NULL;
    if (n > 0) {
        e->data = malloc(n);
        ASSERT(e->data != NULL);
        memcpy(e->data, data, n);
    }
    if (offset + n > rec->file_bytes)
        rec->file_bytes = offset + n;
}

static void acknowledge(struct recording *rec, const struct model *m)
{
    rec->acks = realloc(rec->acks, (rec->ack_count + 1) * sizeof *rec->acks);
    ASSERT(rec->acks != NULL);
    rec->acks[rec->ack_count].at = rec->n;
    rec->acks[rec->ack_count++].model = *m;
}

static void record(struct recording *rec, struct prng *r, size_t batches, unsigned flags)
{
    struct model m = {.next = 1};
    struct kit k;

    *rec = (struct recording){0};
    kit_prepare(&k, MAP_BYTES);
    k.options.unsafe_flags = flags;
    *io_tap() = (struct io_tap){.wrote = on_io, .user = rec};
    kit_open(&k);
    acknowledge(rec, &m);
    for (size_t i = 0; i < batches; i++) {
        struct batch b;
        struct spool_txn *t;

        model_plan(&m, r, &k, &b);
        t = model_run(&m, &k, &b);
        ASSERT(spool_commit(&t) == OK);
        acknowledge(rec, &m);
    }
    *io_tap() = (struct io_tap){0};
    ASSERT(model_differs(&m, &k) == NULL);
    kit_fini(&k);
}

static void recording_free(struct recording *rec)
{
    for (size_t i = 0; i < rec->n; i++)
        free(rec->events[i].data);
    free(rec->events);
    free(rec->acks);
    *rec = (struct recording){0};
}

/* --- Rebuilding --- */

struct image {
    char *bytes;
    uint64_t size, room;
};

/* The cut: events before `at` had returned, the one at `at` (if it is a write) was under way.
 */
struct cut {
    size_t at;
    enum style style;
    size_t sector;
};

static void image_write(struct image *im, const struct event *e, size_t from, size_t to)
{
    if (e->offset + to > im->size)
        im->size = e->offset + to;
    ASSERT(im->size <= im->room);
    memcpy(im->bytes + e->offset + from, e->data + from, to - from);
}

/* The first event that no completed sync covers. */
static size_t durable_end(const struct recording *rec, size_t at)
{
    while (at > 0 && rec->events[at - 1].op != IO_SYNC)
        at--;
    return at;
}

/* Whether a sector of a pending write has reached the disk; in order for a prefix. */
static bool reached(struct prng *r, enum style style, size_t index, size_t limit)
{
    switch (style) {
    case STYLE_NONE:
        return false;
    case STYLE_ALL:
        return true;
    case STYLE_PREFIX:
        return index < limit;
    case STYLE_HALF:
        return prng_below(r, 2) == 0;
    case STYLE_MOST:
        return prng_below(r, 10) != 0;
    case STYLE_FEW:
        return prng_below(r, 10) == 0;
    case STYLES:
        break;
    }
    return false;
}

static size_t sectors_of(const struct event *e, size_t sector)
{
    return e->op == IO_SYNC ? 0 : (e->n + sector - 1) / sector;
}

/* A write through O_DSYNC that returned is on the disk; others wait for a sync. */
static bool pending(const struct recording *rec, const struct cut *c, size_t i)
{
    return i == c->at || rec->events[i].op == IO_WRITE;
}

static void rebuild(const struct recording *rec, const struct cut *c, struct prng *r,
                    struct image *im)
{
    size_t safe = durable_end(rec, c->at), end = c->at < rec->n ? c->at + 1 : rec->n;
    size_t total = 0, index = 0, limit;

    memset(im->bytes, 0, im->room);
    im->size = 0;
    for (size_t i = 0; i < safe; i++)
        if (rec->events[i].op != IO_SYNC)
            image_write(im, &rec->events[i], 0, rec->events[i].n);
    for (size_t i = safe; i < end; i++)
        total += pending(rec, c, i) ? sectors_of(&rec->events[i], c->sector) : 0;
    limit = (size_t)prng_below(r, total + 1);
    for (size_t i = safe; i < end; i++) {
        const struct event *e = &rec->events[i];

        for (size_t k = 0; k < sectors_of(e, c->sector); k++) {
            size_t from = k * c->sector, to = from + c->sector < e->n ? from + c->sector : e->n;

            if (!pending(rec, c, i) || reached(r, c->style, index++, limit))
                image_write(im, e, from, to);
        }
    }
}

/* --- Looking at what is left (in a child: a broken file may end the process) --- */

static void on_finding(void *user, const struct spool_finding *f)
{
    char *what = user;

    if (what[0] == 0)
        snprintf(what, 128, "check: %s %s: %s", f->table, f->key, f->what);
}

static const char *check_dir(struct kit *k, bool orphans_allowed)
{
    static char what[128];
    struct spool_check_summary sum;

    what[0] = 0;
    if (spool_check(k->dir, on_finding, what, &sum) != OK)
        return "the check cannot read it";
    if (sum.findings == 0 && sum.orphan_chunks > 0 && !orphans_allowed)
        return "orphans are left";
    return sum.findings > 0 ? what : NULL;
}

/* The number of acknowledged batches at the cut. */
static size_t acknowledged(const struct recording *rec, size_t at)
{
    size_t n = 0;

    while (n + 1 < rec->ack_count && rec->acks[n + 1].at <= at)
        n++;
    return n;
}

static const char *compare(const struct recording *rec, const struct cut *c, struct kit *k)
{
    size_t n = acknowledged(rec, c->at);
    const char *what = model_differs(&rec->acks[n].model, k);

    if (what != NULL && n + 1 < rec->ack_count &&
        model_differs(&rec->acks[n + 1].model, k) == NULL)
        what = NULL; /* the batch under way is there as a whole */
    return what;
}

static const char *look(const struct recording *rec, const struct cut *c, struct kit *k,
                        bool creating)
{
    const char *what = creating ? NULL : check_dir(k, true);

    if (what != NULL)
        return what;
    if (spool_open(&k->spool, &k->options) != OK)
        return "it does not open";
    if (spool_reader_open(k->spool, &k->reader) != OK)
        return "no reader";
    what = compare(rec, c, k);
    if (what == NULL && kit_put(k, mid_make(9, 9, 9), 5000) != OK)
        what = "it takes no more mail";
    kit_close(k);
    return what != NULL ? what : check_dir(k, false);
}

static void write_image(struct kit *k, const struct image *im, bool creating)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", k->dir, creating ? CREATION_PLACE : "data");
    ASSERT(mkdir(path, 0700) == 0);
    snprintf(path, sizeof path, "%s/%s/data.mdb", k->dir, creating ? CREATION_PLACE : "data");
    f = fopen(path, "w");
    ASSERT(f != NULL);
    ASSERT(fwrite(im->bytes, 1, im->size, f) == im->size);
    ASSERT(fclose(f) == 0);
}

/* True: good. */
static bool survives(const struct recording *rec, const struct cut *c, const struct image *im,
                     bool quiet)
{
    bool creating = c->at < rec->n && rec->events[c->at].creating;
    int status = 0;
    struct kit k;
    pid_t child;

    kit_prepare(&k, MAP_BYTES);
    write_image(&k, im, creating);
    fflush(NULL);
    child = fork();
    ASSERT(child >= 0);
    if (child == 0) {
        const char *what;

        alarm(CHILD_SECONDS); /* a broken tree may have a loop in it */
        if (quiet && freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        what = look(rec, c, &k, creating);
        if (what != NULL && !quiet)
            printf("cut at event %zu, %s of %zu-byte sectors: %s\n", c->at,
                   style_names[c->style], c->sector, what);
        fflush(NULL);
        _exit(what == NULL ? 0 : 1);
    }
    ASSERT(waitpid(child, &status, 0) == child);
    kit_fini(&k);
    if (WIFSIGNALED(status) && !quiet)
        printf("cut at event %zu: ended by signal %d\n", c->at, WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- Where to cut --- */

struct result {
    size_t images, bad;
};

static void try_cut(const struct recording *rec, const struct cut *c, struct prng *r,
                    struct image *im, bool quiet, struct result *out)
{
    rebuild(rec, c, r, im);
    out->images++;
    out->bad += !survives(rec, c, im, quiet);
}

static size_t sector_of(struct prng *r)
{
    return prng_below(r, 2) == 0 ? 4096 : SECTOR_MIN;
}

/* Every sync and every synced write: just before it, with it under way, and just after it, in
 * the styles in turn; the first of them in all styles. */
static void cut_at_syncs(const struct recording *rec, struct prng *r, struct image *im,
                         size_t images, bool quiet, struct result *out)
{
    size_t points = 0, stride, seen = 0;

    for (size_t i = 0; i < rec->n; i++)
        points += rec->events[i].op != IO_WRITE;
    stride = 2 * points / (images > 0 ? images : 1) + 1;
    for (size_t i = 0; i < rec->n; i++) {
        if (rec->events[i].op == IO_WRITE || (seen++ % stride != 0 && seen > 8))
            continue;
        for (size_t at = i; at <= i + 1 && at <= rec->n; at++) {
            struct cut c = {at, (enum style)prng_below(r, STYLES), sector_of(r)};

            try_cut(rec, &c, r, im, quiet, out);
        }
    }
}

static struct result cut_all(const struct recording *rec, struct prng *r, size_t images,
                             bool quiet)
{
    struct image im = {.room = rec->file_bytes};
    struct result out = {0};

    im.bytes = malloc(im.room);
    ASSERT(im.bytes != NULL);
    cut_at_syncs(rec, r, &im, images / 2, quiet, &out);
    while (out.images < images) {
        struct cut c = {.at = (size_t)prng_below(r, rec->n + 1), .sector = sector_of(r)};

        for (c.style = STYLE_NONE; c.style < STYLES; c.style++)
            try_cut(rec, &c, r, &im, quiet, &out);
    }
    free(im.bytes);
    return out;
}

static const struct {
    const char *name;
    unsigned flags;
    bool safe;
    unsigned share; /* of the images, in percent */
} modes[] = {
    {"as shipped", 0, true, 100},
    {"MDB_NOSYNC", MDB_NOSYNC, false, 10},
    {"MDB_NOMETASYNC", MDB_NOMETASYNC, false, 10},
};

static bool run_mode(size_t i, uint64_t seed, size_t batches, size_t images)
{
    struct recording rec;
    struct result res;
    struct prng r;
    bool good;

    prng_seed(&r, seed);
    record(&rec, &r, batches, modes[i].flags);
    res = cut_all(&rec, &r, images * modes[i].share / 100 + 1, !modes[i].safe);
    good = modes[i].safe ? res.bad == 0 : res.bad > 0;
    printf("%s: %zu batches, %zu writes and syncs, file %llu, %zu images, %zu bad: %s\n",
           modes[i].name, batches, rec.n, (unsigned long long)rec.file_bytes, res.images,
           res.bad,
           good ? (modes[i].safe ? "good" : "good (must lose mail, and does)") : "FAILED");
    recording_free(&rec);
    return good;
}

int main(int argc, char **argv)
{
    size_t images = 700, batches = 60;
    uint64_t seed = 1;
    bool good = true;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--images") == 0)
            images = strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--batches") == 0)
            batches = strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoul(argv[i + 1], NULL, 10);
    }
    log_set_level(LOG_WARN);
    printf("seed=%llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        good = run_mode(i, seed, batches, images) && good;
    return good ? 0 : 1;
}
