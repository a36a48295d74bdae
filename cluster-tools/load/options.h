/*
 * options: the command line of trispool-load.
 *
 * Threads: one owner. The strings point into argv and live as long as it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cluster-tools/load/conn.h"
#include "cluster-tools/load/targets.h"

struct load_options {
    struct conn_options conn; /* but for .tls */
    struct targets targets;
    struct walk_budget budget;
    struct address sources[LIMIT_TOOL_SOURCES];
    size_t source_count;
    uint64_t messages; /* 0: until the duration is over */
    bool messages_given;
    uint64_t per_session; /* 0: no limit */
    uint64_t message_bytes;
    uint64_t rate_micro;  /* messages per 1,000,000 s; 0: closed loop */
    uint64_t duration_us; /* 0: until all messages are done */
    uint64_t retry_first_us, retry_max_us, down_cache_us, interval_us, hold_us;
    unsigned connections, attempts;
    unsigned idle; /* connections to hold open instead of sending; 0: send */
    const char *run, *journal_path, *files_dir, *ca_path;
    bool unchecked; /* send files that are not canonical */
    char run_buffer[48];
};

/* Fills *o from the command line. Prints and exits, 64 on a wrong usage, 0 after --help. */
void load_options_parse(struct load_options *o, int argc, char **argv);
