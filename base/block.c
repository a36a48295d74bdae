#include "base/block.h"

#include <stdlib.h>

void block_pool_init(struct block_pool *p, size_t ceiling_bytes)
{
    atomic_init(&p->held, 0);
    p->ceiling = ceiling_bytes;
}

static struct block *block_new(struct block_pool *p)
{
    struct block *b;

    if (atomic_fetch_add(&p->held, sizeof *b) + sizeof *b > p->ceiling) {
        atomic_fetch_sub(&p->held, sizeof *b);
        return NULL;
    }
    b = malloc(sizeof *b);
    if (b == NULL) {
        atomic_fetch_sub(&p->held, sizeof *b);
        return NULL;
    }
    b->next = NULL;
    b->used = 0;
    return b;
}

static void block_free(struct block_pool *p, struct block *b)
{
    free(b);
    atomic_fetch_sub(&p->held, sizeof *b);
}

/* A chain with room for n bytes, or NULL and nothing taken. */
static bool chain_new(struct block_pool *p, size_t n, struct block_list *chain)
{
    for (size_t room = 0; room < n; room += BLOCK_DATA_BYTES) {
        struct block *b = block_new(p);

        if (b == NULL) {
            block_list_free(p, chain);
            return false;
        }
        if (chain->last != NULL)
            chain->last->next = b;
        else
            chain->first = b;
        chain->last = b;
    }
    return true;
}

static void fill(struct block *b, struct str *s)
{
    size_t n = BLOCK_DATA_BYTES - b->used;

    if (n > s->n)
        n = s->n;
    if (n > 0)
        memcpy(b->data + b->used, s->p, n);
    b->used += (uint32_t)n;
    *s = str_from(*s, n);
}

bool block_append(struct block_pool *p, struct block_list *l, struct str s)
{
    size_t room = l->last != NULL ? BLOCK_DATA_BYTES - l->last->used : 0;
    struct block_list fresh = {0};
    uint64_t bytes = s.n;

    if (s.n > room && !chain_new(p, s.n - room, &fresh))
        return false;
    if (l->last != NULL)
        fill(l->last, &s);
    for (struct block *b = fresh.first; b != NULL; b = b->next)
        fill(b, &s);
    if (fresh.first != NULL) {
        if (l->last != NULL)
            l->last->next = fresh.first;
        else
            l->first = fresh.first;
        l->last = fresh.last;
    }
    l->bytes += bytes;
    return true;
}

void block_list_free(struct block_pool *p, struct block_list *l)
{
    while (l->first != NULL) {
        struct block *next = l->first->next;

        block_free(p, l->first);
        l->first = next;
    }
    *l = (struct block_list){0};
}
