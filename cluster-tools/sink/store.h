/*
 * store: --dir: every message taken, as received, in files.
 *
 *     DIR/<n>.eml   the bytes of the message, dots unstuffed, nothing else changed
 *     DIR/<n>.env   its envelope: a line "MAIL FROM:..." and a line "RCPT TO:..." for every
 *                   recipient, with the parameters as the client said them; LF behind each
 *
 * n counts from 1, or on from the largest that is there. <n>.eml appears complete, after its
 * .env; a message under way is DIR/.part-<k>. Nothing is fsynced. Memory: none per message.
 * Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct store {
    int dir_fd; /* -1: nobody wants files */
    uint64_t next, next_part;
};

struct store_message {
    int fd; /* -1: none under way */
    uint64_t part;
    bool failed; /* sticky: the disk did not take everything */
};

/* path NULL: messages are not kept. The directory is made when it is missing (not its
 * parents). E_IO: errno says why. */
MUST_CHECK enum err store_open(struct store *s, const char *path);
void store_close(struct store *s);

void store_message_init(struct store_message *m);
void store_begin(struct store *s, struct store_message *m);
void store_add(struct store *s, struct store_message *m, struct str bytes);

/* Makes it <n>.eml. E_IO: it is not kept; the reason is on stderr. */
MUST_CHECK enum err store_keep(struct store *s, struct store_message *m, struct str envelope);

/* Throws it away. Idempotent. */
void store_drop(struct store *s, struct store_message *m);
