#include "base/config_tree.h"

#include <stdarg.h>

#define TEXT_OF(x)  TEXT_OF_(x)
#define TEXT_OF_(x) #x

/* --- rows --- */

static size_t row_of(const struct config_schema *s, const char *name)
{
    size_t i = 0;

    while (i < s->count && strcmp(s->keys[i].name, name) != 0)
        i++;
    return i;
}

/* "smtp.listen": parent "smtp", last "listen"; without a dot the parent is empty. */
static struct str parent_of(const char *name)
{
    struct str s = str_of(name);
    size_t dot = str_find_last(s, '.');

    return dot < s.n ? str_head(s, dot) : STR("");
}

static struct str last_of(const char *name)
{
    struct str s = str_of(name);
    size_t dot = str_find_last(s, '.');

    return dot < s.n ? str_from(s, dot + 1) : s;
}

static size_t row_in(const struct config_schema *s, struct str parent, struct str key)
{
    size_t i = 0;

    while (i < s->count && !(str_eq(parent_of(s->keys[i].name), parent) &&
                             str_eq(last_of(s->keys[i].name), key)))
        i++;
    return i;
}

static const char *nearest_row(const struct config_schema *s, struct str parent, struct str key)
{
    const char *guess = NULL;
    size_t best = SIZE_MAX, d = 0;

    for (size_t i = 0; i < s->count; i++) {
        const char *name = s->keys[i].name;

        if (str_eq(parent_of(name), parent) && config_similar(key, last_of(name), &d) &&
            d < best) {
            guess = name;
            best = d;
        }
    }
    return guess;
}

static const char *same_row_elsewhere(const struct config_schema *s, struct str key)
{
    for (size_t i = 0; i < s->count; i++)
        if (str_eq(str_of(s->keys[i].name), key) || str_eq(last_of(s->keys[i].name), key))
            return s->keys[i].name;
    return NULL;
}

/* --- storing --- */

static void *member(const struct config_key *row, void *out)
{
    return (char *)out + row->offset;
}

static void store(const struct config_key *row, void *out, const struct config_value *v)
{
    void *to = member(row, out);

    switch (row->type) {
    case CONFIG_BOOL:
        *(bool *)to = v->truth;
        return;
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
        *(uint64_t *)to = v->number;
        return;
    case CONFIG_WORD:
        *(int *)to = v->word;
        return;
    case CONFIG_STRING:
    case CONFIG_PATH:
    case CONFIG_HOSTNAME:
        *(const char **)to = v->text;
        return;
    default:
        ASSERT(false); /* lists have a function of their own, sections no value */
    }
}

static size_t count_items(const struct config_node *list)
{
    size_t n = 0;

    for (const struct config_node *i = list->first; i != NULL && n < LIMIT_CONFIG_ITEMS;
         i = i->next)
        n++;
    return n;
}

static size_t count_words(struct str s)
{
    size_t n = 0;

    while (s.n > 0) {
        str_split(&s, ' ');
        n++;
    }
    return n;
}

/* Space for n items; the list is empty until they are added. */
static bool make_list(struct config *c, const struct config_key *row, void *out, size_t n)
{
    void *to = member(row, out);
    void *v = NULL;

    n += n == 0;
    if (row->type == CONFIG_IPS || row->type == CONFIG_ADDRESSES) {
        v = config_take(c, n * sizeof(struct config_address));
        *(struct config_addresses *)to = (struct config_addresses){.v = v};
    } else if (row->type == CONFIG_HOSTS) {
        v = config_take(c, n * sizeof(struct config_host));
        *(struct config_hosts *)to = (struct config_hosts){.v = v};
    } else {
        v = config_take(c, n * sizeof(char *));
        *(struct config_strings *)to = (struct config_strings){.v = v};
    }
    return v != NULL;
}

/* False: the same item is there already. */
static bool add_item(const struct config_key *row, void *out, const struct config_value *v)
{
    void *to = member(row, out);

    if (row->type == CONFIG_IPS || row->type == CONFIG_ADDRESSES) {
        struct config_addresses *l = to;

        for (size_t i = 0; i < l->n; i++)
            if (strcmp(l->v[i].text, v->address.text) == 0)
                return false;
        l->v[l->n++] = v->address;
    } else if (row->type == CONFIG_HOSTS) {
        struct config_hosts *l = to;

        for (size_t i = 0; i < l->n; i++)
            if (strcmp(l->v[i].text, v->host.text) == 0)
                return false;
        l->v[l->n++] = v->host;
    } else {
        struct config_strings *l = to;

        for (size_t i = 0; i < l->n; i++)
            if (strcmp(l->v[i], v->text) == 0)
                return false;
        l->v[l->n++] = v->text;
    }
    return true;
}

static void store_preset(struct config *c, const struct config_key *row, void *out)
{
    struct str rest = row->preset != NULL ? str_of(row->preset) : STR_NONE;
    struct config_value v = {0};
    const char *wrong = NULL;

    if (row->type == CONFIG_SECTION)
        return;
    if (!config_type_is_list(row->type)) {
        if (rest.n > 0)
            wrong = config_read_value(c, row, rest, &v);
        store(row, out, &v);
    } else if (make_list(c, row, out, count_words(rest))) {
        while (rest.n > 0 && wrong == NULL) {
            wrong = config_read_value(c, row, str_split(&rest, ' '), &v);
            add_item(row, out, &v);
        }
    }
    ASSERT(wrong == NULL || c->starved); /* the table is ours */
}

/* --- binding --- */

static bool is_null(const struct config_node *n)
{
    return n->kind == CONFIG_NODE_SCALAR && n->plain &&
           (n->text.n == 0 || str_eq(n->text, STR("~")) || str_eq(n->text, STR("null")));
}

static void refuse(struct config *c, const struct config_key *row, struct config_mark at,
                   const char *why)
{
    c->bad[row - c->schema->keys] = true;
    config_mistake(c, at, "%s: %s", row->name, why);
}

static void bind_list(struct config *c, const struct config_key *row,
                      const struct config_node *node, void *out)
{
    struct config_value v;
    size_t n = 0;

    if (!make_list(c, row, out, count_items(node)))
        return;
    for (const struct config_node *item = node->first; item != NULL; item = item->next) {
        const char *wrong = NULL;

        if (++n > LIMIT_CONFIG_ITEMS) {
            refuse(c, row, item->at, "more items than " TEXT_OF(LIMIT_CONFIG_ITEMS));
            return;
        }
        if (item->kind == CONFIG_NODE_BAD)
            continue;
        if (item->kind != CONFIG_NODE_SCALAR)
            wrong = "an item must be a single value; an IPv6 address in brackets needs quotes: "
                    "'[::1]:25'";
        else if (is_null(item))
            wrong = "an item has no value";
        else
            wrong = config_read_value(c, row, item->text, &v);
        if (wrong == NULL && !add_item(row, out, &v))
            wrong = "is in the list already";
        if (wrong != NULL)
            refuse(c, row, item->at, wrong);
    }
}

/* NULL, or what is wrong with the node as the value of a list. */
static const char *bind_as_list(struct config *c, const struct config_key *row,
                                const struct config_node *node, void *out)
{
    if (node->kind == CONFIG_NODE_LIST)
        bind_list(c, row, node, out);
    else if (row->empty_word == NULL)
        return "must be a list: '- VALUE' on a line of its own for each";
    else if (node->kind == CONFIG_NODE_SCALAR && str_eq(node->text, str_of(row->empty_word)))
        make_list(c, row, out, 1);
    else
        return config_said(c, "must be a list ('- VALUE' on a line of its own for each) or %s",
                           row->empty_word);
    return NULL;
}

static void bind_value(struct config *c, const struct config_key *row,
                       const struct config_node *node, void *out)
{
    struct config_value v;
    const char *wrong = NULL;

    if (node->kind == CONFIG_NODE_BAD)
        c->bad[row - c->schema->keys] = true;
    else if (is_null(node))
        wrong = "has no value";
    else if (config_type_is_list(row->type))
        wrong = bind_as_list(c, row, node, out);
    else if (node->kind == CONFIG_NODE_SCALAR)
        wrong = config_read_value(c, row, node->text, &v);
    else
        wrong = node->kind == CONFIG_NODE_LIST ? "must be a single value, not a list"
                                               : "must be a single value, not a map";
    if (wrong != NULL)
        refuse(c, row, node->at, wrong);
    else if (node->kind == CONFIG_NODE_SCALAR && !config_type_is_list(row->type))
        store(row, out, &v);
}

static void unknown_key(struct config *c, struct str parent, const struct config_node *entry)
{
    const char *shown = config_shown(c, entry->key);
    const char *guess, *elsewhere = NULL;

    if (str_eq(entry->key, STR("<<"))) {
        config_mistake(c, entry->key_at, "merge keys (<<) are not supported");
        return;
    }
    if (c->mistake_count >= LIMIT_CONFIG_ERRORS) { /* not shown: only counted */
        config_mistake(c, entry->key_at, "unknown key");
        return;
    }
    guess = nearest_row(c->schema, parent, entry->key);
    if (guess == NULL)
        elsewhere = same_row_elsewhere(c->schema, entry->key);
    if (guess != NULL)
        config_mistake(c, entry->key_at, "unknown key '%s' (did you mean '%s'?)", shown,
                       last_of(guess).p);
    else if (elsewhere != NULL && parent_of(elsewhere).n > 0)
        config_mistake(c, entry->key_at,
                       "unknown key '%s' here: write '%s' under '" STR_FMT ":'", shown,
                       last_of(elsewhere).p, STR_ARG(parent_of(elsewhere)));
    else if (elsewhere != NULL)
        config_mistake(c, entry->key_at, "unknown key '%s' here: it stands at the left margin",
                       shown);
    else
        config_mistake(c, entry->key_at, "unknown key '%s'", shown);
}

/* A section may be in several files, a key in one place only. */
static bool is_duplicate(struct config *c, size_t row, const struct config_node *entry)
{
    const struct config_node *before = c->found[row];

    if (before == NULL || (c->schema->keys[row].type == CONFIG_SECTION &&
                           before->key_at.file != entry->key_at.file))
        return false;
    if (before->key_at.file == entry->key_at.file)
        config_mistake(c, entry->key_at, "%s: is set twice, first in line %zu",
                       c->schema->keys[row].name, before->key_at.line);
    else
        config_mistake(c, entry->key_at, "%s: is set twice, first in %s line %zu",
                       c->schema->keys[row].name, c->files[before->key_at.file].name,
                       before->key_at.line);
    return true;
}

static void bind_map(struct config *c, const struct config_node *map, struct str parent,
                     void *out)
{
    for (struct config_node *e = map->first; e != NULL; e = e->next) {
        size_t row = row_in(c->schema, parent, e->key);
        const struct config_key *key = &c->schema->keys[row];

        if (row == c->schema->count) {
            unknown_key(c, parent, e);
            continue;
        }
        if (is_duplicate(c, row, e))
            continue;
        c->found[row] = e;
        if (key->type != CONFIG_SECTION)
            bind_value(c, key, e, out);
        else if (e->kind == CONFIG_NODE_MAP)
            bind_map(c, e, str_of(key->name), out);
        else if (e->kind != CONFIG_NODE_BAD && !is_null(e))
            config_mistake(c, e->at, "%s: must hold keys and values, indented below it",
                           key->name);
    }
}

/* Where a key that is not in the file would stand: its section, else the first file's start. */
static struct config_mark mark_of_missing(const struct config *c, const char *name)
{
    struct str parent = parent_of(name);
    struct config_mark m = {.line = 1, .column = 1, .without_source = true};

    for (size_t i = 0; i < c->schema->count && parent.n > 0; i++)
        if (str_eq(str_of(c->schema->keys[i].name), parent) && c->found[i] != NULL) {
            m = c->found[i]->key_at;
            m.without_source = true;
        }
    return m;
}

static void check_required(struct config *c)
{
    for (size_t i = 0; i < c->schema->count && !c->cut; i++) {
        const struct config_key *row = &c->schema->keys[i];

        if (row->required && c->found[i] == NULL)
            config_mistake(c, mark_of_missing(c, row->name), "%s: is required and missing (%s)",
                           row->name, row->help);
    }
}

void config_bind(struct config *c, const struct config_schema *schema, void *out)
{
    ASSERT(c->schema == NULL);
    for (size_t i = 0; i < schema->count; i++)
        store_preset(c, &schema->keys[i], out);
    c->found = config_take(c, schema->count * sizeof *c->found);
    c->bad = config_take(c, schema->count * sizeof *c->bad);
    if (c->found == NULL || c->bad == NULL)
        return;
    c->schema = schema;
    if (c->unreadable)
        return;
    for (size_t i = 0; i < c->file_count; i++)
        if (c->files[i].root != NULL)
            bind_map(c, c->files[i].root, STR(""), out);
    check_required(c);
}

/* The value's node; NULL when the key is not in the file or nothing was bound. */
static const struct config_node *found(const struct config *c, const char *key, size_t *row)
{
    *row = 0;
    if (c->schema == NULL)
        return NULL;
    *row = row_of(c->schema, key);
    ASSERT(*row < c->schema->count);
    return c->found[*row];
}

bool config_is_set(const struct config *c, const char *key)
{
    size_t row;

    return found(c, key, &row) != NULL;
}

bool config_is_bad(const struct config *c, const char *key)
{
    size_t row;

    return found(c, key, &row) != NULL && c->bad[row];
}

void config_error(struct config *c, const char *key, const char *fmt, ...)
{
    size_t row;
    const struct config_node *node = found(c, key, &row);
    struct config_mark at = {0};
    va_list args;

    if (node != NULL)
        at = node->at;
    else if (c->schema != NULL)
        at = mark_of_missing(c, key);
    va_start(args, fmt);
    config_mistake_v(c, at, key, fmt, args);
    va_end(args);
}

void config_error_item(struct config *c, const char *key, size_t item, const char *fmt, ...)
{
    size_t row;
    const struct config_node *node = found(c, key, &row), *child = NULL;
    struct config_mark at = {0};
    va_list args;

    if (node != NULL) {
        at = node->at;
        child = node->first;
    }
    while (child != NULL && item-- > 0)
        child = child->next;
    if (child != NULL)
        at = child->at;
    va_start(args, fmt);
    config_mistake_v(c, at, key, fmt, args);
    va_end(args);
}
