/*
 * control_thread: the thread that owns the control log, the control state and the consensus.
 * All changes of the control store pass through it; reads go straight to the state from any
 * thread (control_thread_state()).
 *
 *   control_propose() -> mailbox -> consensus -> log (one fsync a batch) -> state (one fsync a
 *   batch) -> answer mail, notice
 *
 * While one batch is written the next one gathers (natural group commit).
 *
 * Start: opens or makes both stores in `dir` (log/ and state/), applies what the log holds
 * above the applied index, opens this node's session and waits for it. Pending operations of an
 *   earlier run are announced by the first notice.
 * Failure: E_IO or E_CORRUPT calls `fence` once, in the control thread; what is in flight is
 *   answered E_IO, and so is everything proposed later. A full disk or map answers E_FULL and
 * is tried again; nothing is lost. Threads: all functions from any, but for start and stop: one
 * thread, the same. Limits:  LIMIT_CONTROL_BOX requests waiting, LIMIT_PROPOSALS in flight:
 * then E_FULL.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mailbox.h"
#include "proto/command.h"
#include "spool/control.h"

struct control_thread;

struct control_thread_options {
    const char *dir;
    uint64_t log_map_bytes;   /* 0: 1 GiB */
    uint64_t state_map_bytes; /* 0: 4 GiB */
    uint16_t site;            /* must be that of the store: else E_CONFLICT */
    bool create;              /* makes missing stores. Say so only while the mail spool is new
                                 or empty: after a loss of the control store session epochs
                                 would start again and message ids come twice. */
    uint32_t session_ms;      /* 0: 10,000 */

    /* Called in the control thread, once, after a failure that ends the node's work. It must
     * not wait for the control thread. NULL: none. */
    void (*fence)(void *ctx, enum err why);
    void *fence_ctx;

    /* Where the notice goes when something changed; NULL: nowhere. Its mail.kind is
     * notice_kind. It is never full: there is one notice, which gathers changes. */
    struct mailbox *notices;
    int notice_kind;

    uint64_t (*boot_ms)(void); /* for tests; NULL: clock_boot_ms */
};

/* *out is NULL on error: E_NOTFOUND (no store, create not set), E_CONFLICT, E_CORRUPT, E_IO,
 * E_FULL. The failure has been logged. */
MUST_CHECK enum err control_thread_start(struct control_thread **out,
                                         const struct control_thread_options *o);

/* Answers all that waits (what is not decided: E_IO), ends the thread, closes the stores.
 * Nobody may propose or read any more, and a posted notice must not be used after this. */
void control_thread_stop(struct control_thread **t);

/* For reading. Lives until stop. */
struct control *control_thread_state(struct control_thread *t);
uint64_t control_thread_session(const struct control_thread *t); /* epoch of this node */
const struct store_id *control_thread_id(const struct control_thread *t);

/* Cluster time in milliseconds: for received_ms, deadlines and retry times of messages. Without
 * locks; never goes back in this process. After a restart it may repeat up to
 * CLUSTERCLOCK_SPAN_MS: a deadline comes late by that, never early. */
uint64_t control_now_ms(struct control_thread *t);

/* The answer to a proposal, posted with mailbox_answer(). Free with control_answer_free(). */
struct control_answer {
    struct mail mail; /* mail.kind: as given to control_propose() */
    uint64_t tag;     /* the same */
    void *ctx;        /* the same */
    uint64_t index;   /* of the entry; 0: it is not in the log. On OK or a refusal all reads
                         from now on see the state with it. */
    enum err err;     /* OK; a refusal of the state machine (see struct command_result); E_FULL:
                         a limit, the disk or the map, not in the log when index is 0; E_IO:
                         failed or stopping, outcome unknown */
    const char *refused; /* the state machine's reason, static, or NULL */
};
void control_answer_free(struct control_answer **a);

struct control_propose_to {
    struct mailbox *box; /* must live until the answer came */
    int kind;
    uint64_t tag;
    void *ctx;
};

/* Borrows `cmd`; its bytes are copied. OK: exactly one answer will come. E_PROTO: malformed,
 * command_check() says why. E_FULL: too much waits. */
MUST_CHECK enum err control_propose(struct control_thread *t, const struct command *cmd,
                                    const struct control_propose_to *to);

/* The same, blocking until the answer: for start-up and tests, never in a thread with a loop,
 * never in the control thread. *out (may be NULL) gets err, index and refused. Returns its err.
 */
struct control_outcome {
    uint64_t index;
    enum err err;
    const char *refused;
};
MUST_CHECK enum err control_propose_wait(struct control_thread *t, const struct command *cmd,
                                         struct control_outcome *out);

/* What changed since the notice was last taken: bits. */
enum control_changed {
    CONTROL_CHANGED_DOMAINS = 1, /* domain.changed says which: above the index seen last  */
    CONTROL_CHANGED_PLANS = 2,
    CONTROL_CHANGED_SETTINGS = 4,
    CONTROL_CHANGED_OPERATIONS = 8, /* new OPERATE: walk control_operation_next() from the
                                       last index seen; act; propose OPERATE_DONE            */
    CONTROL_CHANGED_SLOTS = 16
};

/* For the owner of `notices`, on a mail of notice_kind (do not free it): the bits gathered. The
 * notice may be posted again from here on: take mail->next before, and read the state after. */
unsigned control_notice_take(struct control_thread *t);
