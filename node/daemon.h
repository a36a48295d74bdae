/*
 * daemon: one node from start to stop: configuration, stores, threads, signals, sd_notify.
 *
 * Start:  spool, control thread (opens the session), writer, of a member the replica thread,
 *         smtp threads, cluster thread (scans the spool), control socket. Stop: the same
 *         backwards; sessions between the dot and its answer get their answer first, and a
 *         member gives away what it holds.
 * SIGTERM, SIGINT: stop. SIGHUP: reload. A second SIGTERM does not hurry: kill -9 is safe.
 */
#pragma once

#define DAEMON_EXIT_FENCED 74 /* EX_IOERR: a disk error; nothing more was acknowledged */
#define DAEMON_EXIT_START                                                                      \
    70 /* EX_SOFTWARE: could not start, or must not go on (a member that has to join anew);    \
          the log says why. Starting it again does not help. */

/* Runs until told to stop. Returns the exit status. */
int daemon_run(const char *config_path);
