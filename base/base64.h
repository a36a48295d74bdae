/* base64: bytes as text (RFC 4648 4), with padding, without line ends. Threads: any. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Room for the text of n bytes, with a NUL. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)

/* Writes the text and a NUL into buf, which has BASE64_SIZE(in.n) bytes; returns its length. */
size_t base64_encode(struct str in, char *buf);

/* The bytes of a text; buf has in.n / 4 * 3 bytes. False: not base64 in the one form that
 * base64_encode() writes. */
bool base64_decode(struct str in, char *buf, size_t *out_bytes);
