/*
 * ctlkv: checked records in an LMDB environment, the ground of ctllog, control and known. Only
 * those include this header.
 *
 * A record is key -> checksum (8 bytes, big-endian) and payload. The checksum is XXH3-64 of the
 * payload, seeded with XXH3-64 of the key, which is seeded with the number of the table: a
 * record under a wrong key or in a wrong table does not match either.
 *
 * A write transaction keeps its first error (sticky): calls in a row, one look at commit. All
 * LMDB codes are read in ctlkv.c. Errors are logged there, once.
 * Threads: one writer; read transactions from any thread (MDB_NOTLS).
 * Durability: default LMDB sync flags; ctlkv_commit() returns after fsync. E_IO poisons: every
 * later write answers E_IO.
 */
#pragma once

#include <lmdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bigendian.h"
#include "base/err.h"
#include "base/str.h"

#define CTLKV_TABLES    16
#define CTLKV_KEY_BYTES 511 /* of LMDB as packaged */
#define CTLKV_SUM_BYTES 8

struct ctlkv {
    MDB_env *env;
    const char *name; /* for the log: "log" or "state" */
    const char *const *tables;
    uint32_t table_count;
    MDB_dbi dbi[CTLKV_TABLES];
    char dir[4096]; /* PATH_MAX */
    atomic_bool poisoned;
};

struct ctlkv_options {
    const char *dir, *name;
    uint64_t map_bytes;
    const char *const *tables; /* NULL-terminated, at most CTLKV_TABLES; static */
    bool create;
    bool relaxed; /* a commit may be undone by a crash of the machine, whole (MDB_NOMETASYNC):
                     for what can be lost */
};

struct ctlkv_txn {
    struct ctlkv *kv;
    MDB_txn *mdb;
    enum err first_err;
    bool write;
};

/* Makes `dir`, and its parent, when missing. *fresh: there was no store, or one that was never
 * finished; the tables are made by the first write transaction through ctlkv_make_tables().
 * E_NOTFOUND: fresh, and not `create`. */
MUST_CHECK enum err ctlkv_open(struct ctlkv *kv, const struct ctlkv_options *o, bool *fresh);
void ctlkv_close(struct ctlkv *kv);
void ctlkv_make_tables(struct ctlkv_txn *t);

/* A failed begin shows in each call and at commit. End it with commit or abort. */
void ctlkv_begin(struct ctlkv_txn *t, struct ctlkv *kv, bool write);
MUST_CHECK enum err ctlkv_commit(struct ctlkv_txn *t);
void ctlkv_abort(struct ctlkv_txn *t);

/* *payload points into the transaction and lives until its next write or end. E_NOTFOUND does
 * not stick. */
MUST_CHECK enum err ctlkv_get(struct ctlkv_txn *t, uint32_t table, struct str key,
                              struct str *payload);

/* The first record with a key above `after`, or the last one of the table. *key is set also on
 * E_CORRUPT. */
MUST_CHECK enum err ctlkv_next(struct ctlkv_txn *t, uint32_t table, struct str after,
                               struct str *key, struct str *payload);
MUST_CHECK enum err ctlkv_last(struct ctlkv_txn *t, uint32_t table, struct str *key,
                               struct str *payload);

/* The payload is `head` and `body`, one behind the other; neither points into the store. */
void ctlkv_put(struct ctlkv_txn *t, uint32_t table, struct str key, struct str head,
               struct str body);
/* No such record is not an error. */
void ctlkv_del(struct ctlkv_txn *t, uint32_t table, struct str key);
void ctlkv_clear(struct ctlkv_txn *t, uint32_t table); /* all its records */
uint64_t ctlkv_count(struct ctlkv_txn *t, uint32_t table);

/* Lets a caller's own finding stick ("this record cannot be decoded"). */
void ctlkv_fail(struct ctlkv_txn *t, const char *op, enum err e);

/* Logs a record that is there and makes no sense. */
void ctlkv_log_corrupt(const struct ctlkv *kv, uint32_t table, struct str key);

/* Walks all records. *bad counts those that do not match; *digest covers keys and payloads of
 * all tables from `first_table` on. */
MUST_CHECK enum err ctlkv_walk(struct ctlkv *kv, uint32_t first_table, uint64_t *bad,
                               uint64_t *digest);

/* Numbers in records. */
static inline void ctlkv_store_u64(char *p, uint64_t v)
{
    put_be(p, 8, v);
}

static inline uint64_t ctlkv_load_u64(const char *p)
{
    return get_be(p, 8);
}

static inline void ctlkv_store_u16(char *p, uint16_t v)
{
    put_be(p, 2, v);
}

static inline uint16_t ctlkv_load_u16(const char *p)
{
    return (uint16_t)get_be(p, 2);
}

static inline void ctlkv_store_u32(char *p, uint32_t v)
{
    put_be(p, 4, v);
}

static inline uint32_t ctlkv_load_u32(const char *p)
{
    return (uint32_t)get_be(p, 4);
}
