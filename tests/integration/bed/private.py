"""The namespaces a bed lives in, and small helpers.

Everything of a bed is in mount, pid, net, ipc and uts namespaces of one process: when that ends,
however it ends, the kernel removes every process, interface, mount, loop device and TUN device of
it. Two beds never see each other, so names need no prefix and beds may run side by side. Only
empty cgroup folders can stay behind; the next bed sweeps them.
"""
import contextlib
import os
import re
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("TRISPOOL_BUILD", HERE.parents[2] / "build" / "dev")).resolve()
BIN = BUILD / "tests" / "integration" / "bed"
WORK = "/tmp/trispool-bed"  # a mount point: each bed has its own tmpfs there
NETNS = "/run/netns"
PRIVATE = "TRISPOOL_BED"    # in the environment: inside; its value is the name of the bed


def is_inside():
    return PRIVATE in os.environ


def command(argv):
    """(argv, environment) that run a command inside a new bed; it dies with the process that
    started it."""
    sweep()
    os.makedirs(WORK, exist_ok=True)
    os.makedirs(NETNS, exist_ok=True)
    script = ("mount -t tmpfs -o size=6g,mode=755 bed %s && mount -t tmpfs netns %s && "
              'ip link set lo up && exec "$@"' % (WORK, NETNS))
    name = "bed%d-%d" % (os.getpid(), time.monotonic_ns())
    return (["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--propagation", "private",
             "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--net", "--ipc", "--uts",
             "--", str(BIN / "bed_init"), "sh", "-c", script, "bed", *map(str, argv)],
            dict(os.environ, **{PRIVATE: name, "TRISPOOL_BUILD": str(BUILD)}))


def sh(argv, check=True, text=None, timeout=60):
    """Runs a command (a string: by the shell); what it says, errors included."""
    done = subprocess.run(argv, shell=isinstance(argv, str), input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    if check and done.returncode != 0:
        raise RuntimeError("%s -> %d\n%s" % (argv, done.returncode, done.stdout))
    return done.stdout


def until(what, seconds=10, every=0.05, why="condition"):
    """Waits for what() to be true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError("not within %s s: %s" % (seconds, why))
        time.sleep(every)


def cgroup_root(controller):
    """(mount point, version) of a controller; '': the core of version 2, which freezes and kills."""
    second = None
    for line in open("/proc/mounts"):
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2":
            second = where
        if kind == "cgroup" and controller and controller in options.split(","):
            return where, 1
    return second, 2


def sweep():
    """Removes the cgroup folders of beds that are gone."""
    for controller in ("", "memory"):
        root, _ = cgroup_root(controller)
        for name in os.listdir(root) if root else []:
            m = re.match(r"bed(\d+)-\d+-", name)
            if m and not os.path.exists("/proc/" + m[1]):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(root, name))


class Control:
    """The datagram socket of bed_wan or bed_disk: one line there, one answer back."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0bed-%d-%d" % (os.getpid(), id(self)))
        self.socket.settimeout(10)

    def __call__(self, line):
        self.socket.sendto(line.encode(), self.path)
        answer = self.socket.recv(65536).decode()
        if answer.startswith("error"):
            raise RuntimeError("%s: %s" % (line, answer.strip()))
        return answer.strip()
