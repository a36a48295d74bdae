#include "cluster-tools/load/journal.h"

#include <inttypes.h>

enum err journal_open(struct journal *j, const char *path)
{
    *j = (struct journal){0};
    if (path == NULL)
        return OK;
    j->file = fopen(path, "we");
    if (j->file == NULL)
        return E_IO;
    setvbuf(j->file, NULL, _IOLBF, BUFSIZ);
    return OK;
}

void journal_add(struct journal *j, char kind, struct str id, const char *target, uint64_t usec,
                 int code)
{
    if (j->file == NULL)
        return;
    if (fprintf(j->file, "%c " STR_FMT " %s %" PRIu64 " %d\n", kind, STR_ARG(id), target, usec,
                code) < 0)
        j->failed = true;
}

enum err journal_close(struct journal *j)
{
    if (j->file == NULL)
        return OK;
    if (fclose(j->file) != 0)
        j->failed = true;
    j->file = NULL;
    return j->failed ? E_IO : OK;
}
