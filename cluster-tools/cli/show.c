#include "cluster-tools/cli/show.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "cluster-tools/cli/text.h"

#define VALUE_BYTES 16384
#define WIDTH_MAX   44 /* wider values push the rest of their line to the right */
#define DUMP        (JSON_COMPACT | JSON_ENSURE_ASCII)

void show_begin(struct show *s, const struct cli_run *run, FILE *out, FILE *err)
{
    *s = (struct show){
        .command = run->command,
        .output = run->output,
        .out = out,
        .err = err,
        .quiet = run->quiet,
        .colour = isatty(fileno(out)) == 1 && getenv("NO_COLOR") == NULL,
    };
}

/* --- JSON --- */

static void json_head(struct show *s)
{
    const struct cli_command *c = s->command;

    if (s->begun)
        return;
    s->begun = true;
    fprintf(s->out, "{\"schema\":%d,\"command\":\"%s%s%s\",\"items\":[", SHOW_SCHEMA,
            c != NULL && c->noun != NULL ? c->noun : "",
            c != NULL && c->noun != NULL ? " " : "", c != NULL ? c->verb : "");
}

static void json_row(struct show *s, json_t *row)
{
    if (s->output == CLI_OUT_JSON) {
        json_head(s);
        fputs(s->rows > 0 ? ",\n" : "\n", s->out);
        (void)json_dumpf(row, s->out, DUMP);
        return;
    }
    (void)json_object_set_new(row, "schema", json_integer(SHOW_SCHEMA));
    (void)json_dumpf(row, s->out, DUMP);
    fputc('\n', s->out);
}

/* What the last line says beside done, exit and rows. */
static json_t *summary_of(const json_t *last)
{
    json_t *more = last != NULL ? json_copy((json_t *)last) : json_object();

    (void)json_object_del(more, "done");
    (void)json_object_del(more, "exit");
    (void)json_object_del(more, "rows");
    return more;
}

static void json_end(struct show *s, const json_t *last, int exit)
{
    json_t *more = summary_of(last);

    if (s->output == CLI_OUT_JSON) {
        json_head(s);
        fputs(s->rows > 0 ? "\n],\"summary\":" : "],\"summary\":", s->out);
        (void)json_dumpf(more, s->out, DUMP);
        fprintf(s->out, ",\"exit\":%d}\n", exit);
    } else if (s->command->layout == CLI_SUMMARY) {
        json_row(s, more);
    }
    json_decref(more);
}

static void json_error(struct show *s, const struct cli_error *why)
{
    char what[4 * sizeof why->what], where[4 * sizeof why->where], act[4 * sizeof why->act];
    json_t *line, *error;

    text_escape(str_of(why->what), what, sizeof what);
    text_escape(str_of(why->where), where, sizeof where);
    text_escape(str_of(why->act), act, sizeof act);
    error = json_pack("{s:s, s:s, s:s}", "what", what, "where", where, "do", act);
    if (s->output == CLI_OUT_JSON) {
        json_head(s);
        fputs("],\"error\":", s->out);
        (void)json_dumpf(error, s->out, DUMP);
        fprintf(s->out, ",\"exit\":%d}\n", why->exit);
        json_decref(error);
        return;
    }
    line =
        json_pack("{s:i, s:o, s:i}", "schema", SHOW_SCHEMA, "error", error, "exit", why->exit);
    (void)json_dumpf(line, s->out, DUMP);
    fputc('\n', s->out);
    json_decref(line);
}

/* --- tables --- */

static void put_coloured(struct show *s, const char *text, enum cli_format format)
{
    static const char *const colours[] = {
        [TEXT_PLAIN] = "", [TEXT_NOTE] = "\033[33m", [TEXT_BAD] = "\033[31m"};
    enum text_mood mood = s->colour && format == CLI_F_STATE ? text_mood(text) : TEXT_PLAIN;

    fprintf(s->out, "%s%s%s", colours[mood], text, mood != TEXT_PLAIN ? "\033[0m" : "");
}

static void put_blanks(struct show *s, size_t n)
{
    fprintf(s->out, "%*s", (int)n, "");
}

/* One cell; the last one of a line is not filled up. */
static void put_cell(struct show *s, const char *text, size_t width, enum cli_format format,
                     bool is_right, bool is_last)
{
    size_t n = strlen(text), pad = n < width ? width - n : 0;

    if (is_right)
        put_blanks(s, pad);
    put_coloured(s, text, format);
    if (!is_right && !is_last)
        put_blanks(s, pad);
    fputs(is_last ? "\n" : "  ", s->out);
}

/* Without the hidden ones at the end. */
static size_t last_shown(const size_t *width, size_t count)
{
    while (count > 0 && width[count - 1] == SHOW_HIDDEN)
        count--;
    return count;
}

static void put_titles(struct show *s, const struct cli_column *columns, size_t count,
                       const size_t *width, const char *indent)
{
    fputs(indent, s->out);
    count = last_shown(width, count);
    for (size_t i = 0; i < count; i++)
        if (width[i] != SHOW_HIDDEN)
            put_cell(s, columns[i].title, width[i], CLI_F_TEXT,
                     text_is_right(columns[i].format), i + 1 == count);
}

static void put_line(struct show *s, const json_t *row, const struct cli_column *columns,
                     size_t count, const size_t *width, const char *indent)
{
    char text[VALUE_BYTES];

    fputs(indent, s->out);
    count = last_shown(width, count);
    for (size_t i = 0; i < count; i++) {
        if (width[i] == SHOW_HIDDEN)
            continue;
        text_value(json_object_get(row, columns[i].key), columns[i].format, text, sizeof text);
        put_cell(s, text, width[i], columns[i].format, text_is_right(columns[i].format),
                 i + 1 == count);
    }
}

static void widen(const json_t *row, const struct cli_column *columns, size_t count,
                  size_t *width)
{
    char text[VALUE_BYTES];

    for (size_t i = 0; i < count; i++) {
        size_t n = text_value(json_object_get(row, columns[i].key), columns[i].format, text,
                              sizeof text);

        if (n > WIDTH_MAX)
            n = WIDTH_MAX;
        if (n > width[i])
            width[i] = n;
    }
}

static void start_widths(const struct cli_column *columns, size_t count, size_t *width)
{
    for (size_t i = 0; i < count; i++)
        width[i] = strlen(columns[i].title);
}

/* A table within a record: an array of objects, or one object. */
static void put_inner(struct show *s, const struct cli_column *c, const json_t *v)
{
    size_t width[SHOW_COLUMNS], n = json_is_array(v) ? json_array_size(v) : 1;
    const char *fate = json_string_value(json_object_get(v, "fate"));

    if (v == NULL || n == 0 || (fate != NULL && strcmp(fate, "none") == 0))
        return;
    fprintf(s->out, "\n%s:\n", c->title);
    start_widths(c->rows, c->row_count, width);
    for (size_t i = 0; i < n; i++)
        widen(json_is_array(v) ? json_array_get(v, i) : v, c->rows, c->row_count, width);
    put_titles(s, c->rows, c->row_count, width, "  ");
    for (size_t i = 0; i < n; i++)
        put_line(s, json_is_array(v) ? json_array_get(v, i) : v, c->rows, c->row_count, width,
                 "  ");
}

static void put_record(struct show *s, const json_t *row)
{
    const struct cli_command *c = s->command;
    char text[VALUE_BYTES];
    size_t width = 0;

    if (s->rows > 0)
        fputc('\n', s->out);
    for (size_t i = 0; i < c->column_count; i++)
        if (c->columns[i].format != CLI_F_ROWS && strlen(c->columns[i].title) > width)
            width = strlen(c->columns[i].title);
    for (size_t i = 0; i < c->column_count; i++) {
        const struct cli_column *col = &c->columns[i];
        const json_t *v = json_object_get(row, col->key);

        if (v == NULL)
            continue;
        if (col->format == CLI_F_ROWS) {
            put_inner(s, col, v);
            continue;
        }
        text_value(v, col->format, text, sizeof text);
        fprintf(s->out, "%s:%*s", col->title, (int)(width - strlen(col->title) + 2), "");
        put_coloured(s, text, col->format);
        fputc('\n', s->out);
    }
}

/* A node that is alone has no holders, and so on. */
static void hide_columns(struct show *s)
{
    for (size_t k = 0; k < s->command->column_count; k++) {
        bool any = false;

        for (size_t i = 0; i < s->held_count && !any; i++)
            any = json_object_get(s->held[i], s->command->columns[k].key) != NULL;
        if (!any)
            s->width[k] = SHOW_HIDDEN;
    }
}

static void flush_held(struct show *s)
{
    const struct cli_command *c = s->command;

    if (s->begun)
        return;
    s->begun = true;
    start_widths(c->columns, c->column_count, s->width);
    for (size_t i = 0; i < s->held_count; i++)
        widen(s->held[i], c->columns, c->column_count, s->width);
    hide_columns(s);
    if (s->held_count > 0)
        put_titles(s, c->columns, c->column_count, s->width, "");
    for (size_t i = 0; i < s->held_count; i++) {
        put_line(s, s->held[i], c->columns, c->column_count, s->width, "");
        json_decref(s->held[i]);
    }
    s->held_count = 0;
}

/* True: the row was kept. */
static bool table_row(struct show *s, json_t *row)
{
    if (!s->begun) {
        s->held[s->held_count++] = row;
        if (s->held_count == SHOW_HELD)
            flush_held(s);
        return true;
    }
    put_line(s, row, s->command->columns, s->command->column_count, s->width, "");
    return false;
}

/* --- other layouts --- */

static void put_bytes(struct show *s, const json_t *row)
{
    const json_t *v = json_object_get(row, "base64");
    struct str text = {json_string_value(v), json_string_length(v)};
    char *bytes;
    size_t n;

    if (v == NULL || text.n == 0)
        return;
    bytes = malloc(text.n);
    if (bytes != NULL && base64_decode(text, bytes, &n))
        fwrite(bytes, 1, n, s->out);
    free(bytes);
}

static void put_text_line(struct show *s, const json_t *row)
{
    char text[VALUE_BYTES];
    const json_t *v = json_object_get(row, "line");

    text_escape((struct str){json_string_value(v), json_string_length(v)}, text, sizeof text);
    fprintf(s->out, "%s\n", text);
}

static void put_publish(struct show *s, const json_t *row)
{
    const json_t *lines = json_object_get(row, "publish");
    char text[VALUE_BYTES];

    if (lines == NULL || s->quiet)
        return;
    fputs(
        json_array_size(lines) > 1
            ? "\nMX records to publish, of equal preference, above those of the domain's own "
              "hosts:\n"
            : "\nMX record to publish, its preference above those of the domain's own hosts:\n",
        s->out);
    for (size_t i = 0; i < json_array_size(lines); i++) {
        text_value(json_array_get(lines, i), CLI_F_TEXT, text, sizeof text);
        fprintf(s->out, "  %s\n", text);
    }
}

void show_row(struct show *s, json_t *row)
{
    bool kept = false;

    if (s->output != CLI_OUT_TABLE) {
        json_row(s, row);
    } else {
        switch (s->command->layout) {
        case CLI_TABLE:
        case CLI_SUMMARY:
            kept = table_row(s, row);
            break;
        case CLI_RECORD:
            put_record(s, row);
            put_publish(s, row);
            break;
        case CLI_LINES:
        case CLI_LOCAL:
            put_text_line(s, row);
            break;
        case CLI_BYTES:
            put_bytes(s, row);
            break;
        }
    }
    s->rows++;
    if (!kept)
        json_decref(row);
}

/* --- the end --- */

static uint64_t number_of(const json_t *last, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(last, key));

    return n > 0 ? (uint64_t)n : 0;
}

static void put_missing(struct show *s, const json_t *last)
{
    const json_t *missing = json_object_get(last, "missing");
    char text[64];

    for (size_t i = 0; i < json_array_size(missing); i++) {
        text_value(json_array_get(missing, i), CLI_F_TEXT, text, sizeof text);
        fprintf(s->err, "trispool: not queued: %s\n", text);
    }
}

static void put_summary(struct show *s, const json_t *last)
{
    uint64_t messages = number_of(last, "messages");
    char size[TEXT_SMALL];

    put_missing(s, last);
    if (s->quiet)
        return;
    text_bytes(number_of(last, "bytes"), size);
    if (messages > s->rows && s->rows > 0)
        fprintf(s->out, "... and %llu more\n", (unsigned long long)(messages - s->rows));
    fprintf(s->out, "%s%s: %llu message%s, %s%s\n",
            json_is_true(json_object_get(last, "dry_run")) ? "would " : "", s->command->verb,
            (unsigned long long)messages, messages == 1 ? "" : "s", size,
            json_is_false(json_object_get(last, "finished"))
                ? "; ordered, the daemon is still at it"
                : "");
}

int show_end(struct show *s, const json_t *last, int exit)
{
    if (s->output != CLI_OUT_TABLE) {
        json_end(s, last, exit);
    } else {
        if (s->command->layout == CLI_TABLE || s->command->layout == CLI_SUMMARY)
            flush_held(s);
        if (s->command->layout == CLI_SUMMARY)
            put_summary(s, last);
    }
    if (fflush(s->out) != 0 && exit == 0)
        return 1;
    return exit;
}

int show_error(struct show *s, const struct cli_error *why)
{
    char text[4 * sizeof why->what];

    if (s->output != CLI_OUT_TABLE)
        json_error(s, why);
    else if (s->command != NULL && s->command->layout == CLI_TABLE)
        flush_held(s);
    fflush(s->out);
    text_escape(str_of(why->what), text, sizeof text);
    fprintf(s->err, "trispool: %s\n", text);
    text_escape(str_of(why->where), text, sizeof text);
    if (text[0] != 0)
        fprintf(s->err, "  where: %s\n", text);
    text_escape(str_of(why->act), text, sizeof text);
    if (text[0] != 0)
        fprintf(s->err, "  do:    %s\n", text);
    for (size_t i = 0; i < s->held_count; i++)
        json_decref(s->held[i]);
    s->held_count = 0;
    return why->exit;
}
