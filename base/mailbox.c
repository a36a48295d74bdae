#include "base/mailbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"

struct mailbox {
    pthread_mutex_t lock;
    struct mail *first, *last;
    size_t count, limit;
    uint64_t takes;
    int fd;
};

struct mailbox *mailbox_new(size_t limit)
{
    struct mailbox *m = calloc(1, sizeof *m);

    ASSERT(m != NULL);
    ASSERT(pthread_mutex_init(&m->lock, NULL) == 0);
    m->limit = limit;
    m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(m->fd >= 0);
    return m;
}

void mailbox_free(struct mailbox **m)
{
    ASSERT((*m)->first == NULL);
    mailbox_abandon(m);
}

void mailbox_abandon(struct mailbox **m)
{
    close((*m)->fd);
    pthread_mutex_destroy(&(*m)->lock);
    free(*m);
    *m = NULL;
}

int mailbox_fd(const struct mailbox *m)
{
    return m->fd;
}

void mailbox_knock(struct mailbox *m)
{
    ssize_t n = write(m->fd, &(uint64_t){1}, sizeof(uint64_t));

    ASSERT(n == sizeof(uint64_t));
}

static enum err put(struct mailbox *m, struct mail *mail, size_t limit)
{
    int was_empty;

    pthread_mutex_lock(&m->lock);
    if (m->count >= limit) {
        pthread_mutex_unlock(&m->lock);
        return E_FULL;
    }
    mail->next = NULL;
    was_empty = m->first == NULL;
    if (was_empty)
        m->first = mail;
    else
        m->last->next = mail;
    m->last = mail;
    m->count++;
    pthread_mutex_unlock(&m->lock);
    if (was_empty)
        mailbox_knock(m);
    return OK;
}

enum err mailbox_post(struct mailbox *m, struct mail *mail)
{
    return put(m, mail, m->limit);
}

void mailbox_answer(struct mailbox *m, struct mail *mail)
{
    enum err e = put(m, mail, SIZE_MAX);

    ASSERT(e == OK);
}

struct mail *mailbox_take(struct mailbox *m)
{
    struct mail *all;
    uint64_t gone;
    ssize_t n = read(m->fd, &gone, sizeof gone);

    (void)n; /* EAGAIN: nothing was posted since */
    pthread_mutex_lock(&m->lock);
    all = m->first;
    m->first = m->last = NULL;
    m->count = 0;
    m->takes++;
    pthread_mutex_unlock(&m->lock);
    return all;
}

void mailbox_withdraw(struct mailbox *m, struct mail *mail)
{
    struct mail *before = NULL, *at;

    pthread_mutex_lock(&m->lock);
    for (at = m->first; at != NULL && at != mail; at = at->next)
        before = at;
    if (at != NULL) {
        if (before == NULL)
            m->first = mail->next;
        else
            before->next = mail->next;
        if (m->last == mail)
            m->last = before;
        m->count--;
    }
    pthread_mutex_unlock(&m->lock);
}

uint64_t mailbox_takes(struct mailbox *m)
{
    uint64_t takes;

    pthread_mutex_lock(&m->lock);
    takes = m->takes;
    pthread_mutex_unlock(&m->lock);
    return takes;
}
