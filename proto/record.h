/*
 * record: an envelope as bytes, and back. The form is protobuf (record.proto); it is part of
 * the disk format and of the wire.
 *
 * Nothing in the bytes is trusted: counts, lengths, enums and flags beyond what base/limits.h
 * and proto/envelope.h allow, unknown fields and a wrong id are E_PROTO.
 * Threads: any. No I/O, no clock, no log.
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "proto/envelope.h"

/* Room that an arena needs for the largest legal envelope, decoded. */
#define RECORD_ARENA_BYTES (2 * LIMIT_ENVELOPE_BYTES)

/* Bytes of the encoded envelope, at most LIMIT_ENVELOPE_BYTES. 0: a field is above its limit,
 * so decoding would refuse it; do not encode. */
size_t envelope_encoded_size(const struct envelope *e);

/* Writes exactly envelope_encoded_size(e) bytes, which must not be 0, and returns that. */
size_t envelope_encode(const struct envelope *e, void *buf);

/* Fills *out; its strings and recipients are copies in `a`, none points into `bytes`.
 * E_PROTO: malformed. E_FULL: no room in the arena (or no memory). On an error *out is all
 * zero; what the arena gave away stays taken until its reset. */
MUST_CHECK enum err envelope_decode(struct str bytes, struct arena *a, struct envelope *out);
