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
    X(SKIP_SYNC, "the spool commits without a sync")

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
