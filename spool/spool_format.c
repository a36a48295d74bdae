#include "spool/spool_format.h"
#include "base/fault.h"

#include <xxhash.h>

static const char *const names[TABLE_COUNT] = {
    [TABLE_META] = "meta",   [TABLE_MSG] = "msg",         [TABLE_BODY] = "body",
    [TABLE_MARK] = "mark",   [TABLE_SETTLED] = "settled", [TABLE_TRACE] = "trace",
    [TABLE_AGING] = "aging", [TABLE_ABORTED] = "aborted", [TABLE_SESSION] = "session",
    [TABLE_CLEAR] = "clear",
};

const char *spool_table_name(enum spool_table table)
{
    ASSERT((int)table > 0 && table < TABLE_COUNT);
    return names[table];
}

struct spool_key spool_key_mid(struct mid id)
{
    struct spool_key k = {.n = sizeof id.b};

    memcpy(k.b, id.b, sizeof id.b);
    return k;
}

struct spool_key spool_key_body(uint64_t number, uint32_t chunk)
{
    struct spool_key k = {.n = BODY_KEY_BYTES};

    put_be(k.b, 8, number);
    put_be(k.b + 8, 4, chunk);
    return k;
}

struct spool_key spool_key_aging(uint32_t day, struct mid id)
{
    struct spool_key k = {.n = AGING_KEY_BYTES};

    put_be(k.b, 4, day);
    memcpy(k.b + 4, id.b, sizeof id.b);
    return k;
}

struct spool_key spool_key_meta(const char *name)
{
    struct spool_key k = {.n = (uint8_t)strlen(name)};

    ASSERT(k.n <= sizeof k.b);
    memcpy(k.b, name, k.n);
    return k;
}

struct spool_key spool_key_format(void)
{
    return spool_key_meta(SPOOL_FORMAT_KEY);
}

struct spool_key spool_key_session(struct mid id)
{
    struct spool_key k = {.n = SESSION_KEY_BYTES};

    memcpy(k.b, id.b, SESSION_KEY_BYTES);
    return k;
}

struct spool_key spool_key_clear(uint16_t site)
{
    struct spool_key k = {.n = CLEAR_KEY_BYTES};

    put_be(k.b, CLEAR_KEY_BYTES, site);
    return k;
}

bool spool_key_to_mid(struct str key, struct mid *out)
{
    if (key.n != sizeof out->b)
        return false;
    memcpy(out->b, key.p, sizeof out->b);
    return true;
}

bool spool_key_to_body(struct str key, uint64_t *number, uint32_t *chunk)
{
    if (key.n != BODY_KEY_BYTES)
        return false;
    *number = get_be(key.p, 8);
    *chunk = (uint32_t)get_be(key.p + 8, 4);
    return true;
}

bool spool_key_to_aging(struct str key, uint32_t *day, struct mid *out)
{
    if (key.n != AGING_KEY_BYTES)
        return false;
    *day = (uint32_t)get_be(key.p, 4);
    memcpy(out->b, key.p + 4, sizeof out->b);
    return true;
}

uint64_t spool_checksum(enum spool_table table, struct str key, struct str data)
{
    uint64_t seed = XXH3_64bits_withSeed(key.p, key.n, (uint64_t)table);

    return XXH3_64bits_withSeed(data.p, data.n, seed);
}

bool spool_value_open(enum spool_table table, struct str key, struct str value,
                      struct str *data)
{
    if (value.n < CHECKSUM_BYTES)
        return false;
    *data = str_from(value, CHECKSUM_BYTES);
    return get_be(value.p, CHECKSUM_BYTES) == spool_checksum(table, key, *data) ||
           FAULT(CHECKSUM_IGNORED);
}

void spool_value_seal(enum spool_table table, struct str key, char *value, size_t data_bytes)
{
    struct str data = {value + CHECKSUM_BYTES, data_bytes};

    put_be(value, CHECKSUM_BYTES, spool_checksum(table, key, data));
}

void msg_head_write(const struct msg_head *h, char out[MSG_HEAD_BYTES])
{
    put_be(out, 8, h->number);
    put_be(out + 8, 8, h->bytes);
    put_be(out + 16, 8, h->digest);
    put_be(out + 24, 1, (uint64_t)h->state);
}

bool msg_head_read(struct str data, struct msg_head *h, struct str *record)
{
    if (data.n <= MSG_HEAD_BYTES)
        return false;
    *h = (struct msg_head){.number = get_be(data.p, 8),
                           .bytes = get_be(data.p + 8, 8),
                           .digest = get_be(data.p + 16, 8),
                           .state = (enum copy_state)get_be(data.p + 24, 1)};
    *record = str_from(data, MSG_HEAD_BYTES);
    return h->bytes <= LIMIT_BODY_BYTES &&
           (h->state == COPY_UNDECIDED || h->state == COPY_COMMITTED);
}
