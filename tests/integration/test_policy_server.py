"""A policy server of the operator's is asked about each recipient whose domain wants it, in the
protocol of Postfix; it may refuse, and nothing that goes wrong with it does."""
import os
import shutil
import signal
import socket
import subprocess
import threading

import pytest

import house


class PolicyServer:
    """Answers by the local part of the recipient; what is not listed is DUNNO. None: no answer. once: a
    second question on a connection gets its end."""

    def __init__(self, folder, answers=None, inet=False, once=False):
        self.answers, self.once = answers or {}, once
        self.asked, self.connections, self.hold = [], 0, threading.Event()
        self.hold.set()
        self.s = socket.socket(socket.AF_INET if inet else socket.AF_UNIX)
        if inet:
            self.s.bind(("127.0.0.1", 0))
            self.address = "inet:127.0.0.1:%d" % self.s.getsockname()[1]
        else:
            self.address = "unix:%s/policy%x" % (folder, id(self))
            self.s.bind(self.address[5:])
        self.s.listen(100)
        self.open = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                c = self.s.accept()[0]
            except OSError:
                return
            self.connections += 1
            self.open.append(c)
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        f, answered = c.makefile("rb"), 0
        while True:
            question = {}
            for line in f:
                if line == b"\n":
                    break
                name, value = line.decode().rstrip("\n").split("=", 1)
                question[name] = value
            else:
                return
            self.asked.append(question)
            answered += 1
            if self.once and answered == 2:
                c.shutdown(socket.SHUT_RDWR)
                return
            self.hold.wait()
            answer = self.answers.get(question["recipient"].split("@")[0], b"action=DUNNO\n\n")
            try:
                if answer is not None:
                    c.sendall(answer)
            except OSError:
                return

    def stop(self):
        self.s.close()
        for c in self.open:
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def tell(node, *words):
    return subprocess.run([house.CLI, "--socket", str(node.socket), *words], check=True, timeout=60,
                          stdout=subprocess.PIPE, text=True).stdout


def metric(node, name):
    return next(int(l.split()[1]) for l in tell(node, "metrics").splitlines()
                if l.startswith("trispool_policy_%s_total " % name))


def node_with(folder, server, more="policy_timeout: 30s", mode="refuse", threads=2):
    n = house.Node(folder, smtp="policy_server: %s\n%s" % (server, more))
    n.config.write_text(n.config.read_text().replace("threads: 2", "threads: %d" % threads))
    n.start()
    n.add_domain("example.test", "127.0.0.1:1")
    if mode:
        tell(n, "domain", "set", "example.test", "--checks", "server=" + mode)
    return n


@pytest.fixture
def using(tmp_path):
    """using(server, ...): a node that asks it."""
    nodes = []

    def make(server, **settings):
        nodes.append(node_with(tmp_path, server, **settings))
        return nodes[-1]
    yield make
    for n in nodes:
        if n.process.poll() is None:
            n.stop()


def rcpt(node, local, source="127.0.0.1", sender="a@sender.example"):
    c = house.Client(node.port, source=source).hello()
    assert c.code("MAIL FROM:<%s> SIZE=321" % sender) == 250
    code, lines = c.say("RCPT TO:<%s@example.test>" % local)
    c.close()
    return code, lines[-1]


def test_it_is_asked_about_each_recipient_and_may_refuse(tmp_path, using):
    server = PolicyServer(tmp_path, {"evil": b"action=REJECT not here\n\n",
                                     "later": b"action=DEFER_IF_PERMIT 4.2.0 in a minute\n\n",
                                     "odd": b"action=PREPEND X-Odd: yes\n\n"})
    n = using(server.address)
    c = house.Client(n.port).hello()
    assert c.code("MAIL FROM:<a@sender.example> SIZE=321") == 250
    assert c.code("RCPT TO:<good@example.test>") == 250
    assert c.say("RCPT TO:<evil@example.test>") == (554, ["554 5.7.1 not here"])
    assert c.say("RCPT TO:<later@example.test>") == (450, ["450 4.2.0 in a minute"])
    assert c.code("RCPT TO:<odd@example.test>") == 250
    assert c.code("DATA") == 354
    c.raw(b"x: y\r\n\r\n.\r\n")
    assert c.reply()[0] == 250
    assert "rcpts=2" in n.events("message_accepted")[0]
    assert [q["recipient"].split("@")[0] for q in server.asked] == ["good", "evil", "later", "odd"]
    assert len({q["instance"] for q in server.asked}) == 1
    assert server.connections == 1
    first = server.asked[0]
    wanted = {"request": "smtpd_access_policy", "protocol_state": "RCPT", "protocol_name": "ESMTP",
              "client_address": "127.0.0.1", "helo_name": "client.example",
              "sender": "a@sender.example", "recipient": "good@example.test", "size": "321"}
    assert {k: first[k] for k in wanted} == wanted
    assert [metric(n, m) for m in ("asked", "refused", "unknown", "failed")] == [4, 2, 1, 0]
    said = n.events("policy_answer")
    assert [l.split(" action=")[1].split()[0] for l in said] == ["REJECT", "DEFER_IF_PERMIT", "PREPEND"]
    assert c.code("MAIL FROM:<>") == 250 and c.code("RCPT TO:<good@example.test>") == 250
    assert server.asked[-1]["sender"] == "" and server.asked[-1]["instance"] != first["instance"]


def test_421_ends_the_session(tmp_path, using):
    n = using(PolicyServer(tmp_path, {"go": b"action=421 4.7.0 go away\n\n"}).address)
    c = house.Client(n.port).hello()
    c.code("MAIL FROM:<a@sender.example>")
    assert c.say("RCPT TO:<go@example.test>") == (421, ["421 4.7.0 go away"]) and c.closed()


@pytest.mark.parametrize("mode, code, asked", [("off", 250, 0), ("mark", 250, 1), ("defer", 454, 1),
                                               ("refuse", 554, 1)])
def test_a_domain_decides_what_its_word_is_worth(tmp_path, using, mode, code, asked):
    server = PolicyServer(tmp_path, {"evil": b"action=REJECT no\n\n"})
    n = using(server.address, mode=mode)
    assert rcpt(n, "evil")[0] == code
    assert len(server.asked) == asked
    assert ["mode=" + mode in l for l in n.events("policy_answer")] == [True] * asked


def test_a_domain_that_said_nothing_is_not_asked_about_and_postmaster_never(tmp_path, using):
    server = PolicyServer(tmp_path, {"b": b"action=REJECT\n\n", "ops": b"action=REJECT\n\n"})
    n = using(server.address, mode=None)
    assert rcpt(n, "b")[0] == 250
    tell(n, "domain", "set", "example.test", "--checks", "server=refuse")
    c = house.Client(n.port).hello()
    c.code("MAIL FROM:<a@sender.example>")
    assert c.code("RCPT TO:<postmaster>") == 250
    assert server.asked == []
    assert rcpt(n, "b")[0] == 554


def test_what_is_refused_before_is_not_asked_about(tmp_path, using):
    server = PolicyServer(tmp_path)
    n = using(server.address)
    c = house.Client(n.port).hello()
    c.code("MAIL FROM:<a@sender.example>")
    assert c.code("RCPT TO:<b@elsewhere.test>") == 550
    assert server.asked == []


@pytest.mark.parametrize("answer", [b"nonsense\n", b"\n", b"action=OK\naction=REJECT\n\n", b"x" * 5000, None])
def test_no_answer_and_nonsense_refuse_nobody(tmp_path, using, answer):
    n = using(PolicyServer(tmp_path, {"b": answer}).address, more="policy_timeout: 300ms")
    assert rcpt(n, "b")[0] == 250
    assert metric(n, "failed") == 1 and metric(n, "asked") == 1
    assert len(n.events("policy_failed")) == 1
    assert rcpt(n, "b")[0] == 250  # and for a while it is not asked, by this thread
    assert len(n.events("policy_failed")) <= 2


def test_one_question_without_an_answer_switches_it_off_for_nobody_else(tmp_path, using):
    server = PolicyServer(tmp_path, {"slow": None, "evil": b"action=REJECT\n\n"})
    n = using(server.address, more="policy_timeout: 300ms", threads=1)
    for _ in range(2):
        assert [rcpt(n, "slow")[0] for _ in range(3)] == [250] * 3
        assert rcpt(n, "evil")[0] == 554
    assert [rcpt(n, "slow")[0] for _ in range(4)] == [250] * 4
    assert rcpt(n, "evil")[0] == 250  # four in a row: it rests
    assert metric(n, "failed") == 11 and len(n.events("policy_failed")) == 10


def test_a_server_that_is_not_there_refuses_nobody_and_is_found_again(tmp_path, using):
    n = using("unix:%s/nobody" % tmp_path, threads=1)
    assert [rcpt(n, "b")[0] for _ in range(3)] == [250] * 3
    assert metric(n, "failed") == 3 and metric(n, "asked") == 1
    assert len(n.events("policy_failed")) == 1
    server = PolicyServer(tmp_path, {"b": b"action=REJECT\n\n"})
    os.rename(server.address[5:], tmp_path / "nobody")
    house.until(lambda: rcpt(n, "b")[0] == 554)


@pytest.mark.parametrize("inet", [False, True])
def test_what_a_server_closes_on_is_asked_again_on_another_connection(tmp_path, using, inet):
    server = PolicyServer(tmp_path, {"evil": b"action=REJECT\n\n"}, inet=inet, once=True)
    n = using(server.address, threads=1)
    for _ in range(5):
        assert rcpt(n, "good")[0] == 250
        assert rcpt(n, "evil")[0] == 554
    assert metric(n, "failed") == 0


def test_more_clients_than_connections_wait_their_turn(tmp_path, using):
    server = PolicyServer(tmp_path, {"evil": b"action=REJECT\n\n"})
    n = using(server.address, threads=1)
    server.hold.clear()
    clients = []
    for i in range(45):
        c = house.Client(n.port).hello()
        assert c.code("MAIL FROM:<a@sender.example>") == 250
        c.raw(b"RCPT TO:<%s@example.test>\r\n" % (b"evil" if i % 2 else b"good"))
        clients.append(c)
    house.until(lambda: len(server.asked) == 32)
    server.hold.set()
    assert [c.reply()[0] for c in clients] == [554 if i % 2 else 250 for i in range(45)]
    assert server.connections == 32 and len(server.asked) == 45
    assert metric(n, "failed") == 0


def test_an_answer_for_a_client_that_has_gone_is_nobody_elses(tmp_path, using):
    server = PolicyServer(tmp_path, {"evil": b"action=REJECT\n\n"})
    n = using(server.address, threads=1)
    server.hold.clear()
    gone = house.Client(n.port).hello()
    gone.code("MAIL FROM:<a@sender.example>")
    gone.raw(b"RCPT TO:<evil@example.test>\r\n")
    house.until(lambda: len(server.asked) == 1)
    gone.close()
    house.until(lambda: n.events("disconnect"))
    server.hold.set()
    for _ in range(3):
        assert rcpt(n, "good")[0] == 250 and rcpt(n, "evil")[0] == 554


def test_a_stop_does_not_wait_for_it(tmp_path, using):
    server = PolicyServer(tmp_path)
    n = using(server.address, more="policy_timeout: 100s")
    server.hold.clear()
    c = house.Client(n.port).hello()
    c.code("MAIL FROM:<a@sender.example>")
    c.raw(b"RCPT TO:<b@example.test>\r\n")
    house.until(lambda: len(server.asked) == 1)
    n.process.send_signal(signal.SIGTERM)
    assert c.reply()[0] == 250  # a transaction that has begun may end
    c.close()
    assert n.process.wait(timeout=60) == 0


def test_a_reload_names_another_server(tmp_path, using):
    first, second = PolicyServer(tmp_path), PolicyServer(tmp_path, {"b": b"action=REJECT\n\n"})
    n = using(first.address, threads=1)
    assert rcpt(n, "b")[0] == 250
    n.config.write_text(n.config.read_text().replace(first.address, second.address))
    tell(n, "config", "reload")
    house.until(lambda: rcpt(n, "b")[0] == 554)
    assert len(second.asked) == 1


@pytest.mark.parametrize("value", ["unix:relative", "unix:", "inet:localhost:10023", "inet:127.0.0.1",
                                   "tcp:127.0.0.1:1", "inet:127.0.0.1:0"])
def test_what_is_no_server_is_told_by_the_check(tmp_path, value):
    n = house.Node(tmp_path, smtp="policy_server: '%s'" % value)
    done = subprocess.run([house.DAEMON, "--check", n.config], capture_output=True, text=True)
    assert done.returncode == 78 and "policy_server" in done.stdout and "unix:/PATH" in done.stdout


def test_postgrey_greylists(tmp_path, using):
    """A policy server that many run, as it is packaged."""
    program = shutil.which("postgrey", path="/usr/sbin:/usr/bin")
    assert program, "postgrey is missing: tests/support/setup.sh packages test"
    port = house.free_port()
    postgrey = subprocess.Popen(
        [program, "--inet=127.0.0.1:%d" % port, "--dbdir=%s" % tmp_path, "--user=root", "--group=root",
         "--delay=1", "--greylist-text=Greylisted here", "--lookup-by-host", "--auto-whitelist-clients=0"],
        stdout=subprocess.DEVNULL, stderr=open(tmp_path / "postgrey.log", "wb"))
    try:
        house.until_port(port)
        n = using("inet:127.0.0.1:%d" % port)
        assert rcpt(n, "b") == (450, "450 4.2.0 Greylisted here")
        house.until(lambda: rcpt(n, "b")[0] == 250)  # the same sender comes again: known
        assert rcpt(n, "b", sender="c@sender.example")[0] == 450
        assert metric(n, "failed") == 0
        house.until(lambda: "action=PREPEND" in "".join(n.events("policy_answer")))
    finally:
        postgrey.terminate()
        postgrey.wait()
