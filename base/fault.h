/*
 * fault: bugs planted on purpose, to prove that the simulator finds them. Only a test build
 * (-DTRISPOOL_PLANTED=ON) has them; everywhere else FAULT() is the constant false and costs
 * nothing.
 *
 *   if (FAULT(ACK_ON_ONE_COPY) || copies >= 2) ...
 *
 * One at a time, chosen by fault_plant() before anything starts; 0: none.
 * Threads: fault_plant() before there are others.
 */
#pragma once

#include <stdbool.h>

/* name, what is wrong with it */
#define FAULTS(X)                                                                              \
    X(NONE, "nothing is wrong")                                                                \
    X(SKIP_SYNC, "the spool commits without a sync")                                           \
    X(LOG_SKIPS_SYNC, "the control store commits without a sync")                              \
    X(ACK_ON_ONE_COPY, "250 on the own copy alone")                                            \
    X(ACK_BEFORE_COMMIT, "a peer's record is acknowledged before its commit")                  \
    X(REFUSE_ON_OWN_ABORT, "451 on the own abort alone")                                       \
    X(PUT_AFTER_SEAL, "a sealed session's mail is still taken")                                \
    X(ABORT_AFTER_SEAL, "a sealed session's abort is still taken")                             \
    X(UPTO_AFTER_SEAL, "a sealed session's commit knowledge is still taken")                   \
    X(PUT_OVER_ABORT, "a copy brings an aborted message back to life")                         \
    X(ABORT_FORGOTTEN, "an abort leaves no mark")                                              \
    X(RESOLVE_UNASKED, "undecided copies of a sealed session are committed unasked")           \
    X(UPTO_OFF_BY_ONE, "commit knowledge reaches one id too far")                              \
    X(DOT_WITHOUT_PEER, "the own mark is consent enough")                                      \
    X(DOT_ANY_EPOCH, "a dot is allowed under any slot epoch")                                  \
    X(DOT_NOT_FOREIGN, "another holder's open dot does not count")                             \
    X(DOT_AFTER_OUTCOME, "a settled message may be sent again")                                \
    X(WIPED_WITNESS, "a node that is not filled bears witness")                                \
    X(FILLED_BY_ONE, "filled as soon as one of the others has told it")                        \
    X(TOMBSTONE_DROPPED, "settled mail leaves no mark")                                        \
    X(SETTLED_AGES, "the settled set forgets sessions that are clear")                         \
    X(MERGE_LOWER_FATE, "of two fates the lower one wins")                                     \
    X(OUTCOME_NOT_STORED, "a delivery is told and not stored")                                 \
    X(ID_REUSED, "ids begin with 1 again in an old session")                                   \
    X(RENEW_ENDED, "a session that ended is renewed")                                          \
    X(TAKEOVER_AT_ONCE, "a session is taken over without a wait")                              \
    X(APPLY_TWICE, "entries are applied again after a restart")                                \
    X(CHECKSUM_IGNORED, "a damaged record is handed out")                                      \
    X(DOT_NOT_STUFFED, "a dot at the start of a line is lost on the way out")                  \
    X(REPLY_4XX_TAKEN, "mail that the primary deferred counts as delivered")                   \
    X(EXPIRES_AT_ONCE, "the hold time is not waited for")                                      \
    X(OWN_ROLLBACK_UNSEEN, "a node that was set back goes on")                                 \
    X(FORGET_VOTE, "a vote is not stored")

enum fault {
#define X(name, text) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_COUNT
};

const char *fault_text(enum fault f); /* static */

#ifdef TRISPOOL_PLANTED
bool fault_is(enum fault f);
void fault_plant(unsigned f);
#define FAULT(name) fault_is(FAULT_##name)
#else
#define FAULT(name) false
static inline void fault_plant(unsigned f)
{
    (void)f;
}
#endif
