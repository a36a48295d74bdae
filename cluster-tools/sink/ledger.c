#include "cluster-tools/sink/ledger.h"

#include <inttypes.h>

enum err ledger_open(struct ledger *l, const char *path)
{
    *l = (struct ledger){0};
    if (path == NULL)
        return OK;
    l->file = fopen(path, "ae");
    if (l->file == NULL)
        return E_IO;
    setvbuf(l->file, NULL, _IOLBF, BUFSIZ);
    return OK;
}

static struct str shown(struct str id)
{
    return id.n > 0 ? id : STR("-");
}

void ledger_add(struct ledger *l, const struct ledger_entry *entry)
{
    if (l->file != NULL &&
        fprintf(l->file, "%c " STR_FMT " %" PRIu64 " %s %u %u\n", entry->withheld ? 'K' : 'R',
                STR_ARG(shown(entry->id)), entry->wall_us, entry->verdict, entry->rcpts,
                entry->port) < 0)
        l->failed = true;
}

void ledger_add_noncanonical(struct ledger *l, struct str id, uint64_t wall_us, uint64_t count,
                             uint16_t port)
{
    if (l->file != NULL && fprintf(l->file, "N " STR_FMT " %" PRIu64 " %" PRIu64 " %u\n",
                                   STR_ARG(shown(id)), wall_us, count, port) < 0)
        l->failed = true;
}

enum err ledger_close(struct ledger *l)
{
    if (l->file == NULL)
        return OK;
    if (fclose(l->file) != 0)
        l->failed = true;
    l->file = NULL;
    return l->failed ? E_IO : OK;
}
