/*
 * mid: message id, 128 bits, never used twice: site (16 bits), session epoch (48 bits) and
 * counter (64 bits), all big-endian, so that bytes compare in order of arrival per site. The
 * session epoch is the log index at which the node's session was opened; it makes ids
 * unique over crashes, wipes and restores. The text form stands in the 250 reply, in
 * Received, in every log line: 26 digits of Crockford's base32, sorted like the bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

#define MID_TEXT_SIZE 27 /* 26 digits and a NUL */

struct mid {
    uint8_t b[16];
};

struct mid mid_make(uint16_t site, uint64_t epoch, uint64_t counter); /* epoch below 2^48 */
uint16_t mid_site(struct mid id);
uint64_t mid_epoch(struct mid id);
uint64_t mid_counter(struct mid id);

static inline int mid_cmp(struct mid a, struct mid b)
{
    return memcmp(a.b, b.b, sizeof a.b);
}

/* Writes the text form and a NUL; returns buf. */
const char *mid_text(struct mid id, char buf[MID_TEXT_SIZE]);

/* False: not an id (wrong length, a foreign digit, above 128 bits). Case does not matter. */
bool mid_parse(struct str text, struct mid *out);
