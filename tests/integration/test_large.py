"""Large mails cost disk, not memory: each session holds a few hundred kilobytes, in and out."""
import re
import threading
from pathlib import Path

import house

MB = 1000 * 1000
BODY = 48 * MB
SESSIONS = 3
LINE = b"x" * 998 + b"\r\n"
# LIMIT_SESSION_BLOCK_BYTES, as much again on its way to the disk and in the pages of its commit; and
# what the process takes once.
MOST = SESSIONS * MB + 4 * MB


class Anonymous:
    """The peak of the memory that is not a file's, looked at all the time."""

    def __init__(self, pid):
        self.status = Path("/proc/%d/status" % pid)
        self.start = self.peak = self.now()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def now(self):
        return int(re.search(r"RssAnon:\s+(\d+) kB", self.status.read_text())[1]) * 1024

    def look(self):
        while not self.ended.wait(0.005):
            self.peak = max(self.peak, self.now())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.grown = self.peak - self.start


def send(port, answers):
    c = house.Client(port, timeout=120).hello()
    assert c.code("MAIL FROM:<> SIZE=%d" % BODY) == 250
    assert c.code("RCPT TO:<b@example.test>") == 250 and c.code("DATA") == 354
    c.raw(b"Subject: large\r\n\r\n")
    block = LINE * 1000
    for _ in range(BODY // len(block)):
        c.raw(block)
    c.raw(b".\r\n")
    answers.append(c.reply()[0])


def test_fifty_megabytes_pass_through_a_few_hundred_kilobytes(tmp_path):
    (tmp_path / "n").mkdir()
    sink = house.Sink(tmp_path / "sink")
    with house.Node(tmp_path / "n", daemon=house.RELEASE_DAEMON) as n:
        n.add_domain(route="127.0.0.1:%d" % sink.port)
        answers = []
        senders = [threading.Thread(target=send, args=(n.port, answers)) for _ in range(SESSIONS)]
        with Anonymous(n.process.pid) as taking:
            for s in senders:
                s.start()
            for s in senders:
                s.join()
        assert answers == [250] * SESSIONS
        with Anonymous(n.process.pid) as handing_over, sink:
            house.until(lambda: n.queued() == 0, seconds=120)
            assert sink.stats()["bytes"] >= SESSIONS * BODY
        print("in: %d bytes, out: %d bytes" % (taking.grown, handing_over.grown))
        assert taking.grown < MOST and handing_over.grown < MOST, (taking.grown, handing_over.grown, MOST)
