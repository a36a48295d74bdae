/*
 * table: every command of `trispool` as data. The parser, --help, the man page, the completion
 * files and the way answers are shown are made from it, so that they cannot say different
 * things. Threads: any; constant.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum cli_type {
    CLI_FLAG,   /* no value */
    CLI_TEXT,   /* sent as it is */
    CLI_DOMAIN, /* a domain name in any script; sent in A-labels */
    CLI_COUNT,  /* a whole number up to .max */
    CLI_SPAN,   /* a time with its unit, s m h d w; sent in seconds, up to .max */
    CLI_WORD,   /* one of .words */
    CLI_YESNO,  /* sent as true or false */
    CLI_MESSAGE /* a file with a message; its header is sent, as base64, lines ended by CRLF */
};

struct cli_option {
    const char *name;  /* without the dashes */
    char letter;       /* 0: none */
    const char *value; /* what --help calls the value; NULL for flags */
    enum cli_type type;
    const char *arg;   /* of the request; NULL: for the tool itself */
    const char *words; /* "a|b" */
    uint64_t max;
    const char *help;
};

enum cli_count { CLI_ONE, CLI_OPTIONAL, CLI_MANY };

struct cli_operand {
    const char *value; /* "ID"; NULL: none is taken */
    enum cli_type type;
    enum cli_count count; /* MANY: at least one, but for IDs, which options may stand for */
    const char *arg;      /* MANY: a list */
    const char *words;
    uint64_t max; /* COUNT */
};

/* How a field of a row is shown in a table. */
enum cli_format {
    CLI_F_TEXT,
    CLI_F_SENDER, /* text; the null sender as <> */
    CLI_F_STATE,  /* text, coloured when it is bad news */
    CLI_F_COUNT,
    CLI_F_BYTES, /* 1.2M */
    CLI_F_AGE,   /* of seconds: 3h12m */
    CLI_F_MS,    /* of milliseconds */
    CLI_F_TIME,
    CLI_F_BOOL,
    CLI_F_LIST, /* of texts: the first and how many more */
    CLI_F_ROWS  /* of objects: a table of its own, below */
};

struct cli_column {
    const char *title;
    const char *key;
    enum cli_format format;
    const struct cli_column *rows; /* of ROWS */
    size_t row_count;
};

enum cli_layout {
    CLI_TABLE,   /* a line a row */
    CLI_RECORD,  /* a line a field */
    CLI_LINES,   /* the field "line" of each row, as it is */
    CLI_BYTES,   /* the field "base64" of each row, as bytes */
    CLI_SUMMARY, /* no rows: what the last line says */
    CLI_LOCAL    /* the daemon is not asked; the field "line" of each row */
};

struct cli_command {
    const char *noun; /* NULL: the verb stands alone */
    const char *verb;
    const char *summary; /* a line */
    const char *text;    /* NULL, or paragraphs for the man page and --help */
    const char *example; /* NULL, or lines */
    struct cli_operand operand;
    const struct cli_option *options;
    size_t option_count;
    const char *ask;  /* the daemon's command */
    const char *op;   /* its argument "op"; NULL: none */
    bool destructive; /* asks first, or needs --yes */
    enum cli_layout layout;
    const struct cli_column *columns;
    size_t column_count;
};

size_t cli_command_count(void);
const struct cli_command *cli_command_at(size_t i);

/* Options that every command takes. */
size_t cli_global_count(void);
const struct cli_option *cli_global_at(size_t i);

/* NULL: there is none. noun NULL: a verb that stands alone. */
const struct cli_command *cli_find(const char *noun, const char *verb);
bool cli_is_noun(const char *word);

/* Does `text` stand among words like "a|b|c"? */
bool cli_is_word(const char *words, const char *text);

/* Exit status; what each means stands in the man page. */
struct cli_exit {
    int status;
    const char *help;
};
size_t cli_exit_count(void);
const struct cli_exit *cli_exit_at(size_t i);
