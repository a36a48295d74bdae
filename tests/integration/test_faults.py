"""Full disks, full maps, too few descriptors, clocks: shed with a 4xx, lose nothing, come back by
itself; expire after 14 days and not before."""
import contextlib
import datetime
import os
import re
import resource
import socket
import subprocess
import time

import house
import pytest

DAY = 86400


def fill(n, size, most=4000):
    """Sends until the daemon refuses; (acknowledged, codes of the refusals)."""
    taken, refused = 0, []
    c = None
    for i in range(most):
        if c is None:
            c = house.Client(n.port)
            if c.banner[0] != 220:
                refused.append(c.banner[0])
                break
            c.hello()
        code = c.code("MAIL FROM:<a@sender.example>")
        if code == 250:
            code = c.code("RCPT TO:<b@example.test>")
        if code == 250:
            c.say("DATA")
            c.raw(b"X-N: %d\r\n\r\n" % i + (b"x" * 76 + b"\r\n") * (size // 78) + b".\r\n")
            code, _ = c.reply()
        if code != 250:
            refused.append(code)
            break
        taken += 1
    return taken, refused


def drained_to(n, sink, count):
    if sink.process:
        sink.say("up")
    else:
        sink.start()
    house.until(lambda: n.queued() == 0, seconds=120)
    stats = sink.stats()
    assert stats["received"] == count and stats["noncanonical"] == 0


@contextlib.contextmanager
def tmpfs(path, size):
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("kind", ["quota", "map"])
def test_a_full_spool_sheds_and_comes_back(tmp_path, kind):
    (tmp_path / "n").mkdir()
    sizes = {"quota": "quota: 4MiB\nmap: 1GiB", "map": "quota: 4MiB\nmap: 5MiB"}[kind]
    n = house.Node(tmp_path / "n", spool=sizes)
    sink = house.Sink(tmp_path / "sink")
    with n:
        n.add_domain(route="127.0.0.1:%d" % sink.port)
        taken, refused = fill(n, 20000)
        assert taken > 50 and refused[0] in (421, 452), (taken, refused)
        assert n.queued() == taken
        house.until(lambda: n.events("spool_full"))
        assert house.Client(n.port).banner[0] == 421  # the sender goes to the next MX
        drained_to(n, sink, taken)
        house.until(lambda: house.Client(n.port).banner[0] == 220)
        assert house.Client(n.port).hello().send(b"x: y\r\n\r\nz\r\n")[0] == 250
        house.until(lambda: n.queued() == 0)
    sink.stop()


def test_a_full_disk_sheds_and_comes_back(tmp_path):
    with tmpfs(tmp_path / "n" / "data", "24m") as disk, house.Sink(tmp_path / "sink") as sink:
        sink.say("down")
        with house.Node(tmp_path / "n") as n:
            n.add_domain(route="127.0.0.1:%d" % sink.port)
            ballast = disk / "ballast"
            taken, _ = fill(n, 20000, most=50)
            assert taken == 50
            # somebody else fills the disk to the last byte
            with open(ballast, "wb") as f:
                try:
                    while True:
                        f.write(b"\0" * 65536)
                        f.flush()
                except OSError:
                    pass
            more, refused = fill(n, 20000, most=200)
            assert refused and refused[0] in (421, 452, 451), refused
            assert n.process.poll() is None and n.queued() == taken + more
            ballast.unlink()
            house.until(lambda: house.Client(n.port).banner[0] == 220)
            assert house.Client(n.port).hello().send(b"x: y\r\n\r\nz\r\n")[0] == 250
            drained_to(n, sink, taken + more + 1)


def test_too_few_descriptors_are_shed_and_not_spun_on(tmp_path):
    (tmp_path / "n").mkdir()
    with house.Node(tmp_path / "n", limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))) as n:
        n.add_domain(route="127.0.0.1:1")
        clients = [house.Client(n.port, banner=False) for _ in range(80)]
        house.until(lambda: n.events("shed"))

        def is_told(c):
            try:
                return c.s.recv(3, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"421"
            except OSError:
                return False  # waits in the kernel's queue: connected, not yet told
        house.until(lambda: any(is_told(c) for c in clients))
        for c in clients:
            c.close()

        def works():
            try:
                c = house.Client(n.port, timeout=5)
                return c.banner[0] == 220 and c.hello().send(b"x: y\r\n\r\nz\r\n")[0] == 250
            except OSError:
                return False
        house.until(works)


def test_one_client_cannot_take_all_sessions(tmp_path):
    (tmp_path / "n").mkdir()
    with house.Node(tmp_path / "n", smtp="max_sessions_per_client: 3") as n:
        held = [house.Client(n.port) for _ in range(3)]
        assert house.Client(n.port).banner[0] == 421
        held[0].say("QUIT")
        house.until(lambda: house.Client(n.port).banner[0] == 220)


# --- clocks: the real daemon under libfaketime ---

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def clock_env(spec=None, file=None, **more):
    assert os.path.exists(FAKETIME), "libfaketime is missing: apt-get install faketime"
    # The clock that libevent looks at by default moves in steps of 4 ms or 10 ms: a minute or two here.
    env = {"LD_PRELOAD": FAKETIME, "ASAN_OPTIONS": "verify_asan_link_order=0",
           "FAKETIME_DISABLE_SHM": "1", "EVENT_PRECISE_TIMER": "1"}
    if spec:
        env["FAKETIME"] = spec
    if file:
        env.update(FAKETIME_TIMESTAMP_FILE=str(file), FAKETIME_NO_CACHE="1")
    return dict(env, **more)


def cluster_ms(n):
    return n.status()["cluster_clock_ms"]


def when(text):
    return datetime.datetime.fromisoformat(text.rstrip("Z"))


def wall(line):
    return when(re.search(r"ts=(\S+)", line)[1])


def expire_one(tmp_path):
    n = house.Node(tmp_path / "n", extra="log:\n  level: notice\n", daemon=house.RELEASE_DAEMON)
    with n:
        n.add_domain(route="127.0.0.1:1")
        _, lines = house.Client(n.port).hello().send(b"x: y\r\n\r\nz\r\n", sender="")
        mid = lines[0].split()[-1]
        row = n.trace(mid)[0]
        hold = when(row["deadline"]) - when(row["received"])
        assert abs(hold - datetime.timedelta(days=14)) < datetime.timedelta(seconds=5)
        n.ask("domain.set", name="example.test", paused=True)  # no probes by the million
    n.env.update(clock_env("+0 x10000"))
    n.log.unlink()
    with n:
        house.until(lambda: n.events("message_expired"), seconds=600, every=0.5)
    started, expired = n.events("start")[0], n.events("message_expired")[0]
    assert wall(expired) - wall(started) >= datetime.timedelta(days=13, hours=23, minutes=59)
    for key in clock_env("x"):
        n.env.pop(key, None)
    with n:
        row = n.trace(mid)[0]
        assert row["recipients"][0]["fate"] == "expired"
        late = when(row["recipients"][0]["final"]) - when(row["deadline"])  # both from cluster time
        assert datetime.timedelta(seconds=-1) <= late < datetime.timedelta(hours=1)


def test_mail_expires_after_14_days_and_not_before(tmp_path):
    """The daemon's clocks run thousands of times as fast. Cluster time is what the entries of its
    log add up to, at most 10 s each, so this is also as many commits of the control log."""
    with tmpfs(tmp_path / "n" / "data", "100m"):
        expire_one(tmp_path)


def test_a_stepped_wall_clock_expires_nothing(tmp_path):
    (tmp_path / "n").mkdir()
    stamp = tmp_path / "stamp"
    stamp.write_text("+0\n")
    env = clock_env(file=stamp, FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_DONT_RESET="1")
    with house.Node(tmp_path / "n", env=env) as n:
        n.add_domain(route="127.0.0.1:1")
        assert house.Client(n.port).hello().send(b"x: y\r\n\r\nz\r\n", sender="")[0] == 250
        for step in ("+20d", "-20d", "+400d"):
            stamp.write_text(step + "\n")
            year = lambda: n.log_text().splitlines()[-1]
            assert house.Client(n.port).hello().send(b"x: y\r\n\r\nz\r\n", sender="")[0] == 250
            assert year()
        stamps = set(re.findall(r"^ts=(\d{4}-\d\d)", n.log_text(), re.M))
        assert len(stamps) >= 3, "the wall clock must really have moved: %s" % stamps
        assert n.queued() == 4 and not n.events("message_expired")
        assert cluster_ms(n) < 3600 * 1000


# --- what the store remembers ---

def test_trace_comes_from_the_store_and_survives_a_restart(tmp_path):
    (tmp_path / "n").mkdir()
    sink = house.Sink(tmp_path / "sink")
    n = house.Node(tmp_path / "n").start()
    n.add_domain(route="127.0.0.1:%d" % sink.port)
    _, lines = house.Client(n.port).hello().send(b"x: y\r\n\r\nz\r\n")
    mid = lines[0].split()[-1]
    live = n.trace(mid)[0]
    assert live["recipients"][0]["fate"] == "pending"
    sink.start()
    house.until(lambda: n.queued() == 0)
    n.stop()
    n.log.unlink()
    n.start()
    row = n.trace(mid)[0]
    assert row["recipients"][0]["fate"] == "delivered"
    assert "250" in row["recipients"][0]["reply"]
    n.stop()
    sink.stop()


def test_a_disk_error_fences_the_node(tmp_path):
    """The first failed sync: nothing more is acknowledged, the node exits with 74; started again
    it has all that was acknowledged."""
    (tmp_path / "n").mkdir()
    switch = tmp_path / "fail"
    sink = house.Sink(tmp_path / "sink", None, "--mode", "stall at=banner")
    with sink, house.Node(tmp_path / "n", env={"LD_PRELOAD": str(house.IO_FAULT), "IO_FAULT_FILE": str(switch),
                                         "ASAN_OPTIONS": "verify_asan_link_order=0"}) as n:
        n.add_domain(route="127.0.0.1:%d" % sink.port)  # mail waits for a primary that stalls
        assert house.Client(n.port).hello().send(b"x: y\r\n\r\nz\r\n")[0] == 250
        c = house.Client(n.port).hello()
        switch.touch()
        code, _ = c.send(b"x: y\r\n\r\nz\r\n")
        assert code == 0, "undecided: no answer, the client keeps its message"
        assert n.process.wait(timeout=30) == 74
        assert n.events("fenced")
        switch.unlink()
        n.start()
        assert n.queued() in (1, 2)


# --- bits that rot ---

def flip(folder, what):
    """One bit of each place where these bytes stand in the closed spool; old pages have them, too."""
    file = folder / "data" / "spool" / "data" / "data.mdb"
    data = bytearray(file.read_bytes())
    at, count = data.find(what), 0
    while at >= 0:
        data[at + len(what) // 2] ^= 4
        count, at = count + 1, data.find(what, at + len(what))
    file.write_bytes(data)
    return count


@pytest.mark.parametrize("record, what", [
    ("envelope", b"rotten@example.test"), ("body", b"marker of the rotten body")])
def test_a_rotten_message_is_kept_and_alarmed_and_all_others_go(tmp_path, record, what):
    (tmp_path / "n").mkdir()
    sink = house.Sink(tmp_path / "sink", None, "--dir", tmp_path / "kept")
    n = house.Node(tmp_path / "n")
    with n:
        n.add_domain(route="127.0.0.1:%d" % sink.port)
        c = house.Client(n.port).hello()
        assert c.send(b"X: 1\r\n\r\nfine\r\n")[0] == 250
        code, lines = c.send(b"X: 2\r\n\r\n" + b"filler\r\n" * 2000 + b"marker of the rotten body\r\n",
                             rcpts=["rotten@example.test"])
        assert code == 250
        assert c.send(b"X: 3\r\n\r\nfine\r\n")[0] == 250
    rotten = lines[0].split()[-1]
    assert flip(tmp_path / "n", what) > 0
    with sink, n:
        house.until(lambda: sink.stats()["received"] == 2)
        house.until(lambda: n.events("spool_corrupt"))
        house.until(lambda: n.queued() == 1)  # both outcomes are written
        health = n.ask("health", check=False)[0]
        assert health["health"] != "ok" and "damaged" in health["text"], health
        n.ask("queue.operate", check=False, op="retry", all=True)
        house.until(lambda: n.status()["orders_pending"] == 0)
        assert n.queued() == 1 and sink.stats()["received"] == 2
        assert all(b"rotten" not in f.read_bytes() for f in (tmp_path / "kept").iterdir())
    check = subprocess.run([house.CHECK, str(tmp_path / "n" / "data" / "spool")], capture_output=True, text=True)
    assert check.returncode == 1 and rotten in check.stdout, check.stdout
