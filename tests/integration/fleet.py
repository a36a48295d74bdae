"""Three trispoold as one cluster: processes of this machine on loopback (Here), or each in a machine
of a bed (InBed). Both are house.Node, so all that a test asks of one node it can ask of each."""
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import house

CONTROL_PORT, DATA_PORT = 7301, 7302
CONFIG = """\
site: %(site)d
hostname: %(hostname)s
cluster: fleet
copies: %(copies)d
data_dir: %(data)s
control_socket: %(socket)s
postmaster: ops@example.test
%(peers)ssmtp:
  listen: ["%(smtp)s"]
  threads: 2
  max_sessions_per_client: 1000
  max_rate_per_client: 0
  max_rate_per_network: 0
%(smtp_more)sdelivery:
  allow_private_addresses: true
%(delivery_more)slog:
  level: info
%(more)s"""
PEERS = """\
near_sites: %(near)s
peers:
  control: "%(control)s"
  data: "%(data)s"
"""


# As systemd with Restart=on-failure does it; exit statuses that mean a person is needed end it.
SUPERVISE = """\
mkdir -p -m 700 /data/trispool
trap 'is_over=1; kill "$pid" 2>/dev/null' TERM
while :; do
    "$@" &
    pid=$!
    wait "$pid"
    status=$?
    if [ -n "$is_over" ]; then
        wait "$pid"
        exit $?
    fi
    echo "supervise: status $status"
    case $status in 0 | 64 | 70 | 78) exit $status ;; esac
    sleep 1
done
"""
# What no log may hold.
BROKEN = re.compile(r"Sanitizer|runtime error:|ev=assert_failed")


def config(site, hostname, data, socket, smtp, copies=2, control=None, data_plane=None, near=True,
           smtp_more="", delivery_more="", more=""):
    peers = PEERS % {"near": "true" if near else "false", "control": control, "data": data_plane}
    return CONFIG % {
        "site": site, "hostname": hostname, "copies": copies, "data": data, "socket": socket,
        "smtp": smtp, "peers": peers if copies > 1 else "",
        "smtp_more": indented(smtp_more), "delivery_more": indented(delivery_more), "more": more}


def indented(text):
    return "".join("  %s\n" % l for l in text.splitlines())


class Here(house.Node):
    """A member on loopback."""

    def __init__(self, folder, site, daemon=house.DAEMON, env=None, **settings):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.site, self.daemon = site, daemon
        self.env, self.argv0, self.limits, self.process = dict(os.environ, **(env or {})), [], None, None
        self.port = house.free_port()
        self.control, self.data = ("127.0.0.1:%d" % house.free_port() for _ in range(2))
        self.socket = self.folder / "control.sock"
        self.log, self.config = self.folder / "log", self.folder / "trispool.yaml"
        if "dns:" not in settings.get("more", ""):  # as in house.Node
            settings["more"] = settings.get("more", "") + 'dns:\n  servers: ["127.0.0.1:1"]\n'
        self.config.write_text(config(site, "mx%d.example.net" % site, self.folder / "data", self.socket,
                                      "127.0.0.1:%d" % self.port, control=self.control,
                                      data_plane=self.data, **settings))

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def offline(self, *words):
        """A command that works on the files of a node that does not run; what it says."""
        done = subprocess.run([house.CLI, *map(str, words), "--config", self.config],
                              capture_output=True, text=True, env=self.env, timeout=60)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def kill(self):
        if self.is_alive():
            super().kill()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def wipe(self):
        self.kill()
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def check_spool(self):
        """The offline check of its spool: (exit status, what it says)."""
        done = subprocess.run([house.CHECK, self.folder / "data" / "spool"], capture_output=True,
                              text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr


class InBed(house.Node):
    """A member that is a machine of a bed, with its data on a disk of that."""
    TOOLS, CONFIG_PATH, SOCKET = "/opt/tools", "/etc/trispool.yaml", "/run/trispool.sock"

    def __init__(self, net, name, site, disk, **settings):
        host = net.hosts[name]
        self.site, self.host = site, host
        self.control, self.data = "%s:%d" % (host.v4, CONTROL_PORT), "%s:%d" % (host.v4, DATA_PORT)
        text = config(site, name + ".bed", "/data/trispool", self.SOCKET, '%s:25", "[%s]:25' % (host.v4, host.v6),
                      control=self.control, data_plane=self.data, **settings)
        daemon = house.DAEMON.relative_to(house.BUILD)
        self.machine = net.machine(
            name, files={self.CONFIG_PATH: text, "/supervise": SUPERVISE}, disks={"/data": disk},
            tools={self.TOOLS: house.BUILD},
            command="exec sh /supervise %s/%s --config %s" % (self.TOOLS, daemon, self.CONFIG_PATH))
        self.log = Path(self.machine.log)
        self.status_at_end = None

    @property
    def process(self):
        return self.machine.process

    @property
    def socket(self):
        return self.machine.root() + self.SOCKET

    def is_alive(self):
        return self.machine.is_alive()

    def ask(self, cmd, check=True, **args):
        if not self.is_alive() and not check:
            return None
        return super().ask(cmd, check, **args)

    def start(self):
        self.machine.start()

        def up():
            assert self.is_alive(), "trispoold ended:\n" + self.log_text()[-4000:]
            return self.ask("status", check=False) is not None
        house.until(up, seconds=60)
        return self

    def offline(self, *words):
        cli = house.CLI.relative_to(house.BUILD)
        words = " ".join("'%s'" % w for w in words)
        return self.machine.once("mkdir -p -m 700 /data/trispool; exec %s/%s %s --config %s"
                                 % (self.TOOLS, cli, words, self.CONFIG_PATH))

    def kill(self):
        self.machine.kill()

    def stop(self):
        self.status_at_end = self.machine.stop(60)
        assert self.status_at_end == 0, "exit %s\n%s" % (self.status_at_end, self.log_text()[-4000:])

    def freeze(self):
        self.machine.freeze()

    def thaw(self):
        self.machine.thaw()

    def wipe(self):
        self.machine.wipe()

    def check_spool(self):
        """While it is off: (exit status, what it says)."""
        path = os.path.join(os.fspath(self.machine.disks["/data"]), "trispool", "spool")
        done = subprocess.run([house.CHECK, path], capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr


class Fleet:
    """members: Here or InBed, sites 1 to 3, all off and empty."""

    def __init__(self, members):
        self.members = list(members)

    def __getitem__(self, site):
        return next(m for m in self.members if m.site == site)

    def live(self, but=None):
        return [m for m in self.members if m is not but and m.is_alive()]

    def form(self):
        """The first makes the cluster, the others are added and join; all run then."""
        first, *others = self.members
        first.offline("cluster", "init", "--site", first.site, "--control", first.control,
                      "--data", first.data)
        first.start()
        for m in others:
            self.admit(m)
        self.until_whole()
        return self

    def admit(self, member):
        """An empty node becomes a member, by way of one that runs; it is started."""
        key = last_word(member.offline("cluster", "key"))
        said = []

        def is_added():
            done = subprocess.run(
                [house.CLI, "--socket", str(self.live(member)[0].socket), "cluster", "add", "--site",
                 str(member.site), "--key", key, "--control", member.control, "--data", member.data],
                capture_output=True, text=True, timeout=90)
            assert done.returncode in (0, 75), done  # 75: the leader has just changed
            said.append(done.stdout)
            return done.returncode == 0
        house.until(is_added, 60)
        token = last_word(said[-1])
        member.offline("cluster", "join", token)
        member.start()

    def cli(self, *words, by=None, check=True, seconds=90):
        """A command of trispool to one member, by default the first that runs; what it says."""
        by = by or self.live()[0]
        done = subprocess.run([house.CLI, "--socket", str(by.socket), *map(str, words)],
                              capture_output=True, text=True, timeout=seconds)
        assert not check or done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def rows(self, *words, by=None):
        """The same, as rows; [] when it is refused."""
        told = self.cli(*words, "--output", "jsonl", by=by, check=False)
        return [json.loads(l) for l in told.splitlines() if l.startswith("{")]

    def until_whole(self, seconds=120):
        """All members vote and take mail, and every live message has the copies it should have."""
        def whole():
            rows = self.rows("cluster", "members")
            return len([r for r in rows if r.get("state") == "voter"]) == len(self.members) and \
                self.is_verified() and all(m.status()["takes_mail"] for m in self.live())
        house.until(whole, seconds, every=0.2)

    def is_verified(self):
        by = self.live()[0]
        done = subprocess.run([house.CLI, "--socket", str(by.socket), "cluster", "verify"],
                              capture_output=True, text=True, timeout=90)
        return done.returncode == 0

    def leader(self):
        """The member that leads the control log, None when nobody knows."""
        for row in self.rows("cluster", "leader"):
            if row.get("site"):
                return self[row["site"]]
        return None

    def holder(self, domain):
        """The member that holds the lease of a domain, None when nobody does."""
        for row in self.rows("cluster", "leases", "--domain", domain):
            if row.get("site"):
                return self[row["site"]]
        return None

    def add_domain(self, name, route=None, **args):
        """A domain of a customer; all members that run know it when this returns."""
        self.live()[0].add_domain(name, route, **args)
        sites = {r.get("site") for r in self.rows("cluster", "members")}
        house.until(lambda: all(m.knows_domain(name) for m in self.live() if m.site in sites))

    def queued(self):
        """Messages that some running member still has."""
        return max((m.queued() for m in self.live()), default=0)

    def flagged(self):
        """Ids that some member has called possible duplicates, by the logs."""
        return {id_ for m in self.members for line in m.events("possible_duplicate")
                for id_ in re.findall(r" id=(\S+)", line)}

    def broken(self):
        """Lines of logs that say a program is wrong."""
        return [l for m in self.members for l in m.log_text().splitlines() if BROKEN.search(l)]

    def stop(self):
        """All, as an operator would, one after the other; each must end in good order."""
        for m in self.live():
            m.stop()

    def kill(self):
        for m in self.live():
            m.thaw()
            m.kill()


def last_word(text):
    return text.split()[-1]


def on_loopback(folder, **settings):
    return Fleet(Here(Path(folder) / ("node%d" % site), site, **settings) for site in (1, 2, 3))
