#include "replication/otree.h"

static struct otree_node *node_at(const struct otree *t, uint32_t item)
{
    return pool_at(&t->pool, item);
}

/* The heap order of the treap: handles well mixed, so that neither ids that come in order nor
 * handles that do make it deep. Nobody outside chooses handles. */
static uint32_t rank_of(uint32_t item)
{
    uint32_t x = item * UINT32_C(0x9E3779B1);

    x ^= x >> 15;
    x *= UINT32_C(0x85EBCA77);
    return x ^ x >> 13;
}

void otree_init(struct otree *t, size_t item_bytes, uint32_t ceiling)
{
    ASSERT(item_bytes >= sizeof(struct otree_node));
    pool_init(&t->pool, item_bytes, ceiling);
    t->root = 0;
}

void otree_fini(struct otree *t)
{
    pool_fini(&t->pool);
    t->root = 0;
}

/* Parts the subtree at `item` into what is below the key and what is above it. */
static void split(struct otree *t, uint32_t item, struct mid key, uint32_t *below,
                  uint32_t *above)
{
    while (item != 0) {
        struct otree_node *n = node_at(t, item);
        int c = mid_cmp(n->key, key);

        ASSERT(c != 0);
        if (c < 0) {
            *below = item;
            below = &n->right;
            item = n->right;
        } else {
            *above = item;
            above = &n->left;
            item = n->left;
        }
    }
    *below = 0;
    *above = 0;
}

uint32_t otree_add(struct otree *t, struct mid key)
{
    uint32_t item = pool_take(&t->pool), *link = &t->root;
    struct otree_node *n;

    if (item == 0)
        return 0;
    while (*link != 0 && rank_of(*link) >= rank_of(item)) {
        struct otree_node *at = node_at(t, *link);
        int c = mid_cmp(key, at->key);

        ASSERT(c != 0);
        link = c < 0 ? &at->left : &at->right;
    }
    n = node_at(t, item);
    n->key = key;
    split(t, *link, key, &n->left, &n->right);
    *link = item;
    return item;
}

void otree_remove(struct otree *t, uint32_t item)
{
    struct otree_node *gone = node_at(t, item);
    uint32_t left = gone->left, right = gone->right, *link = &t->root;

    while (*link != item) {
        struct otree_node *at = node_at(t, *link);

        link = mid_cmp(gone->key, at->key) < 0 ? &at->left : &at->right;
    }
    while (left != 0 && right != 0) {
        if (rank_of(left) >= rank_of(right)) {
            *link = left;
            link = &node_at(t, left)->right;
            left = *link;
        } else {
            *link = right;
            link = &node_at(t, right)->left;
            right = *link;
        }
    }
    *link = left != 0 ? left : right;
    pool_give(&t->pool, item);
}

uint32_t otree_find(const struct otree *t, struct mid key)
{
    uint32_t item = t->root;

    while (item != 0) {
        const struct otree_node *n = node_at(t, item);
        int c = mid_cmp(key, n->key);

        if (c == 0)
            return item;
        item = c < 0 ? n->left : n->right;
    }
    return 0;
}

uint32_t otree_ceil(const struct otree *t, struct mid key)
{
    uint32_t item = t->root, best = 0;

    while (item != 0) {
        const struct otree_node *n = node_at(t, item);

        if (mid_cmp(n->key, key) >= 0) {
            best = item;
            item = n->left;
        } else {
            item = n->right;
        }
    }
    return best;
}

uint32_t otree_floor(const struct otree *t, struct mid key)
{
    uint32_t item = t->root, best = 0;

    while (item != 0) {
        const struct otree_node *n = node_at(t, item);

        if (mid_cmp(n->key, key) <= 0) {
            best = item;
            item = n->right;
        } else {
            item = n->left;
        }
    }
    return best;
}

uint32_t otree_after(const struct otree *t, uint32_t item)
{
    struct mid key = node_at(t, item)->key;
    uint32_t at = t->root, best = 0;

    while (at != 0) {
        const struct otree_node *n = node_at(t, at);

        if (mid_cmp(n->key, key) > 0) {
            best = at;
            at = n->left;
        } else {
            at = n->right;
        }
    }
    return best;
}

static void check_node(const struct otree *t, uint32_t item)
{
    const struct otree_node *n = node_at(t, item);

    ASSERT(pool_is_taken(&t->pool, item));
    if (n->left != 0) {
        ASSERT(mid_cmp(node_at(t, n->left)->key, n->key) < 0);
        ASSERT(rank_of(n->left) <= rank_of(item));
    }
    if (n->right != 0) {
        ASSERT(mid_cmp(node_at(t, n->right)->key, n->key) > 0);
        ASSERT(rank_of(n->right) <= rank_of(item));
    }
    ASSERT(otree_find(t, n->key) == item);
}

void otree_check(const struct otree *t)
{
    uint32_t count = 0;

    for (uint32_t i = 1; i <= t->pool.made; i++)
        if (pool_is_taken(&t->pool, i)) {
            check_node(t, i);
            count++;
        }
    ASSERT(count == t->pool.count);
}
