/*
 * text: values of answers as text for a terminal. Everything from outside is escaped here:
 * bytes outside 0x20..0x7e become \xNN, whatever the daemon may have sent. Pure.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "cluster-tools/cli/table.h"

#define TEXT_SMALL 48

/* Writes a NUL, too; cut at size - 1. Returns the length. */
size_t text_escape(struct str s, char *buf, size_t size);

/* 999B, 1.2K, 34M, 5.6G (powers of 1,024); 12s, 3m04s, 3h12m, 2d03h; 12ms, 1.5s, 2m03s. */
void text_bytes(uint64_t n, char buf[TEXT_SMALL]);
void text_age(uint64_t seconds, char buf[TEXT_SMALL]);
void text_ms(uint64_t ms, char buf[TEXT_SMALL]);

/* A value in a table: "-" for what is not there. Cut at size - 1. Returns the length. */
size_t text_value(const json_t *v, enum cli_format format, char *buf, size_t size);

/* Numbers stand at the right edge of their column. */
bool text_is_right(enum cli_format format);

/* A word that is bad news, or one that wants attention; for colours. */
enum text_mood { TEXT_PLAIN, TEXT_NOTE, TEXT_BAD };
enum text_mood text_mood(const char *state);
