/*
 * number: numbers of the command line and of control lines, with their units. Strict: the
 * whole text must be used up. Pure. Errors: E_PROTO (not a number), E_FULL (out of range).
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Decimal digits, at most `max`. */
MUST_CHECK enum err number_count(struct str text, uint64_t max, uint64_t *out);

/* Bytes: digits and no unit, k, M or G, or KiB, MiB or GiB; all of them powers of 1,024. */
MUST_CHECK enum err number_size(struct str text, uint64_t max, uint64_t *out);

/* Time in microseconds: digits with an optional fraction, and no unit or s (seconds), ms, m
 * (minutes) or h. At most 100 days. */
MUST_CHECK enum err number_duration_us(struct str text, uint64_t *out);

/* Like number_duration_us(), but a number without a unit is milliseconds. */
MUST_CHECK enum err number_delay_us(struct str text, uint64_t *out);

/* A decimal number from 0 to `max`, in millionths: "12.5" is 12,500,000. */
MUST_CHECK enum err number_micro(struct str text, uint64_t max, uint64_t *out);
