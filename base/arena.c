#include "base/arena.h"

#include <stdlib.h>

#define CHUNK_BYTES ((size_t)4096)

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    _Alignas(16) char data[];
};

void arena_init(struct arena *a, size_t ceiling_bytes)
{
    *a = (struct arena){.ceiling = ceiling_bytes};
}

void arena_reset(struct arena *a)
{
    while (a->chunks != NULL) {
        struct arena_chunk *next = a->chunks->next;

        free(a->chunks);
        a->chunks = next;
    }
    a->used = 0;
}

static struct arena_chunk *grow(struct arena *a, size_t bytes)
{
    size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    struct arena_chunk *c = calloc(1, sizeof *c + size);

    if (c == NULL)
        return NULL;
    c->size = size;
    c->next = a->chunks;
    a->chunks = c;
    return c;
}

void *arena_take(struct arena *a, size_t bytes)
{
    size_t n = (bytes + 15) & ~(size_t)15;
    struct arena_chunk *c = a->chunks;

    if (n < bytes || n > a->ceiling - a->used)
        return NULL;
    if (c == NULL || c->size - c->used < n)
        c = grow(a, n);
    if (c == NULL)
        return NULL;
    c->used += n;
    a->used += n;
    return c->data + c->used - n;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *copy = s.n > 0 ? arena_take(a, s.n) : NULL;

    if (copy == NULL)
        return s.n > 0 ? STR_NONE : (struct str){"", 0};
    memcpy(copy, s.p, s.n);
    return (struct str){copy, s.n};
}
