/*
 * compare: were the files of one directory delivered, byte for byte, into another?
 *
 * SENT holds the files that trispool-load --files sent; RECEIVED what arrived (trispool-sink
 * --dir, or any folder with a file for each message). A received file matches a sent one when
 * it is equal to it behind exactly one Received field, with its folded lines, that the relay
 * put in front (RFC 5321 section 4.4). Several sent files may be equal: then as many must
 * arrive. Files whose names begin with a dot or end in .env are passed over.
 *
 * Threads: one owner. Memory: the largest file, and about 300 bytes a file.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"

struct compare_setup {
    const char *sent_dir, *received_dir;
    const char *relay; /* name behind "by" in that Received field; NULL: any */
    bool direct;       /* no relay between: the files must be equal as they are */
    bool verbose;      /* names of the files that are wrong, on stderr */
};

struct compare_result {
    uint64_t sent, received; /* files */
    uint64_t lost;           /* sent, and nothing equal (left) among the received */
    uint64_t duplicated;     /* equal to a sent one that had arrived already */
    uint64_t altered;        /* equal to nothing that was sent; its original counts as lost */
};

/* Cuts the leading Received field off *message. False: there is none, or not one "by relay"
 * (ASCII case ignored; empty: any name). Pure; in compare_cut.c, fuzzed by compare_fuzz.c. */
bool compare_cut_received(struct str *message, struct str relay);

/* What a file is, for the comparison. */
struct fingerprint {
    unsigned char digest[32]; /* SHA-256 */
    const char *name;         /* borrowed; for the verbose lines */
};

void fingerprint_make(struct fingerprint *f, struct str bytes, const char *name);

/* Of a message that came through a relay: without the Received field the relay had to add. A
 * message that has none is equal to nothing. False: so it was. */
bool fingerprint_make_relayed(struct fingerprint *f, struct str bytes, struct str relay,
                              const char *name);

/* Compares as multisets; sorts both lists. `shown`: where names go, may be NULL. */
void compare_lists(struct fingerprint *sent, size_t sent_count, struct fingerprint *received,
                   size_t received_count, struct compare_result *r, FILE *shown);

/* Reads the directories, prints one JSON line to `to`. *equal: nothing lost, duplicated or
 * altered, and there was something to compare. Errors: E_NOTFOUND (a file or directory cannot
 * be read), E_FULL (no memory); the reason is on stderr. */
MUST_CHECK enum err compare_run(const struct compare_setup *setup, FILE *to, bool *equal);
