#include "spool/spool.h"

#include <stdlib.h>

#include "base/log.h"
#include "spool/spool_internal.h"

enum err spool_open(struct spool **out, const struct spool_options *o)
{
    struct spool *s = calloc(1, sizeof *s);
    MDB_envinfo info;
    enum err e;

    ASSERT(s != NULL);
    s->lock_fd = s->data_fd = -1;
    s->map_bytes = o->map_bytes;
    s->quota_bytes = o->quota_bytes;
    e = spool_env_open(s, o);
    if (e == OK && mdb_env_info(s->env, &info) == 0)
        s->map_bytes = info.me_mapsize; /* LMDB makes it as large as the file at least */
    if (e == OK)
        e = spool_recover(s);
    if (e == OK)
        spool_refresh_room(s);
    else
        spool_close(&s);
    *out = s;
    return e;
}

void spool_close(struct spool **sp)
{
    struct spool *s = *sp;

    ASSERT(!s->txn.open);
    for (size_t i = 0; i < LIMIT_SPOOL_READERS; i++)
        ASSERT(!atomic_load(&s->readers[i].taken));
    spool_env_close(s);
    free(s);
    *sp = NULL;
}

void spool_recovered(const struct spool *s, struct spool_recovered *out)
{
    *out = s->recovered;
}

struct spool_totals spool_totals(const struct spool *s)
{
    return (struct spool_totals){.messages = atomic_load(&s->messages),
                                 .bytes = atomic_load(&s->bytes)};
}
