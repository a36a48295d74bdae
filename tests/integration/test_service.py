"""The daemon as a service: what systemd is told, what its watchdog sees, how it stops."""
import socket
import subprocess
import threading

import house
import pytest
from test_primaries import END, Primary

MAIL = b"Subject: x\r\n\r\nhello\r\n"


class Manager:
    """The socket of a service manager: sd_notify(3)."""

    def __init__(self, folder, watchdog_ms):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(str(folder / "notify"))
        self.env = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": str(watchdog_ms * 1000)}

    def said(self, seconds=30):
        self.s.settimeout(seconds)
        return self.s.recv(4096).decode().splitlines()

    def wait(self, word):
        while word not in self.said():
            pass

    def forget(self):
        self.s.setblocking(False)
        try:
            while self.s.recv(4096):
                pass
        except BlockingIOError:
            pass


class SlowDisk:
    """fsync does not return while it hangs."""

    def __init__(self, folder):
        self.switch = folder / "fault"
        self.env = {"LD_PRELOAD": str(house.IO_FAULT), "IO_FAULT_FILE": str(self.switch),
                    "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def hang(self):
        self.switch.write_text("hang")

    def go_on(self):
        self.switch.unlink()


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "n").mkdir()
    return SlowDisk(tmp_path)


def test_the_service_manager_is_told_and_the_watchdog_fed(tmp_path):
    (tmp_path / "n").mkdir()
    manager = Manager(tmp_path, 400)
    with house.Node(tmp_path / "n", env=manager.env):
        assert "READY=1" in manager.said()
        for _ in range(3):
            manager.wait("WATCHDOG=1")
    manager.wait("STOPPING=1")


def test_a_thread_that_hangs_is_named_and_ends_the_feeding(tmp_path, disk):
    manager = Manager(tmp_path, 400)
    with house.Node(tmp_path / "n", env=dict(disk.env, **manager.env)) as n:
        n.add_domain(route="127.0.0.1:1")
        manager.wait("WATCHDOG=1")
        c = house.Client(n.port).hello()
        disk.hang()
        reply = threading.Thread(target=lambda: setattr(c, "last", c.send(MAIL)))
        reply.start()
        house.until(lambda: any("thread=writer" in e for e in n.events("thread_silent")))
        manager.forget()
        with pytest.raises(socket.timeout):
            while "WATCHDOG=1" not in manager.said(seconds=1):  # ten looks
                pass
        disk.go_on()
        manager.wait("WATCHDOG=1")
        reply.join()
        assert c.last[0] == 250


def test_sigterm_answers_who_waits_and_tells_the_others_to_go(tmp_path, disk):
    """No session is ended in a mail, least of all between the dot and its answer; others hear 421. What was
    answered is there."""
    n = house.Node(tmp_path / "n", env=disk.env).start()
    n.add_domain(route="127.0.0.1:1")
    idle, busy, sending = (house.Client(n.port).hello() for _ in range(3))
    for line, code in ("MAIL FROM:<a@sender.example>", 250), ("RCPT TO:<b@example.test>", 250), ("DATA", 354):
        assert busy.code(line) == code and sending.code(line) == code
    sending.raw(b"Subject: half")
    disk.hang()
    busy.raw(MAIL + b".\r\n")
    n.process.terminate()
    assert idle.reply()[0] == 421 and idle.closed()
    with pytest.raises(ConnectionRefusedError):
        house.until(lambda: house.Client(n.port, banner=False).close())
    assert n.process.poll() is None
    disk.go_on()
    sending.raw(b"\r\n\r\n.\r\n")
    answers = [busy.reply(), sending.reply()]
    assert [code for code, _ in answers] == [250, 250], answers
    assert n.process.wait(timeout=60) == 0
    n.start()
    assert {m["id"] for m in n.ask("queue.list")} == {lines[0].split()[-1] for _, lines in answers}
    n.stop()


def test_sigterm_waits_for_the_answer_to_a_dot_that_was_sent(node):
    mid = house.Client(node.port).hello().send(MAIL, sender="")[1][0].split()[-1]
    gate = threading.Event()

    def script(c):
        c.greet()
        c.envelope()
        c.until(END)
        gate.wait(30)
        c.send(b"250 taken\r\n")
        c.hang()

    p = Primary(node.primary_port, script)
    try:
        house.until(lambda: p.seen and END in p.seen[0].all)
        node.process.terminate()
        house.until(lambda: node.events("stop") or node.ask("status", check=False) is None or
                    node.status()["takes_mail"] is False)
        gate.set()
        assert node.process.wait(timeout=60) == 0
        node.start()
        row = node.trace(mid)[0]
        assert row["recipients"][0]["fate"] == "delivered" and row["possible_duplicates"] == 0, row
        assert len(p.seen) == 1
    finally:
        p.stop()


def test_two_daemons_do_not_share_a_port(node, tmp_path):
    """They could, as one user: each would get half of the clients."""
    other = tmp_path / "other"
    other.mkdir()
    config = other / "trispool.yaml"
    config.write_text(node.config.read_text().replace(str(node.folder), str(other)))
    told = subprocess.run([house.DAEMON, "--config", config], capture_output=True, text=True,
                          timeout=60)
    assert told.returncode == 70, told
    assert "cannot listen" in told.stderr and ":%d" % node.port in told.stderr, told.stderr
    assert "ss -ltnp" in told.stderr
