#include "base/config_tree.h"

static const void *member(const struct config_key *row, const void *values)
{
    return (const char *)values + row->offset;
}

static struct str last_of(const char *name)
{
    struct str s = str_of(name);
    size_t dot = str_find_last(s, '.');

    return dot < s.n ? str_from(s, dot + 1) : s;
}

static int indent_of(const char *name)
{
    int dots = 0;

    for (; *name != 0; name++)
        dots += *name == '.';
    return 2 * dots;
}

static bool may_stand_plain(const char *z)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no",
                                        "on",   "off",   "y",    "n"};
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789/._@+-";
    bool letter = (*z >= 'a' && *z <= 'z') || (*z >= 'A' && *z <= 'Z') || *z == '/';

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(z, words[i]) == 0)
            return false;
    return letter && strspn(z, chars) == strlen(z);
}

static void print_text(const char *z, FILE *out)
{
    if (may_stand_plain(z)) {
        fputs(z, out);
        return;
    }
    fputc('\'', out);
    for (; *z != 0; z++) {
        if (*z == '\'')
            fputc('\'', out);
        fputc(*z, out);
    }
    fputc('\'', out);
}

static size_t list_length(const struct config_key *row, const void *at)
{
    if (row->type == CONFIG_HOSTS)
        return ((const struct config_hosts *)at)->n;
    if (row->type == CONFIG_IPS || row->type == CONFIG_ADDRESSES)
        return ((const struct config_addresses *)at)->n;
    return ((const struct config_strings *)at)->n;
}

static const char *list_item(const struct config_key *row, const void *at, size_t i)
{
    if (row->type == CONFIG_HOSTS)
        return ((const struct config_hosts *)at)->v[i].text;
    if (row->type == CONFIG_IPS || row->type == CONFIG_ADDRESSES)
        return ((const struct config_addresses *)at)->v[i].text;
    return ((const struct config_strings *)at)->v[i];
}

/* One value, as it is written in a file; NULL when there is none. */
static const char *scalar_text(const struct config_key *row, const void *at,
                               char buf[CONFIG_NUMBER_BYTES])
{
    switch (row->type) {
    case CONFIG_BOOL:
        return *(const bool *)at ? "true" : "false";
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
        return config_number_text(row->type, *(const uint64_t *)at, buf);
    case CONFIG_WORD:
        return row->words[*(const int *)at];
    default:
        return *(const char *const *)at;
    }
}

static bool is_text(enum config_type t)
{
    return t == CONFIG_STRING || t == CONFIG_PATH || t == CONFIG_HOSTNAME;
}

static void print_list(const struct config_key *row, const void *at, FILE *out)
{
    size_t n = list_length(row, at);

    if (n == 0)
        fprintf(out, " %s", row->empty_word != NULL ? row->empty_word : "[]");
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "\n%*s- ", indent_of(row->name) + 2, "");
        print_text(list_item(row, at, i), out);
    }
    fputc('\n', out);
}

void config_print(const struct config_schema *schema, const void *values, FILE *out)
{
    for (size_t i = 0; i < schema->count; i++) {
        const struct config_key *row = &schema->keys[i];
        const void *at = member(row, values);
        char buf[CONFIG_NUMBER_BYTES];
        const char *text = NULL;

        fprintf(out, "%*s", indent_of(row->name), "");
        if (row->type == CONFIG_SECTION) {
            fprintf(out, STR_FMT ":\n", STR_ARG(last_of(row->name)));
            continue;
        }
        if (config_type_is_list(row->type)) {
            fprintf(out, STR_FMT ":", STR_ARG(last_of(row->name)));
            print_list(row, at, out);
            continue;
        }
        text = scalar_text(row, at, buf);
        if (text == NULL) {
            fprintf(out, "# " STR_FMT ": is not set\n", STR_ARG(last_of(row->name)));
            continue;
        }
        fprintf(out, STR_FMT ": ", STR_ARG(last_of(row->name)));
        if (is_text(row->type))
            print_text(text, out);
        else
            fputs(text, out);
        fputc('\n', out);
    }
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_list(const struct config_key *row, const void *a, const void *b)
{
    size_t n = list_length(row, a);

    if (list_length(row, b) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!same_text(list_item(row, a, i), list_item(row, b, i)))
            return false;
    return true;
}

size_t config_diff(const struct config_schema *schema, const void *before, const void *after,
                   struct config_change *out, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < schema->count; i++) {
        const struct config_key *row = &schema->keys[i];
        const void *a = member(row, before), *b = member(row, after);
        char x[CONFIG_NUMBER_BYTES], y[CONFIG_NUMBER_BYTES];

        if (row->type == CONFIG_SECTION)
            continue;
        if (config_type_is_list(row->type)
                ? same_list(row, a, b)
                : same_text(scalar_text(row, a, x), scalar_text(row, b, y)))
            continue;
        if (n < max)
            out[n] = (struct config_change){.key = row->name, .restart = row->restart};
        n++;
    }
    return n;
}

/* --- the reference --- */

static void print_range(const struct config_key *row, FILE *out)
{
    char low[CONFIG_NUMBER_BYTES], high[CONFIG_NUMBER_BYTES];

    if (row->min != 0 || row->max != 0)
        fprintf(out, ", %s to %s", config_number_text(row->type, row->min, low),
                config_number_text(row->type, row->max, high));
}

static void print_type(const struct config_key *row, FILE *out)
{
    static const char *const names[] = {
        [CONFIG_SECTION] = "section",
        [CONFIG_BOOL] = "true or false",
        [CONFIG_INT] = "whole number",
        [CONFIG_SIZE] = "size",
        [CONFIG_DURATION] = "duration",
        [CONFIG_WORD] = "one of",
        [CONFIG_STRING] = "text",
        [CONFIG_PATH] = "absolute path",
        [CONFIG_HOSTNAME] = "host name",
        [CONFIG_STRINGS] = "list of texts",
        [CONFIG_HOSTNAMES] = "list of host names",
        [CONFIG_IPS] = "list of IP addresses",
        [CONFIG_ADDRESSES] = "list of ADDRESS:PORT",
        [CONFIG_HOSTS] = "list of HOST:PORT",
    };

    fputs(names[row->type], out);
    print_range(row, out);
    if (row->port > 0)
        fprintf(out, " (port %u if none is given)", (unsigned)row->port);
    if (row->empty_word != NULL)
        fprintf(out, ", or `%s`", row->empty_word);
    for (size_t i = 0; row->type == CONFIG_WORD && row->words[i] != NULL; i++)
        fprintf(out, "%s `%s`", i > 0 ? "," : "", row->words[i]);
}

static void print_preset(const struct config_key *row, FILE *out)
{
    if (row->required)
        fputs("required", out);
    else if (row->preset != NULL)
        fprintf(out, "`%s`", row->preset);
    else if (row->empty_word != NULL)
        fprintf(out, "`%s`", row->empty_word);
    else if (config_type_is_list(row->type))
        fputs("`[]`", out);
    else
        fputs(row->type == CONFIG_BOOL ? "`false`" : "not set", out);
}

static void print_row(const struct config_key *row, FILE *out)
{
    fprintf(out, "| `%s` | ", row->name);
    print_type(row, out);
    fputs(" | ", out);
    print_preset(row, out);
    fprintf(out, " | %s | %s |\n", row->restart ? "restart" : "reload", row->help);
}

void config_print_reference(const struct config_schema *schema, FILE *out)
{
    bool open = false;

    for (size_t i = 0; i < schema->count; i++) {
        const struct config_key *row = &schema->keys[i];

        if (row->type == CONFIG_SECTION) {
            fprintf(out, "\n## %s\n\n%s.\n", row->name, row->help);
            open = false;
            continue;
        }
        if (!open)
            fputs("\n| key | value | default | in force after | meaning |\n"
                  "|---|---|---|---|---|\n",
                  out);
        open = true;
        print_row(row, out);
    }
}
