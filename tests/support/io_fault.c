/* Preloaded into a daemon by tests: while the file named by IO_FAULT_FILE exists, fdatasync and
 * fsync fail with EIO, as on a dying disk; or, when it begins with "hang", do not return. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS 2

enum fault { NONE, FAILS, HANGS };

static enum fault fault_now(void)
{
    const char *file = getenv("IO_FAULT_FILE");
    char word[4] = "";
    int fd = file != NULL ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n;

    if (fd < 0)
        return NONE;
    n = read(fd, word, sizeof word);
    close(fd);
    return n == sizeof word && memcmp(word, "hang", sizeof word) == 0 ? HANGS : FAILS;
}

static int sync_or_fail(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    enum fault fault;

    while ((fault = fault_now()) == HANGS)
        poll(NULL, 0, LOOK_MS);
    if (fault == FAILS) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fdatasync(int fd)
{
    return sync_or_fail("fdatasync", fd);
}

int fsync(int fd)
{
    return sync_or_fail("fsync", fd);
}
