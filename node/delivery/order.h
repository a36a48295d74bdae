/*
 * order: what an operator's order asks of one message, of a cluster of several nodes: each has
 * the order and all copies, the holder of a message's domain acts, and an order is done when
 * nothing that it selects is left that is not as it wants it. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/command.h"
#include "proto/envelope.h"

/* The order means this message. */
bool order_selects(const struct operate *o, const struct envelope *e);

/* Nothing is to be done about the message (any more). index: of the order in the log. A hold or
 * a release is met, too, when a later one was carried out. `alone`: no hold or release before
 * this one is pending; else the order is written down even where nothing changes, so that the
 * earlier one cannot undo it. RETRY is never met: nobody can see it. */
bool order_is_met(const struct operate *o, uint64_t index, bool alone,
                  const struct envelope *e);
