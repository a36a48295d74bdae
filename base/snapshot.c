#include "base/snapshot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"

struct snapshot_ref {
    atomic_int refs;
    void *value;
    void (*free_value)(void *);
};

struct snapshot {
    pthread_mutex_t lock;
    struct snapshot_ref *current;
    void (*free_value)(void *);
};

static struct snapshot_ref *ref_new(void *value, void (*free_value)(void *))
{
    struct snapshot_ref *r = malloc(sizeof *r);

    ASSERT(r != NULL);
    atomic_init(&r->refs, 1);
    r->value = value;
    r->free_value = free_value;
    return r;
}

struct snapshot *snapshot_new(void *value, void (*free_value)(void *))
{
    struct snapshot *s = malloc(sizeof *s);

    ASSERT(s != NULL);
    ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
    s->free_value = free_value;
    s->current = ref_new(value, free_value);
    return s;
}

void snapshot_free(struct snapshot **s)
{
    snapshot_release(&(*s)->current);
    pthread_mutex_destroy(&(*s)->lock);
    free(*s);
    *s = NULL;
}

struct snapshot_ref *snapshot_hold(struct snapshot *s)
{
    struct snapshot_ref *r;

    pthread_mutex_lock(&s->lock);
    r = s->current;
    atomic_fetch_add(&r->refs, 1);
    pthread_mutex_unlock(&s->lock);
    return r;
}

const void *snapshot_value(const struct snapshot_ref *r)
{
    return r->value;
}

void snapshot_release(struct snapshot_ref **r)
{
    if (atomic_fetch_sub(&(*r)->refs, 1) == 1) {
        (*r)->free_value((*r)->value);
        free(*r);
    }
    *r = NULL;
}

void snapshot_publish(struct snapshot *s, void *value)
{
    struct snapshot_ref *fresh = ref_new(value, s->free_value), *old;

    pthread_mutex_lock(&s->lock);
    old = s->current;
    s->current = fresh;
    pthread_mutex_unlock(&s->lock);
    snapshot_release(&old);
}
