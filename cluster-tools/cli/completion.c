/* Completion files. Names of domains come from the daemon, if it answers within 300 ms. */
#include <string.h>

#include "cluster-tools/cli/help.h"

static void put_words(FILE *out, const char *words)
{
    for (; words != NULL && *words != 0; words++)
        fputc(*words == '|' ? ' ' : *words, out);
}

/* First of its noun? Then the noun is new. */
static bool is_first(size_t i)
{
    const char *noun = cli_command_at(i)->noun;

    for (size_t k = 0; k < i; k++)
        if (cli_command_at(k)->noun != NULL && strcmp(cli_command_at(k)->noun, noun) == 0)
            return false;
    return true;
}

static void put_firsts(FILE *out)
{
    const char *gap = "";

    for (size_t i = 0; i < cli_command_count(); i++) {
        const struct cli_command *c = cli_command_at(i);

        if (c->noun != NULL && !is_first(i))
            continue;
        fprintf(out, "%s%s", gap, c->noun != NULL ? c->noun : c->verb);
        gap = " ";
    }
}

static void put_verbs(FILE *out, const char *noun)
{
    const char *gap = "";

    for (size_t i = 0; i < cli_command_count(); i++) {
        const struct cli_command *c = cli_command_at(i);

        if (c->noun == NULL || strcmp(c->noun, noun) != 0)
            continue;
        fprintf(out, "%s%s", gap, c->verb);
        gap = " ";
    }
}

static void put_options(FILE *out, const struct cli_command *c)
{
    for (size_t i = 0; i < c->option_count; i++)
        fprintf(out, "--%s ", c->options[i].name);
    for (size_t i = 0; i < cli_global_count(); i++)
        fprintf(out, "%s--%s", i > 0 ? " " : "", cli_global_at(i)->name);
}

/* --- bash --- */

static void bash_value(FILE *out, const struct cli_option *o)
{
    if (o->words != NULL) {
        fprintf(out, "    --%s) words='", o->name);
        put_words(out, o->words);
        fputs("' ;;\n", out);
    } else if (o->type == CLI_DOMAIN) {
        fprintf(out, "    --%s) words=$(_trispool_domains) ;;\n", o->name);
    } else if (strcmp(o->name, "socket") == 0) {
        fprintf(out, "    --%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", o->name);
    }
}

/* Each option once: what one command means by it, all do. */
static void bash_values(FILE *out)
{
    for (size_t i = 0; i < cli_global_count(); i++)
        bash_value(out, cli_global_at(i));
    for (size_t i = 0; i < cli_command_count(); i++)
        for (size_t k = 0; k < cli_command_at(i)->option_count; k++) {
            const struct cli_option *o = &cli_command_at(i)->options[k];
            bool seen = false;

            for (size_t a = 0; a < i; a++)
                for (size_t b = 0; b < cli_command_at(a)->option_count; b++)
                    seen |= strcmp(cli_command_at(a)->options[b].name, o->name) == 0;
            if (!seen)
                bash_value(out, o);
        }
}

static void bash_command(FILE *out, const struct cli_command *c)
{
    fprintf(out, "    '%s%s%s') words='", c->noun != NULL ? c->noun : "",
            c->noun != NULL ? " " : "", c->verb);
    put_options(out, c);
    fputs("'", out);
    if (c->operand.words != NULL) {
        fputs("; [[ $cur == -* ]] || words='", out);
        put_words(out, c->operand.words);
        fputs("'", out);
    } else if (c->operand.type == CLI_DOMAIN && c->operand.value != NULL) {
        fputs("; [[ $cur == -* ]] || words=$(_trispool_domains)", out);
    } else if (c->operand.value != NULL && strcmp(c->operand.value, "FILE") == 0) {
        fputs("; [[ $cur == -* ]] || { COMPREPLY=($(compgen -f -- \"$cur\")); return; }", out);
    }
    fputs(" ;;\n", out);
}

void generate_bash(FILE *out)
{
    fputs("# bash completion for trispool; made by: trispool generate bash\n"
          "_trispool_domains() {\n"
          "    timeout 0.3 trispool --output jsonl domain list 2>/dev/null |\n"
          "        sed -n 's/.*\"name\":\"\\([^\"]*\\)\".*/\\1/p'\n"
          "}\n\n"
          "_trispool() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local words= head= i\n\n"
          "    COMPREPLY=()\n"
          "    case $prev in\n",
          out);
    bash_values(out);
    fputs("    esac\n"
          "    if [[ -n $words ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "        return\n"
          "    fi\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        case ${COMP_WORDS[i]} in\n"
          "        -s|--socket|-o|--output) ((i++)) ;;\n"
          "        -*) ;;\n"
          "        *) head+=${head:+ }${COMP_WORDS[i]} ;;\n"
          "        esac\n"
          "    done\n"
          "    case $head in\n"
          "    '') words='",
          out);
    put_firsts(out);
    fputs("' ;;\n", out);
    for (size_t i = 0; i < cli_command_count(); i++)
        if (cli_command_at(i)->noun != NULL && is_first(i)) {
            fprintf(out, "    %s) words='", cli_command_at(i)->noun);
            put_verbs(out, cli_command_at(i)->noun);
            fputs("' ;;\n", out);
        }
    fputs("    esac\n"
          "    set -- $head\n"
          "    case $head in\n"
          "    '') ;;\n"
          "    *) case \"$1${2:+ $2}\" in\n",
          out);
    for (size_t i = 0; i < cli_command_count(); i++)
        bash_command(out, cli_command_at(i));
    fputs("    esac ;;\n"
          "    esac\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "}\n"
          "complete -F _trispool trispool\n",
          out);
}

/* --- zsh --- */

/* For a text in single quotes within an _arguments specification. */
static void put_zsh(FILE *out, const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '*')
            continue;
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text) != NULL)
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void zsh_action(FILE *out, const char *value, enum cli_type type, const char *words)
{
    fputc(':', out);
    put_zsh(out, value);
    fputc(':', out);
    if (words != NULL) {
        fputc('(', out);
        put_words(out, words);
        fputc(')', out);
    } else if (type == CLI_DOMAIN) {
        fputs("_trispool_domains", out);
    } else if (strcmp(value, "FILE") == 0 || strcmp(value, "PATH") == 0) {
        fputs("_files", out);
    } else {
        fputc(' ', out);
    }
}

static void zsh_option(FILE *out, const struct cli_option *o)
{
    if (o->letter != 0)
        fprintf(out, "        '(-%c --%s)'{-%c,--%s}'[", o->letter, o->name, o->letter,
                o->name);
    else
        fprintf(out, "        '--%s[", o->name);
    put_zsh(out, o->help);
    fputc(']', out);
    if (o->value != NULL)
        zsh_action(out, o->value, o->type, o->words);
    fputs("' \\\n", out);
}

static void zsh_command(FILE *out, const struct cli_command *c)
{
    fprintf(out, "    '%s%s%s') _arguments \\\n", c->noun != NULL ? c->noun : "",
            c->noun != NULL ? " " : "", c->verb);
    for (size_t i = 0; i < c->option_count; i++)
        zsh_option(out, &c->options[i]);
    for (size_t i = 0; i < cli_global_count(); i++)
        zsh_option(out, cli_global_at(i));
    if (c->operand.value != NULL) {
        fprintf(out, "        '%s", c->operand.count == CLI_MANY ? "*" : "1");
        zsh_action(out, c->operand.value, c->operand.type, c->operand.words);
        fputs("' \\\n", out);
    }
    fputs("        && return ;;\n", out);
}

void generate_zsh(FILE *out)
{
    fputs("#compdef trispool\n"
          "# made by: trispool generate zsh\n"
          "_trispool_domains() {\n"
          "    compadd -- $(timeout 0.3 trispool --output jsonl domain list 2>/dev/null |\n"
          "        sed -n 's/.*\"name\":\"\\([^\"]*\\)\".*/\\1/p')\n"
          "}\n\n"
          "_trispool() {\n"
          "    local head\n\n"
          "    if ((CURRENT == 2)); then\n"
          "        compadd -- ",
          out);
    put_firsts(out);
    fputs("\n        return\n"
          "    fi\n"
          "    case $words[2] in\n",
          out);
    for (size_t i = 0; i < cli_command_count(); i++)
        if (cli_command_at(i)->noun != NULL && is_first(i)) {
            fprintf(out, "    %s)\n        if ((CURRENT == 3)); then\n            compadd -- ",
                    cli_command_at(i)->noun);
            put_verbs(out, cli_command_at(i)->noun);
            fputs("\n            return\n        fi\n"
                  "        head=\"$words[2] $words[3]\"\n"
                  "        shift 2 words; ((CURRENT -= 2)) ;;\n",
                  out);
        }
    fputs("    *) head=$words[2]; shift words; ((CURRENT--)) ;;\n"
          "    esac\n"
          "    case $head in\n",
          out);
    for (size_t i = 0; i < cli_command_count(); i++)
        zsh_command(out, cli_command_at(i));
    fputs("    esac\n}\n\n_trispool \"$@\"\n", out);
}

/* --- fish --- */

static void put_fish(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text != 0; text++) {
        if (*text == '*')
            continue;
        if (*text == '\'' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

static void fish_value(FILE *out, enum cli_type type, const char *words)
{
    if (words != NULL) {
        fputs(" -xa '", out);
        put_words(out, words);
        fputs("'", out);
    } else if (type == CLI_DOMAIN) {
        fputs(" -xa '(__trispool_domains)'", out);
    } else {
        fputs(" -r", out);
    }
}

static void fish_option(FILE *out, const char *condition, const struct cli_option *o)
{
    fprintf(out, "complete -c trispool%s -l %s", condition, o->name);
    if (o->letter != 0)
        fprintf(out, " -s %c", o->letter);
    if (o->value != NULL)
        fish_value(out, o->type, o->words);
    fputs(" -d ", out);
    put_fish(out, o->help);
    fputc('\n', out);
}

static void fish_command(FILE *out, size_t at)
{
    const struct cli_command *c = cli_command_at(at);
    char condition[160];

    if (c->noun == NULL) {
        fprintf(out, "complete -c trispool -f -n __fish_use_subcommand -a %s -d ", c->verb);
        snprintf(condition, sizeof condition, " -n '__fish_seen_subcommand_from %s'", c->verb);
    } else {
        if (is_first(at))
            fprintf(out, "complete -c trispool -f -n __fish_use_subcommand -a %s\n", c->noun);
        fprintf(out, "complete -c trispool -f -n '__trispool_needs_verb %s' -a %s -d ", c->noun,
                c->verb);
        snprintf(condition, sizeof condition, " -n '__trispool_is %s %s'", c->noun, c->verb);
    }
    put_fish(out, c->summary);
    fputc('\n', out);
    for (size_t i = 0; i < c->option_count; i++)
        fish_option(out, condition, &c->options[i]);
    if (c->operand.words != NULL ||
        (c->operand.value != NULL && c->operand.type == CLI_DOMAIN)) {
        fprintf(out, "complete -c trispool%s", condition);
        fish_value(out, c->operand.type, c->operand.words);
        fputc('\n', out);
    }
}

void generate_fish(FILE *out)
{
    fputs("# fish completion for trispool; made by: trispool generate fish\n"
          "function __trispool_domains\n"
          "    timeout 0.3 trispool --output jsonl domain list 2>/dev/null |\n"
          "        string replace -rf '.*\"name\":\"([^\"]*)\".*' '$1'\n"
          "end\n"
          "function __trispool_words\n"
          "    string match -v -- '-*' (commandline -opc)[2..-1]\n"
          "end\n"
          "function __trispool_needs_verb\n"
          "    set -l words (__trispool_words)\n"
          "    test (count $words) -eq 1; and test $words[1] = $argv[1]\n"
          "end\n"
          "function __trispool_is\n"
          "    set -l words (__trispool_words)\n"
          "    test (count $words) -ge 2; and test \"$words[1..2]\" = \"$argv\"\n"
          "end\n"
          "complete -c trispool -f\n",
          out);
    for (size_t i = 0; i < cli_global_count(); i++)
        fish_option(out, "", cli_global_at(i));
    for (size_t i = 0; i < cli_command_count(); i++)
        fish_command(out, i);
}
