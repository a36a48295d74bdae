/*
 * scrub: a thread of low rate that reads everything in the spool and checks it, round after
 * round, so that a rotten bit is found while there is still somebody to ask.
 * Threads: start and stop by the main thread.
 */
#pragma once

#include "spool/spool.h"

struct scrub;

/* rate_bytes a second; 0: *out stays NULL, nothing is scrubbed. */
MUST_CHECK enum err scrub_start(struct scrub **out, struct spool *s, uint64_t rate_bytes);
void scrub_stop(struct scrub **s);
