/* The man page's source, in scdoc. */
#include <string.h>

#include "cluster-tools/cli/help.h"

/* Text with *bold* marks of its own; what scdoc would take for a mark is escaped. */
static void put_text(FILE *out, const char *text)
{
    for (; *text != 0; text++) {
        if (strchr("_\\<>[]#+", *text) != NULL)
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void put_name(FILE *out, const struct cli_command *c)
{
    fprintf(out, "*trispool %s%s%s*", c->noun != NULL ? c->noun : "",
            c->noun != NULL ? " " : "", c->verb);
}

static void put_value(FILE *out, const char *value, const char *words)
{
    if (words != NULL)
        put_text(out, words);
    else
        fprintf(out, "_%s_", value);
}

static void put_operand(FILE *out, const struct cli_operand *o)
{
    if (o->value == NULL)
        return;
    fputc(' ', out);
    if (o->count != CLI_ONE)
        fputs("\\[", out);
    put_value(out, o->value, o->words);
    if (o->count == CLI_MANY)
        fputs("...", out);
    if (o->count != CLI_ONE)
        fputs("\\]", out);
}

static void put_option(FILE *out, const struct cli_option *o)
{
    if (o->letter != 0)
        fprintf(out, "*-%c*, ", o->letter);
    fprintf(out, "*--%s*", o->name);
    if (o->value != NULL) {
        fputc(' ', out);
        put_value(out, o->value, o->words);
    }
    fputs("\n\t", out);
    put_text(out, o->help);
    fputs(".\n\n", out);
}

static bool is_question(const char *text)
{
    size_t n = strlen(text);

    return n > 0 && text[n - 1] == '?';
}

static void put_command(FILE *out, const struct cli_command *c)
{
    fputs("## ", out);
    if (c->noun != NULL)
        fprintf(out, "%s ", c->noun);
    fprintf(out, "%s\n\n", c->verb);
    put_name(out, c);
    put_operand(out, &c->operand);
    fputs(c->option_count > 0 ? " [_OPTION_...]\n\n" : "\n\n", out);
    put_text(out, c->summary);
    fputs(is_question(c->summary) ? "" : ".", out);
    if (c->text != NULL) {
        fputc(' ', out);
        put_text(out, c->text);
    }
    fputs("\n\n", out);
    for (size_t i = 0; i < c->option_count; i++)
        put_option(out, &c->options[i]);
    if (c->example != NULL)
        fprintf(out, "\t%s\n\n", c->example);
}

static const char head[] =
    "trispool(1)\n"
    "\n"
    "# NAME\n"
    "\n"
    "trispool - looks after a running trispoold\n"
    "\n"
    "# SYNOPSIS\n"
    "\n"
    "*trispool* _COMMAND_ [_OPTION_...]\n"
    "\n"
    "# DESCRIPTION\n"
    "\n"
    "*trispool* asks the daemon of this machine and gives it orders, over its control socket. "
    "Root, the user of the daemon and members of the group *trispool* may use it; every order "
    "is written to the daemon's log with the user id of who gave it. *cluster init*, *cluster "
    "key* and *cluster join* work on the files of a node that does not run.\n"
    "\n"
    "Commands that end mail or take no more of it (*queue delete*, *queue bounce*, *domain "
    "remove*), and *cluster remove*, show what they would do and ask. Without a terminal they "
    "need *--yes*. "
    "*--dry-run* "
    "shows and does nothing.\n"
    "\n"
    "# OPTIONS\n"
    "\n";

static const char output[] =
    "# OUTPUT\n"
    "\n"
    "Tables are for people: sizes and ages are rounded, and the form may change. For programs "
    "there is *--output json*, one object with the rows in _items_, and *--output jsonl*, an "
    "object a line. Both carry _schema_, a number that goes up when the meaning of a field "
    "changes. Sizes are bytes, fields that end in \\_s are seconds, in \\_ms milliseconds, and "
    "times are RFC 3339 in UTC.\n"
    "\n"
    "Text that came from outside is shown in ASCII: other bytes stand as \\\\xNN, and a "
    "backslash is doubled. *message cat* alone writes bytes as they are.\n"
    "\n"
    "Colours are used on a terminal, unless *NO\\_COLOR* is set.\n"
    "\n"
    "# ENVIRONMENT\n"
    "\n"
    "*TRISPOOL\\_SOCKET*\n"
    "\tThe control socket, unless *--socket* names one.\n"
    "\n"
    "*NO\\_COLOR*\n"
    "\tNo colours.\n"
    "\n"
    "# EXIT STATUS\n"
    "\n";

void generate_man(FILE *out)
{
    fputs(head, out);
    for (size_t i = 0; i < cli_global_count(); i++)
        put_option(out, cli_global_at(i));
    fputs("# COMMANDS\n\n", out);
    for (size_t i = 0; i < cli_command_count(); i++)
        put_command(out, cli_command_at(i));
    fputs(output, out);
    for (size_t i = 0; i < cli_exit_count(); i++) {
        const struct cli_exit *e = cli_exit_at(i);

        fprintf(out, "%s %d\n:< %s\n", i == 0 ? "[[" : "| ", e->status, e->help);
    }
    fputs("\n# SEE ALSO\n\n*trispoold*(8), *trispool-load*(1), *trispool-sink*(1)\n", out);
}
