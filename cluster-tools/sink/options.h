/*
 * options: the command line of trispool-sink.
 *
 * Threads: one owner. The strings point into argv and live as long as it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "cluster-tools/common/address.h"
#include "cluster-tools/sink/check.h"
#include "cluster-tools/sink/compare.h"
#include "cluster-tools/sink/session.h"

enum sink_task { TASK_SERVE, TASK_CHECK, TASK_COMPARE };

struct sink_options {
    enum sink_task task;
    struct session_config session;
    struct address listen[LIMIT_TOOL_LISTENERS];
    size_t listen_count;
    const char *ledger_path, *dir_path, *fifo_path, *socket_path, *mode;
    const char *cert_path, *key_path;
    uint64_t expect;     /* stop after so many messages; 0: do not */
    uint64_t timeout_us; /* stop after this time; 0: do not */
    uint64_t max_conns;  /* 0: no limit */
    bool lenient;
    struct check_setup check;
    struct compare_setup compare;
};

/* Fills *o from the command line. Prints and exits, 64 on a wrong usage, 0 after --help. */
void sink_options_parse(struct sink_options *o, int argc, char **argv);
