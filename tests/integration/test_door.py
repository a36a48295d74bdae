"""The door: how many sessions a client and its network may have and how fast new ones may come, and
what becomes of who speaks before the banner, or speaks another language."""
import signal
import socket
import subprocess

import pytest

import house


def banner(node, source):
    """(client, its banner's code and text); an allowed or refused one alike."""
    c = house.Client(node.port, source=source)
    return c, c.banner[0], c.banner[1][-1] if c.banner[1] else ""


def is_let_in(node, source):
    c, code, _ = banner(node, source)
    c.close()
    return code == 220


def tell(node, *words):
    return subprocess.run([house.CLI, "--socket", str(node.socket), *words], check=True, timeout=60,
                          stdout=subprocess.PIPE, text=True).stdout


def test_a_client_and_its_network_have_so_many_sessions_and_no_more(tmp_path):
    with house.Node(tmp_path, smtp="max_sessions_per_client: 2\nmax_sessions_per_network: 3") as n:
        inside = [banner(n, source)[0] for source in ("127.0.0.2", "127.0.0.2", "127.0.0.3")]
        _, code, text = banner(n, "127.0.0.2")
        assert (code, text) == (421, "421 4.7.0 Too many connections from your address")
        _, code, text = banner(n, "127.0.0.4")
        assert (code, text) == (421, "421 4.7.0 Too many connections from your network")
        assert is_let_in(n, "127.0.1.2")  # another /24
        assert any("limit=smtp.max_sessions_per_network" in l and "client=127.0.0.4" in l
                   for l in n.events("shed"))
        inside[2].close()
        house.until(lambda: is_let_in(n, "127.0.0.4"))
        for c in inside:
            c.close()


def test_a_network_may_have_what_one_client_may_have(tmp_path):
    with house.Node(tmp_path, smtp="max_sessions_per_client: 4\nmax_sessions_per_network: 1") as n:
        inside = [banner(n, "127.0.0.2") for _ in range(4)]
        assert [code for _, code, _ in inside] == [220] * 4
        assert banner(n, "127.0.0.2")[1] == 421


@pytest.mark.parametrize("setting, other", [("max_rate_per_client", "127.0.0.3"),
                                            ("max_rate_per_network", "127.0.1.2")])
def test_new_sessions_come_at_a_rate(tmp_path, setting, other):
    """One in a minute: the second is refused, whether the first is still there or not."""
    with house.Node(tmp_path, smtp="%s: 1" % setting) as n:
        assert is_let_in(n, "127.0.0.2")
        for _ in range(3):
            c, code, text = banner(n, "127.0.0.2")
            assert code == 421 and text.startswith("421 4.7.0 Too many new connections from your "), text
        assert is_let_in(n, other)
        assert any("limit=smtp.%s" % setting in l for l in n.events("shed"))


def test_who_is_on_an_allow_list_is_spared(tmp_path):
    limits = "max_sessions_per_client: 1\nmax_sessions_per_network: 1\nmax_rate_per_client: 1\n" \
             "max_rate_per_network: 1\ngreet_delay: 10s"
    with house.Node(tmp_path, smtp=limits) as n:
        tell(n, "access", "allow", "127.0.0.9")
        friends = []

        def has_three():
            friends.append(banner(n, "127.0.0.9"))
            return [code for _, code, _ in friends[-3:]] == [220] * 3
        house.until(has_three)
        c = house.Client(n.port, banner=False, source="127.0.0.9")
        c.raw(b"EHLO early.example\r\n")
        assert [c.reply()[0] for _ in range(2)] == [220, 250]  # and takes nobody's place:
        other = house.Client(n.port, banner=False, source="127.0.0.8")
        other.raw(b"x")
        assert other.reply()[0] == 554  # it waited for the banner, so it was inside


FOREIGN = {
    "http": b"POST / HTTP/1.1\r\nHost: mx\r\n\r\nEHLO x\r\nMAIL FROM:<a@b.example>\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "proxy": b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 25\r\nEHLO x\r\n",
    "smtp": b"EHLO spam.example\r\nMAIL FROM:<a@b.example>\r\n",
    "half a line": b"E",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_who_speaks_before_the_banner_is_refused(tmp_path, what):
    with house.Node(tmp_path, smtp="greet_delay: 10s") as n:
        c = house.Client(n.port, banner=False)
        c.raw(FOREIGN[what])
        assert c.reply() == (554, ["554 5.5.1 You spoke before our banner"])
        assert c.closed()
        said = n.events("early_talker")
        assert len(said) == 1 and "client=127.0.0.1" in said[0]
        assert "trispool_early_talkers_total 1\n" in tell(n, "metrics")


def test_without_a_delay_who_has_spoken_by_then_is_refused_all_the_same(node):
    """The daemon sleeps while the kernel takes connection and bytes: they are there when it looks."""
    node.process.send_signal(signal.SIGSTOP)
    c = house.Client(node.port, banner=False)
    c.raw(FOREIGN["smtp"])
    node.process.send_signal(signal.SIGCONT)
    assert c.reply()[0] == 554 and c.closed()
    assert house.Client(node.port).banner[0] == 220


def test_who_waits_for_the_banner_gets_it(tmp_path):
    with house.Node(tmp_path, smtp="greet_delay: 1s") as n:
        n.add_domain()
        assert house.Client(n.port).hello().send(b"x: y\r\n\r\n")[0] == 250
        gone = house.Client(n.port, banner=False)  # and who leaves meanwhile is no early talker
        gone.close()
        house.until(lambda: n.events("disconnect")[1:])
        assert n.events("early_talker") == []


def test_a_node_that_stops_does_not_wait_with_the_banner(tmp_path):
    with house.Node(tmp_path, smtp="greet_delay: 10s") as n:
        c = house.Client(n.port, banner=False)
        house.until(lambda: n.events("connect"))
        n.process.send_signal(signal.SIGTERM)
        assert c.reply()[0] == 421 and c.closed()


@pytest.mark.parametrize("what, code", [("http", 421), ("proxy", 421), ("tls", 0)])
def test_another_protocol_ends_with_its_first_line(node, what, code):
    """No mail command that stands behind it is run."""
    c = house.Client(node.port)
    try:
        c.raw(FOREIGN[what])
        assert c.reply()[0] == code
        assert code == 0 or c.closed()
    except ConnectionResetError:
        assert code == 0
    assert not any(" from=" in l for l in node.log_text().splitlines())


@pytest.mark.parametrize("line", ["XCLIENT ADDR=192.0.2.1", "XFORWARD ADDR=192.0.2.1"])
def test_nobody_may_say_who_the_client_is(node, line):
    c = house.Client(node.port).hello()
    assert c.code(line) == 500
    assert c.send(b"x: y\r\n\r\n")[0] == 250
    assert "client=127.0.0.1" in node.events("message_accepted")[0]


def test_a_client_that_comes_by_ipv6_is_counted_by_its_64(tmp_path):
    with house.Node(tmp_path, smtp="max_sessions_per_client: 1") as n:
        text = n.config.read_text()
        port = house.free_port()
        n.stop()
        n.config.write_text(text.replace('listen: ["', 'listen: ["[::1]:%d", "' % port))
        n.start()
        first = socket.create_connection(("::1", port), timeout=30)
        assert first.makefile("rb").readline().startswith(b"220")
        second = socket.create_connection(("::1", port), timeout=30)
        assert second.makefile("rb").readline().startswith(b"421 4.7.0")
        assert is_let_in(n, "127.0.0.1")
        assert any("client=::1" in l for l in n.events("connect"))
