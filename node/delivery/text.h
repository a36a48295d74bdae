/*
 * text: what notifications and digests are written with: ASCII into a buffer of a fixed size.
 * What does not fit is not written, and said (`full`). Pure. Threads: one owner.
 */
#pragma once

#include <stdbool.h>

#include "base/limits.h"
#include "base/str.h"

struct text {
    char *p;
    size_t n, size;
    bool full; /* sticky */
};

/* A byte of an address becomes so many at worst: \x{5C}. */
#define TEXT_ADDRESS_TIMES 6

void text_put(struct text *t, struct str s);
void text_z(struct text *t, const char *s);
void text_char(struct text *t, char c);
/* From outside: at most max bytes of it; what is not printable ASCII becomes '?'. */
void text_clean(struct text *t, struct str s, size_t max);
/* An address: as text_clean(); one in another script as RFC 6533 3 has it (utf-8-addr-xtext),
 * so that two of them do not look the same. True: it was one. */
bool text_address(struct text *t, struct str path);
bool text_is_foreign(struct str path); /* text_address() would say so */
