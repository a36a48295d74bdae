"""What stands on a host of a scenario, by its kind: a stock Postfix in one of three roles, a
trispool-sink as primary, a trispoold, or any command."""
import os
import socket
import subprocess

import fleet
import house
from bed import mta
from bed.private import until

BANNER = """
import socket, sys
s = socket.create_connection((%r, 25), 2)
s.settimeout(5)
banner = s.recv(99)
s.sendall(b"QUIT\\r\\n")
sys.exit(banner[:3] != b"220")
"""


def until_smtp(host, seconds=60):
    """The server on the host greets with 220."""
    argv = host.enter(["/usr/bin/python3", "-c", BANNER % host.v4])
    until(lambda: subprocess.run(argv, stderr=subprocess.DEVNULL).returncode == 0, seconds, 0.05,
          host.name + " takes mail")


class Station:
    """machine; what a scenario asks of each kind."""
    mail = None  # folder where it keeps what arrived, when it is a primary

    def __init__(self, machine):
        self.machine, self.host = machine, machine.host

    def start(self):
        self.machine.start()
        until_smtp(self.host)

    def stop(self):
        self.machine.stop()

    def queued(self):
        return mta.queued(self.machine)


class Primary(Station):
    @property
    def mail(self):
        return mta.folder_of(self.machine, mta.MAIL) + "/all/new"

    def queued(self):
        return 0


class Sink(Station):
    """trispool-sink on a machine: it keeps each message, and fails on command."""

    def __init__(self, net, name, disk):
        tool = house.SINK.relative_to(house.BUILD)
        super().__init__(net.machine(
            name, disks={"/data": disk}, tools={fleet.InBed.TOOLS: house.BUILD},
            command="mkdir -p /data/mail; exec %s/%s -l 0.0.0.0:25 --dir /data/mail --log /data/received "
            "--control-socket /data/sink.sock" % (fleet.InBed.TOOLS, tool)))
        self.data = os.fspath(disk)
        self.mail = self.data + "/mail"

    def say(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(self.data + "/sink.sock")
            s.sendall(line.encode() + b"\n")
            return s.makefile("r").readline().strip()

    def altered(self):
        with open(self.data + "/received") as f:
            return sum(line.split()[3] in ("bad", "short") for line in f if line[0] in "RK")

    def queued(self):
        return 0


class Trispool(Station):
    def __init__(self, member):
        super().__init__(member.machine)
        self.member = member

    def start(self):
        self.member.start()

    def stop(self):
        self.member.stop()

    def queued(self):
        return self.member.queued() if self.member.is_alive() else 0


def build(net, name, what, domains):
    """The station of one table of a scenario."""
    kind, settings = what["kind"], what.get("conf", {})
    disk = net.disk(name, what.get("disk", "tmpfs:1g"))
    if kind == "postfix-sender":
        return Station(mta.sender(net, name, disk, **settings))
    if kind == "postfix-backup":
        return Station(mta.backup(net, name, ", ".join(domains), disk, **settings))
    if kind == "postfix-primary":
        return Primary(mta.primary(net, name, ", ".join(domains), disk, **settings))
    if kind == "sink":
        return Sink(net, name, disk)
    if kind == "trispool":
        return Trispool(fleet.InBed(net, name, what["site"], disk, **settings))
    if kind == "command":
        return Station(net.machine(name, disks={what.get("data", "/data"): disk},
                                   files=what.get("files", {}), command=what["command"]))
    raise ValueError("%s: no kind %s" % (name, kind))
