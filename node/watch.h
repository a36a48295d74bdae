/*
 * watch: do all threads still turn? The service manager's watchdog is fed only while they do,
 * so that a node in which one thread hangs (a bug, a disk whose fsync never returns) is killed
 * and started again, instead of standing there with an open door.
 *
 * Once a period each thread's mailbox is knocked at. A thread that has not taken from its box
 * since the knock before is silent; that is logged when it begins, with the thread's name.
 * Threads: made, called and freed by the thread of the event base. The boxes must outlive it.
 */
#pragma once

#include <event2/event.h>
#include <stdint.h>

#include "base/mailbox.h"

struct watch;

struct watch_options {
    struct event_base *base;
    uint64_t period_ms;
    void (*alive)(void *ctx); /* once a period in which no thread is silent */
    void *ctx;
};

struct watch *watch_new(const struct watch_options *o);
void watch_free(struct watch **w); /* may be NULL */

/* `name` is borrowed. At most LIMIT_WATCHED_THREADS. */
void watch_add(struct watch *w, const char *name, struct mailbox *box);
