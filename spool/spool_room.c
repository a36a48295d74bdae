/* How full the spool is. Pages that a table reaches are used, all others are free, so the sum
 * over the tables tells it without a walk through the list of free pages. */
#include <sys/statvfs.h>

#include "spool/spool_internal.h"

#define DISK_SLACK_BYTES (256 * KiB)

/* Numbers 0 and 1 are LMDB's own trees: free pages, and the names of the tables. */
static uint64_t tree_pages(MDB_txn *txn, MDB_dbi dbi)
{
    MDB_stat st;

    if (mdb_stat(txn, dbi, &st) != 0)
        return 0;
    return st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
}

uint64_t spool_used_pages(struct spool *s, MDB_txn *txn)
{
    uint64_t pages = 2 + tree_pages(txn, 0) + tree_pages(txn, 1); /* two meta pages */

    for (enum spool_table t = TABLE_META; t < TABLE_COUNT; t++)
        pages += tree_pages(txn, s->dbi[t]);
    return pages;
}

static bool disk_free(const struct spool *s, uint64_t *bytes)
{
    struct statvfs v;

    if (fstatvfs(s->data_fd, &v) != 0)
        return false;
    *bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return true;
}

static uint64_t capacity(const struct spool *s)
{
    uint64_t least = s->map_bytes, avail;
    MDB_envinfo info;

    if (s->quota_bytes > 0 && s->quota_bytes < least)
        least = s->quota_bytes;
    if (disk_free(s, &avail) && mdb_env_info(s->env, &info) == 0) {
        uint64_t reach = (info.me_last_pgno + 1) * PAGE_BYTES;

        reach = reach > UINT64_MAX - avail ? UINT64_MAX : reach + avail;
        if (reach < least)
            least = reach;
    }
    return least;
}

static uint64_t percent(uint64_t of, uint64_t n)
{
    return of / 100 * n + of % 100 * n / 100;
}

void spool_room_update(struct spool *s, uint64_t used_bytes)
{
    uint64_t most = capacity(s);

    atomic_store(&s->used_bytes, used_bytes);
    atomic_store(&s->capacity_bytes, most);
    if (used_bytes > percent(most, LIMIT_SPOOL_FULL_PERCENT))
        atomic_store(&s->room, SPOOL_FULL);
    else if (used_bytes < percent(most, LIMIT_SPOOL_ROOM_PERCENT))
        atomic_store(&s->room, SPOOL_ROOM);
}

void spool_refresh_room(struct spool *s)
{
    ASSERT(!s->txn.open);
    if (mdb_txn_renew(s->look) != 0)
        return;
    spool_room_update(s, spool_used_pages(s, s->look) * PAGE_BYTES);
    mdb_txn_reset(s->look);
}

bool spool_room_for(const struct spool_txn *t, uint64_t bytes, bool from_peer)
{
    struct spool *s = t->spool;
    uint64_t capacity_bytes = atomic_load(&s->capacity_bytes);
    uint64_t used_bytes = atomic_load(&s->used_bytes);

    /* All nodes fill together: a copy that is refused here costs a sender its 250 elsewhere. */
    if (from_peer)
        return used_bytes + t->bytes + bytes <=
               percent(capacity_bytes, LIMIT_SPOOL_PEER_PERCENT);
    if (atomic_load(&s->room) == SPOOL_ROOM &&
        used_bytes + t->bytes + bytes <= percent(capacity_bytes, LIMIT_SPOOL_FULL_PERCENT))
        return true;
    /* Near the mark one refusal closes the door, so that clients hear it in the banner and not
     * after sending a body. A single giant does not, while there is room for others. */
    if (used_bytes >= percent(capacity_bytes, LIMIT_SPOOL_ROOM_PERCENT))
        atomic_store(&s->room, SPOOL_FULL);
    return false;
}

bool spool_disk_full(const struct spool *s, uint64_t batch_bytes)
{
    uint64_t avail;

    return disk_free(s, &avail) && avail < 2 * batch_bytes + DISK_SLACK_BYTES;
}

enum spool_room spool_room(const struct spool *s)
{
    return (enum spool_room)atomic_load(&s->room);
}

uint64_t spool_used_bytes(const struct spool *s)
{
    return atomic_load(&s->used_bytes);
}

uint64_t spool_capacity_bytes(const struct spool *s)
{
    return atomic_load(&s->capacity_bytes);
}
