#include "cluster-tools/cli/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/limits.h"
#include "cluster-tools/cli/header.h"
#include "cluster-tools/common/version.h"
#include "node/idn.h"

struct parser {
    struct cli_run *run;
    struct cli_error *why;
    const char *command_line; /* "queue list", for hints */
    char hint[120];
};

void cli_error_set(struct cli_error *e, int exit, const char *where, const char *act,
                   const char *what, ...)
{
    va_list args;

    e->exit = exit;
    snprintf(e->where, sizeof e->where, "%s", where != NULL ? where : "");
    snprintf(e->act, sizeof e->act, "%s", act != NULL ? act : "");
    va_start(args, what);
    vsnprintf(e->what, sizeof e->what, what, args);
    va_end(args);
}

static enum err __attribute__((format(printf, 3, 4)))
wrong(struct parser *p, const char *where, const char *what, ...)
{
    char text[400];
    va_list args;

    va_start(args, what);
    vsnprintf(text, sizeof text, what, args);
    va_end(args);
    cli_error_set(p->why, EXIT_USAGE, where, p->hint, "%s", text);
    return E_PROTO;
}

/* --- values --- */

static uint64_t unit_seconds(char c)
{
    switch (c) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    case 'w':
        return 604800;
    }
    return 0;
}

bool cli_span_parse(struct str text, uint64_t max, uint64_t *out)
{
    uint64_t sum = 0;

    if (str_eq(text, STR("0"))) {
        *out = 0;
        return true;
    }
    if (text.n == 0)
        return false;
    while (text.n > 0) {
        uint64_t n, unit;
        size_t digits = 0;

        while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
            digits++;
        unit = digits < text.n ? unit_seconds(text.p[digits]) : 0;
        if (unit == 0 || !str_to_u64(str_head(text, digits), &n) || n > (max - sum) / unit)
            return false;
        sum += n * unit;
        text = str_from(text, digits + 1);
    }
    *out = sum;
    return true;
}

static enum err text_value(struct parser *p, const char *name, const char *text, json_t **out)
{
    *out = json_string(text);
    if (*out == NULL)
        return wrong(p, name, "the text is not UTF-8");
    return OK;
}

static enum err domain_value(struct parser *p, const char *name, const char *text, json_t **out)
{
    char ascii[LIMIT_SMTP_DOMAIN_BYTES + 1];
    const char *why = idn_to_ascii(text, ascii);

    if (why != NULL)
        return wrong(p, name, "'%s' is not a domain name: %s", text, why);
    return text_value(p, name, ascii, out);
}

static enum err number_value(struct parser *p, const char *name, enum cli_type type,
                             const char *text, uint64_t max, json_t **out)
{
    uint64_t n;

    if (type == CLI_SPAN && !cli_span_parse(str_of(text), max, &n))
        return wrong(p, name, "'%s' is not a time with a unit (90s, 30m, 2h, 14d), or too long",
                     text);
    if (type == CLI_COUNT && (!str_to_u64(str_of(text), &n) || n > max))
        return wrong(p, name, "'%s' is not a whole number up to %llu", text,
                     (unsigned long long)max);
    *out = json_integer((json_int_t)n);
    return OK;
}

static enum err word_value(struct parser *p, const char *name, const char *words,
                           const char *text, json_t **out)
{
    if (!cli_is_word(words, text))
        return wrong(p, name, "'%s' is not one of %s", text, words);
    return text_value(p, name, text, out);
}

static enum err message_value(struct parser *p, const char *name, const char *path,
                              json_t **out)
{
    char bytes[LIMIT_POLICY_HEADER_BYTES], text[BASE64_SIZE(LIMIT_POLICY_HEADER_BYTES)];
    size_t n;
    const char *why = header_read(path, bytes, &n);

    if (why != NULL)
        return wrong(p, name, "'%s': %s", path, why);
    base64_encode((struct str){bytes, n}, text);
    return text_value(p, name, text, out);
}

static enum err read_value(struct parser *p, const char *name, enum cli_type type,
                           const char *words, uint64_t max, const char *text, json_t **out)
{
    switch (type) {
    case CLI_FLAG:
        *out = json_true();
        return OK;
    case CLI_TEXT:
        return text_value(p, name, text, out);
    case CLI_DOMAIN:
        return domain_value(p, name, text, out);
    case CLI_COUNT:
    case CLI_SPAN:
        return number_value(p, name, type, text, max, out);
    case CLI_WORD:
        return word_value(p, name, words, text, out);
    case CLI_YESNO:
        if (!cli_is_word(words, text))
            return wrong(p, name, "'%s' is not one of yes and no", text);
        *out = json_boolean(strcmp(text, "yes") == 0);
        return OK;
    case CLI_MESSAGE:
        return message_value(p, name, text, out);
    }
    return E_PROTO;
}

/* --- options --- */

static const struct cli_option *find_option(const struct cli_command *c, struct str name,
                                            char letter)
{
    size_t own = c != NULL ? c->option_count : 0;

    for (size_t i = 0; i < own + cli_global_count(); i++) {
        const struct cli_option *o = i < own ? &c->options[i] : cli_global_at(i - own);

        if (letter != 0 ? o->letter == letter : str_eq(str_of(o->name), name))
            return o;
    }
    return NULL;
}

static void take_output(struct cli_run *r, const char *text)
{
    r->output = strcmp(text, "json") == 0    ? CLI_OUT_JSON
                : strcmp(text, "jsonl") == 0 ? CLI_OUT_JSONL
                                             : CLI_OUT_TABLE;
}

static void take_flag(struct cli_run *r, const char *name)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"quiet", &r->quiet},     {"help", &r->help},     {"version", &r->version},
        {"yes", &r->yes},         {"nagios", &r->nagios}, {"dry-run", &r->dry_run},
        {"replace", &r->replace},
    };

    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strcmp(flags[i].name, name) == 0)
            *flags[i].flag = true;
}

static enum err take_option(struct parser *p, const struct cli_option *o, const char *value)
{
    char name[64];
    json_t *v;
    enum err e;

    snprintf(name, sizeof name, "--%s", o->name);
    e = read_value(p, name, o->type, o->words, o->max, value, &v);
    if (e != OK)
        return e;
    if (strcmp(o->name, "socket") == 0)
        p->run->socket = value;
    else if (strcmp(o->name, "file") == 0)
        p->run->file = value;
    else if (strcmp(o->name, "output") == 0)
        take_output(p->run, value);
    else if (o->type == CLI_FLAG)
        take_flag(p->run, o->name);
    if (o->arg == NULL) {
        json_decref(v);
        return OK;
    }
    if (json_object_get(p->run->args, o->arg) != NULL) {
        json_decref(v);
        return wrong(p, name, "the option stands there twice");
    }
    return json_object_set_new(p->run->args, o->arg, v) == 0 ? OK : E_FULL;
}

/* One word of the command line that begins with a dash; *i moves over its value. */
static enum err read_option(struct parser *p, int argc, char **argv, int *i)
{
    struct str word = str_of(argv[*i]), name = STR_NONE;
    bool is_long = word.n > 2 && word.p[1] == '-', joined = false;
    const struct cli_option *o;
    const char *value = NULL;

    if (is_long) {
        struct str rest = str_from(word, 2);

        joined = str_find(rest, '=') < rest.n;
        name = str_split(&rest, '=');
        value = joined ? rest.p : NULL;
    } else if (word.n > 2) {
        joined = true;
        value = word.p + 2;
    }
    o = find_option(p->run->command, name, is_long ? 0 : word.p[1]);
    if (o == NULL)
        return wrong(p, argv[*i], "there is no such option");
    if (o->type == CLI_FLAG && joined)
        return wrong(p, argv[*i], "this option takes no value");
    if (o->type != CLI_FLAG && !joined) {
        if (*i + 1 >= argc)
            return wrong(p, argv[*i], "the value is missing: %s", o->value);
        value = argv[++*i];
    }
    return take_option(p, o, value);
}

/* --- words --- */

static void list_verbs(const char *noun, char *buf, size_t size)
{
    size_t n = 0;

    buf[0] = 0;
    for (size_t i = 0; i < cli_command_count(); i++) {
        const struct cli_command *c = cli_command_at(i);
        int w;

        if (c->noun == NULL || strcmp(c->noun, noun) != 0)
            continue;
        w = snprintf(buf + n, size - n, "%s%s", n > 0 ? ", " : "", c->verb);
        if (w < 0 || (size_t)w >= size - n)
            return;
        n += (size_t)w;
    }
}

static enum err read_operand(struct parser *p, const char *text)
{
    const struct cli_operand *o = &p->run->command->operand;
    json_t *v, *list;
    enum err e;

    if (o->value == NULL)
        return wrong(p, text, "the command takes no operand");
    e = read_value(p, o->value, o->type, o->words, o->max, text, &v);
    if (e != OK)
        return e;
    if (o->count == CLI_MANY) {
        list = json_object_get(p->run->args, o->arg);
        if (list == NULL) {
            list = json_array();
            (void)json_object_set_new(p->run->args, o->arg, list);
        }
        if (json_array_size(list) >= LIMIT_OPERATION_IDS) {
            json_decref(v);
            return wrong(p, o->value, "more than %d in one command", LIMIT_OPERATION_IDS);
        }
        return json_array_append_new(list, v) == 0 ? OK : E_FULL;
    }
    if (p->run->operand != NULL) {
        json_decref(v);
        return wrong(p, text, "one %s only", o->value);
    }
    p->run->operand = text;
    if (o->arg == NULL) {
        json_decref(v);
        return OK;
    }
    return json_object_set_new(p->run->args, o->arg, v) == 0 ? OK : E_FULL;
}

static enum err read_word(struct parser *p, const char *text)
{
    struct cli_run *r = p->run;
    char verbs[160];

    if (r->command != NULL)
        return read_operand(p, text);
    r->command = cli_find(r->noun, text);
    if (r->command != NULL) {
        snprintf(p->hint, sizeof p->hint, "trispool %s%s%s --help",
                 r->noun != NULL ? r->noun : "", r->noun != NULL ? " " : "", text);
        return OK;
    }
    if (r->noun == NULL && cli_is_noun(text)) {
        r->noun = text;
        snprintf(p->hint, sizeof p->hint, "trispool %s --help", text);
        return OK;
    }
    if (r->noun == NULL)
        return wrong(p, text, "there is no such command");
    list_verbs(r->noun, verbs, sizeof verbs);
    return wrong(p, text, "%s has no such verb; it has: %s", r->noun, verbs);
}

static enum err read_all(struct parser *p, int argc, char **argv)
{
    bool options = true;
    enum err e = OK;

    for (int i = 1; i < argc && e == OK; i++) {
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && argv[i][0] == '-' && argv[i][1] != 0)
            e = read_option(p, argc, argv, &i);
        else
            e = read_word(p, argv[i]);
    }
    return e;
}

/* By their ids, or by an option. */
static bool selects_messages(const struct cli_command *c)
{
    return c->operand.arg != NULL && strcmp(c->operand.arg, "ids") == 0;
}

static bool is_missing(const struct cli_run *r)
{
    const struct cli_operand *o = &r->command->operand;

    if (o->value == NULL || o->count == CLI_OPTIONAL || selects_messages(r->command))
        return false;
    return o->count == CLI_ONE ? r->operand == NULL : json_object_get(r->args, o->arg) == NULL;
}

static enum err check_whole(struct parser *p)
{
    const struct cli_run *r = p->run;
    char verbs[160];

    if (r->help || r->version)
        return OK;
    if (r->command == NULL && r->noun != NULL) {
        list_verbs(r->noun, verbs, sizeof verbs);
        return wrong(p, r->noun, "the verb is missing; one of: %s", verbs);
    }
    if (r->command == NULL)
        return wrong(p, "trispool", "the command is missing");
    if (is_missing(r))
        return wrong(p, r->command->operand.value, "the operand is missing");
    if (selects_messages(r->command) && (json_object_get(r->args, "ids") != NULL) +
                                                (json_object_get(r->args, "domain") != NULL) +
                                                (json_object_get(r->args, "all") != NULL) !=
                                            1)
        return wrong(p, "ID, --domain, --all", "say in one way which messages are meant");
    return OK;
}

enum err cli_parse(int argc, char **argv, struct cli_run *out, struct cli_error *why)
{
    struct parser p = {.run = out, .why = why};
    enum err e;

    *out = (struct cli_run){.args = json_object()};
    snprintf(p.hint, sizeof p.hint, "trispool --help");
    e = read_all(&p, argc, argv);
    if (e == OK)
        e = check_whole(&p);
    if (e == E_FULL)
        cli_error_set(why, EXIT_MACHINE, NULL, NULL, "out of memory");
    if (e != OK)
        cli_run_fini(out);
    return e == OK ? OK : E_PROTO;
}

void cli_run_fini(struct cli_run *r)
{
    json_decref(r->args);
    r->args = NULL;
}
