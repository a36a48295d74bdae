/* trispool: the operator's tool. What it can do stands in table.c; node/admin*.c answers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tools/cli/ask.h"
#include "cluster-tools/cli/help.h"
#include "cluster-tools/cli/import.h"
#include "cluster-tools/cli/local.h"
#include "cluster-tools/cli/show.h"

static int help(const struct cli_run *run)
{
    if (run->version)
        printf("trispool %s\n", TRISPOOL_VERSION);
    else if (run->command != NULL)
        help_command(stdout, run->command);
    else
        help_overview(stdout, run->noun);
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct cli_error why = {0};
    struct cli_run run;
    struct show show;
    int status;

    if (argc == 1) {
        help_overview(stderr, NULL);
        return 64;
    }
    if (cli_parse(argc, argv, &run, &why) != OK) {
        show_begin(&show, &run, stdout, stderr);
        return show_error(&show, &why);
    }
    if (run.help || run.version)
        status = help(&run);
    else if (run.command->layout == CLI_LOCAL)
        status = local_run(&run);
    else if (import_is_meant(&run))
        status = import_run(&run);
    else if (run.nagios)
        status = ask_nagios(&run);
    else if (run.command->destructive && !run.yes && !run.dry_run)
        status = ask_destructive(&run);
    else
        status = ask_daemon(&run);
    cli_run_fini(&run);
    return status;
}
