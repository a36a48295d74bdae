/*
 * show: an answer on its way to standard output, row by row, as a table, as one JSON object or
 * as JSON lines. Tables keep SHOW_HELD rows back to find the widths of their columns, and which
 * columns none of them has, which are left out; nothing else is kept, however long an answer
 * is.
 *
 *   json:  {"schema":1,"command":"queue list","items":[...],"summary":{...},"exit":0}
 *   jsonl: a row a line, each with "schema":1; an error is a line of its own
 *
 * Threads: one owner.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "cluster-tools/cli/parse.h"

#define SHOW_SCHEMA  1 /* goes up when a field changes its meaning or goes */
#define SHOW_HELD    200
#define SHOW_COLUMNS 64
#define SHOW_HIDDEN  SIZE_MAX

struct show {
    const struct cli_command *command;
    enum cli_output output;
    FILE *out, *err;
    bool quiet, colour;
    bool begun;                             /* the head was written */
    json_t *held[SHOW_HELD];                /* rows of a table whose widths are not known yet */
    size_t held_count, width[SHOW_COLUMNS]; /* SHOW_HIDDEN: left out */
    uint64_t rows;
};

/* Borrows all. Colours come with a terminal, unless NO_COLOR is set. */
void show_begin(struct show *s, const struct cli_run *run, FILE *out, FILE *err);
/* Takes the row. */
void show_row(struct show *s, json_t *row);
/* The answer is whole: the last line of the daemon, borrowed; NULL: there is none. Returns the
 * exit status, 1 if standard output failed. */
int show_end(struct show *s, const json_t *last, int exit);
/* An error ends the answer, in whatever state it is. Returns why->exit. */
int show_error(struct show *s, const struct cli_error *why);
