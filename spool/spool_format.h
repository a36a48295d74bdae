/*
 * spool_format: the bytes of the spool: keys, values, checksums. Private to spool/;
 * docs/disk-format.md is its description in words. All numbers are big-endian, so that keys
 * sort by memcmp and a file reads the same on every machine.
 *
 * Every value begins with a checksum of 8 bytes:
 *     XXH3-64(data, seed = XXH3-64(key, seed = number of the table))
 * so that a value under a foreign key, or in a foreign table, does not pass either.
 * Threads: any; pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bigendian.h"
#include "base/limits.h"
#include "base/mid.h"
#include "base/str.h"
#include "proto/copyrec.h"

#define SPOOL_FORMAT_VERSION 2
#define SPOOL_FORMAT_KEY     "format"
#define SPOOL_MEMBER_KEY     "member"
#define SPOOL_ECHO_KEY       "echo"

/* Part of the disk format: the numbers are seeds of checksums. */
enum spool_table {
    TABLE_META = 1,
    TABLE_MSG = 2,
    TABLE_BODY = 3,
    TABLE_MARK = 4,
    TABLE_SETTLED = 5,
    TABLE_TRACE = 6,
    TABLE_AGING = 7,
    TABLE_ABORTED = 8,
    TABLE_SESSION = 9,
    TABLE_CLEAR = 10,
    TABLE_COUNT = 11
};
const char *spool_table_name(enum spool_table table);

#define CHECKSUM_BYTES  8
#define BODY_KEY_BYTES  12 /* body number u64, chunk u32 */
#define AGING_KEY_BYTES 20 /* day u32, mid */
#define MSG_HEAD_BYTES  25 /* body number u64, bytes u64, digest u64, state u8 */
#define MARK_DATA_BYTES                                                                        \
    19 /* slot epoch u64, holder's site u16, its session epoch u64, flags                      \
        */
#define MARK_OVER         1
#define MARK_DOUBT        2
#define SETTLED_END_BYTES 8  /* last counter of the interval u64 */
#define FORMAT_DATA_BYTES 4  /* version u32 */
#define SESSION_KEY_BYTES 8  /* site u16, epoch u48: how its ids begin */
#define SESSION_BYTES     9  /* counter of the commit knowledge u64, flags u8 */
#define SESSION_RESOLVED  1  /* flag */
#define CLEAR_KEY_BYTES   2  /* site u16 */
#define CLEAR_DATA_BYTES  8  /* epoch u64 */
#define MEMBER_DATA_BYTES 25 /* incarnation u64, first epoch u64, sites u64, filled u8 */
#define ECHO_DATA_BYTES   8  /* counter u64 */
#define KEY_BYTES_MAX     AGING_KEY_BYTES
#define CHUNK_DATA_BYTES  (LIMIT_CHUNK_BYTES - CHECKSUM_BYTES)
#define DAY_MS            UINT64_C(86400000)

/* A key made here, with the room for any table's. */
struct spool_key {
    uint8_t b[KEY_BYTES_MAX];
    uint8_t n;
};

/* msg, mark, settled (first id), trace, aborted */
struct spool_key spool_key_mid(struct mid id);
struct spool_key spool_key_body(uint64_t number, uint32_t chunk);
struct spool_key spool_key_aging(uint32_t day, struct mid id);
struct spool_key spool_key_meta(const char *name);
struct spool_key spool_key_format(void);
struct spool_key spool_key_session(struct mid id); /* of any id of it */
struct spool_key spool_key_clear(uint16_t site);

/* Back again; false: a key of this table cannot look like that. */
bool spool_key_to_mid(struct str key, struct mid *out);
bool spool_key_to_body(struct str key, uint64_t *number, uint32_t *chunk);
bool spool_key_to_aging(struct str key, uint32_t *day, struct mid *out);

uint64_t spool_checksum(enum spool_table table, struct str key, struct str data);

/* The data of a value, without the checksum. False: too short, or the checksum differs. */
bool spool_value_open(enum spool_table table, struct str key, struct str value,
                      struct str *data);
/* Writes the checksum in front of the data_bytes that stand behind it. */
void spool_value_seal(enum spool_table table, struct str key, char *value, size_t data_bytes);

/* What stands in front of the envelope in a msg value, so that a put, a settle and the count at
 * open need not decode the rest. */
struct msg_head {
    uint64_t number, bytes, digest;
    enum copy_state state; /* COPY_UNDECIDED or COPY_COMMITTED */
};
void msg_head_write(const struct msg_head *h, char out[MSG_HEAD_BYTES]);
/* *record is the encoded envelope behind the head. False: too short, or an impossible size or
 * state. */
bool msg_head_read(struct str data, struct msg_head *h, struct str *record);

static inline uint32_t chunk_count(uint64_t body_bytes)
{
    return (uint32_t)((body_bytes + CHUNK_DATA_BYTES - 1) / CHUNK_DATA_BYTES);
}

/* Data bytes of chunk `chunk` of a body; chunk below chunk_count(). */
static inline size_t chunk_bytes(uint64_t body_bytes, uint32_t chunk)
{
    uint64_t rest = body_bytes - (uint64_t)chunk * CHUNK_DATA_BYTES;

    return rest < CHUNK_DATA_BYTES ? (size_t)rest : CHUNK_DATA_BYTES;
}
