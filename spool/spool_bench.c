/* How fast the spool takes mail and lets it go, on the disk it is started on:
 *
 *   spool_bench [DIR [MESSAGES]]
 *
 * Rows: body size and batch; for puts and for settles messages a second and the mean time of a
 * commit. DIR (default: the current folder) decides which disk is measured. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/support/spool_kit.h"

struct row {
    uint64_t bytes;
    size_t batch;
};

static const struct row rows[] = {{4096, 1},  {4096, 8},   {4096, 64},  {30720, 1},
                                  {30720, 8}, {30720, 64}, {1048576, 4}};

struct made {
    struct kit_message *at;
    size_t n;
};

static struct made make(struct kit *k, uint64_t first, size_t n, uint64_t bytes)
{
    struct made m = {calloc(n, sizeof *m.at), n};

    ASSERT(m.at != NULL);
    for (size_t i = 0; i < n; i++)
        kit_message(k, &m.at[i], mid_make(1, 1, first + i), bytes);
    return m;
}

static uint64_t put_all(struct kit *k, struct made *m, size_t batch)
{
    uint64_t start_us = clock_boot_us();

    for (size_t i = 0; i < m->n; i += batch) {
        struct spool_txn *t = spool_begin(k->spool);

        for (size_t j = i; j < i + batch && j < m->n; j++)
            ASSERT(spool_put(t, &m->at[j].envelope, &m->at[j].body) == OK);
        ASSERT(spool_commit(&t) == OK);
    }
    return clock_boot_us() - start_us;
}

static uint64_t settle_all(struct kit *k, struct made *m, size_t batch)
{
    uint64_t start_us = clock_boot_us();

    for (size_t i = 0; i < m->n; i += batch) {
        struct spool_txn *t = spool_begin(k->spool);

        for (size_t j = i; j < i + batch && j < m->n; j++)
            ASSERT(spool_settle(t, &m->at[j].envelope, 1, 1) == OK);
        ASSERT(spool_commit(&t) == OK);
    }
    return clock_boot_us() - start_us;
}

static void run(struct kit *k, const struct row *row, uint64_t first, size_t n)
{
    struct made m = make(k, first, n, row->bytes);
    uint64_t put_us = put_all(k, &m, row->batch), settle_us = settle_all(k, &m, row->batch);
    uint64_t commits = (n + row->batch - 1) / row->batch;

    printf("%8llu bytes, %3zu a commit: put %7llu/s, commit %6llu us; settle %7llu/s\n",
           (unsigned long long)row->bytes, row->batch,
           (unsigned long long)(n * UINT64_C(1000000) / (put_us + 1)),
           (unsigned long long)(put_us / commits),
           (unsigned long long)(n * UINT64_C(1000000) / (settle_us + 1)));
    for (size_t i = 0; i < n; i++)
        kit_message_free(k, &m.at[i]);
    free(m.at);
}

int main(int argc, char **argv)
{
    size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 2000;
    uint64_t first = 1;
    struct kit k = {0};

    log_set_level(LOG_WARN);
    snprintf(k.dir, sizeof k.dir, "%s/spool_bench.XXXXXX", argc > 1 ? argv[1] : ".");
    ASSERT(mkdtemp(k.dir) != NULL);
    block_pool_init(&k.pool, SIZE_MAX / 2);
    k.options = (struct spool_options){.dir = k.dir, .map_bytes = 64 * GiB};
    kit_open(&k);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t count = rows[i].bytes > 100000 ? n / 20 + 1 : n;

        run(&k, &rows[i], first, count);
        first += count;
    }
    kit_fini(&k);
    return 0;
}
