/* The binder from the outside: texts in, values or printed mistakes out. Exercises config.c,
 * config_file.c, config_text.c, config_tree.c and config_print.c; config_value_test.c has the
 * scalars. */
#include "base/config_tree.h"

#include <check.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct sample {
    bool flag;
    uint64_t number, size, wait_ms;
    int color;
    const char *text, *path, *host;
    struct config_strings words, names;
    struct config_addresses ips, listen, servers;
    struct config_hosts routes;
};

static const char *const colors[] = {"red", "green", "blue", NULL};

static const char *check_text(struct str s)
{
    return str_eq(s, STR("bad")) ? "must not be bad" : NULL;
}

#define AT(m) .offset = offsetof(struct sample, m)

static const struct config_key keys[] = {
    {.name = "number",
     .type = CONFIG_INT,
     AT(number),
     .min = 1,
     .max = 64,
     .required = true,
     .restart = true,
     .help = "how many"},
    {.name = "flag", .type = CONFIG_BOOL, AT(flag), .help = "whether"},
    {.name = "text",
     .type = CONFIG_STRING,
     AT(text),
     .preset = "hello",
     .check = check_text,
     .help = "what"},
    {.name = "box", .type = CONFIG_SECTION, .help = "A box"},
    {.name = "box.size",
     .type = CONFIG_SIZE,
     AT(size),
     .preset = "4KiB",
     .min = KiB,
     .max = GiB,
     .help = "how large"},
    {.name = "box.wait",
     .type = CONFIG_DURATION,
     AT(wait_ms),
     .preset = "5s",
     .help = "how long"},
    {.name = "box.color",
     .type = CONFIG_WORD,
     AT(color),
     .preset = "green",
     .words = colors,
     .help = "which"},
    {.name = "box.path", .type = CONFIG_PATH, AT(path), .help = "where"},
    {.name = "box.lid", .type = CONFIG_SECTION, .help = "Its lid"},
    {.name = "box.lid.host", .type = CONFIG_HOSTNAME, AT(host), .help = "whose"},
    {.name = "net", .type = CONFIG_SECTION, .help = "A net"},
    {.name = "net.words", .type = CONFIG_STRINGS, AT(words), .preset = "a b", .help = "words"},
    {.name = "net.names", .type = CONFIG_HOSTNAMES, AT(names), .help = "names"},
    {.name = "net.ips", .type = CONFIG_IPS, AT(ips), .help = "addresses"},
    {.name = "net.listen",
     .type = CONFIG_ADDRESSES,
     AT(listen),
     .preset = "0.0.0.0:25 [::]:25",
     .help = "endpoints"},
    {.name = "net.servers",
     .type = CONFIG_ADDRESSES,
     AT(servers),
     .port = 53,
     .empty_word = "system",
     .help = "servers"},
    {.name = "net.routes",
     .type = CONFIG_HOSTS,
     AT(routes),
     .port = 25,
     .empty_word = "mx",
     .help = "hosts"},
};
static const struct config_schema schema = {keys, sizeof keys / sizeof *keys};

static struct config *config;
static struct sample got;
static char *printed;

static void teardown(void)
{
    config_close(&config);
    free(printed);
    printed = NULL;
}

static void print_to_memory(void (*print)(FILE *))
{
    size_t n;
    FILE *f;

    free(printed);
    printed = NULL;
    f = open_memstream(&printed, &n);
    ck_assert_ptr_nonnull(f);
    print(f);
    fclose(f);
}

static void print_errors(FILE *f)
{
    config_print_errors(config, f);
}

static void print_values(FILE *f)
{
    config_print(&schema, &got, f);
}

static void print_reference(FILE *f)
{
    config_print_reference(&schema, f);
}

static void bind_all(void)
{
    memset(&got, 0xaa, sizeof got); /* what is not set must not be seen */
    config_bind(config, &schema, &got);
    print_to_memory(print_errors);
}

static void load(struct str text)
{
    config_close(&config);
    config = config_from_text("f.yaml", text);
    bind_all();
}

/* The first line of each mistake only: no source, no caret. */
static void keep_headlines(void)
{
    char *to = printed;

    for (char *line = printed, *end; *line != 0; line = end) {
        end = strchr(line, '\n') + 1;
        if (*line == ' ')
            continue;
        memmove(to, line, (size_t)(end - line));
        to += end - line;
    }
    *to = 0;
}

/* --- values --- */

START_TEST(a_file_with_every_kind_of_value_fills_the_struct)
{
    load(STR("number: 7\n"
             "flag: true\n"
             "text: \"it's\"\n"
             "box:\n"
             "  size: 20 MiB\n"
             "  wait: 14d\n"
             "  color: blue\n"
             "  path: '/a b'\n"
             "  lid: {host: MX1.Example.COM}\n"
             "net:\n"
             "  words: [x, 'y z']\n"
             "  names: [a.example, B.example]\n"
             "  ips: [192.0.2.1, 2001:DB8::1]\n"
             "  listen: ['127.0.0.1:2525', '[::1]:2525']\n"
             "  servers: [192.0.2.53, '::1', '[::1]:5353']\n"
             "  routes: [mail, 192.0.2.9:26, '[2001:db8::2]']\n"));
    ck_assert_str_eq(printed, "");
    ck_assert(got.flag);
    ck_assert_uint_eq(got.number, 7);
    ck_assert_str_eq(got.text, "it's");
    ck_assert_uint_eq(got.size, 20 * MiB);
    ck_assert_uint_eq(got.wait_ms, 1209600000);
    ck_assert_int_eq(got.color, 2);
    ck_assert_str_eq(got.path, "/a b");
    ck_assert_str_eq(got.host, "mx1.example.com");
    ck_assert_uint_eq(got.words.n, 2);
    ck_assert_str_eq(got.words.v[1], "y z");
    ck_assert_str_eq(got.names.v[1], "b.example");
    ck_assert_str_eq(got.ips.v[1].text, "2001:db8::1");
    ck_assert_str_eq(got.listen.v[1].text, "[::1]:2525");
    ck_assert_int_eq(got.listen.v[1].ss.ss_family, AF_INET6);
    ck_assert_str_eq(got.servers.v[0].text, "192.0.2.53:53");
    ck_assert_str_eq(got.servers.v[1].text, "[::1]:53");
    ck_assert_str_eq(got.servers.v[2].text, "[::1]:5353");
    ck_assert_str_eq(got.routes.v[0].text, "mail:25");
    ck_assert_str_eq(got.routes.v[1].name, "192.0.2.9");
    ck_assert_uint_eq(got.routes.v[1].port, 26);
    ck_assert_str_eq(got.routes.v[2].name, "2001:db8::2");
    ck_assert_str_eq(got.routes.v[2].text, "[2001:db8::2]:25");
}
END_TEST

START_TEST(what_is_not_in_the_file_has_its_preset)
{
    load(STR("number: 1\nbox:\nnet: ~\n"));
    ck_assert_str_eq(printed, "");
    ck_assert(!got.flag);
    ck_assert_str_eq(got.text, "hello");
    ck_assert_uint_eq(got.size, 4096);
    ck_assert_uint_eq(got.wait_ms, 5000);
    ck_assert_int_eq(got.color, 1);
    ck_assert_ptr_null(got.path);
    ck_assert_ptr_null(got.host);
    ck_assert_uint_eq(got.words.n, 2);
    ck_assert_str_eq(got.words.v[1], "b");
    ck_assert_uint_eq(got.names.n, 0);
    ck_assert_uint_eq(got.listen.n, 2);
    ck_assert_uint_eq(got.servers.n, 0);
    ck_assert(config_is_set(config, "number"));
    ck_assert(!config_is_set(config, "text"));
}
END_TEST

START_TEST(a_refused_value_leaves_the_preset_and_is_marked_bad)
{
    load(STR("number: 1\nbox: {size: 1, color: red}\nnet: {words: [[]]}\n"));
    ck_assert_uint_eq(got.size, 4096);
    ck_assert(config_is_bad(config, "box.size"));
    ck_assert(!config_is_bad(config, "box.color"));
    ck_assert(!config_is_bad(config, "box.wait"));
    ck_assert(config_is_bad(config, "net.words"));
}
END_TEST

/* --- mistakes: headlines --- */

static const struct {
    const char *text, *headlines;
} mistakes[] = {
    {"", "f.yaml:1:1: number: is required and missing (how many)\n"},
    {"# only a comment\n", "f.yaml:1:1: number: is required and missing (how many)\n"},
    {"--- \n", "f.yaml:1:1: number: is required and missing (how many)\n"},
    {"number:\n", "f.yaml:1:8: number: has no value\n"},
    {"number: null\n", "f.yaml:1:9: number: has no value\n"},
    {"number: 65\n", "f.yaml:1:9: number: must be between 1 and 64, got 65\n"},
    {"number: 0\n", "f.yaml:1:9: number: must be between 1 and 64, got 0\n"},
    {"number: -1\n", "f.yaml:1:9: number: must be a whole number, got '-1'\n"},
    {"number: 1.5\n", "f.yaml:1:9: number: must be a whole number, got '1.5'\n"},
    {"number: 99999999999999999999\n",
     "f.yaml:1:9: number: 99999999999999999999 is too large\n"},
    {"number: [1]\n", "f.yaml:1:9: number: must be a single value, not a list\n"},
    {"number: {a: 1}\n", "f.yaml:1:9: number: must be a single value, not a map\n"},
    {"number: 1\nflag: yes\n", "f.yaml:2:7: flag: must be true or false, got 'yes'\n"},
    {"number: 1\ntext: ''\n", "f.yaml:2:7: text: may not be empty\n"},
    {"number: 1\ntext: bad\n", "f.yaml:2:7: text: must not be bad\n"},
    {"number: 1\ntext: \"a\\0b\"\n", "f.yaml:2:7: text: may not hold the character U+0000\n"},
    {"number: 1\ntext: \"a\\nb\"\n", "f.yaml:2:7: text: may not hold the character U+000A\n"},
    {"number: 1\ntext: \"\\u202e\"\n", "f.yaml:2:7: text: may not hold the character U+202E\n"},
    {"number: 1\nbox: 3\n", "f.yaml:2:6: box: must hold keys and values, indented below it\n"},
    {"number: 1\nbox:\n- 3\n",
     "f.yaml:3:1: box: must hold keys and values, indented below it\n"},
    {"number: 1\nnumber: 2\n", "f.yaml:2:1: number: is set twice, first in line 1\n"},
    {"number: 1\nbox: {}\nbox: {}\n", "f.yaml:3:1: box: is set twice, first in line 2\n"},
    {"nubmer: 1\nnumber: 1\n", "f.yaml:1:1: unknown key 'nubmer' (did you mean 'number'?)\n"},
    {"number: 1\nbox:\n  Color: red\n",
     "f.yaml:3:3: unknown key 'Color' (did you mean 'color'?)\n"},
    {"number: 1\nsize: 1KiB\n",
     "f.yaml:2:1: unknown key 'size' here: write 'size' under 'box:'\n"},
    {"number: 1\nbox.size: 1KiB\n",
     "f.yaml:2:1: unknown key 'box.size' here: write 'size' under 'box:'\n"},
    {"number: 1\nnet:\n  flag: true\n",
     "f.yaml:3:3: unknown key 'flag' here: it stands at the left margin\n"},
    {"number: 1\nzzzzzzzz: 1\n", "f.yaml:2:1: unknown key 'zzzzzzzz'\n"},
    {"number: 1\n\"flag\\0\": true\n",
     "f.yaml:2:1: unknown key 'flag?' (did you mean 'flag'?)\n"},
    {"number: 1\n<<: {a: b}\n", "f.yaml:2:1: merge keys (<<) are not supported\n"},
    {"number: &n 1\n", "f.yaml:1:9: anchors (&n) are not supported\n"},
    {"number: 1\nbox: &b\n  size: 1\n",
     "f.yaml:2:6: anchors (&b) are not supported\n"
     "f.yaml:3:9: box.size: needs a unit: write 1KiB, 1MiB or 1GiB (or kB, MB, GB)\n"},
    {"number: 1\nnet:\n  words: &w [a]\n  names: *w\n",
     "f.yaml:3:10: anchors (&w) are not supported\n"
     "f.yaml:4:10: aliases (*w) are not supported\n"},
    {"number: !!int 1\n", "f.yaml:1:9: tags (!) are not supported\n"},
    {"%TAG ! tag:example.com,2000:\n---\nnumber: 1\n",
     "f.yaml:1:1: tags (%TAG) are not supported\n"},
    {"%YAML 1.1\n---\nnumber: 1\n...\n", ""},
    {"number: 1\n---\nnumber: 2\n", "f.yaml:2:1: a second document in one file ('---')\n"},
    {"- number\n", "f.yaml:1:1: must hold keys and values, as in 'key: value'\n"},
    {"number\n", "f.yaml:1:1: must hold keys and values, as in 'key: value'\n"},
    {"number: 1\nnet: {words: x}\n",
     "f.yaml:2:14: net.words: must be a list: '- VALUE' on a line of its own for each\n"},
    {"number: 1\nnet: {routes: my}\n", "f.yaml:2:15: net.routes: must be a list ('- VALUE' on "
                                       "a line of its own for each) or mx\n"},
    {"number: 1\nnet: {routes: mx, servers: system, words: []}\n", ""},
    {"number: 1\nnet: {words: [a, b, a]}\n",
     "f.yaml:2:21: net.words: is in the list already\n"},
    {"number: 1\nnet:\n  ips:\n  - ::1\n  -\n  - 0:0::1\n",
     "f.yaml:5:4: net.ips: an item has no value\n"
     "f.yaml:6:5: net.ips: is in the list already\n"},
    {"number: 1\nnet:\n  listen: [x:25, '[::1]:25', '[::1]:025']\n",
     "f.yaml:3:12: net.listen: must be ADDRESS:PORT such as 192.0.2.1:25 or "
     "'[2001:db8::1]:25', got 'x:25'\n"
     "f.yaml:3:30: net.listen: is in the list already\n"},
    {"number: 1\nnet:\n  listen: ['[::1]:2\n",
     "f.yaml:3:12: not valid YAML: found unexpected end of stream while scanning a quoted "
     "scalar; the rest of the file was not read\n"},
    {"number: 1\nnet:\n  listen:\n  - [::1]:25\n",
     "f.yaml:4:6: not valid YAML: did not find expected node content while parsing a flow "
     "node; an IPv6 address in brackets needs quotes: '[::1]:25'; the rest of the file was not "
     "read\n"},
    {"number: 1\nbox:\n\tsize: 1\n",
     "f.yaml:3:1: not valid YAML: found character that cannot start any token while scanning "
     "for the next token; tabs cannot indent YAML, write spaces; the rest of the file was not "
     "read\n"},
    {"flag: maybe\ntext: \"unclosed\n",
     "f.yaml:1:7: flag: must be true or false, got 'maybe'\n"
     "f.yaml:2:7: not valid YAML: found unexpected end of stream while scanning a quoted "
     "scalar; the rest of the file was not read\n"},
    {"[a]: 1\nnumber: 1\n", "f.yaml:1:1: a key must be a word\n"},
    {"number: 1\nbox: {lid: {host: x}}\n",
     "f.yaml:2:19: box.lid.host: must be a full host name such as mx1.example.com, got 'x'\n"},
    {"number: \"\\e[31m\"\n", "f.yaml:1:9: number: must be a whole number, got '?[31m'\n"},
    {"\xef\xbb\xbfnumber: x\n", "f.yaml:1:9: number: must be a whole number, got 'x'\n"},
    {"number: x\r\nflag: 1\r\n", "f.yaml:1:9: number: must be a whole number, got 'x'\n"
                                 "f.yaml:2:7: flag: must be true or false, got '1'\n"},
    {"# \xc3\xa4\xf0\x9f\x93\xa7\nt\xc3\xa4xt: {x: 1, number: 1}\n",
     "f.yaml:1:1: number: is required and missing (how many)\n"
     "f.yaml:2:1: unknown key 't\xc3\xa4xt' (did you mean 'text'?)\n"},
};

START_TEST(each_mistake_is_named_with_its_position)
{
    load(str_of(mistakes[_i].text));
    keep_headlines();
    ck_assert_str_eq(printed, mistakes[_i].headlines);
    ck_assert_uint_eq(config_error_count(config) > 0, printed[0] != 0);
}
END_TEST

/* --- bytes that a configuration may not have --- */

static const struct {
    struct str text;
    const char *headlines;
} bytes[] = {
    {{"number: 1\0\n", 11}, "f.yaml:1:10: NUL byte\n"},
    {{"number: \xff\nnumber: \xc3(\n", 21},
     "f.yaml:1:9: byte 0xff is not UTF-8 text\nf.yaml:2:9: byte 0xc3 is not UTF-8 text\n"},
    {{"# \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80\n", 13},
     "f.yaml:1:3: byte 0xc0 is not UTF-8 text\nf.yaml:1:4: byte 0xaf is not UTF-8 text\n"
     "f.yaml:1:6: byte 0xed is not UTF-8 text\nf.yaml:1:7: byte 0xa0 is not UTF-8 text\n"
     "f.yaml:1:8: byte 0x80 is not UTF-8 text\nf.yaml:1:10: byte 0xf4 is not UTF-8 text\n"
     "f.yaml:1:11: byte 0x90 is not UTF-8 text\nf.yaml:1:12: byte 0x80 is not UTF-8 text\n"
     "f.yaml:1:13: byte 0x80 is not UTF-8 text\n"},
    {{"a: \xe2\x82", 5},
     "f.yaml:1:4: byte 0xe2 is not UTF-8 text\n"
     "f.yaml:1:5: byte 0x82 is not UTF-8 text\n"},
    {{"number: \x1b[31m1\n", 15}, "f.yaml:1:9: control character U+001B\n"},
    {{"a\rb\n", 4}, "f.yaml:1:2: carriage return without a line feed behind it\n"},
    {{"a\xc2\x85\n", 4}, "f.yaml:1:2: control character U+0085\n"},
    {{"\xc3\xa4 \xe2\x80\xae\n", 7}, "f.yaml:1:3: invisible character U+202E\n"},
    {{"a\xe2\x80\xa8\n", 5}, "f.yaml:1:2: invisible character U+2028\n"},
    {{"a\xef\xbb\xbf\n", 5}, "f.yaml:1:2: invisible character U+FEFF\n"},
};

START_TEST(bytes_that_hide_are_named_and_nothing_is_bound)
{
    load(bytes[_i].text);
    keep_headlines();
    ck_assert_str_eq(printed, bytes[_i].headlines);
    ck_assert_uint_eq(got.number, 0);
    ck_assert(!config_is_set(config, "number"));
}
END_TEST

/* --- how mistakes look --- */

START_TEST(mistakes_come_in_the_order_of_the_file_with_source_and_caret)
{
    load(STR("text: \"\xc3\xa4\"\n"
             "box:\n"
             "  size:\t10\n"
             "flag: {}\n"
             "text: x\n"));
    ck_assert_str_eq(printed, "f.yaml:1:1: number: is required and missing (how many)\n"
                              "f.yaml:3:9: box.size: needs a unit: write 10KiB, 10MiB or 10GiB "
                              "(or kB, MB, GB)\n"
                              "    3 |   size: 10\n"
                              "      |         ^\n"
                              "f.yaml:4:7: flag: must be a single value, not a map\n"
                              "    4 | flag: {}\n"
                              "      |       ^\n"
                              "f.yaml:5:1: text: is set twice, first in line 1\n"
                              "    5 | text: x\n"
                              "      | ^\n");
}
END_TEST

START_TEST(a_long_line_is_shown_as_a_window_around_the_caret)
{
    char text[600];
    const char *caret, *source;

    snprintf(text, sizeof text,
             "number: 1\nbox: {path: '/%0200d', size: 7, color: red%0200d}\n", 0, 0);
    load(str_of(text));
    source = strstr(printed, " | ...");
    ck_assert_ptr_nonnull(source);
    caret = strchr(printed, '^');
    ck_assert_ptr_nonnull(caret);
    /* in the window the caret stands below the value */
    ck_assert_int_eq(source[caret - strstr(printed, "      | ") - 5], '7');
    ck_assert_ptr_nonnull(strstr(source, "...\n"));
}
END_TEST

START_TEST(mistakes_above_the_limit_are_counted)
{
    char text[8192] = "number: 1\n";
    size_t n = strlen(text), lines = 0;

    for (int i = 0; i < LIMIT_CONFIG_ERRORS + 17; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "qqqqqqqq%d: 1\n", i);
    load(str_of(text));
    keep_headlines();
    ck_assert_uint_eq(config_error_count(config), LIMIT_CONFIG_ERRORS + 17);
    for (const char *p = printed; *p != 0; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, LIMIT_CONFIG_ERRORS + 1);
    ck_assert_ptr_nonnull(strstr(printed, "\n17 more\n"));
}
END_TEST

START_TEST(checks_over_fields_point_at_value_item_or_section)
{
    load(STR("number: 1\nbox:\n  size: 1KiB\nnet:\n  words:\n    - a\n    - b\n"));
    config_error(config, "box.size", "is %d", 1);
    config_error(config, "box.wait", "is missing");
    config_error(config, "text", "is missing");
    config_error_item(config, "net.words", 1, "is b");
    config_error_item(config, "net.words", 9, "is nowhere");
    print_to_memory(print_errors);
    keep_headlines();
    ck_assert_str_eq(printed, "f.yaml:1:1: text: is missing\n"
                              "f.yaml:2:1: box.wait: is missing\n"
                              "f.yaml:3:9: box.size: is 1\n"
                              "f.yaml:6:5: net.words: is nowhere\n"
                              "f.yaml:7:7: net.words: is b\n");
}
END_TEST

/* --- limits --- */

static void load_repeated(const char *head, const char *piece, size_t count, const char *tail)
{
    size_t n = strlen(head), step = strlen(piece);
    char *text = malloc(n + step * count + strlen(tail) + 1);

    ck_assert_ptr_nonnull(text);
    memcpy(text, head, n);
    for (size_t i = 0; i < count; i++, n += step)
        memcpy(text + n, piece, step);
    memcpy(text + n, tail, strlen(tail) + 1);
    load((struct str){text, n + strlen(tail)});
    keep_headlines();
    config_close(&config); /* it borrows the text */
    free(text);
}

START_TEST(limits_of_the_text_are_told)
{
    load_repeated("number: 1\n#", "x", LIMIT_CONFIG_BYTES, "\n");
    ck_assert_str_eq(printed, "f.yaml: the configuration is larger than 1048576 bytes\n");
    load_repeated("number: 1\nbox: ", "[", LIMIT_CONFIG_DEPTH + 1, "\n");
    ck_assert_ptr_nonnull(strstr(printed, "f.yaml:2:21: more than 16 maps and lists"));
    load_repeated("number: 1\nnet: {words: [", "a, ", LIMIT_CONFIG_NODES, "b]}\n");
    ck_assert_ptr_nonnull(
        strstr(printed, "too many entries; the rest of the file was not read"));
    load_repeated("number: 1\ntext: ", "x", 5000, "\n");
    ck_assert_str_eq(printed, "f.yaml:2:7: text: is longer than 4095 bytes\n");
}
END_TEST

START_TEST(a_list_has_at_most_so_many_items)
{
    char text[8192] = "number: 1\nnet:\n  words:\n";
    size_t n = strlen(text);

    for (int i = 0; i <= LIMIT_CONFIG_ITEMS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "  - w%d\n", i);
    load(str_of(text));
    keep_headlines();
    ck_assert_str_eq(printed, "f.yaml:260:5: net.words: more items than 256\n");
    ck_assert_uint_eq(got.words.n, LIMIT_CONFIG_ITEMS);
}
END_TEST

/* --- files --- */

static char dir[] = "/tmp/trispool_config_XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in_dir(name), "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void make_dir(void)
{
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
    static const char *const names[] = {"m.yaml",        "pipe",          "conf.d/a.yaml",
                                        "conf.d/b.yaml", "conf.d/c.conf", "conf.d/.d.yaml"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_dir(names[i]));
    rmdir(in_dir("conf.d"));
    rmdir(dir);
    teardown();
}

static void open_file(const char *name)
{
    config = config_open(in_dir(name));
    bind_all();
    keep_headlines();
}

START_TEST(files_in_conf_d_add_keys_and_a_key_in_two_of_them_is_refused)
{
    char expected[512];

    put("m.yaml", "number: 3\nbox: {color: red}\n");
    ck_assert_int_eq(mkdir(in_dir("conf.d"), 0700), 0);
    put("conf.d/b.yaml", "number: 4\n");
    put("conf.d/a.yaml", "box: {size: 1MiB}\nflag: 0\n");
    put("conf.d/c.conf", "not: read\n");
    put("conf.d/.d.yaml", "not: read\n");
    open_file("m.yaml");
    snprintf(expected, sizeof expected,
             "%s/conf.d/a.yaml:2:7: flag: must be true or false, got '0'\n"
             "%s/conf.d/b.yaml:1:1: number: is set twice, first in %s/m.yaml line 1\n",
             dir, dir, dir);
    ck_assert_str_eq(printed, expected);
    ck_assert_uint_eq(got.number, 3);
    ck_assert_uint_eq(got.size, MiB);
    ck_assert_int_eq(got.color, 0);
}
END_TEST

START_TEST(what_is_no_readable_file_is_refused_without_waiting)
{
    ck_assert_int_eq(mkfifo(in_dir("pipe"), 0600), 0);
    open_file("pipe");
    ck_assert_ptr_nonnull(strstr(printed, "/pipe: cannot be read: not a regular file\n"));
    config_close(&config);
    open_file("nothing.yaml");
    ck_assert_ptr_nonnull(
        strstr(printed, "/nothing.yaml: cannot be read: No such file or directory\n"));
    ck_assert_uint_eq(config_error_count(config), 1);
}
END_TEST

/* --- printing --- */

static const char everything[] = "number: 7\n"
                                 "flag: true\n"
                                 "text: 'it''s: \xc3\xa4'\n"
                                 "box:\n"
                                 "  size: 20MiB\n"
                                 "  wait: 14d\n"
                                 "  color: blue\n"
                                 "  path: /a/b\n"
                                 "  lid:\n"
                                 "    host: mx1.example.com\n"
                                 "net:\n"
                                 "  words:\n"
                                 "    - x\n"
                                 "    - 'true'\n"
                                 "    - '1'\n"
                                 "  names:\n"
                                 "    - a.example\n"
                                 "  ips:\n"
                                 "    - '192.0.2.1'\n"
                                 "  listen: []\n"
                                 "  servers: system\n"
                                 "  routes:\n"
                                 "    - mail:25\n";

START_TEST(printed_values_read_back_as_the_same)
{
    static const char *const texts[] = {everything, "number: 1\n"};
    char *first;

    load(str_of(texts[_i]));
    ck_assert_str_eq(printed, "");
    print_to_memory(print_values);
    if (_i == 0)
        ck_assert_str_eq(printed, "number: 7\n"
                                  "flag: true\n"
                                  "text: 'it''s: \xc3\xa4'\n"
                                  "box:\n"
                                  "  size: 20MiB\n"
                                  "  wait: 14d\n"
                                  "  color: blue\n"
                                  "  path: /a/b\n"
                                  "  lid:\n"
                                  "    host: mx1.example.com\n"
                                  "net:\n"
                                  "  words:\n"
                                  "    - x\n"
                                  "    - 'true'\n"
                                  "    - '1'\n"
                                  "  names:\n"
                                  "    - a.example\n"
                                  "  ips:\n"
                                  "    - '192.0.2.1'\n"
                                  "  listen: []\n"
                                  "  servers: system\n"
                                  "  routes:\n"
                                  "    - 'mail:25'\n");
    first = strdup(printed);
    load(str_of(first));
    ck_assert_str_eq(printed, "");
    print_to_memory(print_values);
    ck_assert_str_eq(printed, first);
    free(first);
}
END_TEST

START_TEST(differences_are_listed_by_key)
{
    struct config *other = config_from_text(
        "g.yaml",
        STR("number: 2\nbox: {lid: {host: a.example}}\nnet: {words: [a], listen: []}\n"));
    struct sample after;
    struct config_change changes[3];

    load(STR("number: 1\n"));
    config_bind(other, &schema, &after);
    ck_assert_uint_eq(config_diff(&schema, &got, &got, changes, 3), 0);
    ck_assert_uint_eq(config_diff(&schema, &got, &after, changes, 3), 4);
    ck_assert_str_eq(changes[0].key, "number");
    ck_assert(changes[0].restart);
    ck_assert_str_eq(changes[1].key, "box.lid.host");
    ck_assert(!changes[1].restart);
    ck_assert_str_eq(changes[2].key, "net.words");
    config_close(&other);
}
END_TEST

START_TEST(the_reference_has_a_row_for_each_key)
{
    print_to_memory(print_reference);
    for (size_t i = 0; i < schema.count; i++) {
        char row[64];

        snprintf(row, sizeof row, keys[i].type == CONFIG_SECTION ? "\n## %s\n" : "\n| `%s` | ",
                 keys[i].name);
        ck_assert_msg(strstr(printed, row) != NULL, "%s", row);
    }
    ck_assert_ptr_nonnull(strstr(
        printed, "| `number` | whole number, 1 to 64 | required | restart | how many |\n"));
    ck_assert_ptr_nonnull(
        strstr(printed,
               "| `box.color` | one of `red`, `green`, `blue` | `green` | reload | which |\n"));
    ck_assert_ptr_nonnull(strstr(printed, "size, 1KiB to 1GiB | `4KiB`"));
    ck_assert_ptr_nonnull(
        strstr(printed, "(port 53 if none is given), or `system` | `system`"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tc = tcase_create("text"), *files = tcase_create("files");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, a_file_with_every_kind_of_value_fills_the_struct);
    tcase_add_test(tc, what_is_not_in_the_file_has_its_preset);
    tcase_add_test(tc, a_refused_value_leaves_the_preset_and_is_marked_bad);
    tcase_add_loop_test(tc, each_mistake_is_named_with_its_position, 0,
                        sizeof mistakes / sizeof *mistakes);
    tcase_add_loop_test(tc, bytes_that_hide_are_named_and_nothing_is_bound, 0,
                        sizeof bytes / sizeof *bytes);
    tcase_add_test(tc, mistakes_come_in_the_order_of_the_file_with_source_and_caret);
    tcase_add_test(tc, a_long_line_is_shown_as_a_window_around_the_caret);
    tcase_add_test(tc, mistakes_above_the_limit_are_counted);
    tcase_add_test(tc, checks_over_fields_point_at_value_item_or_section);
    tcase_add_test(tc, limits_of_the_text_are_told);
    tcase_add_test(tc, a_list_has_at_most_so_many_items);
    tcase_add_loop_test(tc, printed_values_read_back_as_the_same, 0, 2);
    tcase_add_test(tc, differences_are_listed_by_key);
    tcase_add_test(tc, the_reference_has_a_row_for_each_key);
    tcase_add_checked_fixture(files, make_dir, remove_dir);
    tcase_add_test(files, files_in_conf_d_add_keys_and_a_key_in_two_of_them_is_refused);
    tcase_add_test(files, what_is_no_readable_file_is_refused_without_waiting);
    suite_add_tcase(suite, tc);
    suite_add_tcase(suite, files);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
