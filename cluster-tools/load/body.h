/*
 * body: the bytes of one message on their way out, in bounded memory.
 *
 * Generated: a header of BODY_HEAD_BYTES with
 *     X-Trispool-Id: ID LENGTH CHECKSUM
 * (LENGTH: bytes behind the empty line, decimal; CHECKSUM: of these, checksum.h, 16 hex
 * digits), then numbered lines, so that a swapped, doubled or lost piece never matches. Nothing
 * is stored: the lines are made while they are sent. From a file: its bytes as they are.
 *
 * Threads: one owner; a body_plan is constant once made and may be shared.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define BODY_HEAD_BYTES 640
#define BODY_MIN_BYTES  (BODY_HEAD_BYTES + 2) /* smallest generated message */
#define BODY_VARIANTS   8
#define BODY_LINE_BYTES 78

/* What all generated messages of a run share. */
struct body_plan {
    uint64_t text_bytes; /* behind the header */
    unsigned variants;
    uint64_t checksum[BODY_VARIANTS];
};

/* message_bytes: with the header, at least BODY_MIN_BYTES. Runs the generator once or a few
 * times over the whole text, for the checksums. */
void body_plan_init(struct body_plan *p, uint64_t message_bytes);

struct body_stamp {
    struct str id;   /* at most 64 bytes, no blanks */
    struct str from; /* at most 254 bytes */
    uint64_t number; /* picks the variant */
    uint64_t wall_s; /* seconds since 1970, for Date */
};

struct body {
    int fd;              /* of the file; -1: generated */
    uint64_t left_bytes; /* not read yet */
    uint64_t line;       /* number of the next line */
    unsigned variant;
    char piece[BODY_HEAD_BYTES]; /* header or line that is being read */
    size_t piece_start, piece_end;
};

/* A closed body; body_close() on it does nothing. */
void body_init(struct body *b);

void body_open_generated(struct body *b, const struct body_plan *plan,
                         const struct body_stamp *stamp);

/* E_NOTFOUND: cannot be opened; errno says why. `bytes` is what the caller promised the server:
 * a file that has become longer is cut, a shorter one makes body_read() fail. */
MUST_CHECK enum err body_open_file(struct body *b, const char *path, uint64_t bytes);

/* Reads up to `room` bytes; *got is 0 only at the end (or when room is 0). E_IO: the file
 * cannot be read, or has become shorter. */
MUST_CHECK enum err body_read(struct body *b, char *to, size_t room, size_t *got);

void body_close(struct body *b);
