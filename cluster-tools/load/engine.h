/*
 * engine: sends the mail of a run: which message goes when, over which connection, to which
 * target, and what its outcome was.
 *
 * One thread, one epoll set. A slot is a connection together with the message it carries; a
 * message that failed for now stays in its slot and goes to the next target at once, and into
 * the retry heap when the attempt has no target left.
 */
#pragma once

#include "base/err.h"
#include "cluster-tools/load/files.h"
#include "cluster-tools/load/options.h"
#include "cluster-tools/load/report.h"

struct engine_setup {
    struct load_options *opt;      /* borrowed; its targets keep the counts */
    const struct file_list *files; /* borrowed; NULL: generated messages */
    struct report *report;         /* borrowed */
    int stop_fd;                   /* readable when the run shall end (a signalfd); borrowed */
};

/* Runs to the end. Errors: E_FULL (a descriptor, memory or source address is missing), E_IO
 * (the journal cannot be written); the reason is on stderr, the report holds what was done. */
MUST_CHECK enum err engine_run(const struct engine_setup *setup);

/* --idle: opens opt->idle sessions, says READY on stdout, holds them for opt->hold_us, prints
 * a JSON line. *all: every session came up. Errors as engine_run(). */
MUST_CHECK enum err idle_run(const struct engine_setup *setup, bool *all);
