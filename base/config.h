/*
 * config: a YAML file bound to a struct by a table of keys. Reading a configuration touches the
 * file (and conf.d beside it) and nothing else: no name is looked up, no path in it is opened.
 *
 *   static const struct config_key keys[] = {
 *       {.name = "smtp", .type = CONFIG_SECTION, .help = "..."},
 *       {.name = "smtp.threads", .type = CONFIG_INT, .offset = offsetof(struct x, threads),
 *        .preset = "2", .min = 1, .max = 64, .restart = true, .help = "..."},
 *   };
 *   struct config *c = config_open("trispool.yaml");
 *
 *   config_bind(c, &schema, &x);
 *   if (x.a_without_b)
 *       config_error(c, "smtp.a", "needs smtp.b");
 *   if (config_error_count(c) > 0)
 *       config_print_errors(c, stderr);
 *
 * All mistakes of a file are found in one run and printed in the order of the file:
 *
 *   trispool.yaml:4:12: smtp.threads: must be a whole number, got 'two'
 *      4 |   threads: two
 *        |            ^
 *
 * Lines and columns count from 1; a column is a character, not a byte. Refused, each with its
 * position: unknown keys ("did you mean"), duplicate keys (also over two files), wrong types,
 * sizes and durations without a unit, values out of range, anchors, aliases, tags, merge keys,
 * NUL, control characters and bytes that are not UTF-8.
 *
 * Threads: one owner at a time.
 * Limits: LIMIT_CONFIG_BYTES of text in all files together, LIMIT_CONFIG_NODES,
 * LIMIT_CONFIG_DEPTH, LIMIT_CONFIG_ERRORS are kept and printed, the rest is counted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/str.h"

enum config_type {
    CONFIG_SECTION,   /* a nested map; the rows of its keys are named "section.key" */
    CONFIG_BOOL,      /* bool; true or false */
    CONFIG_INT,       /* uint64_t */
    CONFIG_SIZE,      /* uint64_t, bytes; a unit is required: KiB MiB GiB TiB kB MB GB TB */
    CONFIG_DURATION,  /* uint64_t, milliseconds; a unit is required: ms s m h d */
    CONFIG_WORD,      /* int: index into .words */
    CONFIG_STRING,    /* const char *, never empty; NULL when not set and without a preset */
    CONFIG_PATH,      /* const char *, an absolute path; as above */
    CONFIG_HOSTNAME,  /* const char *, lower case, two labels or more; as above */
    CONFIG_STRINGS,   /* struct config_strings */
    CONFIG_HOSTNAMES, /* struct config_strings, each as CONFIG_HOSTNAME */
    CONFIG_IPS,       /* struct config_addresses, without port (port 0) */
    CONFIG_ADDRESSES, /* struct config_addresses: 192.0.2.1:25 or '[2001:db8::1]:25' */
    CONFIG_HOSTS, /* struct config_hosts: name, IPv4 or '[IPv6]', each with an optional :port */
};

struct config_strings {
    const char **v;
    size_t n;
};

struct config_address {
    const char *text; /* canonical: "192.0.2.1:25", "[2001:db8::1]:25", without port "::1" */
    struct sockaddr_storage ss;
    socklen_t ss_bytes;
};

struct config_addresses {
    struct config_address *v;
    size_t n;
};

struct config_host {
    const char *text; /* canonical, with port: "mail.example.com:25" */
    const char *name; /* a host name in lower case, or an address without brackets */
    uint16_t port;
};

struct config_hosts {
    struct config_host *v;
    size_t n;
};

struct config_key {
    const char *name; /* dotted path, unique; a section stands before its keys */
    enum config_type type;
    size_t offset; /* of the member in the bound struct; the type says what it must be */
    /* The value when the key is not in the file, as it would be written there; items of a list
     * parted by spaces. NULL: nothing, that is false, 0, NULL or the empty list. */
    const char *preset;
    uint64_t min, max; /* INT, SIZE (bytes), DURATION (ms); both 0: no limits. Ends included */
    const char *const *words; /* WORD: the choices, ended by NULL */
    const char *empty_word; /* lists: this word in place of the list stands for the empty one */
    uint16_t port;          /* ADDRESSES, HOSTS: port when none is given; 0: one is required */
    bool required;          /* must be in the file; such a key has no preset */
    bool restart;           /* a change takes effect at the next start only */
    /* NULL, or a further test of a string or of each item of STRINGS; answers what is wrong
     * ("must be ..."), static text, or NULL. */
    const char *(*check)(struct str value);
    const char
        *help; /* for docs/configuration.md: what it is, in a sentence without full stop */
};

struct config_schema {
    const struct config_key *keys;
    size_t count;
};

struct config;

/* Reads the file and conf.d/(name).yaml beside it (optional; in the order of their names).
 * Never NULL: what is wrong with the files is in the errors. Gives: config_close(). */
struct config *config_open(const char *path);
/* The same from memory, without conf.d; borrows both. */
struct config *config_from_text(const char *name, struct str text);
/* Also ends the life of every string and list that config_bind() put into a struct. */
void config_close(struct config **c);

/* Fills *out: a preset or zero where the file has no valid value. Once for each config. A file
 * with bytes that YAML does not allow is not bound; after a syntax error the keys before it
 * are. */
void config_bind(struct config *c, const struct config_schema *schema, void *out);

/* Is the key in the file? */
bool config_is_set(const struct config *c, const char *key);
/* Is it there with a value that was refused? Then the struct has the preset, and to compare it
 * with other values would only confuse. */
bool config_is_bad(const struct config *c, const char *key);

/* For checks over several fields: an error at the key's value, or where its section starts if
 * it is not in the file. The text goes behind "key: ". */
void config_error(struct config *c, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same at an item of a list. */
void config_error_item(struct config *c, const char *key, size_t item, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

size_t config_error_count(const struct config *c);
/* In the order of the files, lines and columns. */
void config_print_errors(const struct config *c, FILE *out);

/* A number in the unit of its type, as it is written in a file; in buf. */
#define CONFIG_NUMBER_BYTES 32
const char *config_number_text(enum config_type type, uint64_t n,
                               char buf[CONFIG_NUMBER_BYTES]);

/* Memory that lives as long as c, for values that are made from others; zeroed. NULL: limit. */
void *config_take(struct config *c, size_t bytes);

/* All values as a YAML file that config_open() reads back into the same values. Keys without a
 * value become a comment. */
void config_print(const struct config_schema *schema, const void *values, FILE *out);

struct config_change {
    const char *key;
    bool restart;
};
/* The keys whose values differ, in the order of the schema; at most max of them are stored.
 * Returns how many there are. */
size_t config_diff(const struct config_schema *schema, const void *before, const void *after,
                   struct config_change *out, size_t max);

/* The reference as Markdown: a table of keys for each section. */
void config_print_reference(const struct config_schema *schema, FILE *out);
