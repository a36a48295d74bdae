/* Preloaded into a daemon by tests: while the file named by IO_FAULT_FILE exists, fdatasync and
 * fsync fail with EIO, as on a dying disk. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_or_fail(const char *name, int fd)
{
    const char *file = getenv("IO_FAULT_FILE");
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

    if (file != NULL && access(file, F_OK) == 0) {
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
