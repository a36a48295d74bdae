/*
 * files: the messages of --files DIR.
 *
 * Every regular file of the directory whose name does not begin with a dot, in the order of
 * strcmp(3). Each is read once when the list is made, to learn its size, whether it has 8-bit
 * bytes, and whether it can travel unchanged: SMTP knows only lines that end in CRLF.
 *
 * Threads: one owner; constant once made. Limits: LIMIT_TOOL_FILES.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum file_flaw {
    FILE_CLEAN,
    FILE_BARE_LF, /* an LF without CR before it */
    FILE_BARE_CR, /* a CR without LF behind it */
    FILE_NO_END,  /* does not end in CRLF; an empty file too */
};

struct file_entry {
    char *path; /* owned */
    char *id;   /* owned: the file's name; blanks, '%' and bytes outside ASCII as %XX */
    uint64_t bytes;
    bool eight_bit;
    enum file_flaw flaw; /* the first that was found */
};

struct file_list {
    struct file_entry *list;
    size_t n;
};

/* Errors: E_NOTFOUND (the directory cannot be read; errno), E_IO (a file cannot be read: it is
 * the last of the list), E_FULL (too many, or no memory). files_close() in every case. */
MUST_CHECK enum err files_open(struct file_list *f, const char *dir);
void files_close(struct file_list *f);

const char *file_flaw_text(enum file_flaw flaw);

/* What a run of bytes is, fed piece by piece. Pure. */
struct file_scan {
    bool after_cr, line_start, eight_bit;
    enum file_flaw flaw;
};

void file_scan_init(struct file_scan *s);
void file_scan_add(struct file_scan *s, struct str bytes);
enum file_flaw file_scan_end(const struct file_scan *s);

/* Writes the ledger form of a file name to out (room at least 3 * name.n + 1) with a NUL. */
void file_id(struct str name, char *out, size_t room);
