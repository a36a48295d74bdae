/* bed_disk -c SOCKET BACKING_DIR MOUNTPOINT: see disk.h. */
#define FUSE_USE_VERSION 312
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/integration/bed/disk.h"

#define STATUS_USAGE   64
#define STATUS_MACHINE 71

static int open_control(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    unlink(path);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int serve(struct disk *d, char *mountpoint)
{
    char *args[] = {
        "bed_disk",
        "-f",
        "-o",
        "allow_other,default_permissions,dev,suid,fsname=bed_disk,max_idle_threads=10",
        mountpoint,
        NULL};
    struct fuse_operations ops = {0};

    disk_file_operations(&ops);
    disk_name_operations(&ops);
    return fuse_main(5, args, &ops, d);
}

int main(int argc, char **argv)
{
    static struct disk disk;
    static struct disk_control control;
    const char *path = NULL;
    pthread_t thread;
    int option;

    while ((option = getopt(argc, argv, "c:")) != -1)
        if (option == 'c')
            path = optarg;
    if (path == NULL || argc - optind != 2) {
        fprintf(stderr, "usage: bed_disk -c SOCKET BACKING_DIR MOUNTPOINT\n");
        return STATUS_USAGE;
    }
    pthread_mutex_init(&disk.lock, NULL);
    prng_seed(&disk.prng, 1);
    disk.root = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    control = (struct disk_control){&disk, open_control(path)};
    if (disk.root < 0 || control.fd < 0) {
        perror("bed_disk");
        return STATUS_MACHINE;
    }
    if (mkdirat(disk.root, DISK_KEPT_DIR, 0700) != 0 &&
        faccessat(disk.root, DISK_KEPT_DIR, W_OK, 0) != 0) {
        perror("bed_disk: " DISK_KEPT_DIR);
        return STATUS_MACHINE;
    }
    umask(0);
    if (pthread_create(&thread, NULL, disk_control, &control) != 0)
        return STATUS_MACHINE;
    return serve(&disk, argv[optind + 1]);
}
