#include "cluster-tools/cli/help.h"

#include <string.h>

#define COLUMNS 80
#define INDENT  22

/* Without the stars that are there for the man page. */
static void put_plain(FILE *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] != '*')
            fputc(text[i], out);
}

static size_t plain_bytes(const char *text, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += text[i] != '*';
    return count;
}

/* Words from column `at` on, broken before column 80, lines after the first indented. */
static void put_wrapped(FILE *out, const char *text, size_t at, size_t indent)
{
    while (*text != 0) {
        size_t n = strcspn(text, " "), shown = plain_bytes(text, n);

        if (at > indent && at + 1 + shown > COLUMNS) {
            fprintf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', out);
            at++;
        }
        put_plain(out, text, n);
        at += shown;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void put_entry(FILE *out, const char *head, const char *text)
{
    int n = fprintf(out, "  %s", head);

    if (n < 0 || n + 2 > INDENT)
        fprintf(out, "\n%*s", INDENT, "");
    else
        fprintf(out, "%*s", INDENT - n, "");
    put_wrapped(out, text, INDENT, INDENT);
}

static void put_option(FILE *out, const struct cli_option *o)
{
    const char *value = o->words != NULL ? o->words : o->value;
    char head[128], letter[8] = "    ";

    if (o->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(head, sizeof head, "%s--%s%s%s", letter, o->name, value != NULL ? " " : "",
             value != NULL ? value : "");
    put_entry(out, head, o->help);
}

static void put_globals(FILE *out)
{
    fputs("\nOptions of every command:\n", out);
    for (size_t i = 0; i < cli_global_count(); i++)
        put_option(out, cli_global_at(i));
}

static void put_operand(FILE *out, const struct cli_operand *o)
{
    const char *value = o->words != NULL ? o->words : o->value;

    if (value == NULL)
        return;
    fprintf(out,
            o->count == CLI_ONE    ? " %s"
            : o->count == CLI_MANY ? " [%s...]"
                                   : " [%s]",
            value);
}

void help_overview(FILE *out, const char *noun)
{
    fprintf(out, "Usage: trispool %s [OPTION...]\n\n", noun != NULL ? noun : "COMMAND");
    fputs("Asks a running trispoold, and gives it orders, over its control socket.\n\n", out);
    fputs("Commands:\n", out);
    for (size_t i = 0; i < cli_command_count(); i++) {
        const struct cli_command *c = cli_command_at(i);
        char head[64];

        if (noun != NULL && (c->noun == NULL || strcmp(c->noun, noun) != 0))
            continue;
        snprintf(head, sizeof head, "%s%s%s", c->noun != NULL ? c->noun : "",
                 c->noun != NULL ? " " : "", c->verb);
        put_entry(out, head, c->summary);
    }
    put_globals(out);
    fputs("\nExit status:\n", out);
    for (size_t i = 0; i < cli_exit_count(); i++) {
        char head[16];

        snprintf(head, sizeof head, "%d", cli_exit_at(i)->status);
        put_entry(out, head, cli_exit_at(i)->help);
    }
    fputs("\ntrispool COMMAND --help says more, as does man trispool.\n", out);
}

void help_command(FILE *out, const struct cli_command *c)
{
    fprintf(out, "Usage: trispool %s%s%s", c->noun != NULL ? c->noun : "",
            c->noun != NULL ? " " : "", c->verb);
    put_operand(out, &c->operand);
    fprintf(out, " [OPTION...]\n\n%s.\n", c->summary);
    if (c->text != NULL) {
        fputc('\n', out);
        put_wrapped(out, c->text, 0, 0);
    }
    if (c->option_count > 0)
        fputs("\nOptions:\n", out);
    for (size_t i = 0; i < c->option_count; i++)
        put_option(out, &c->options[i]);
    put_globals(out);
    if (c->example != NULL)
        fprintf(out, "\nExample:\n  %s\n", c->example);
}
