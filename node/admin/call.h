/*
 * call: one request on the control socket and its answer. Both are lines of JSON:
 *
 *   > {"cmd":"queue.list","args":{"domain":"example.com","limit":10}}
 *   < {"id":"01J...","domain":"example.com",...}          a row each, none or many
 *   < {"done":true,"exit":0,"rows":1}                     always the last line, or:
 *   < {"error":{"what":"...","where":"...","do":"..."},"exit":64}
 *
 * A command is a row of a table: its name, the arguments it takes, and a step function. Names
 * and arguments are checked before the first step, so that a step sees what its table says and
 * nothing else. A step does a little work, emits rows, and says how it goes on:
 *
 *   (begun) --step--> AGAIN --step, once the reader has taken enough--> ...
 *              |----> WAIT --admin_server_wake() or the time is over--> step
 *              \----> END (admin_done() or admin_fail() was called)
 *
 * Text from outside stands in JSON as ASCII: bytes outside 0x20..0x7e as \xNN, a backslash
 * doubled. Times are RFC 3339 in UTC, sizes bytes, spans seconds or milliseconds by name (_s,
 * _ms).
 *
 * Threads: one owner. No I/O, no clock: lines leave through the sink.
 * Limits: LIMIT_ADMIN_REQUEST_BYTES a request.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Exit status of the command line tool, sysexits.h where it has a word for it. */
enum admin_exit {
    ADMIN_EXIT_OK = 0,
    ADMIN_EXIT_NEGATIVE = 1, /* the answer is no: not found, refused, unhealthy */
    ADMIN_EXIT_PARTIAL = 2,  /* done for some of what was named */
    ADMIN_EXIT_USAGE = 64,
    ADMIN_EXIT_UNREACHABLE = 69,
    ADMIN_EXIT_TEMPORARY = 75, /* try again later */
    ADMIN_EXIT_DENIED = 77,
    ADMIN_EXIT_CONFIG = 78
};

enum admin_arg_type {
    ADMIN_ARG_TEXT,  /* max: bytes */
    ADMIN_ARG_COUNT, /* a whole number from 0; max: the number */
    ADMIN_ARG_BOOL,
    ADMIN_ARG_TEXTS /* a list of texts, not empty; max: items */
};

struct admin_arg {
    const char *name;
    enum admin_arg_type type;
    uint64_t max;
    bool required;
};

enum admin_next { ADMIN_AGAIN, ADMIN_WAIT, ADMIN_END };

struct admin_call;

struct admin_command {
    const char *name; /* "noun.verb" or "verb" */
    const struct admin_arg *args;
    size_t arg_count;
    bool audited; /* written to the log with the uid of the caller, before the first step */
    size_t state_bytes;
    enum admin_next (*step)(struct admin_call *c, void *state); /* state: zeroed at first */
    void (*end)(struct admin_call *c, void *state); /* frees what state owns; may be NULL */
};

struct admin_table {
    const struct admin_command *commands;
    size_t count;
    void *ctx; /* handed to every step as c->ctx */
};

/* Where lines go, each with its newline, possibly in pieces. */
struct admin_sink {
    void (*write)(void *to, const char *bytes, size_t count);
    void *to;
};

struct admin_call {
    const struct admin_command *command; /* NULL: none is under way */
    void *ctx;
    uint64_t number; /* of this call, never used twice by a server; for late answers */
    uint32_t uid;    /* of the caller */
    bool timed_out;  /* the wait before this step ended by its time */

    /* For call.c and the server alone. */
    struct admin_sink sink;
    json_t *request, *args;
    void *state;
    uint64_t wait_ms;
    uint64_t rows;
    bool ended;
};

/* --- for the server --- */

/* Reads the request and looks it up; c->sink, number and uid are set by the caller, the rest
 * is not looked at. False: it was answered with an error, there is nothing to step or end.
 * Borrows the table until admin_call_end(). */
bool admin_call_begin(struct admin_call *c, const struct admin_table *t, struct str line);
enum admin_next admin_call_step(struct admin_call *c);
/* Also before END was reached: the caller is gone. */
void admin_call_end(struct admin_call *c);
/* An error line for a sink that has no call. */
void admin_sink_error(struct admin_sink sink, int exit, const char *what, const char *where,
                      const char *act);

/* --- for the steps: arguments, as the table promised --- */

/* TEXT; .p is NULL when it was not given. Lives as long as the call. */
struct str admin_text(const struct admin_call *c, const char *name);
bool admin_given(const struct admin_call *c, const char *name);
uint64_t admin_count(const struct admin_call *c, const char *name, uint64_t preset);
bool admin_flag(const struct admin_call *c, const char *name);
size_t admin_texts(const struct admin_call *c, const char *name); /* 0: not given */
struct str admin_texts_at(const struct admin_call *c, const char *name, size_t i);

/* --- for the steps: answers --- */

/* A row. Takes it; NULL (out of memory) ends the call with an error. */
void admin_emit(struct admin_call *c, json_t *row);
/* The last line; `more` (taken, may be NULL) is an object whose fields join it. */
enum admin_next admin_done(struct admin_call *c, int exit, json_t *more);
/* The last line, as an error. `where` and `act` (what to do about it) may be NULL. */
enum admin_next admin_fail(struct admin_call *c, int exit, const char *what, const char *where,
                           const char *act);
/* To be returned: the next step comes after a wake, or after `ms` with timed_out set. */
enum admin_next admin_wait(struct admin_call *c, uint64_t ms);

/* --- JSON of outside text and of times --- */

json_t *admin_json_text(struct str s);
json_t *admin_json_time(int64_t wall_ms); /* null for 0 and below */
/* Sets a field; `value` is taken. */
void admin_set(json_t *row, const char *key, json_t *value);
void admin_set_u64(json_t *row, const char *key, uint64_t value); /* cut to INT64_MAX */
void admin_set_z(json_t *row, const char *key, const char *value);
void admin_set_text(json_t *row, const char *key, struct str value);
void admin_set_time(json_t *row, const char *key, int64_t wall_ms);
