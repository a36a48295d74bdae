#include "base/blob.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"

struct blob *blob_new(size_t n)
{
    struct blob *b = n <= SIZE_MAX - sizeof *b ? malloc(sizeof *b + n) : NULL;

    if (b == NULL)
        return NULL;
    atomic_init(&b->owners, 1);
    b->n = n;
    return b;
}

struct blob *blob_hold(struct blob *b)
{
    unsigned before;

    if (b == NULL)
        return NULL;
    /* Who holds one may give one: no order with other memory is needed. */
    before = atomic_fetch_add_explicit(&b->owners, 1, memory_order_relaxed);
    ASSERT(before > 0 && before < UINT32_MAX);
    return b;
}

void blob_release(struct blob **b)
{
    struct blob *mine = *b;
    unsigned before;

    *b = NULL;
    if (mine == NULL)
        return;
    /* What other owners read or wrote comes before the free of the last one. */
    before = atomic_fetch_sub_explicit(&mine->owners, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1)
        free(mine);
}
