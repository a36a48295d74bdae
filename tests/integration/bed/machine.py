"""Machines of a bed: processes with a host's network, a root file system of their own over that of
this machine, a data disk, a cgroup to freeze, kill and starve them."""
import contextlib
import os
import shutil
import signal
import subprocess
import time

from bed.disks import FailingDisk
from bed.private import BIN, WORK, cgroup_root, sh, until

# Run outside; $1: bed_init, $2: the machine's folder, the rest: the command.
BOOT = """set -e
R=%(folder)s/root
mount -t overlay -o lowerdir=%(lower)s,upperdir=%(folder)s/up,workdir=%(folder)s/work,xino=off ov $R
hostname %(name)s
mount -t proc proc $R/proc
mount --rbind /dev $R/dev
mount -t tmpfs -o mode=1777 t $R/tmp
mount -t tmpfs -o mode=755 t $R/run
mkdir -p $R/run/lock
%(mounts)s
exec %(init)s -r $R "$@"
"""


class Machine:
    """layers: unpacked packages laid over /. files: {path: text, or (text, mode)}. disks: {path:
    folder or FailingDisk}; what is on them outlives a kill, and a wipe takes it. tools: {path:
    folder} that are no disks of the machine."""

    def __init__(self, host, layers=(), files=None, disks=None, tools=None, command=None):
        self.host, self.net, self.command = host, host.net, command
        self.layers = [self.net.layer(d) for d in layers]
        self.files, self.disks, self.tools = files or {}, disks or {}, tools or {}
        self.folder = os.path.join(WORK, "machine-" + host.name)
        self.log = os.path.join(self.folder, "log")
        for d in ("up", "work", "root"):
            os.makedirs(os.path.join(self.folder, d), exist_ok=True)
        self.process = None
        self.is_written = False
        self.cgroups = {}
        for controller in ("", "memory"):
            root, version = cgroup_root(controller)
            path = os.path.join(root or "", "%s-%s" % (self.net.name, host.name))
            with contextlib.suppress(OSError):
                if root:
                    os.makedirs(path, exist_ok=True)
                    self.cgroups[controller] = (path, version)

    # -- life ----------------------------------------------------------------------------------

    def write_files(self):
        base = {"/etc/resolv.conf": "nameserver %s\noptions timeout:2 attempts:2\n" % self.net.resolver,
                "/etc/hostname": self.host.name + "\n",
                "/etc/hosts": "127.0.0.1 localhost\n%s %s\n" % (self.host.v4, self.host.name)}
        for path, text in {**base, **self.files}.items():
            mode = 0o644
            if isinstance(text, tuple):
                text, mode = text
            place = os.path.join(self.folder, "up") + path
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "w") as f:
                f.write(text)
            os.chmod(place, mode)
        self.is_written = True

    def start(self, command=None, log=None):
        if not self.is_written:
            self.write_files()
        command = command or self.command
        if isinstance(command, str):
            command = ["/bin/sh", "-c", command]
        mounts = ["mkdir -p $R%s && mount --bind %s $R%s" % (at, os.fspath(what), at)
                  for at, what in {**self.disks, **self.tools}.items()]
        script = BOOT % {"folder": self.folder, "lower": ":".join(self.layers + ["/"]),
                         "name": self.host.name, "mounts": "\n".join(mounts),
                         "init": BIN / "bed_init"}
        groups = [path for path, _ in self.cgroups.values()]

        def join_cgroups():
            """Made anew if need be: another bed sweeps what is empty, and knows no process of ours."""
            for path in groups:
                for tries_left in reversed(range(10)):
                    try:
                        os.makedirs(path, exist_ok=True)
                        with open(path + "/cgroup.procs", "w") as f:
                            f.write("0")
                        break
                    except OSError:
                        if not tries_left:
                            raise
        with open(log or self.log, "ab") as out:
            self.process = subprocess.Popen(
                self.host.enter(["unshare", "--mount", "--propagation", "private", "--pid", "--fork",
                                 "--kill-child=SIGKILL", "--uts", "--", "sh", "-c", script, "machine",
                                 *map(str, command)]),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=join_cgroups,
                start_new_session=True)
        return self

    def once(self, command, seconds=60):
        """Runs a command in the machine, which is off before and after; what it says."""
        path = self.log + ".once"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        code = self.start(command, log=path).process.wait(seconds)
        self.kill()
        with open(path, errors="replace") as f:
            told = f.read()
        if code != 0:
            raise RuntimeError("%s: %s -> %s\n%s" % (self.host.name, command, code, told))
        return told

    def init_pid(self):
        """Of the machine's first process, as seen from outside of it."""
        def first():
            path = "/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)
            return open(path).read().split()
        return int(until(first, 10, 0.005, "first process")[0])

    def root(self):
        """Its / as a path outside; while it runs."""
        return "/proc/%d/root" % self.init_pid()

    def run(self, argv, **how):
        """A command inside the running machine; what it says."""
        if isinstance(argv, str):
            argv = ["/bin/sh", "-c", argv]
        return sh(["nsenter", "-t", str(self.init_pid()), "-a", "--", *map(str, argv)], **how)

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, seconds=30):
        """SIGTERM to its command; the status it ended with, None when it had to be killed."""
        os.kill(self.init_pid(), signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def kill(self):
        """SIGKILL to all of it in one instant; what is in the page cache of its disks stays."""
        if self.process is None:
            return
        with contextlib.suppress(OSError, KeyError):
            self.set_cgroup("", "cgroup.kill", 1)  # what is frozen dies without another step
        self.process.kill()
        self.process.wait()
        self.process = None
        self.thaw()

    # -- faults --------------------------------------------------------------------------------

    def set_cgroup(self, controller, name, value):
        with open(os.path.join(self.cgroups[controller][0], name), "w") as f:
            f.write(str(value))

    def freeze(self, seconds=5):
        """As a machine that is suspended: every process stops, connections stay."""
        self.set_cgroup("", "cgroup.freeze", 1)
        events = self.cgroups[""][0] + "/cgroup.events"
        until(lambda: "frozen 1" in open(events).read(), seconds, 0.002, "freeze")

    def thaw(self):
        with contextlib.suppress(OSError, KeyError):
            self.set_cgroup("", "cgroup.freeze", 0)

    def power_cut(self, torn=None):
        """Everything ends in one instant; failing disks lose what was not fsynced."""
        # A process that waits for its disk cannot be frozen; it will not write any more, either.
        with contextlib.suppress(TimeoutError, OSError, KeyError):
            self.freeze(1)
        lost = [d.power_cut(torn) for d in self.disks.values() if isinstance(d, FailingDisk)]
        self.kill()
        return lost

    def limit_memory(self, count):
        _, version = self.cgroups["memory"]
        self.set_cgroup("memory", "memory.limit_in_bytes" if version == 1 else "memory.max", count)

    def wipe(self):
        """The machine is gone, and all its disks with it."""
        self.kill()
        for d in ("up", "work"):
            shutil.rmtree(os.path.join(self.folder, d), ignore_errors=True)
            os.makedirs(os.path.join(self.folder, d))
        for disk in self.disks.values():
            for e in os.scandir(disk):
                if e.is_dir(follow_symlinks=False):
                    shutil.rmtree(e.path, ignore_errors=True)
                else:
                    os.unlink(e.path)
        self.is_written = False

    def log_text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def close(self):
        self.kill()
        for path, _ in self.cgroups.values():
            for _ in range(50):
                try:
                    os.rmdir(path)
                    break
                except OSError:
                    time.sleep(0.01)
