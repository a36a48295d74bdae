/* bed_init [-r ROOT] COMMAND...: the first process of a bed or of one of its machines. With -r,
 * ROOT becomes / and the old tree is gone. Runs COMMAND, takes in orphans, passes SIGTERM,
 * SIGINT and SIGHUP on, and ends with the status of COMMAND; the kernel then ends what is left.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_USAGE     64
#define STATUS_NO_ROOT   71
#define STATUS_NOT_FOUND 127

static volatile sig_atomic_t child_pid;

static void pass_on(int sig)
{
    if (child_pid > 0)
        kill((pid_t)child_pid, sig);
}

/* pivot_root(2), "pivot_root(".", ".")": the old root is stacked on the new one and let go. */
static int change_root(const char *root)
{
    if (chdir(root) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 ||
        umount2(".", MNT_DETACH) != 0)
        return -1;
    return chdir("/");
}

static _Noreturn void become(char **command)
{
    setsid();
    execvp(command[0], command);
    perror(command[0]);
    _exit(STATUS_NOT_FOUND);
}

/* Until the command ends; its status as a shell would tell it. */
static int reap(void)
{
    for (;;) {
        int status;
        pid_t pid = wait(&status);

        if (pid < 0 && errno != EINTR)
            return 1;
        if (pid > 0 && pid == (pid_t)child_pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

int main(int argc, char **argv)
{
    char **command = argv + 1;

    if (argc > 2 && strcmp(argv[1], "-r") == 0) {
        if (change_root(argv[2]) != 0) {
            perror("bed_init: new root");
            return STATUS_NO_ROOT;
        }
        command = argv + 3;
    }
    if (*command == NULL) {
        fprintf(stderr, "usage: bed_init [-r ROOT] COMMAND...\n");
        return STATUS_USAGE;
    }
    signal(SIGTERM, pass_on);
    signal(SIGINT, pass_on);
    signal(SIGHUP, pass_on);
    child_pid = fork();
    if (child_pid < 0) {
        perror("bed_init: fork");
        return STATUS_NO_ROOT;
    }
    if (child_pid == 0)
        become(command);
    return reap();
}
