/* trispoold: the daemon's command line. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/config.h"
#include "node/daemon.h"

#define EXIT_USAGE 64

static void usage(FILE *out)
{
    fputs("Usage: trispoold [--config FILE]\n"
          "       trispoold --check FILE\n"
          "\n"
          "The backup MX daemon. Runs in the foreground and logs to stderr.\n"
          "\n"
          "  -c, --config FILE   read this configuration (default " NODE_CONFIG_PATH ")\n"
          "      --check FILE    check a configuration, touch nothing, and exit: 0 good,\n"
          "                      78 with every mistake on standard output\n"
          "      --version       print the version and exit\n"
          "  -h, --help          print this and exit\n"
          "\n"
          "SIGTERM ends sessions in good order and stops; SIGHUP reads the configuration\n"
          "again. `trispool status` asks a running daemon. See trispoold(8).\n",
          out);
}

int main(int argc, char **argv)
{
    enum { OPT_CHECK = 256, OPT_VERSION };
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check", required_argument, NULL, OPT_CHECK},
                                            {"version", no_argument, NULL, OPT_VERSION},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *config = NODE_CONFIG_PATH;
    int o;

    while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (o) {
        case 'c':
            config = optarg;
            break;
        case OPT_CHECK:
            return node_config_check(optarg, stdout);
        case OPT_VERSION:
            puts("trispoold " TRISPOOL_VERSION);
            return 0;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "trispoold: unexpected argument '%s'\n", argv[optind]);
        usage(stderr);
        return EXIT_USAGE;
    }
    return daemon_run(config);
}
