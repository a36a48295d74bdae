/* bed_wan -d DEVICE -c SOCKET: the wan of a bed as a TUN device. The router sends it every
 * packet that leaves a host; what comes back out of it is forwarded. For kernels without netem,
 * and for faults that netem does not have. Commands (wan.h) come as datagrams on the UNIX
 * socket; the answer goes back to the sender. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/bed/wan.h"

#define NS_PER_S     UINT64_C(1000000000)
#define ANSWER_BYTES 65536
#define TAKE_AT_ONCE 64

static volatile sig_atomic_t is_over;

static void on_signal(int sig)
{
    (void)sig;
    is_over = 1;
}

/* In nanoseconds: the clock of base/clock.h is too coarse for a packet. */
static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static int open_tun(const char *device)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0) {
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        perror("bed_wan: /dev/net/tun");
    return fd;
}

static int open_control(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    unlink(path);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        perror("bed_wan: control socket");
    return fd;
}

static void write_packet(int tun, const unsigned char *bytes, size_t size)
{
    /* The device's queue is full: a router drops then, too. */
    if (write(tun, bytes, size) < 0 && errno != EAGAIN && errno != ENOBUFS)
        perror("bed_wan: write");
}

static void take(struct wan *w, int tun)
{
    static unsigned char packet[WAN_PACKET_BYTES];

    for (int i = 0; i < TAKE_AT_ONCE; i++) {
        ssize_t n = read(tun, packet, sizeof(packet));

        if (n <= 0)
            return;
        if (!wan_take(w, now_ns(), packet, (size_t)n))
            write_packet(tun, packet, (size_t)n);
    }
}

static void give(struct wan *w, int tun)
{
    struct wan_packet p;
    uint64_t now = now_ns();

    while (wan_give(w, now, &p)) {
        write_packet(tun, p.bytes, p.size);
        free(p.bytes);
    }
}

static void answer(struct wan *w, int control)
{
    static char line[4096], text[ANSWER_BYTES];
    struct sockaddr_un from;
    socklen_t from_size = sizeof(from);
    ssize_t n = recvfrom(control, line, sizeof(line), 0, (struct sockaddr *)&from, &from_size);
    size_t size;

    if (n <= 0)
        return;
    size = wan_command(w, now_ns(), (struct str){line, (size_t)n}, text, sizeof(text));
    if (from_size > sizeof(sa_family_t) &&
        sendto(control, text, size, 0, (struct sockaddr *)&from, from_size) < 0)
        perror("bed_wan: answer");
}

static void serve(struct wan *w, int tun, int control)
{
    while (!is_over) {
        struct pollfd fds[] = {{.fd = tun, .events = POLLIN},
                               {.fd = control, .events = POLLIN}};
        struct timespec wait = {.tv_sec = 1};
        uint64_t now = now_ns(), next = wan_next(w);

        if (next <= now)
            wait = (struct timespec){0};
        else if (next - now < NS_PER_S)
            wait = (struct timespec){.tv_nsec = (long)(next - now)};
        if (ppoll(fds, 2, &wait, NULL) < 0 && errno != EINTR)
            return;
        if (fds[0].revents != 0)
            take(w, tun);
        give(w, tun);
        if (fds[1].revents != 0)
            answer(w, control);
    }
}

int main(int argc, char **argv)
{
    static struct wan wan;
    const char *device = "wan0", *path = NULL;
    int option, tun, control;

    while ((option = getopt(argc, argv, "d:c:")) != -1)
        if (option == 'd')
            device = optarg;
        else if (option == 'c')
            path = optarg;
    if (path == NULL) {
        fprintf(stderr, "usage: bed_wan [-d DEVICE] -c SOCKET\n");
        return 64;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    prctl(PR_SET_TIMERSLACK, 1UL); /* else each delay gets up to 50 microseconds longer */
    wan_init(&wan, 1);
    tun = open_tun(device);
    control = tun < 0 ? -1 : open_control(path);
    if (control < 0)
        return 71;
    serve(&wan, tun, control);
    unlink(path);
    wan_fini(&wan);
    return 0;
}
