#include "cluster-tools/cli/ask.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tools/cli/link.h"
#include "cluster-tools/cli/show.h"
#include "cluster-tools/cli/text.h"
#include "cluster-tools/common/version.h"

#define DEFAULT_SOCKET  "/run/trispool/control.sock"
#define EXIT_NEGATIVE   1
#define NAGIOS_CRITICAL 2
#define NAGIOS_UNKNOWN  3

static const char *socket_path(const struct cli_run *run)
{
    const char *path = run->socket != NULL ? run->socket : getenv("TRISPOOL_SOCKET");

    return path != NULL && path[0] != 0 ? path : DEFAULT_SOCKET;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return text != NULL ? text : "";
}

static void daemon_error(const json_t *line, struct cli_error *why)
{
    const json_t *e = json_object_get(line, "error");
    json_int_t exit = json_integer_value(json_object_get(line, "exit"));

    cli_error_set(why, exit > 0 && exit < 126 ? (int)exit : EXIT_NEGATIVE, text_of(e, "where"),
                  text_of(e, "do"), "%s", text_of(e, "what"));
}

enum err ask_talk(const struct cli_run *run, const char *command, json_t *args,
                  void (*take)(void *to, json_t *), void *to, json_t **last,
                  struct cli_error *why)
{
    struct link link;
    enum err e = link_open(&link, socket_path(run), why);

    *last = NULL;
    if (e != OK) {
        json_decref(args);
        return e;
    }
    e = link_send(&link, command, args, why);
    while (e == OK && *last == NULL) {
        json_t *line;

        e = link_read(&link, &line, why);
        if (e != OK)
            break;
        if (json_object_get(line, "error") != NULL) {
            daemon_error(line, why);
            json_decref(line);
            e = E_IO;
        } else if (json_is_true(json_object_get(line, "done"))) {
            *last = line;
        } else {
            take(to, line);
        }
    }
    link_close(&link);
    return e;
}

static json_t *args_of(const struct cli_run *run)
{
    json_t *args = json_copy(run->args);

    if (run->command->op != NULL)
        (void)json_object_set_new(args, "op", json_string(run->command->op));
    return args;
}

static int exit_of(const json_t *last)
{
    json_int_t exit = json_integer_value(json_object_get(last, "exit"));

    return exit >= 0 && exit < 126 ? (int)exit : EXIT_NEGATIVE;
}

static void take_row(void *to, json_t *row)
{
    show_row(to, row);
}

static int run_shown(const struct cli_run *run, json_t *args, json_t **out_last)
{
    struct cli_error why = {0};
    struct show show;
    json_t *last;
    int status;

    show_begin(&show, run, stdout, stderr);
    if (ask_talk(run, run->command->ask, args, take_row, &show, &last, &why) != OK)
        status = show_error(&show, &why);
    else
        status = show_end(&show, last, exit_of(last));
    if (out_last != NULL)
        *out_last = last;
    else
        json_decref(last);
    return status;
}

int ask_daemon(const struct cli_run *run)
{
    return run_shown(run, args_of(run), NULL);
}

/* --- orders that end something --- */

static bool confirmed(void)
{
    char line[16] = "";

    fputs("Go on? [y/N] ", stderr);
    fflush(stderr);
    return fgets(line, sizeof line, stdin) != NULL &&
           (strcmp(line, "y\n") == 0 || strcmp(line, "yes\n") == 0);
}

int ask_destructive(const struct cli_run *run)
{
    struct cli_run shown = *run;
    json_t *args = args_of(run), *last = NULL, *cutoff;
    int status;

    if (isatty(STDIN_FILENO) != 1 || run->output != CLI_OUT_TABLE) {
        struct cli_error why = {0};
        struct show show;

        json_decref(args);
        cli_error_set(&why, EXIT_USAGE, run->command->verb,
                      "say --yes, or --dry-run to see what would be done",
                      "this cannot be taken back, and nobody is there to be asked");
        show_begin(&show, run, stdout, stderr);
        return show_error(&show, &why);
    }
    shown.quiet = false;
    (void)json_object_set_new(args, "dry_run", json_true());
    status = run_shown(&shown, args, &last);
    if (status != 0 || last == NULL) {
        json_decref(last);
        return status;
    }
    if (!confirmed()) {
        json_decref(last);
        fputs("trispool: nothing was done\n", stderr);
        return EXIT_NEGATIVE;
    }
    /* What was shown is meant, and nothing that came in since. */
    args = args_of(run);
    cutoff = json_object_get(last, "cutoff_ms");
    if (cutoff != NULL)
        (void)json_object_set(args, "cutoff_ms", cutoff);
    json_decref(last);
    return run_shown(run, args, NULL);
}

/* --- health for Nagios --- */

static void keep_row(void *to, json_t *row)
{
    json_t **kept = to;

    json_decref(*kept);
    *kept = row;
}

int ask_nagios(const struct cli_run *run)
{
    static const char *const words[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
    struct cli_error why = {0};
    json_t *row = NULL, *last;
    char text[800];
    int level;

    if (ask_talk(run, run->command->ask, args_of(run), keep_row, &row, &last, &why) != OK) {
        level = why.exit == 69 ? NAGIOS_CRITICAL : NAGIOS_UNKNOWN;
        text_escape(str_of(why.what), text, sizeof text);
        printf("TRISPOOL %s - %s\n", words[level], text);
    } else {
        json_int_t n = json_integer_value(json_object_get(row, "level"));

        level = row != NULL && n >= 0 && n <= NAGIOS_CRITICAL ? (int)n : NAGIOS_UNKNOWN;
        text_escape(str_of(text_of(row, "text")), text, sizeof text);
        printf("TRISPOOL %s - %s | messages=%lld bytes=%lldB copies=%lld\n", words[level], text,
               (long long)json_integer_value(json_object_get(row, "queue_messages")),
               (long long)json_integer_value(json_object_get(row, "queue_bytes")),
               (long long)json_integer_value(json_object_get(row, "copies")));
    }
    json_decref(row);
    json_decref(last);
    return fflush(stdout) == 0 ? level : NAGIOS_UNKNOWN;
}
