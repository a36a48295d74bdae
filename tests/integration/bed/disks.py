"""Disks for machines of a bed: in memory with a limit, a file system in a file, or one with a
volatile cache that fails on command (bed_disk, disk.h)."""
import os
import subprocess

from bed.private import BIN, WORK, Control, sh, until


class FailingDisk:
    """What is not fsynced dies with power_cut(); EIO, slow and lying fsync, no room: say()."""

    def __init__(self, name):
        self.backing, self.path = WORK + "/backing-" + name, WORK + "/disk-" + name
        self.socket = WORK + "/disk-%s.sock" % name
        os.makedirs(self.backing, exist_ok=True)
        os.makedirs(self.path, exist_ok=True)
        self.mount()

    def mount(self):
        self.process = subprocess.Popen(
            [BIN / "bed_disk", "-c", self.socket, self.backing, self.path],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until(lambda: os.path.ismount(self.path), 20, 0.005, "bed_disk")
        self.control = Control(self.socket)

    def say(self, line):
        return self.control(line)

    def power_cut(self, torn=None):
        """Loses what was not made durable (torn: a random half of the dirty sectors gets
        there), and is mounted again."""
        told = self.control("crash" + ("" if torn is None else " torn %d" % torn))
        self.process.wait()
        sh(["umount", "-l", self.path])
        self.mount()
        return told

    def close(self):
        sh(["umount", "-l", self.path], check=False)
        self.process.kill()
        self.process.wait()

    def __fspath__(self):
        return self.path


def in_memory(name, size):
    path = WORK + "/disk-" + name
    os.makedirs(path, exist_ok=True)
    sh(["mount", "-t", "tmpfs", "-o", "size=%s,mode=755" % size, "disk", path])
    return path


def in_file(name, size, kind):
    """A file system of its own (ext4, xfs) on a loop device."""
    image, path = os.path.join(WORK, name + ".img"), WORK + "/disk-" + name
    os.makedirs(path, exist_ok=True)
    sh(["truncate", "-s", size, image])
    sh(["mkfs." + kind, "-q", "-F" if kind == "ext4" else "-f", image])
    sh(["mount", "-o", "loop", image, path])
    return path
