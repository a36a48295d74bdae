"""Scripted primaries that break every rule, and what must become of each recipient. A script is
a list of steps played to each connection: what the primary sends, and what it waits for."""
import socket
import threading

import house
import pytest

EHLO = b"250-p.example.test\r\n250 PIPELINING\r\n"
PLAIN = b"250 p.example.test\r\n"
END = b"\r\n.\r\n"


class Primary(threading.Thread):
    """Plays script(conn) to every connection, then closes it."""

    def __init__(self, port, script):
        super().__init__(daemon=True)
        self.script = script
        self.seen = []  # bytes of each connection
        self.listener = socket.create_server(("127.0.0.1", port), backlog=50)
        self.start()

    def run(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.play, args=(s,), daemon=True).start()

    def play(self, s):
        s.settimeout(20)
        c = Conversation(s)
        self.seen.append(c)
        try:
            self.script(c)
        except (OSError, EOFError):
            pass
        c.over = True
        s.close()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Conversation:
    def __init__(self, s):
        self.s, self.buffer, self.all, self.over = s, b"", b"", False

    def send(self, data):
        self.s.sendall(data)

    def until(self, mark):
        while mark not in self.buffer:
            data = self.s.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
            self.all += data
        at = self.buffer.index(mark) + len(mark)
        head, self.buffer = self.buffer[:at], self.buffer[at:]
        return head

    def line(self):
        return self.until(b"\r\n")

    def greet(self, ehlo=PLAIN):
        self.send(b"220 p.example.test\r\n")
        self.line()
        self.send(ehlo)

    def answer(self, *replies):
        """One reply for each command that comes."""
        for r in replies:
            self.line()
            self.send(r)

    def envelope(self, rcpts=1, rcpt=b"250 ok\r\n", data=b"354 go\r\n"):
        self.answer(b"250 ok\r\n", *[rcpt] * rcpts, data)

    def hang(self):
        """Until the other side gives up."""
        while self.s.recv(65536):
            pass


def good(c, final=b"250 ok\r\n"):
    c.greet()
    c.envelope()
    c.until(END)
    c.send(final)
    c.hang()


# Each: name, script, expected: "delivered" (fate of the recipient), "bounced", or "queued" (tried,
# not delivered, nobody bounced); a queued one must not count as delivered, whatever came.
SCRIPTS = []


def primary(expected, flagged=False):
    def add(fn):
        SCRIPTS.append(pytest.param(fn, expected, flagged, id=fn.__name__))
        return fn
    return add


@primary("delivered")
def behaves(c):
    good(c)


@primary("delivered")
def answers_each_byte_alone(c):
    for b in b"220 p.example.test\r\n":
        c.send(bytes([b]))
    c.line()
    c.send(PLAIN)
    c.envelope()
    c.until(END)
    for b in b"250-one\r\n250 two\r\n":
        c.send(bytes([b]))
    c.hang()


@primary("queued")
def banner_554(c):
    c.send(b"554 no\r\n")


@primary("queued")
def banner_421(c):
    c.send(b"421 busy\r\n")


@primary("queued")
def closes_at_once(c):
    pass


@primary("queued")
def banner_and_ehlo_reply_before_ehlo(c):
    c.send(b"220 p\r\n250 p\r\n")
    c.hang()


@primary("queued")
def ehlo_and_helo_refused(c):
    c.send(b"220 p\r\n")
    c.answer(b"550 no\r\n", b"550 no\r\n")
    c.hang()


@primary("queued")
def speaks_http(c):
    c.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@primary("queued")
def mixed_codes_in_one_reply(c):
    c.send(b"220 p\r\n")
    c.line()
    c.send(b"250-p\r\n550 p\r\n")
    c.hang()


@primary("queued")
def four_digits(c):
    c.greet()
    c.answer(b"2500 ok\r\n")
    c.hang()


@primary("queued")
def code_of_class_six(c):
    c.greet()
    c.answer(b"650 ok\r\n")
    c.hang()


@primary("queued")
def code_of_class_one(c):
    c.greet()
    c.answer(b"150 wait\r\n")
    c.hang()


@primary("queued")
def mail_355(c):
    c.greet()
    c.answer(b"355 go\r\n")
    c.hang()


@primary("queued")
def double_reply_to_mail(c):
    c.greet()
    c.answer(b"250 ok\r\n250 ok\r\n")
    c.hang()


@primary("queued")
def mail_550(c):
    c.greet()
    c.answer(b"550 you\r\n")
    c.hang()


@primary("bounced")
def mail_552_too_big(c):
    c.greet()
    c.answer(b"552 5.3.4 too big\r\n")
    c.hang()


@primary("bounced")
def rcpt_550(c):
    c.greet()
    c.answer(b"250 ok\r\n", b"550 5.1.1 unknown\r\n")
    c.hang()


@primary("queued")
def rcpt_450(c):
    c.greet()
    c.answer(b"250 ok\r\n", b"450 later\r\n")
    c.hang()


@primary("queued")
def rcpt_552_is_452(c):
    c.greet()
    c.answer(b"250 ok\r\n", b"552 full\r\n")
    c.hang()


@primary("queued")
def rcpt_554_is_no_verdict_on_the_recipient(c):
    c.greet()
    c.answer(b"250 ok\r\n", b"554 no\r\n")
    c.hang()


@primary("queued")
def rcpt_550_that_says_4(c):
    c.greet()
    c.answer(b"250 ok\r\n", b"550 4.2.2 hm\r\n")
    c.hang()


@primary("queued")
def data_250(c):
    c.greet()
    c.envelope(data=b"250 ok\r\n")
    c.hang()


@primary("queued")
def data_354_and_250_at_once(c):
    c.greet()
    c.envelope(data=b"354 go\r\n250 taken\r\n")
    c.hang()


@primary("queued")
def final_250_before_the_dot(c):
    c.greet()
    c.envelope()
    c.until(b"Subject")
    c.send(b"250 taken\r\n")
    c.hang()


@primary("queued")
def refusal_in_the_middle_of_the_body(c):
    c.greet()
    c.envelope()
    c.until(b"Subject")
    c.send(b"552 5.3.4 too big\r\n")
    c.hang()


# More than the kernel takes while nobody reads: the dot cannot be out before the reply is in.
for early in (final_250_before_the_dot, refusal_in_the_middle_of_the_body):
    early.body = (b"x" * 78 + b"\r\n") * 160000


@primary("queued")
def final_451(c):
    good(c, b"451 later\r\n")


@primary("bounced")
def final_554(c):
    good(c, b"554 5.7.1 spam\r\n")


@primary("queued")
def final_500(c):
    good(c, b"500 what\r\n")


@primary("queued", flagged=True)
def cut_after_the_dot(c):
    c.greet()
    c.envelope()
    c.until(END)


@primary("queued", flagged=True)
def reset_after_the_dot(c):
    c.greet()
    c.envelope()
    c.until(END)
    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@primary("queued", flagged=True)
def half_a_reply_after_the_dot(c):
    c.greet()
    c.envelope()
    c.until(END)
    c.send(b"250 ta")


@primary("queued")
def double_final_reply(c):
    good(c, b"250 ok\r\n250 ok\r\n")


@primary("queued")
def mixed_final_reply(c):
    good(c, b"250-ok\r\n550 no\r\n")


@primary("queued")
def cut_in_the_banner(c):
    c.send(b"220 p")


@primary("queued")
def cut_after_ehlo(c):
    c.send(b"220 p\r\n")
    c.line()


@primary("queued")
def cut_after_mail(c):
    c.greet()
    c.line()


@primary("queued")
def cut_after_rcpt(c):
    c.greet()
    c.answer(b"250 ok\r\n")
    c.line()


@primary("queued")
def cut_after_data(c):
    c.greet()
    c.answer(b"250 ok\r\n", b"250 ok\r\n")
    c.line()


@primary("queued")
def cut_in_the_body(c):
    c.greet()
    c.envelope()
    c.until(b"Subject")


@primary("queued")
def endless_banner(c):
    while True:
        c.send(b"220-more\r\n" * 100)


@primary("queued")
def endless_line(c):
    while True:
        c.send(b"2" * 10000)


@primary("queued")
def nul_in_a_reply(c):
    c.greet()
    c.answer(b"250 o\0k\r\n")
    c.hang()


@primary("queued")
def offers_starttls_and_refuses_it(c):
    c.greet(b"250-p\r\n250 STARTTLS\r\n")
    c.answer(b"454 not now\r\n")
    c.hang()


@primary("delivered")
def tls_handshake_is_garbage_then_plain_works(c):
    c.greet(b"250-p\r\n250 STARTTLS\r\n")
    if c.line().startswith(b"STARTTLS"):
        c.send(b"220 go\r\n")
        c.s.recv(1000)
        c.send(b"this is no handshake\r\n")
        return
    c.send(b"250 ok\r\n")
    c.answer(b"250 ok\r\n", b"354 go\r\n")
    c.until(END)
    c.send(b"250 ok\r\n")
    c.hang()


@primary("delivered")
def plaintext_behind_the_220_to_starttls(c):
    """Injected replies: never interpreted. The next connection is in the clear, and works."""
    c.greet(b"250-p\r\n250 STARTTLS\r\n")
    if c.line().startswith(b"STARTTLS"):
        c.send(b"220 go\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n")
        c.hang()
        return
    c.send(b"250 ok\r\n")
    c.answer(b"250 ok\r\n", b"354 go\r\n")
    c.until(END)
    c.send(b"250 ok\r\n")
    c.hang()


@primary("delivered")
def pipelined_group_answered_in_one_packet(c):
    c.greet(EHLO)
    c.until(b"DATA\r\n")
    c.send(b"250 ok\r\n250 ok\r\n354 go\r\n")
    c.until(END)
    c.send(b"250 ok\r\n")
    c.hang()


@primary("queued")
def pipelined_one_reply_too_many(c):
    c.greet(EHLO)
    c.until(b"DATA\r\n")
    c.send(b"250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n")
    c.hang()


@primary("bounced")
def pipelined_rcpt_refused_data_accepted(c):
    c.greet(EHLO)
    c.until(b"DATA\r\n")
    c.send(b"250 ok\r\n550 5.1.1 unknown\r\n354 go\r\n")
    c.hang()


def fate(node, mid):
    return node.trace(mid)[0]


@pytest.mark.parametrize("script,expected,flagged", SCRIPTS)
def test_a_primary_that(node, script, expected, flagged):
    c = house.Client(node.port).hello()
    body = getattr(script, "body", b"hello\r\n")
    _, lines = c.send(b"Subject: x\r\n\r\n" + body, sender="")  # nobody is owed a notification
    mid = lines[0].split()[-1]
    p = Primary(node.primary_port, script)
    try:
        if expected == "queued":
            # tried for real, judged, and still pending
            house.until(lambda: p.seen)
            house.until(lambda: node.events("message_deferred") or node.events("primary_down") or
                        node.events("primary_odd") or node.events("primary_alarm"))
            assert node.queued() == 1
            row = fate(node, mid)
            assert {r["fate"] for r in row["recipients"]} == {"pending"}, row
            if flagged:
                house.until(lambda: fate(node, mid)["possible_duplicates"] >= 1)
        else:
            house.until(lambda: node.queued() == 0)
            row = fate(node, mid)
            assert {r["fate"] for r in row["recipients"]} == {expected}, row
            assert row["possible_duplicates"] == 0
    finally:
        p.stop()


def test_each_recipient_gets_its_own_outcome(node):
    c = house.Client(node.port).hello()
    _, lines = c.send(b"Subject: x\r\n\r\nhello\r\n", sender="",
                      rcpts=["a@example.test", "b@example.test", "c@example.test"])
    mid = lines[0].split()[-1]

    def script(c):
        c.greet()
        c.answer(b"250 ok\r\n", b"250 ok\r\n", b"550 5.1.1 no\r\n", b"450 later\r\n", b"354 go\r\n")
        c.until(END)
        c.send(b"250 ok\r\n")
        c.hang()

    p = Primary(node.primary_port, script)
    try:
        house.until(lambda: fate(node, mid)["recipients"][0]["fate"] == "delivered")
        assert [r["fate"] for r in fate(node, mid)["recipients"]] == ["delivered", "bounced", "pending"]
    finally:
        p.stop()


def test_bytes_arrive_as_they_were_sent_behind_one_received_field(node):
    body = b"Subject: x\r\nX-Odd:   two  spaces\t\r\n\r\n..two dots\r\n.one dot\r\n\xff\xfe 8 bit\r\n\r\n\r\n"
    stuffed = body.replace(b"\r\n.", b"\r\n..")
    c = house.Client(node.port).hello()
    assert c.send(stuffed)[0] == 250
    got = []

    def script(c):
        c.greet()
        c.envelope()
        got.append(c.until(END))
        c.send(b"250 ok\r\n")
        c.hang()

    p = Primary(node.primary_port, script)
    try:
        house.until(lambda: node.queued() == 0)
    finally:
        p.stop()
    text = got[0][:-3]
    assert text.startswith(b"Received: ") and text.endswith(stuffed)
    trace = text[:-len(stuffed)]
    assert trace.endswith(b"\r\n") and trace.count(b"Received:") == 1
    for line in trace.split(b"\r\n")[1:-1]:
        assert line[:1] in (b"\t", b" ")


def test_a_primary_that_never_reads_delays_nobody_else(node, sink):
    """One domain's primary takes the connection and reads nothing; another's mail goes through."""
    stuck_port = house.free_port()
    node.add_domain("stuck.test", route="127.0.0.1:%d" % stuck_port)
    p = Primary(stuck_port, lambda c: (c.send(b"220 p\r\n"), threading.Event().wait(60)))
    sink.start()
    try:
        c = house.Client(node.port).hello()
        assert c.send(b"x: y\r\n\r\n" + b"z" * 70 + b"\r\n", rcpts=["a@stuck.test"])[0] == 250
        house.until(lambda: p.seen)
        assert c.send(b"x: y\r\n\r\nz\r\n")[0] == 250
        house.until(lambda: sink.stats()["received"] == 1)
        house.until(lambda: node.queued() == 1)  # the outcome is written after the primary has it
    finally:
        p.stop()


def test_the_sender_is_told_of_a_refused_recipient(node, tmp_path):
    """A DSN: null sender, RFC 3464, to the sender's domain, here a domain of ours."""
    port = house.free_port()
    node.add_domain("sender.test", route="127.0.0.1:%d" % port)
    node.ask("domain.set", name="example.test", dsn="all")
    c = house.Client(node.port).hello()
    _, lines = c.send(b"Subject: lost\r\n\r\nhello\r\n", sender="me@sender.test")
    got = []

    def take(c):
        c.greet()
        got.append(c.line())
        c.send(b"250 ok\r\n")
        got.append(c.line())
        c.send(b"250 ok\r\n")
        c.line()
        c.send(b"354 go\r\n")
        got.append(c.until(END))
        c.send(b"250 ok\r\n")
        c.hang()

    refuse, mailbox = Primary(node.primary_port, rcpt_550), Primary(port, take)
    try:
        house.until(lambda: node.queued() == 0)
    finally:
        refuse.stop()
        mailbox.stop()
    assert got[0].startswith(b"MAIL FROM:<>") and got[1].startswith(b"RCPT TO:<me@sender.test>")
    text = got[2]
    assert b"multipart/report" in text and b"Final-Recipient: rfc822; b@example.test" in text
    assert b"Status: 5.1.1" in text and b"Action: failed" in text and b"Subject: lost" in text
    assert node.events("dsn_sent")


def refuses_until(gate):
    def script(c):
        c.greet()
        c.envelope()
        c.until(END)
        if not gate.is_set():
            gate.wait(30)
            c.send(b"451 later\r\n")
            return
        c.send(b"250 ok\r\n")
        c.hang()
    return script


def test_an_order_during_a_try_waits_for_its_end(node):
    """Hold while the message is with the primary: the try ends first, then nothing is tried."""
    _, lines = house.Client(node.port).hello().send(b"Subject: x\r\n\r\nhello\r\n", sender="")
    mid, gate = lines[0].split()[-1], threading.Event()
    p = Primary(node.primary_port, refuses_until(gate))
    try:
        house.until(lambda: p.seen and END in p.seen[0].all)
        node.ask("queue.operate", check=False, op="hold", ids=[mid], wait_ms=1)
        assert node.status()["orders_pending"] == 1
        gate.set()
        house.until(lambda: node.status()["orders_pending"] == 0)
        assert node.ask("queue.list")[0]["state"] == "held"
        node.ask("queue.operate", op="release", ids=[mid])
        node.ask("queue.operate", op="retry", ids=[mid])
        house.until(lambda: node.queued() == 0)
        assert {r["fate"] for r in fate(node, mid)["recipients"]} == {"delivered"}
    finally:
        p.stop()


def test_the_last_of_two_orders_that_wait_counts(node):
    """Held and released while the message is with the primary, by its id and with all mail: the hold
    is not yet written when the release comes, and must not outlive it."""
    _, lines = house.Client(node.port).hello().send(b"Subject: x\r\n\r\nhello\r\n", sender="")
    mid, gate = lines[0].split()[-1], threading.Event()
    p = Primary(node.primary_port, refuses_until(gate))
    try:
        house.until(lambda: p.seen and END in p.seen[0].all)
        node.ask("queue.operate", op="hold", ids=[mid], wait_ms=1)
        node.ask("queue.operate", op="release", ids=[mid], wait_ms=1)
        node.ask("queue.operate", op="hold", all=True, wait_ms=1)
        node.ask("queue.operate", op="release", all=True, wait_ms=1)
        assert node.status()["orders_pending"] == 4
        gate.set()
        house.until(lambda: node.status()["orders_pending"] == 0)
        assert node.ask("queue.list")[0]["state"] != "held"
        node.ask("queue.operate", op="retry", ids=[mid])
        house.until(lambda: node.queued() == 0)
        assert {r["fate"] for r in fate(node, mid)["recipients"]} == {"delivered"}
    finally:
        p.stop()
