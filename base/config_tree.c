#include "base/config_tree.h"

#include <yaml.h>

struct reader {
    struct config *c;
    size_t file;
    size_t depth;
    bool stopped; /* the rest of the file is not read */
    yaml_parser_t parser;
    yaml_event_t event;
};

static struct config_mark mark_of(const struct reader *r, yaml_mark_t m)
{
    return (struct config_mark){.file = r->file, .line = m.line + 1, .column = m.column + 1};
}

static struct config_mark mark_here(const struct reader *r)
{
    return mark_of(r, r->event.start_mark);
}

static void stop(struct reader *r)
{
    r->stopped = true;
    r->c->cut = true;
}

/* "[::1]:25" without quotes is a YAML list; its error text helps nobody. */
static bool has_bare_ipv6(struct str line)
{
    for (size_t at = 0; at < line.n; at++) {
        struct str rest = str_from(line, at);
        size_t n = str_find(rest, ']'), colons = 0, others = 0;

        if (rest.p[0] != '[' || n + 1 >= rest.n || rest.p[n + 1] != ':' ||
            (at > 0 && (line.p[at - 1] == '\'' || line.p[at - 1] == '"')))
            continue;
        for (size_t i = 1; i < n; i++) {
            colons += rest.p[i] == ':';
            others += strchr("0123456789abcdefABCDEF:.", rest.p[i]) == NULL;
        }
        if (colons > 1 && others == 0)
            return true;
    }
    return false;
}

static const char *hint(const struct reader *r, struct config_mark at)
{
    const struct config_file *f = &r->c->files[r->file];
    struct str line = config_line(f, at.line);

    for (size_t back = 0; back < 2 && at.line > back; back++)
        if (has_bare_ipv6(config_line(f, at.line - back)))
            return "; an IPv6 address in brackets needs quotes: '[::1]:25'";
    for (size_t i = 0; i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'); i++)
        if (line.p[i] == '\t')
            return "; tabs cannot indent YAML, write spaces";
    return "";
}

static void syntax_mistake(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *context = p->context != NULL ? p->context : "";
    struct config_mark at = mark_of(r, p->problem_mark);

    stop(r);
    if (p->problem == NULL) { /* then it is YAML_MEMORY_ERROR */
        config_mistake(r->c, (struct config_mark){.file = r->file}, "out of memory");
        return;
    }
    /* what is never closed has its mistake where it opens, not at the end of the file */
    if (strstr(context, "quoted scalar") != NULL)
        at = mark_of(r, p->context_mark);
    config_mistake(r->c, at, "not valid YAML: %s%s%s%s; the rest of the file was not read",
                   p->problem, context[0] != 0 ? " " : "", context, hint(r, at));
}

static bool next(struct reader *r)
{
    yaml_event_delete(&r->event);
    if (r->stopped)
        return false;
    if (!yaml_parser_parse(&r->parser, &r->event)) {
        syntax_mistake(r);
        return false;
    }
    return true;
}

static struct config_node *new_node(struct reader *r, enum config_node_kind kind)
{
    struct config_node *n = NULL;

    if (r->c->node_count < LIMIT_CONFIG_NODES)
        n = config_take(r->c, sizeof *n);
    if (n == NULL) {
        config_mistake(r->c, mark_here(r),
                       "too many entries; the rest of the file was not read");
        stop(r);
        return NULL;
    }
    r->c->node_count++;
    n->kind = kind;
    n->at = mark_here(r);
    return n;
}

static void append(struct config_node *parent, struct config_node *child)
{
    if (parent->last != NULL)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

/* Anchors and tags would give a value another meaning than the one that is read. */
static void refuse_extras(struct reader *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor != NULL)
        config_mistake(r->c, mark_here(r), "anchors (&%s) are not supported",
                       config_shown(r->c, str_of((const char *)anchor)));
    else if (tag != NULL)
        config_mistake(r->c, mark_here(r), "tags (!) are not supported");
}

static struct config_node *read_node(struct reader *r);

static struct config_node *read_scalar(struct reader *r)
{
    struct config_node *n = new_node(r, CONFIG_NODE_SCALAR);
    struct str text = {(const char *)r->event.data.scalar.value, r->event.data.scalar.length};
    const char *copy;

    if (n == NULL)
        return NULL;
    n->plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    copy = config_copy(r->c, text);
    n->text = r->c->starved ? STR_NONE : (struct str){copy, text.n};
    refuse_extras(r, r->event.data.scalar.anchor, r->event.data.scalar.tag);
    return n;
}

/* The event is the start of a list or map that is one too many. */
static bool too_deep(struct reader *r)
{
    if (++r->depth <= LIMIT_CONFIG_DEPTH)
        return false;
    config_mistake(r->c, mark_here(r),
                   "more than %d maps and lists within each other; the rest of the file was "
                   "not read",
                   LIMIT_CONFIG_DEPTH);
    stop(r);
    return true;
}

static struct config_node *read_list(struct reader *r)
{
    struct config_node *list = new_node(r, CONFIG_NODE_LIST), *item;

    if (list == NULL || too_deep(r))
        return list;
    refuse_extras(r, r->event.data.sequence_start.anchor, r->event.data.sequence_start.tag);
    while (next(r) && r->event.type != YAML_SEQUENCE_END_EVENT) {
        item = read_node(r);
        if (item != NULL && r->stopped && item->kind != CONFIG_NODE_SCALAR)
            item->kind = CONFIG_NODE_BAD; /* the syntax error says it all */
        if (item != NULL)
            append(list, item);
    }
    r->depth--;
    return list;
}

/* The event is the key. Gives the value with its key, NULL when there is none. */
static struct config_node *read_entry(struct reader *r)
{
    struct config_node *key = read_node(r), *value;

    if (key == NULL || r->stopped)
        return NULL;
    if (key->kind == CONFIG_NODE_LIST || key->kind == CONFIG_NODE_MAP) {
        config_mistake(r->c, key->at, "a key must be a word%s", hint(r, key->at));
        key->kind = CONFIG_NODE_BAD;
    }
    if (!next(r))
        return NULL;
    value = read_node(r);
    if (value == NULL || key->kind == CONFIG_NODE_BAD)
        return NULL;
    value->key = key->text;
    value->key_at = key->at;
    return value;
}

static struct config_node *read_map(struct reader *r)
{
    struct config_node *map = new_node(r, CONFIG_NODE_MAP), *entry;

    if (map == NULL || too_deep(r))
        return map;
    refuse_extras(r, r->event.data.mapping_start.anchor, r->event.data.mapping_start.tag);
    while (next(r) && r->event.type != YAML_MAPPING_END_EVENT) {
        entry = read_entry(r);
        if (entry != NULL)
            append(map, entry);
    }
    r->depth--;
    return map;
}

static struct config_node *read_node(struct reader *r)
{
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r);
    case YAML_SEQUENCE_START_EVENT:
        return read_list(r);
    case YAML_MAPPING_START_EVENT:
        return read_map(r);
    case YAML_ALIAS_EVENT:
        config_mistake(r->c, mark_here(r), "aliases (*%s) are not supported",
                       config_shown(r->c, str_of((const char *)r->event.data.alias.anchor)));
        return new_node(r, CONFIG_NODE_BAD);
    default:
        return NULL;
    }
}

static bool is_nothing(const struct config_node *n)
{
    return n->kind == CONFIG_NODE_SCALAR && n->plain && n->text.n == 0;
}

/* The event is the start of the first document. */
static void read_document(struct reader *r)
{
    struct config_node *root;

    if (r->event.data.document_start.tag_directives.start !=
        r->event.data.document_start.tag_directives.end)
        config_mistake(r->c, mark_here(r), "tags (%%TAG) are not supported");
    if (!next(r))
        return;
    root = read_node(r);
    if (root == NULL || is_nothing(root))
        return;
    if (root->kind == CONFIG_NODE_MAP)
        r->c->files[r->file].root = root;
    else if (root->kind != CONFIG_NODE_BAD)
        config_mistake(r->c, root->at, "must hold keys and values, as in 'key: value'");
    if (root->kind != CONFIG_NODE_MAP)
        r->c->cut = true;
}

void config_parse(struct config *c, size_t file)
{
    struct reader r = {.c = c, .file = file};
    struct str text = c->files[file].text;

    if (!yaml_parser_initialize(&r.parser)) {
        config_mistake(c, (struct config_mark){.file = file}, "out of memory");
        c->cut = true;
        return;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.p, text.n);
    if (next(&r) && next(&r) && r.event.type == YAML_DOCUMENT_START_EVENT)
        read_document(&r);
    if (next(&r) && next(&r) && r.event.type == YAML_DOCUMENT_START_EVENT)
        config_mistake(c, mark_here(&r), "a second document in one file ('---')");
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
}
