/*
 * mailbox: the only way between threads. Many posters, one owner, first in first out, with an
 * eventfd that becomes readable when the box stops being empty.
 *
 * A request is posted with mailbox_post(), which refuses at the limit (the poster sheds load:
 * "452", never a wait). An answer to a request goes out with mailbox_answer(), which always
 * takes it: answers are bounded by the requests that were let in.
 * Threads: post, answer, withdraw, knock and takes from any; take and fd by the owner.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct mail {
    struct mail *next;
    int kind; /* the owner's own enum */
};

struct mailbox;

struct mailbox *mailbox_new(size_t limit); /* ASSERTs on out of memory: only at start */
void mailbox_free(struct mailbox **m);     /* must be empty */
/* The same when nobody owns the mail in it any more: it is not looked at. */
void mailbox_abandon(struct mailbox **m);
int mailbox_fd(const struct mailbox *m); /* poll for reading */

/* Takes the mail. E_FULL: at the limit; the mail stays the caller's. */
MUST_CHECK enum err mailbox_post(struct mailbox *m, struct mail *mail);
void mailbox_answer(struct mailbox *m, struct mail *mail);

/* All that waits, oldest first, as a list; NULL when empty. Clears the eventfd. */
struct mail *mailbox_take(struct mailbox *m);

/* Takes this one out, if it lies in it: its memory goes before the box is read again. */
void mailbox_withdraw(struct mailbox *m, struct mail *mail);

/* Is the owner alive? A knock makes the descriptor readable with nothing to take; an owner that
 * still turns takes, and what it took says so. */
void mailbox_knock(struct mailbox *m);
uint64_t mailbox_takes(struct mailbox *m); /* calls of mailbox_take() so far */
