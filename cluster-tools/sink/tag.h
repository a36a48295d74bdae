/*
 * tag: reads X-Trispool-Id out of a message that passes by, and checks the body against it.
 *
 * The first such field of the header counts; Received fields before it do not matter. The body
 * is what stands behind the first empty line. See cluster-tools/load/body.h for the field.
 *
 * Pure: no I/O, no heap. Threads: one owner. Limits: of a header line the first
 * LIMIT_TOOL_HEADER_LINE_BYTES are looked at.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"

enum tag_verdict {
    TAG_OK,
    TAG_SHORT,    /* fewer bytes than were sent */
    TAG_BAD,      /* more bytes, or other ones */
    TAG_UNTAGGED, /* no X-Trispool-Id, or none that can be read */
};

struct tag {
    char id[LIMIT_TOOL_ID_BYTES];
    size_t id_bytes; /* 0: untagged so far */
    uint64_t want_bytes, want_sum;
    uint64_t body_bytes, sum;
    char line[LIMIT_TOOL_HEADER_LINE_BYTES];
    size_t line_bytes;
    bool in_body;
};

void tag_init(struct tag *t);

/* The next bytes of the message, in any pieces. */
void tag_add(struct tag *t, struct str bytes);

/* What the whole message is worth. */
enum tag_verdict tag_verdict(const struct tag *t);

/* As it stands in the ledger: ok, short, bad, untagged. */
const char *tag_verdict_text(enum tag_verdict v);

/* Borrowed from the tag; empty when untagged. */
struct str tag_id(const struct tag *t);
