/*
 * config_tree: what base/config*.c share and nobody else includes: the files of a
 * configuration, their YAML as a tree with positions, the list of mistakes, and the scalar
 * values.
 *
 *   config_file.c   opening and closing: the only one that touches files
 *   config_text.c   texts, lines, columns, UTF-8, mistakes and how they are printed
 *   config_tree.c   libyaml's events to nodes; refuses what is no plain data
 *   config_value.c  one scalar of a file to a value, and back to text
 *   config.c        the table of keys: binding
 *   config_print.c  the table of keys: printing, comparing, the reference
 */
#pragma once

#include "base/arena.h"
#include "base/config.h"
#include "base/err.h"
#include "base/limits.h"

struct config_mark {
    size_t file;         /* index into config.files */
    size_t line, column; /* from 1, in characters; line 0: the file as a whole */
    bool without_source; /* something is missing here: there is no line to show */
};

enum config_node_kind {
    CONFIG_NODE_SCALAR,
    CONFIG_NODE_LIST,
    CONFIG_NODE_MAP,
    CONFIG_NODE_BAD
};

struct config_node {
    enum config_node_kind kind; /* BAD: its mistake is noted; nobody complains again */
    bool plain;                 /* a scalar without quotes */
    struct config_mark at, key_at;
    struct str key;  /* of an entry of a map */
    struct str text; /* of a scalar */
    struct config_node *first, *last, *next;
};

struct config_file {
    const char *name;
    char *bytes;              /* malloc; NULL when the text is borrowed */
    struct str text;          /* without byte order mark */
    struct config_node *root; /* NULL: empty, or no YAML at all */
};

struct config_mistake {
    struct config_mark at;
    size_t number; /* in the order they were found */
    const char *text;
};

struct config {
    struct arena memory;
    struct config_file files[LIMIT_CONFIG_FILES];
    size_t file_count;
    struct config_mistake mistakes[LIMIT_CONFIG_ERRORS];
    size_t mistake_count; /* may be above LIMIT_CONFIG_ERRORS */
    size_t node_count;
    bool unreadable; /* no sense in looking at the keys */
    bool cut;        /* a part was not read: keys may only seem to be missing */
    bool starved;    /* the memory limit was met: values may be wrong, which is a mistake too */
    const struct config_schema *schema;
    struct config_node **found; /* for each row of the schema: its value, or NULL */
    bool *bad;                  /* for each row: its value was refused */
};

/* --- config_text.c --- */

struct config_file *config_add_file(struct config *c, const char *name);
/* Borrows the text, which is checked for bytes that a configuration may not have. */
void config_set_text(struct config *c, struct config_file *f, struct str text);

void config_mistake(struct config *c, struct config_mark at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void config_mistake_v(struct config *c, struct config_mark at, const char *before,
                      const char *fmt, va_list args);

/* A value for a message: control characters replaced, cut when long. Lives as long as c. */
const char *config_shown(struct config *c, struct str value);

/* The first character of s: its length in bytes, 0 when it is not UTF-8. */
size_t config_utf8(struct str s, uint32_t *character);

/* Without its end of line. */
struct str config_line(const struct config_file *f, size_t line);

/* --- config_tree.c --- */

void config_parse(struct config *c, size_t file);

/* --- config_value.c --- */

struct config_value {
    bool truth;
    uint64_t number;
    int word;
    const char *text;
    struct config_address address;
    struct config_host host;
};

bool config_type_is_list(enum config_type t);

/* Reads one scalar, or one item of a list, of the row's type. NULL: done. Else what is wrong,
 * as text that goes behind "key: "; both live as long as c. */
const char *config_read_value(struct config *c, const struct config_key *row, struct str text,
                              struct config_value *out);

/* Insertions, deletions, replacements and swaps of neighbours between a and b, without regard
 * to case; SIZE_MAX when one is longer than CONFIG_SIMILAR_BYTES. */
#define CONFIG_SIMILAR_BYTES 48
size_t config_distance(struct str a, struct str b);
/* Would somebody who wrote a have meant b? */
bool config_similar(struct str a, struct str b, size_t *distance);

/* A formatted text that lives as long as c. */
const char *config_said(struct config *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A copy with a NUL behind it; an empty text at the memory limit, which is noted. */
const char *config_copy(struct config *c, struct str s);
