/*
 * merge: two nodes' envelopes of one message become one. What each knows of a recipient and of
 * the notification counts; the order, and how often, does not matter: commutative, associative,
 * idempotent.
 *
 *   fate           delivered > bounced > expired > purged > pending, with reply and time
 *   tries          of the later one
 *   notification   sent > given up > withheld > pending > none, with its tries
 *   phase          done > dsn > deliver; all final in phase deliver: the holder looks again
 *   hold time      the longer one
 *   held           by the later order in the control log
 *
 * Threads: any. Pure.
 */
#pragma once

#include <stdbool.h>

#include "proto/envelope.h"

/* Both are of one id with one body. into->rcpts is changed in place; texts may be borrowed from
 * `other` afterwards. into->body_number stays: each node has its own. True: something changed.
 */
bool envelope_merge(struct envelope *into, const struct envelope *other);
