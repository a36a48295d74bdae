#include "cluster-tools/cli/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tools/cli/help.h"
#include "cluster-tools/cli/member.h"
#include "cluster-tools/cli/show.h"
#include "cluster-tools/cli/text.h"
#include "node/config.h"

static int generate(const char *what)
{
    const struct {
        const char *what;
        void (*make)(FILE *out);
    } makers[] = {
        {"man", generate_man},
        {"bash", generate_bash},
        {"zsh", generate_zsh},
        {"fish", generate_fish},
    };

    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
        if (strcmp(makers[i].what, what) == 0)
            makers[i].make(stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* "FILE:LINE:COLUMN: WHAT", for programs. A text without a place has the line alone. */
static void add_place(json_t *row, const char *line)
{
    for (const char *at = strchr(line, ':'); at != NULL; at = strchr(at + 1, ':')) {
        unsigned number, column;
        int n = 0;

        if (sscanf(at, ":%u:%u: %n", &number, &column, &n) < 2 || n == 0)
            continue;
        (void)json_object_set_new(row, "file", json_stringn(line, (size_t)(at - line)));
        (void)json_object_set_new(row, "row", json_integer(number));
        (void)json_object_set_new(row, "column", json_integer(column));
        (void)json_object_set_new(row, "what", json_string(at + n));
        return;
    }
}

/* The findings quote the file, so each line is escaped like everything from outside. What is
 * quoted below a finding is for people. */
static int check(const struct cli_run *run)
{
    const char *path = run->operand != NULL ? run->operand : NODE_CONFIG_PATH;
    struct str rest;
    struct show show;
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    int status;

    if (to == NULL)
        return 1;
    status = node_config_check(path, to);
    if (fclose(to) != 0)
        return 1;
    show_begin(&show, run, stdout, stderr);
    rest = (struct str){text, n};
    while (rest.n > 0) {
        struct str line = str_split(&rest, '\n');
        char *safe = malloc(4 * line.n + 1);

        if (safe == NULL)
            break;
        text_escape(line, safe, 4 * line.n + 1);
        if (run->output == CLI_OUT_TABLE || safe[0] != ' ') {
            json_t *row = json_pack("{s:s}", "line", safe);

            add_place(row, safe);
            show_row(&show, row);
        }
        free(safe);
    }
    free(text);
    return show_end(&show, NULL, status);
}

int local_run(const struct cli_run *run)
{
    if (run->command->noun != NULL && strcmp(run->command->noun, "cluster") == 0)
        return member_run(run);
    return strcmp(run->command->verb, "check") == 0 ? check(run) : generate(run->operand);
}
