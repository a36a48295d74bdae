#include "base/heap.h"

#include "base/assert.h"

/* Level order makes the shape: item k's parent is item k/2, so the bits of a position, read
 * from below the highest one, are the way down to it: 0 left, 1 right. */

static struct heap_node *node(const struct heap *h, uint32_t item)
{
    return h->ops->node(h->ctx, item);
}

void heap_init(struct heap *h, const struct heap_ops *ops, const void *ctx)
{
    *h = (struct heap){.ops = ops, .ctx = ctx};
}

/* The link that leads to position `at` (1: the root), and the item it hangs from. */
static uint32_t *link_to(struct heap *h, uint32_t at, uint32_t *parent)
{
    uint32_t *link = &h->root;
    uint32_t bit = at == 1 ? 0 : UINT32_C(1) << (30 - __builtin_clz(at));

    *parent = 0;
    for (; bit > 0; bit >>= 1) {
        struct heap_node *n = node(h, *link);

        *parent = *link;
        link = (at & bit) != 0 ? &n->right : &n->left;
    }
    return link;
}

static void set_parent(const struct heap *h, uint32_t item, uint32_t parent)
{
    if (item != 0)
        node(h, item)->parent = parent;
}

static void replace_child(struct heap *h, uint32_t parent, uint32_t old, uint32_t fresh)
{
    struct heap_node *p;

    if (parent == 0) {
        ASSERT(h->root == old);
        h->root = fresh;
        return;
    }
    p = node(h, parent);
    ASSERT(p->left == old || p->right == old);
    if (p->left == old)
        p->left = fresh;
    else
        p->right = fresh;
}

/* Swaps an item with its child. */
static void swap_down(struct heap *h, uint32_t item, uint32_t child)
{
    struct heap_node *a = node(h, item), *c = node(h, child);
    struct heap_node was = *a;
    bool is_left = was.left == child;

    replace_child(h, was.parent, item, child);
    a->left = c->left;
    a->right = c->right;
    set_parent(h, a->left, item);
    set_parent(h, a->right, item);
    c->left = is_left ? item : was.left;
    c->right = is_left ? was.right : item;
    c->parent = was.parent;
    set_parent(h, c->left, child);
    set_parent(h, c->right, child);
}

static void sift_up(struct heap *h, uint32_t item)
{
    uint32_t parent;

    while ((parent = node(h, item)->parent) != 0 && h->ops->is_before(h->ctx, item, parent))
        swap_down(h, parent, item);
}

static void sift_down(struct heap *h, uint32_t item)
{
    for (;;) {
        const struct heap_node *n = node(h, item);
        uint32_t least = item;

        if (n->left != 0 && h->ops->is_before(h->ctx, n->left, least))
            least = n->left;
        if (n->right != 0 && h->ops->is_before(h->ctx, n->right, least))
            least = n->right;
        if (least == item)
            return;
        swap_down(h, item, least);
    }
}

void heap_push(struct heap *h, uint32_t item)
{
    uint32_t parent;
    uint32_t *link;

    ASSERT(item != 0);
    link = link_to(h, h->count + 1, &parent);
    *node(h, item) = (struct heap_node){.parent = parent};
    *link = item;
    h->count++;
    sift_up(h, item);
}

void heap_remove(struct heap *h, uint32_t item)
{
    uint32_t parent, last;
    uint32_t *link;

    ASSERT(h->count > 0);
    link = link_to(h, h->count, &parent);
    last = *link;
    *link = 0;
    h->count--;
    if (last != item) {
        struct heap_node *n = node(h, item);

        *node(h, last) = *n;
        replace_child(h, n->parent, item, last);
        set_parent(h, n->left, last);
        set_parent(h, n->right, last);
        sift_down(h, last);
        sift_up(h, last);
    }
    *node(h, item) = (struct heap_node){0};
}

/* The items below `item`, itself included; level order allows a depth of 32. */
static uint32_t check_below(const struct heap *h, uint32_t item, uint32_t at)
{
    const struct heap_node *n = node(h, item);
    uint32_t count = 1;

    ASSERT(at <= h->count);
    ASSERT(n->left != 0 || n->right == 0);
    if (n->left != 0) {
        ASSERT(node(h, n->left)->parent == item);
        ASSERT(!h->ops->is_before(h->ctx, n->left, item));
        count += check_below(h, n->left, at * 2);
    }
    if (n->right != 0) {
        ASSERT(node(h, n->right)->parent == item);
        ASSERT(!h->ops->is_before(h->ctx, n->right, item));
        count += check_below(h, n->right, at * 2 + 1);
    }
    return count;
}

void heap_check(const struct heap *h)
{
    if (h->root == 0) {
        ASSERT(h->count == 0);
        return;
    }
    ASSERT(node(h, h->root)->parent == 0);
    ASSERT(check_below(h, h->root, 1) == h->count);
}
