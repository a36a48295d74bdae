/*
 * text: what notifications and digests are written with: ASCII into a buffer of a fixed size.
 * What does not fit is not written, and said (`full`). Pure. Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"

struct text {
    char *p;
    size_t n, size;
    bool full; /* sticky */
};

/* An address is never longer than this, so that its line stays below 998 bytes (RFC
 * 5322 2.1.1). */
#define TEXT_ADDRESS_BYTES 900

void text_put(struct text *t, struct str s);
void text_z(struct text *t, const char *s);
void text_char(struct text *t, char c);
/* RFC 5322 3.3, in UTC. */
void text_date(struct text *t, int64_t wall_ms);
/* From outside: at most max bytes of it; what is not printable ASCII becomes '?'. */
void text_clean(struct text *t, struct str s, size_t max);
/* An address: as text_clean(); one in another script as RFC 6533 3 has it (utf-8-addr-xtext),
 * so that two of them do not look the same, unless that is too long for a line. True: it is
 * written so. */
bool text_address(struct text *t, struct str path);
bool text_is_foreign(struct str path); /* text_address() would say so */
