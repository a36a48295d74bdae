#include "node/edge_store.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"

#define BOX 4

enum { WRITE, STOP };

/* Items, one behind the other: table, is_drop, bytes of key and value, then these. */
struct item {
    uint8_t table, is_drop;
    uint16_t key_bytes, value_bytes;
};

struct edge_batch {
    struct mail mail; /* first */
    enum err err;
    bool clears[KNOWN_TABLES];
    size_t used;
    char bytes[LIMIT_EDGE_BATCH_BYTES];
};

struct edge_store {
    struct known *known;
    struct mailbox *box, *answers;
    int answer_kind;
    pthread_t thread;
    struct mail stop;
    struct edge_batch *batch; /* the one there is; NULL: at the thread */
    bool has_failed;
};

/* --- its thread --- */

static enum err write_batch(struct known *k, const struct edge_batch *b)
{
    struct item it;

    known_begin(k);
    for (int i = 0; i < KNOWN_TABLES; i++)
        if (b->clears[i])
            known_clear(k, (enum known_table)i);
    for (size_t at = 0; at < b->used; at += sizeof it + it.key_bytes + it.value_bytes) {
        struct str key, value;

        memcpy(&it, b->bytes + at, sizeof it);
        key = (struct str){b->bytes + at + sizeof it, it.key_bytes};
        value = (struct str){key.p + key.n, it.value_bytes};
        if (it.is_drop)
            known_drop(k, (enum known_table)it.table, key);
        else
            known_put(k, (enum known_table)it.table, key, value);
    }
    return known_commit(k);
}

static void *store_main(void *arg)
{
    struct edge_store *s = arg;
    struct pollfd p = {mailbox_fd(s->box), POLLIN, 0};
    bool is_stopping = false;

    while (!is_stopping) {
        (void)poll(&p, 1, -1);
        for (struct mail *m = mailbox_take(s->box), *next; m != NULL; m = next) {
            struct edge_batch *b = (struct edge_batch *)m;

            next = m->next;
            if (m->kind == STOP) {
                is_stopping = true;
                continue;
            }
            b->err = write_batch(s->known, b);
            b->mail.kind = s->answer_kind;
            mailbox_answer(s->answers, &b->mail);
        }
    }
    return NULL;
}

/* --- the edge thread's --- */

enum err edge_store_open(struct edge_store **out, const char *dir, struct mailbox *box,
                         int kind)
{
    struct edge_store *s = calloc(1, sizeof *s);
    enum err e;

    *out = NULL;
    ASSERT(s != NULL);
    e = known_open(&s->known, dir);
    if (e != OK) {
        free(s);
        return e;
    }
    s->answers = box;
    s->answer_kind = kind;
    s->box = mailbox_new(BOX);
    s->batch = malloc(sizeof *s->batch);
    ASSERT(s->batch != NULL);
    if (pthread_create(&s->thread, NULL, store_main, s) != 0) {
        known_close(&s->known);
        mailbox_free(&s->box);
        free(s->batch);
        free(s);
        return E_IO;
    }
    pthread_setname_np(s->thread, "known");
    *out = s;
    return OK;
}

void edge_store_load(struct edge_store *s, enum known_table table, void *ctx,
                     bool (*keeps)(void *ctx, struct str key, struct str value))
{
    enum err e = known_each(s->known, table, ctx, keeps);

    if (e == OK)
        return;
    s->has_failed = true;
    LOG(EV_KNOWN_UNREAD, L_ERR(e));
}

struct edge_batch *edge_store_begin(struct edge_store *s)
{
    struct edge_batch *b = s->batch;

    if (s->has_failed || b == NULL)
        return NULL;
    b->used = 0;
    memset(b->clears, 0, sizeof b->clears);
    return b;
}

bool edge_store_is_busy(const struct edge_store *s)
{
    return s->batch == NULL;
}

static bool add(struct edge_batch *b, const struct item *it, struct str key, struct str value)
{
    char *at = b->bytes + b->used;

    if (b->used + sizeof *it + key.n + value.n > sizeof b->bytes)
        return false;
    memcpy(at, it, sizeof *it);
    memcpy(at + sizeof *it, key.p, key.n);
    if (value.n > 0)
        memcpy(at + sizeof *it + key.n, value.p, value.n);
    b->used += sizeof *it + key.n + value.n;
    return true;
}

bool edge_batch_put(struct edge_batch *b, enum known_table table, struct str key,
                    struct str value)
{
    struct item it = {(uint8_t)table, false, (uint16_t)key.n, (uint16_t)value.n};

    ASSERT(value.n <= LIMIT_GOSSIP_ENTRY_BYTES);
    return add(b, &it, key, value);
}

bool edge_batch_drop(struct edge_batch *b, enum known_table table, struct str key)
{
    struct item it = {(uint8_t)table, true, (uint16_t)key.n, 0};

    return add(b, &it, key, STR_NONE);
}

void edge_batch_clear(struct edge_batch *b, enum known_table table)
{
    ASSERT(b->used == 0);
    b->clears[table] = true;
}

void edge_store_write(struct edge_store *s, struct edge_batch *b)
{
    bool is_empty = b->used == 0;

    ASSERT(b == s->batch);
    for (int i = 0; i < KNOWN_TABLES; i++)
        is_empty = is_empty && !b->clears[i];
    if (is_empty)
        return;
    s->batch = NULL;
    b->mail.kind = WRITE;
    mailbox_answer(s->box, &b->mail);
}

void edge_store_done(struct edge_store *s, struct mail *m)
{
    struct edge_batch *b = (struct edge_batch *)m;

    s->has_failed |= b->err != OK && b->err != E_FULL;
    s->batch = b;
}

void edge_store_close(struct edge_store **sp)
{
    struct edge_store *s = *sp;

    *sp = NULL;
    if (s == NULL)
        return;
    s->stop = (struct mail){.kind = STOP};
    mailbox_answer(s->box, &s->stop);
    pthread_join(s->thread, NULL);
    known_close(&s->known);
    mailbox_free(&s->box);
    free(s->batch); /* NULL: it lies in the box of the owner, who frees it */
    free(s);
}
