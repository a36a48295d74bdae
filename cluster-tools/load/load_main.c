/* trispool-load: an SMTP source that behaves as a sending mail server. See options.c for what
 * it can do, journal.h for its ledger, docs/man/trispool-load.1.scd for a description. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "cluster-tools/common/now.h"
#include "cluster-tools/common/version.h"
#include "cluster-tools/load/engine.h"

#define SHOWN_FLAWS 10

/* A connection may hold a socket and a file. */
static bool raise_file_limit(const struct load_options *o)
{
    rlim_t want = (rlim_t)(o->idle > 0 ? o->idle : o->connections) * 2 + 64;
    struct rlimit rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
        return false;
    if (rl.rlim_cur >= want)
        return true;
    rl.rlim_cur = want;
    if (rl.rlim_max < want)
        rl.rlim_max = want;
    if (setrlimit(RLIMIT_NOFILE, &rl) == 0)
        return true;
    fprintf(stderr, "trispool-load: cannot raise the limit of open files to %lu: %s\n",
            (unsigned long)want, strerror(errno));
    return false;
}

/* SIGINT and SIGTERM end the run in order; they are read from the descriptor returned. */
static int signals_to_fd(void)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -1;
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static bool files_usable(const struct file_list *f, const struct load_options *o)
{
    size_t flawed = 0;

    if (f->n == 0)
        fprintf(stderr, "trispool-load: %s: no files\n", o->files_dir);
    for (size_t i = 0; i < f->n; i++) {
        if (f->list[i].flaw == FILE_CLEAN || o->unchecked)
            continue;
        if (++flawed <= SHOWN_FLAWS)
            fprintf(stderr, "trispool-load: %s: %s\n", f->list[i].path,
                    file_flaw_text(f->list[i].flaw));
    }
    if (flawed > 0)
        fprintf(stderr,
                "trispool-load: %zu of %zu files cannot travel unchanged; convert their lines "
                "to CRLF, or see --unchecked\n",
                flawed, f->n);
    return f->n > 0 && flawed == 0;
}

/* EXIT_SUCCESS, or the status to exit with. */
static int read_files(struct file_list *f, struct load_options *o)
{
    enum err e = files_open(f, o->files_dir);

    if (e != OK) {
        fprintf(stderr, "trispool-load: %s: %s\n",
                e == E_IO && f->n > 0 ? f->list[f->n - 1].path : o->files_dir,
                e == E_FULL ? "too many files" : strerror(errno));
        return EXIT_MACHINE;
    }
    if (!files_usable(f, o))
        return EXIT_USAGE;
    if (!o->messages_given)
        o->messages = f->n;
    return EXIT_SUCCESS;
}

static int send_all(const struct engine_setup *setup)
{
    const struct report *r = setup->report;
    enum err e = engine_run(setup);

    report_print(r, &setup->opt->targets, tool_now_us(), stdout);
    if (e != OK)
        return EXIT_MACHINE;
    return r->acked == r->offered && (r->offered > 0 || setup->opt->duration_us > 0)
               ? EXIT_SUCCESS
               : EXIT_FAILURE;
}

static int hold_idle(const struct engine_setup *setup)
{
    bool all = false;

    if (idle_run(setup, &all) != OK)
        return EXIT_MACHINE;
    return all ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static struct load_options opt; /* too large for a stack that threads might share */
    static struct report report;
    struct file_list files = {0};
    struct engine_setup setup = {.opt = &opt, .report = &report};
    int status = EXIT_SUCCESS;

    load_options_parse(&opt, argc, argv);
    report.run = opt.run;
    setup.stop_fd = signals_to_fd();
    if (setup.stop_fd < 0 || !raise_file_limit(&opt))
        return EXIT_MACHINE;
    if (opt.conn.client.starttls) {
        opt.conn.tls = tls_context_new_client(opt.ca_path);
        if (opt.conn.tls == NULL)
            return EXIT_MACHINE;
    }
    if (opt.files_dir != NULL && opt.idle == 0) {
        status = read_files(&files, &opt);
        setup.files = &files;
    }
    if (status == EXIT_SUCCESS)
        status = opt.idle > 0 ? hold_idle(&setup) : send_all(&setup);
    files_close(&files);
    tls_context_free(&opt.conn.tls);
    return status;
}
