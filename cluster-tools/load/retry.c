#include "cluster-tools/load/retry.h"

#include <stdlib.h>

#define FIRST_SIZE 1024

void retry_init(struct retry_heap *h)
{
    *h = (struct retry_heap){0};
}

void retry_fini(struct retry_heap *h)
{
    free(h->list);
    retry_init(h);
}

static void swap(struct message *a, struct message *b)
{
    struct message t = *a;

    *a = *b;
    *b = t;
}

enum err retry_push(struct retry_heap *h, const struct message *m)
{
    size_t i = h->n;

    if (h->n == h->size) {
        size_t size = h->size > 0 ? h->size * 2 : FIRST_SIZE;
        struct message *list = realloc(h->list, size * sizeof *list);

        if (list == NULL)
            return E_FULL;
        h->list = list;
        h->size = size;
    }
    h->list[h->n++] = *m;
    for (; i > 0 && h->list[(i - 1) / 2].due_us > h->list[i].due_us; i = (i - 1) / 2)
        swap(&h->list[i], &h->list[(i - 1) / 2]);
    return OK;
}

static void sift_down(struct retry_heap *h)
{
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= h->n)
            return;
        if (child + 1 < h->n && h->list[child + 1].due_us < h->list[child].due_us)
            child++;
        if (h->list[i].due_us <= h->list[child].due_us)
            return;
        swap(&h->list[i], &h->list[child]);
        i = child;
    }
}

enum err retry_pop_due(struct retry_heap *h, uint64_t now_us, struct message *out)
{
    if (h->n == 0 || h->list[0].due_us > now_us)
        return E_AGAIN;
    *out = h->list[0];
    h->list[0] = h->list[--h->n];
    sift_down(h);
    return OK;
}

uint64_t retry_next_us(const struct retry_heap *h)
{
    return h->n > 0 ? h->list[0].due_us : UINT64_MAX;
}

uint64_t retry_wait_us(uint32_t attempts, uint64_t first_us, uint64_t max_us)
{
    uint64_t wait = first_us;

    for (uint32_t i = 1; i < attempts && wait < max_us; i++)
        wait *= 2;
    return wait < max_us ? wait : max_us;
}
