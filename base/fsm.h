/* fsm: a state variable that refuses moves nobody drew. */
#pragma once

#include <stdint.h>

#include "base/assert.h"

#define FSM_TO(s) (UINT32_C(1) << (s))

struct fsm_state {
    const char *name;
    uint32_t to; /* bit set of states reachable from here */
};

static inline void fsm_move(int *state, int next, const struct fsm_state *table)
{
    ASSERT(table[*state].to & FSM_TO(next));
    *state = next;
}
