/*
 * access_view: the block and allow lists of the control store, as the SMTP threads ask them: a
 * set of networks (node/policy/prefix.h) that a thread of its own builds anew when the lists
 * change, and publishes whole. Between a change that is applied here and its effect lies one
 * build: milliseconds, about a second for a million entries.
 *
 *   control thread --notice--> here: reads the lists in pages, builds, publishes
 *   smtp thread --find--> the set that is published
 *   here --ACCESS_LAPSE, by the node that leads the log--> control thread: entries whose time
 *                                                           is over go
 *
 * Start: new -> (control thread, with the box for its notice) -> run, which builds the first
 * set before it returns. Stop:  smtp threads joined -> stop -> control thread stopped. Threads:
 * start and stop by main; find from any. Limits: LIMIT_ACCESS_ENTRIES. Memory: some 100 bytes
 * an entry and its reason, twice while a set is built.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mailbox.h"
#include "node/policy/ip.h"
#include "proto/access.h"

#define ACCESS_VIEW_SUBSCRIBER 2 /* of the notices of node/control_thread.h */

struct access_view;
struct control_thread;

struct access_view *access_view_new(void);
struct mailbox *access_view_box(struct access_view *v);
int access_view_notice_kind(void);
/* E_IO: no thread. A store that cannot be read is logged and leaves the lists as they were. */
MUST_CHECK enum err access_view_run(struct access_view *v, struct control_thread *control);
void access_view_stop(struct access_view *v); /* ends the thread; find still works */
void access_view_free(
    struct access_view **v); /* after the control thread is stopped; NULL: fine */

struct access_found {
    enum access_action action; /* ACCESS_REMOVE: no entry holds the address */
    struct access_prefix prefix;
    char reason[LIMIT_ACCESS_REASON_BYTES + 1];
};

/* The entry of the longest network that holds the address and whose time is not over. */
void access_view_find(struct access_view *v, const struct ip_addr *ip, uint64_t cluster_ms,
                      struct access_found *out);
