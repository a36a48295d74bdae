/*
 * control_thread: the thread that owns the control log, the control state and the consensus
 * (node/control_core.h), and the links to the other members' ones. All changes of the control
 * store pass through it; reads go straight to the state from any thread
 * (control_thread_state()).
 *
 *   control_propose() -> mailbox -> control_core -> answer mail, notice
 *
 * While one batch is written the next one gathers (natural group commit).
 *
 * Start: opens or makes both stores in `dir` (log/ and state/), applies what is decided. A node
 *        alone opens its session and waits for it; in a cluster its session comes later
 *        (control_thread_session()). Pending operations of an earlier run are announced by the
 *        first notice.
 * Stop:  a leader hands over first, for at most CONTROL_HAND_OVER_MS.
 * Failure: E_IO or E_CORRUPT calls `fence` once, in the control thread; what is in flight is
 *        answered E_IO, and so is everything proposed later. A full disk or map answers E_FULL
 *        and is tried again; nothing is lost.
 * Threads: all functions from any, but for start and stop: one thread, the same.
 * Limits:  LIMIT_CONTROL_BOX requests waiting, LIMIT_CONTROL_REQUESTS in the core: then E_FULL.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mailbox.h"
#include "node/control_core.h"
#include "proto/command.h"
#include "spool/control.h"

#define CONTROL_HAND_OVER_MS 2000
#define CONTROL_SUBSCRIBERS                                                                    \
    4 /* 0: the cluster thread, 1: the replica thread, 2: access, 3: edge */

struct control_thread;
struct identity;

struct control_thread_options {
    const char *dir;
    uint64_t log_map_bytes;   /* 0: 1 GiB */
    uint64_t state_map_bytes; /* 0: 4 GiB */
    uint16_t site;            /* must be that of the store: else E_CONFLICT */
    bool create;              /* makes missing stores. Say so only while the mail spool is new
                                 or empty: after a loss of the control store session epochs
                                 would start again and message ids come twice. */
    bool near_sites;          /* round trips under 50 ms: shorter timers */
    uint32_t session_ms;      /* 0: 10,000 */

    /* Called in the control thread, once, after a failure that ends the node's work. It must
     * not wait for the control thread. NULL: none. */
    void (*fence)(void *ctx, enum err why);
    void *fence_ctx;

    /* Where notices go when something changed; box NULL: nowhere. Its mail.kind is `kind`. A
     * box is never full by them: each subscriber has one notice, which gathers changes. */
    struct control_subscriber {
        struct mailbox *box;
        int kind;
    } notices[CONTROL_SUBSCRIBERS];

    /* In a cluster: the own address of the control plane, "host:port", and who this node is
     * (borrowed for the call). NULL: a node alone. */
    const char *bind;
    const struct identity *identity;

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
uint64_t control_thread_session(const struct control_thread *t); /* epoch; 0: none yet */
const struct store_id *control_thread_id(const struct control_thread *t);

/* Cluster time in milliseconds: for received_ms, deadlines and retry times of messages. Without
 * locks; never goes back in this process. After a restart it may repeat up to
 * CLUSTERCLOCK_SPAN_MS: a deadline comes late by that, never early. */
uint64_t control_now_ms(struct control_thread *t);

/* The answer to a proposal, posted with mailbox_answer(). Free with control_answer_free(). All
 * reads from then on see the state with what was proposed. */
struct control_answer {
    struct mail mail; /* mail.kind: as given to control_propose() */
    uint64_t tag;     /* the same */
    void *ctx;        /* the same */
    uint64_t index;   /* these three: see struct control_outcome */
    enum err err;
    const char *refused;
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
MUST_CHECK enum err control_propose_wait(struct control_thread *t, const struct command *cmd,
                                         struct control_outcome *out);

/* For node/watch. */
struct mailbox *control_thread_box(struct control_thread *t);

/* Who leads, who is a member, as of at most a second ago. */
void control_thread_status(struct control_thread *t, struct control_core_status *out);

/* The own lease (replication/lease.h), for any thread, without locks. */
struct control_lease {
    bool has_members;        /* false: a node alone; it holds everything, always */
    uint64_t session;        /* epoch of the live session; 0: none */
    uint64_t valid_until_ms; /* boot ms; slots count as long as it does. 0: they do not */
    bool is_over;            /* after control_thread_leave(): the session has ended */
    uint64_t leaving[4]; /* bit i % 64 of [i / 64]: slot i is to be given away: nothing new */
};
void control_thread_lease(struct control_thread *t, struct control_lease *out);
/* No dot of that epoch is open, and none will be: the slot goes to who wants it. */
void control_thread_quiet(struct control_thread *t, uint32_t slot, uint64_t epoch);
void control_thread_drain(struct control_thread *t, bool on);
/* The node is to stop: gives away all slots that get quiet; after quiet_all its session ends,
 * with what is left (wait for is_over, a few seconds, before stop). */
void control_thread_leave(struct control_thread *t);
void control_thread_quiet_all(struct control_thread *t);

/* `cluster solo`: the other sites are lost for good, by an operator's word; this node becomes
 * the only member, and one copy is enough. control_core_solo() says how, and what it costs.
 * The answer comes within CORE_SOLO_MS and a bit: OK, or err and `refused`, for people. E_FULL:
 * too much waits, no answer comes. */
MUST_CHECK enum err control_thread_solo(struct control_thread *t,
                                        const struct control_propose_to *to);

/* The own CURVE key (PLANE_KEY_BYTES each): all links are made anew with it. To be called when
 * the state names the new key (MEMBER_KEY with keep_old). */
void control_thread_rekey(struct control_thread *t, const uint8_t *public_key,
                          const uint8_t *secret_key);

/* Asks the leader, when this node is it, to hand over to a member (incarnation; 0: any). */
void control_thread_transfer(struct control_thread *t, uint64_t to);

/* What changed since the notice was last taken: enum control_changed (node/control_core.h). */

/* For the owner of notices[who].box, on a mail of its kind (do not free it): the bits gathered.
 * The notice may be posted again from here on: take mail->next before, and read the state
 * after. */
unsigned control_notice_take(struct control_thread *t, unsigned who);
