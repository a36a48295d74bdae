"""A real trispoold and its tools on loopback, for tests. Programs come from the build folder
named by TRISPOOL_BUILD (default build/dev)."""
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TRISPOOL_BUILD", TOP / "build" / "dev")).resolve()
DAEMON = BUILD / "node" / "trispoold"
LOAD = BUILD / "cluster-tools" / "load" / "trispool-load"
SINK = BUILD / "cluster-tools" / "sink" / "trispool-sink"
CHECK = BUILD / "cluster-tools" / "check" / "trispool-check"
IO_FAULT = BUILD / "tests" / "support" / "libio_fault.so"
# Where a clock runs 20,000 times as fast, a sanitizer's slowness would be hours.
RELEASE = Path(os.environ.get("TRISPOOL_RELEASE", TOP / "build" / "release")).resolve()
RELEASE_DAEMON = RELEASE / "node" / "trispoold"
CLI = BUILD / "cluster-tools" / "cli" / "trispool"


# Below the range that the kernel gives to outgoing connections: no peer that looks for a member
# that is not up yet can sit on its port. Each port is given once.
# Tests that run beside others have a share of them (tests/support/by_file.py).
LOW, HIGH = map(int, os.environ.get("TRISPOOL_TEST_PORTS", "10000-32000").split("-"))
PORTS = iter(random.sample(range(LOW, HIGH), HIGH - LOW))


def free_port():
    """A port of loopback that nobody has now; held by nobody afterwards."""
    for port in PORTS:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def until(what, seconds=30, every=0.02):
    """Waits for what() to be true; its value. Fails loudly: this bounds a hang, it judges no speed."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("did not happen within %s s: %s" % (seconds, what))
        time.sleep(every)


def until_port(port, seconds=30):
    def open_now():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    until(open_now, seconds)


class Node:
    """One daemon with its own folder. Use as a context manager."""

    def __init__(self, folder=None, extra="", smtp="", delivery="", spool="", env=None, argv0=None,
                 limits=None, daemon=DAEMON):
        self.folder = Path(folder or tempfile.mkdtemp(prefix="trispool-test-"))
        self.port = free_port()
        self.socket = self.folder / "control.sock"
        self.log = self.folder / "log"
        self.config = self.folder / "trispool.yaml"
        self.env = dict(os.environ, **(env or {}))
        self.argv0 = argv0 or []
        self.limits = limits
        self.daemon = daemon
        self.process = None
        self.write_config(extra, smtp, delivery, spool)

    def write_config(self, extra="", smtp="", delivery="", spool=""):
        def part(name, text):
            return "%s:\n%s" % (name, "".join("  %s\n" % l for l in text.splitlines())) if text else ""
        if "max_rate_per_" not in smtp:  # all load comes from one address
            smtp += "\nmax_rate_per_client: 0\nmax_rate_per_network: 0"
        if "dns:" not in extra:  # nobody answers there, at once: no test asks the world
            extra += 'dns:\n  servers: ["127.0.0.1:1"]\n'
        self.config.write_text(
            "site: 1\nhostname: mx1.example.net\ncopies: 1\n"
            "data_dir: %s/data\ncontrol_socket: %s\npostmaster: ops@example.test\n"
            % (self.folder, self.socket)
            + part("smtp", 'listen: ["127.0.0.1:%d"]\nthreads: 2\n%s' % (self.port, smtp))
            + part("delivery", "allow_private_addresses: true\n" + delivery)
            + part("spool", spool) + extra)

    def start(self):
        out = open(self.log, "ab")
        self.process = subprocess.Popen(
            [*map(str, self.argv0), str(self.daemon), "--config", str(self.config)],
            stdout=out, stderr=out, env=self.env, preexec_fn=self.limits)
        out.close()

        def up():
            assert self.process.poll() is None, "trispoold ended:\n" + self.log_text()[-4000:]
            return self.ask("status", check=False) is not None
        until(up)
        return self

    def ask(self, cmd, check=True, **args):
        """One request to the control socket; the rows of the answer."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(30)
                s.connect(str(self.socket))
                s.sendall(json.dumps({"cmd": cmd, "args": args}).encode() + b"\n")
                rows = []
                for line in s.makefile("rb"):
                    row = json.loads(line)
                    if "error" in row or row.get("done"):
                        assert not check or row.get("exit") == 0, row
                        return rows
                    rows.append(row)
        except (ConnectionRefusedError, FileNotFoundError, ConnectionResetError):
            if check:
                raise
        return None

    def status(self):
        return self.ask("status")[0]

    def queued(self):
        return self.status()["queue_messages"]

    def add_domain(self, name="example.test", route=None, **args):
        return self.ask("domain.add", name=name, **({"route": route} if route else {}), **args)

    def knows_domain(self, name):
        return any(row["name"] == name for row in self.ask("domain.list"))

    def trace(self, mid):
        return self.ask("queue.trace", id=mid)

    def log_text(self):
        return self.log.read_text(errors="replace")

    def events(self, name):
        return [l for l in self.log_text().splitlines() if " ev=%s " % name in l + " "]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; the exit status must be 0 (a sanitizer's report is not)."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        assert code == 0, "exit %d\n%s" % (code, self.log_text()[-4000:])

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *rest):
        if self.process.poll() is None:
            if kind is None:
                Client.leave(self.port)
                self.stop()
            else:
                self.kill()


class Sink:
    """A primary on command (trispool-sink)."""

    def __init__(self, folder, port=None, *options):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.ledger = self.folder / "received"
        self.control = self.folder / "sink.sock"
        self.options = options
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [str(SINK), "-l", "127.0.0.1:%d" % self.port, "--log", str(self.ledger),
             "--control-socket", str(self.control), *map(str, self.options)],
            stdout=subprocess.DEVNULL, stderr=open(self.folder / "sink.err", "ab"))
        until(self.control.exists)
        until_port(self.port)
        return self

    def say(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(str(self.control))
            s.sendall(line.encode() + b"\n")
            return s.makefile("r").readline()

    def stats(self):
        return json.loads(self.say("stats"))

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def load(port, *options, check=True, timeout=300):
    """Runs trispool-load against the port; its JSON summary."""
    done = subprocess.run([str(LOAD), "-t", "127.0.0.1:%d" % port, *map(str, options)],
                          capture_output=True, text=True, timeout=timeout)
    assert not check or done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def compare_ledgers(journals, received):
    """trispool-sink --check; the JSON verdict."""
    args = [str(SINK), "--check"]
    for j in journals:
        args += ["--journal", str(j)]
    for r in received:
        args += ["--received", str(r)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])


class Client:
    """A raw SMTP client: says what it is told to say, reads whole replies."""
    all = weakref.WeakSet()

    @classmethod
    def leave(cls, port):
        """Those that are still there hold up the end of a node."""
        for c in list(cls.all):
            if c.port == port:
                c.close()

    def __init__(self, port, banner=True, timeout=30, source="127.0.0.1"):
        self.port = port
        self.all.add(self)
        self.s = socket.create_connection(("127.0.0.1", port), timeout=timeout,
                                          source_address=(source, 0))
        self.f = self.s.makefile("rb")
        self.banner = self.reply() if banner else None

    def reply(self):
        """(code, [lines]); (0, []) when the server has closed."""
        lines = []
        while True:
            line = self.f.readline()
            if not line:
                return (0, lines)
            lines.append(line.rstrip(b"\r\n").decode("ascii"))
            if line[3:4] != b"-":
                return (int(line[:3]), lines)

    def raw(self, data):
        self.s.sendall(data)

    def say(self, line):
        self.raw(line.encode() + b"\r\n")
        return self.reply()

    def code(self, line):
        return self.say(line)[0]

    def hello(self):
        assert self.code("EHLO client.example") == 250
        return self

    def send(self, body, sender="a@sender.example", rcpts=("b@example.test",)):
        """One message, bytes as they are (no stuffing); the reply to the dot."""
        assert self.code("MAIL FROM:<%s>" % sender) == 250
        for r in rcpts:
            assert self.code("RCPT TO:<%s>" % r) == 250
        assert self.code("DATA") == 354
        self.raw(body + b".\r\n")
        return self.reply()

    def closed(self):
        """True when the server closes without a further word."""
        return self.f.readline() == b""

    def close(self):
        self.f.close()
        self.s.close()
