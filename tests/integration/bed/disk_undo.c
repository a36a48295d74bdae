#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/integration/bed/disk.h"

static char *copy_of(const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;

    if (text != NULL && copy == NULL)
        abort();
    return copy;
}

void disk_undo_add(struct disk *d, struct disk_undo what)
{
    struct disk_undo *u = malloc(sizeof(*u));

    if (u == NULL)
        abort();
    *u = what;
    u->name = copy_of(what.name);
    u->new_name = copy_of(what.new_name);
    u->before = d->undo;
    d->undo = u;
}

char *disk_keep(struct disk *d, const char *name)
{
    char *kept = NULL;

    if (asprintf(&kept, "%s/%lu", DISK_KEPT_DIR, (unsigned long)++d->next_kept) < 0)
        abort();
    if (linkat(d->root, name, d->root, kept, 0) != 0) {
        free(kept);
        return NULL;
    }
    return kept;
}

void disk_unkeep(struct disk *d, char *kept)
{
    if (kept != NULL)
        unlinkat(d->root, kept, 0);
    free(kept);
}

static void free_undo(struct disk_undo *u)
{
    free(u->name);
    free(u->new_name);
    free(u);
}

static bool is_in(const char *name, const char *dir)
{
    const char *slash = name != NULL ? strrchr(name, '/') : NULL;
    size_t n = slash != NULL ? (size_t)(slash - name) : 0;

    if (name == NULL)
        return false;
    if (strcmp(dir, ".") == 0)
        return slash == NULL;
    return slash != NULL && strlen(dir) == n && strncmp(name, dir, n) == 0;
}

void disk_undo_drop(struct disk *d, const char *dir)
{
    struct disk_undo **at = &d->undo;

    while (*at != NULL) {
        struct disk_undo *u = *at;

        if (dir != NULL && !is_in(u->name, dir) && !is_in(u->new_name, dir)) {
            at = &u->before;
            continue;
        }
        *at = u->before;
        disk_unkeep(d, u->kept);
        free_undo(u);
    }
}

/* What cannot be taken back was made durable by something else: nothing is left to do then. */
static void take_back(const struct disk *d, const struct disk_undo *u)
{
    int gone = 0;

    switch (u->change) {
    case DISK_CREATE:
    case DISK_LINK:
        gone = unlinkat(d->root, u->name, 0);
        break;
    case DISK_MKDIR:
        gone = unlinkat(d->root, u->name, AT_REMOVEDIR);
        break;
    case DISK_RMDIR:
        gone = mkdirat(d->root, u->name, u->mode);
        break;
    case DISK_UNLINK:
        if (u->kept != NULL)
            gone = renameat(d->root, u->kept, d->root, u->name);
        break;
    case DISK_RENAME:
        gone = renameat(d->root, u->new_name, d->root, u->name);
        if (u->kept != NULL)
            gone |= renameat(d->root, u->kept, d->root, u->new_name);
        break;
    }
    if (gone != 0)
        fprintf(stderr, "bed_disk: not taken back: %s\n", u->name);
}

void disk_undo_all(struct disk *d)
{
    while (d->undo != NULL) {
        struct disk_undo *u = d->undo;

        d->undo = u->before;
        take_back(d, u);
        free(u->kept);
        free_undo(u);
    }
}
