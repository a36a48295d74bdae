/* Any bytes: no crash, every mistake has a place in the file, and what is accepted prints as a
 * file that means the same.
 * Covers: base/config.c base/config_text.c base/config_tree.c base/config_value.c
 */
#include "base/config_tree.h"

#include <stdlib.h>

struct sample {
    bool flag;
    uint64_t number, size, wait_ms;
    int word;
    const char *text, *path, *host;
    struct config_strings words, names;
    struct config_addresses ips, servers;
    struct config_hosts hosts;
};

static const char *refuse_x(struct str value)
{
    return str_starts_nocase(value, STR("x")) ? "must not begin with x" : NULL;
}

static const char *const words[] = {"red", "green", NULL};

#define AT(m) .offset = offsetof(struct sample, m)

/* Short names, so that random inputs meet them. */
static const struct config_key keys[] = {
    {.name = "a", .type = CONFIG_INT, AT(number), .min = 1, .max = 64, .required = true},
    {.name = "flag", .type = CONFIG_BOOL, AT(flag)},
    {.name = "t", .type = CONFIG_STRING, AT(text), .preset = "hello", .check = refuse_x},
    {.name = "p", .type = CONFIG_PATH, AT(path)},
    {.name = "s", .type = CONFIG_SECTION},
    {.name = "s.s", .type = CONFIG_SIZE, AT(size), .preset = "4KiB"},
    {.name = "s.delay", .type = CONFIG_DURATION, AT(wait_ms), .preset = "5s"},
    {.name = "s.w", .type = CONFIG_WORD, AT(word), .preset = "green", .words = words},
    {.name = "s.h", .type = CONFIG_HOSTNAME, AT(host)},
    {.name = "l", .type = CONFIG_SECTION},
    {.name = "l.t", .type = CONFIG_STRINGS, AT(words), .preset = "a b"},
    {.name = "l.n", .type = CONFIG_HOSTNAMES, AT(names)},
    {.name = "l.i", .type = CONFIG_IPS, AT(ips)},
    {.name = "l.a", .type = CONFIG_ADDRESSES, AT(servers), .port = 53, .empty_word = "system"},
    {.name = "l.h", .type = CONFIG_HOSTS, AT(hosts), .port = 25},
};
static const struct config_schema schema = {keys, sizeof keys / sizeof *keys};

static char *print_values(const struct sample *s)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    ASSERT(f != NULL);
    config_print(&schema, s, f);
    fclose(f);
    return text;
}

static void print_errors(const struct config *c)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    ASSERT(f != NULL);
    config_print_errors(c, f);
    fclose(f);
    ASSERT(n > 0);
    for (size_t i = 0; i < n; i++) /* nothing a terminal would obey */
        ASSERT((unsigned char)text[i] >= 0x20 || text[i] == '\n');
    free(text);
}

static void check_places(const struct config *c)
{
    for (size_t i = 0; i < c->mistake_count && i < LIMIT_CONFIG_ERRORS; i++) {
        struct config_mark at = c->mistakes[i].at;

        ASSERT(at.file < c->file_count);
        if (at.line > 1)
            ASSERT(at.column > 0);
    }
}

/* What a caller does with values that contradict each other. */
static void complain_about_fields(struct config *c)
{
    for (size_t i = 0; i < schema.count; i++) {
        ASSERT(!config_is_bad(c, keys[i].name) || config_is_set(c, keys[i].name));
        if (config_is_set(c, keys[i].name) || i % 5 == 0)
            config_error(c, keys[i].name, "is %zu", i);
        if (i % 3 == 0)
            config_error_item(c, keys[i].name, i / 5, "is %zu", i);
    }
    check_places(c);
    print_errors(c);
}

static void reads_back(const struct sample *s)
{
    char *first = print_values(s), *second;
    struct sample again;
    struct config *c = config_from_text("printed", str_of(first));

    config_bind(c, &schema, &again);
    if (config_error_count(c) > 0) {
        fprintf(stderr, "%s", first);
        config_print_errors(c, stderr);
    }
    ASSERT(config_error_count(c) == 0);
    second = print_values(&again);
    ASSERT(strcmp(first, second) == 0);
    ASSERT(config_diff(&schema, s, &again, NULL, 0) == 0);
    free(second);
    config_close(&c);
    free(first);
}

/* The same in two files, cut at a line in the middle, with less and less memory: it ends with a
 * mistake or with values, never with half of them and no mistake. */
static void in_little_memory(struct str text)
{
    struct str first = str_head(text, text.n / 2);
    struct str second = str_from(text, text.n / 2);

    while (second.n > 0 && !str_ends(first, '\n')) {
        first = str_head(text, first.n + 1);
        second = str_from(text, first.n);
    }
    for (size_t room = LIMIT_CONFIG_MEMORY_BYTES; room > 0;
         room = room > 65536 ? 65536 : room / 4) {
        struct config *c = config_from_text("empty", STR(""));
        struct sample s;

        c->memory.ceiling = c->memory.used + room;
        config_set_text(c, config_add_file(c, "first"), first);
        config_set_text(c, config_add_file(c, "second"), second);
        for (size_t i = 0; i < c->file_count && !c->unreadable; i++)
            config_parse(c, i);
        config_bind(c, &schema, &s);
        check_places(c);
        if (config_error_count(c) > 0)
            print_errors(c);
        else
            reads_back(&s);
        complain_about_fields(c);
        config_close(&c);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size > 0 ? size : 1); /* exact, so that one byte too far is seen */
    struct config *c;
    struct sample s;

    ASSERT(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    c = config_from_text("f", (struct str){text, size});
    config_bind(c, &schema, &s);
    check_places(c);
    if (config_error_count(c) > 0)
        print_errors(c);
    else
        reads_back(&s);
    complain_about_fields(c);
    config_close(&c);
    if (size % 16 == 0)
        in_little_memory((struct str){text, size});
    free(text);
    return 0;
}
