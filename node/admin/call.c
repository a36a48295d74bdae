#include "node/admin/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"

#define MS_A_DAY         INT64_C(86400000)
#define LAST_WALL_MS     (INT64_C(2932897) * MS_A_DAY) /* the end of the year 9999 */
#define ESCAPED_BYTES(n) ((n)*4)

static int put_piece(const char *bytes, size_t count, void *to)
{
    const struct admin_sink *sink = to;

    sink->write(sink->to, bytes, count);
    return 0;
}

static void put_line(struct admin_sink sink, json_t *line)
{
    /* Never fails: the objects are ours, and the sink takes everything. */
    (void)json_dump_callback(line, put_piece, &sink, JSON_COMPACT | JSON_ENSURE_ASCII);
    sink.write(sink.to, "\n", 1);
}

void admin_sink_error(struct admin_sink sink, int exit, const char *what, const char *where,
                      const char *act)
{
    json_t *line = json_object(), *error = json_object();

    admin_set_z(error, "what", what);
    if (where != NULL)
        admin_set_z(error, "where", where);
    if (act != NULL)
        admin_set_z(error, "do", act);
    admin_set(line, "error", error);
    admin_set_u64(line, "exit", (uint64_t)exit);
    put_line(sink, line);
    json_decref(line);
}

/* --- the request --- */

static const struct admin_arg *find_arg(const struct admin_command *cmd, const char *name)
{
    for (size_t i = 0; i < cmd->arg_count; i++)
        if (strcmp(cmd->args[i].name, name) == 0)
            return &cmd->args[i];
    return NULL;
}

static const char *check_texts(const struct admin_arg *a, const json_t *v)
{
    if (!json_is_array(v) || json_array_size(v) == 0)
        return "must be a list with at least one text";
    if (json_array_size(v) > a->max)
        return "has too many items";
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i)))
            return "must be a list of texts";
    return NULL;
}

/* NULL: as the table says. */
static const char *check_arg(const struct admin_arg *a, const json_t *v)
{
    switch (a->type) {
    case ADMIN_ARG_TEXT:
        if (!json_is_string(v))
            return "must be a text";
        return json_string_length(v) > a->max ? "is too long" : NULL;
    case ADMIN_ARG_COUNT:
        if (!json_is_integer(v) || json_integer_value(v) < 0)
            return "must be a whole number from 0";
        return (uint64_t)json_integer_value(v) > a->max ? "is too large" : NULL;
    case ADMIN_ARG_BOOL:
        return json_is_boolean(v) ? NULL : "must be true or false";
    case ADMIN_ARG_TEXTS:
        return check_texts(a, v);
    }
    return "is of no known type";
}

static bool refuse(struct admin_call *c, const char *where, const char *why)
{
    char what[160];

    snprintf(what, sizeof what, "argument %s", why);
    admin_sink_error(c->sink, ADMIN_EXIT_USAGE, what, where,
                     "see trispool --help; tool and daemon should be of one version");
    return false;
}

static bool check_args(struct admin_call *c)
{
    const char *name;
    json_t *value;

    json_object_foreach(c->args, name, value)
    {
        const struct admin_arg *a = find_arg(c->command, name);
        const char *why = a != NULL ? check_arg(a, value) : "is not known to this command";

        if (why != NULL)
            return refuse(c, a != NULL ? a->name : c->command->name, why);
    }
    for (size_t i = 0; i < c->command->arg_count; i++) {
        const struct admin_arg *a = &c->command->args[i];

        if (a->required && json_object_get(c->args, a->name) == NULL)
            return refuse(c, a->name, "is missing");
    }
    return true;
}

static const struct admin_command *find_command(const struct admin_table *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->commands[i].name, name) == 0)
            return &t->commands[i];
    return NULL;
}

static bool malformed(struct admin_call *c, const char *why)
{
    admin_sink_error(c->sink, ADMIN_EXIT_USAGE, why, "request",
                     "send one JSON object a line: {\"cmd\":\"status\",\"args\":{}}");
    return false;
}

/* Fills request, args and command. */
static bool read_request(struct admin_call *c, const struct admin_table *t, struct str line)
{
    json_error_t why;
    const char *name;

    c->request = json_loadb(line.n > 0 ? line.p : "", line.n, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(c->request))
        return malformed(c, "the request is not a JSON object");
    name = json_string_value(json_object_get(c->request, "cmd"));
    if (name == NULL)
        return malformed(c, "the request names no command");
    c->args = json_object_get(c->request, "args");
    if (json_object_size(c->request) != (c->args != NULL ? 2u : 1u))
        return malformed(c, "the request has a field that is not known");
    if (c->args == NULL) {
        c->args = json_object();
        json_object_set_new(c->request, "args", c->args);
    }
    if (!json_is_object(c->args))
        return malformed(c, "args is not a JSON object");
    c->command = find_command(t, name);
    if (c->command == NULL)
        return malformed(c, "the daemon does not know this command");
    return check_args(c);
}

bool admin_call_begin(struct admin_call *c, const struct admin_table *t, struct str line)
{
    c->command = NULL;
    c->request = c->args = NULL;
    c->state = NULL;
    c->ctx = t->ctx;
    c->timed_out = c->ended = false;
    c->rows = c->wait_ms = 0;
    if (read_request(c, t, line)) {
        c->state = calloc(1, c->command->state_bytes > 0 ? c->command->state_bytes : 1);
        if (c->state != NULL)
            return true;
        admin_sink_error(c->sink, ADMIN_EXIT_TEMPORARY, "out of memory", NULL, "try again");
    }
    json_decref(c->request);
    c->request = c->args = NULL;
    c->command = NULL;
    return false;
}

enum admin_next admin_call_step(struct admin_call *c)
{
    enum admin_next next;

    ASSERT(c->command != NULL && !c->ended);
    next = c->command->step(c, c->state);
    c->timed_out = false;
    /* admin_emit() may have ended the call under the step. */
    if (c->ended)
        return ADMIN_END;
    ASSERT(next != ADMIN_END);
    return next;
}

void admin_call_end(struct admin_call *c)
{
    ASSERT(c->command != NULL);
    if (c->command->end != NULL)
        c->command->end(c, c->state);
    free(c->state);
    json_decref(c->request);
    c->state = NULL;
    c->request = c->args = NULL;
    c->command = NULL;
}

/* --- arguments --- */

static const json_t *arg_of(const struct admin_call *c, const char *name,
                            enum admin_arg_type type)
{
    const struct admin_arg *a = find_arg(c->command, name);

    ASSERT(a != NULL && a->type == type);
    return json_object_get(c->args, name);
}

static struct str text_of(const json_t *v)
{
    return (struct str){json_string_value(v), json_string_length(v)};
}

struct str admin_text(const struct admin_call *c, const char *name)
{
    const json_t *v = arg_of(c, name, ADMIN_ARG_TEXT);

    return v != NULL ? text_of(v) : STR_NONE;
}

bool admin_given(const struct admin_call *c, const char *name)
{
    ASSERT(find_arg(c->command, name) != NULL);
    return json_object_get(c->args, name) != NULL;
}

uint64_t admin_count(const struct admin_call *c, const char *name, uint64_t preset)
{
    const json_t *v = arg_of(c, name, ADMIN_ARG_COUNT);

    return v != NULL ? (uint64_t)json_integer_value(v) : preset;
}

bool admin_flag(const struct admin_call *c, const char *name)
{
    return json_is_true(arg_of(c, name, ADMIN_ARG_BOOL));
}

size_t admin_texts(const struct admin_call *c, const char *name)
{
    return json_array_size(arg_of(c, name, ADMIN_ARG_TEXTS));
}

struct str admin_texts_at(const struct admin_call *c, const char *name, size_t i)
{
    return text_of(json_array_get(arg_of(c, name, ADMIN_ARG_TEXTS), i));
}

/* --- answers --- */

void admin_emit(struct admin_call *c, json_t *row)
{
    if (c->ended) {
        json_decref(row);
        return;
    }
    if (row == NULL) {
        (void)admin_fail(c, ADMIN_EXIT_TEMPORARY, "out of memory", NULL, "try again");
        return;
    }
    put_line(c->sink, row);
    json_decref(row);
    c->rows++;
}

enum admin_next admin_done(struct admin_call *c, int exit, json_t *more)
{
    json_t *line = json_object();

    if (c->ended) {
        json_decref(line);
        json_decref(more);
        return ADMIN_END;
    }
    admin_set(line, "done", json_true());
    admin_set_u64(line, "exit", (uint64_t)exit);
    admin_set_u64(line, "rows", c->rows);
    if (more != NULL)
        json_object_update_missing(line, more);
    json_decref(more);
    put_line(c->sink, line);
    json_decref(line);
    c->ended = true;
    return ADMIN_END;
}

enum admin_next admin_fail(struct admin_call *c, int exit, const char *what, const char *where,
                           const char *act)
{
    if (!c->ended)
        admin_sink_error(c->sink, exit, what, where, act);
    c->ended = true;
    return ADMIN_END;
}

enum admin_next admin_wait(struct admin_call *c, uint64_t ms)
{
    c->wait_ms = ms;
    return ADMIN_WAIT;
}

/* --- JSON --- */

json_t *admin_json_text(struct str s)
{
    static const char hex[] = "0123456789abcdef";
    char small[1024], *buf = small;
    size_t n = 0;
    json_t *text;

    if (s.n == 0)
        return json_string("");
    if (ESCAPED_BYTES(s.n) > sizeof small) {
        buf = malloc(ESCAPED_BYTES(s.n));
        if (buf == NULL)
            return NULL;
    }
    for (size_t i = 0; i < s.n; i++) {
        unsigned char b = (unsigned char)s.p[i];

        if (b >= 0x20 && b < 0x7f) {
            if (b == '\\')
                buf[n++] = '\\';
            buf[n++] = (char)b;
        } else {
            buf[n++] = '\\';
            buf[n++] = 'x';
            buf[n++] = hex[b >> 4];
            buf[n++] = hex[b & 15];
        }
    }
    text = json_stringn(buf, n);
    if (buf != small)
        free(buf);
    return text;
}

json_t *admin_json_time(int64_t wall_ms)
{
    time_t s = (time_t)(wall_ms / 1000);
    char day[32], text[48];
    struct tm tm;

    if (wall_ms <= 0 || wall_ms >= LAST_WALL_MS || gmtime_r(&s, &tm) == NULL)
        return json_null();
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof text, "%s.%03dZ", day, (int)(wall_ms % 1000));
    return json_string(text);
}

void admin_set(json_t *row, const char *key, json_t *value)
{
    /* -1: out of memory, the field is left out. */
    (void)json_object_set_new(row, key, value);
}

void admin_set_u64(json_t *row, const char *key, uint64_t value)
{
    admin_set(row, key, json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX));
}

void admin_set_z(json_t *row, const char *key, const char *value)
{
    admin_set_text(row, key, str_of(value));
}

void admin_set_text(json_t *row, const char *key, struct str value)
{
    admin_set(row, key, admin_json_text(value));
}

void admin_set_time(json_t *row, const char *key, int64_t wall_ms)
{
    admin_set(row, key, admin_json_time(wall_ms));
}
