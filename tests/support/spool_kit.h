/*
 * spool_kit: what tests and benches of the spool share: a directory, messages with bodies that
 * can be made again from their id, one-call transactions.
 * Threads: none. Everything ASSERTs on failure: a test has no better answer.
 */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/prng.h"
#include "proto/record.h"
#include "spool/spool.h"

struct kit {
    char dir[64];
    struct spool *spool;
    struct spool_reader *reader;
    struct block_pool pool;
    struct arena arena;
    struct spool_options options;
};

/* A message whose body follows from its id and size. */
struct kit_message {
    struct rcpt rcpt;
    struct envelope envelope;
    struct block_list body;
};

static inline int kit_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void kit_remove_dir(const char *dir)
{
    nftw(dir, kit_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void kit_open(struct kit *k)
{
    ASSERT(spool_open(&k->spool, &k->options) == OK);
    ASSERT(spool_reader_open(k->spool, &k->reader) == OK);
}

static inline void kit_close(struct kit *k)
{
    if (k->reader != NULL)
        spool_reader_close(&k->reader);
    if (k->spool != NULL)
        spool_close(&k->spool);
}

static inline void kit_reopen(struct kit *k)
{
    kit_close(k);
    kit_open(k);
}

/* Memory, where there is enough of it: what these tests prove does not hang on a real disk, and
 * thousands of real syncs take minutes. */
static inline const char *kit_place(void)
{
    struct statvfs v;

    if (statvfs("/dev/shm", &v) == 0 && v.f_bavail * v.f_frsize > 512 * MiB)
        return "/dev/shm";
    return "/tmp";
}

/* Without opening. */
static inline void kit_prepare(struct kit *k, uint64_t map_bytes)
{
    *k = (struct kit){0};
    snprintf(k->dir, sizeof k->dir, "%s/spool.XXXXXX", kit_place());
    ASSERT(mkdtemp(k->dir) != NULL);
    block_pool_init(&k->pool, SIZE_MAX / 2);
    arena_init(&k->arena, 4 * RECORD_ARENA_BYTES);
    k->options = (struct spool_options){.dir = k->dir, .map_bytes = map_bytes};
}

static inline void kit_init(struct kit *k, uint64_t map_bytes)
{
    kit_prepare(k, map_bytes);
    kit_open(k);
}

static inline void kit_fini(struct kit *k)
{
    kit_close(k);
    arena_reset(&k->arena);
    kit_remove_dir(k->dir);
}

/* Byte `at` of the body of a message; cheap, and different for every id and place. */
static inline char kit_byte(struct mid id, uint64_t at)
{
    uint64_t x = mid_counter(id) * UINT64_C(0x9E3779B97F4A7C15) + (at >> 3) + 1;

    x ^= x >> 29;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 32;
    return (char)(x >> 8 * (at & 7));
}

static inline void kit_fill(struct mid id, uint64_t offset, char *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = kit_byte(id, offset + i);
}

static inline uint64_t kit_digest(struct mid id, uint64_t bytes)
{
    char *all = malloc(bytes > 0 ? bytes : 1);
    uint64_t digest;

    ASSERT(all != NULL);
    kit_fill(id, 0, all, bytes);
    digest = XXH3_64bits(all, bytes);
    free(all);
    return digest;
}

/* Bytes offset .. offset + n of the body of `id`, appended to the list. */
static inline void kit_append(struct kit *k, struct block_list *list, struct mid id,
                              uint64_t offset, size_t n)
{
    char *part = malloc(n > 0 ? n : 1);

    ASSERT(part != NULL);
    kit_fill(id, offset, part, n);
    ASSERT(block_append(&k->pool, list, (struct str){part, n}));
    free(part);
}

/* The envelope alone; m must not move while it is used. */
static inline void kit_envelope(struct kit_message *m, struct mid id, uint64_t bytes)
{
    *m = (struct kit_message){.rcpt = {.path = STR("ann@example.org")}};
    m->envelope = (struct envelope){.id = id,
                                    .domain = STR("example.org"),
                                    .sender = STR("joe@example.net"),
                                    .rcpts = &m->rcpt,
                                    .rcpt_count = 1,
                                    .body_bytes = bytes,
                                    .body_digest = kit_digest(id, bytes),
                                    .trace_header = STR("Received: by mx1.example\r\n"),
                                    .received_ms = mid_counter(id),
                                    .deadline_ms = mid_counter(id) + 1000};
}

static inline void kit_message(struct kit *k, struct kit_message *m, struct mid id,
                               uint64_t bytes)
{
    kit_envelope(m, id, bytes);
    kit_append(k, &m->body, id, 0, bytes);
}

static inline void kit_message_free(struct kit *k, struct kit_message *m)
{
    block_list_free(&k->pool, &m->body);
}

/* One operation in a commit of its own: the answer of the operation, or of the commit. */
static inline enum err kit_commit(struct spool_txn *t, enum err answer)
{
    enum err e = spool_commit(&t);

    return e != OK ? e : answer;
}

static inline enum err kit_put(struct kit *k, struct mid id, uint64_t bytes)
{
    struct spool_txn *t = spool_begin(k->spool);
    struct kit_message m;
    enum err e;

    kit_message(k, &m, id, bytes);
    e = kit_commit(t, spool_put(t, &m.envelope, &m.body));
    kit_message_free(k, &m);
    return e;
}

static inline enum err kit_get(struct kit *k, struct mid id, struct envelope *out)
{
    arena_reset(&k->arena);
    return spool_get(k->reader, id, &k->arena, out);
}

static inline enum err kit_settle(struct kit *k, struct mid id, uint64_t now_ms)
{
    struct envelope e;
    enum err err = kit_get(k, id, &e);
    struct spool_txn *t;

    if (err != OK)
        return err;
    t = spool_begin(k->spool);
    return kit_commit(t, spool_settle(t, &e, now_ms, 1));
}

/* Reads the whole body and compares it with what kit_byte() says. OK, what reading answered, or
 * E_CONFLICT when the bytes differ. */
static inline enum err kit_compare(struct kit *k, const struct envelope *e)
{
    char *got = malloc(SPOOL_READ_BYTES), *want = malloc(SPOOL_READ_BYTES);
    uint64_t offset = 0;
    enum err err = OK;
    size_t n = 1;

    ASSERT(got != NULL && want != NULL);
    while (err == OK && n > 0) {
        err = spool_read_body(k->reader, e, offset, got, SPOOL_READ_BYTES, &n);
        kit_fill(e->id, offset, want, n);
        if (err == OK && memcmp(got, want, n) != 0)
            err = E_CONFLICT;
        offset += n;
    }
    if (err == OK && offset != e->body_bytes)
        err = E_CONFLICT;
    free(got);
    free(want);
    return err;
}
