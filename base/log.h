/*
 * log: one event a line, logfmt, on stderr (journald adds its own time) with an own `ts=`.
 * Events and their meaning for an operator stand in base/log_events.def; docs/log-events.md is
 * made from it. Values from outside are escaped here and nowhere else: bytes outside
 * 0x21..0x7e, quotes and backslashes never reach the terminal raw.
 *
 *   LOG(EV_MESSAGE_ACCEPTED, L_MID(id), L_STR("from", path), L_U64("bytes", n));
 *
 * Threads: any; one write(2) a line.
 * Limits: a line is cut at 2 KiB.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/mid.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARN, LOG_ERROR, LOG_ALARM };

enum log_event {
#define X(name, level, text) EV_##name,
#include "base/log_events.def"
#undef X
    EV_COUNT
};

struct log_field {
    const char *key;
    enum { LOG_F_STR, LOG_F_U64, LOG_F_I64, LOG_F_MID } type;
    struct str s;
    uint64_t u;
    struct mid id;
};

#define L_STR(k, v)  ((struct log_field){.key = (k), .type = LOG_F_STR, .s = (v)})
#define L_CSTR(k, v) ((struct log_field){.key = (k), .type = LOG_F_STR, .s = str_of(v)})
#define L_U64(k, v)  ((struct log_field){.key = (k), .type = LOG_F_U64, .u = (uint64_t)(v)})
#define L_I64(k, v)                                                                            \
    ((struct log_field){.key = (k), .type = LOG_F_I64, .u = (uint64_t)(int64_t)(v)})
#define L_MID(v) ((struct log_field){.key = "id", .type = LOG_F_MID, .id = (v)})
#define L_ERR(e) L_CSTR("err", err_text(e))

#define LOG(ev, ...)                                                                           \
    log_write((ev), (const struct log_field[]){__VA_ARGS__},                                   \
              sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

void log_write(enum log_event ev, const struct log_field *fields, size_t count);

/* Events below this level are dropped. Default LOG_INFO. */
void log_set_level(enum log_level level);
/* "debug", "info", "notice", "warn", "error", "alarm". */
bool log_level_parse(struct str name, enum log_level *out);

/* For docs and tests. */
const char *log_event_name(enum log_event ev);

/* Formats one line without writing it; returns its length, newline included. */
size_t log_format(char *buf, size_t size, int64_t wall_ms, enum log_event ev,
                  const struct log_field *fields, size_t count);
