"""S24 to S28: the checks of a domain at its door. Each is off until the domain's owner switches it on,
marks or refuses as told, and holds nothing against anybody that DNS did not say."""
import contextlib
import socket
import subprocess

import house
import pytest
from nameserver import Dns, a, mx, ptr, txt

A, PTR, MX, TXT = 1, 12, 15, 16
GOOD = {
    ("9.0.0.127.in-addr.arpa", PTR): [ptr("mail.good.org")],
    ("mail.good.org", A): [a("127.0.0.9")],
    ("8.0.0.127.in-addr.arpa", PTR): [ptr("other.good.org")],
    ("good.org", MX): [mx(10, "mail.good.org")],
    ("good.org", TXT): [txt("v=spf1 ip4:127.0.0.9 -all")],
    ("strict.org", MX): [mx(10, "mail.good.org")],
    ("strict.org", TXT): [txt("v=spf1 -all exp=why.strict.org")],
    ("why.strict.org", TXT): [txt("%{i} may not send for us")],
    ("dead.org", MX): [mx(0, "")],
}
CLEAN = b"From: <a@good.org>\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\nSubject: x\r\n\r\nbody\r\n"


@pytest.fixture
def door(tmp_path):
    dns = Dns()
    dns.records = dict(GOOD)
    with house.Node(tmp_path, extra='dns:\n  servers: ["127.0.0.1:%d"]\n' % dns.port) as n:
        n.add_domain("customer.test", route="127.0.0.1:%d" % house.free_port(), dsn="none")
        n.dns = dns
        yield n
    dns.s.close()


def switch(node, text):
    row, = node.ask("domain.set", name="customer.test", checks=text)
    return row["checks"]


def rcpt(node, source, sender, to="b@customer.test"):
    c = house.Client(node.port, source=source).hello()
    assert c.code("MAIL FROM:<%s>" % sender) == 250
    code, lines = c.say("RCPT TO:<%s>" % to)
    c.say("QUIT")
    return code, lines[-1]


def checked(node):
    return node.events("checked")[-1]


def send(node, body=CLEAN, source="127.0.0.9", sender="a@good.org"):
    c = house.Client(node.port, source=source).hello()
    code, lines = c.send(body, sender=sender, rcpts=["b@customer.test", "c@customer.test"])
    return code, lines[-1]


def message(node, answer, *options):
    mid = answer[1].split()[-1]
    done = subprocess.run([house.CLI, "--socket", str(node.socket), "message", "cat", mid, *options],
                          capture_output=True, check=True)
    return done.stdout


def headers_of(node, answer):
    return message(node, answer, "--headers").decode()


def test_s24_with_all_off_any_mail_is_taken_and_nothing_is_asked(door):
    assert door.ask("domain.show", name="customer.test")[0]["checks"] == "rdns=off,sender=off,spf=off,headers=off"
    assert send(door, b"no header at all\r\n", source="127.0.0.8", sender="a@dead.org")[0] == 250
    assert door.dns.asked == 0 and not door.events("checked")


def test_what_is_not_named_stays_and_what_is_wrong_is_told(door):
    assert switch(door, "all=mark,sender=defer") == "rdns=mark,sender=defer,spf=mark,headers=mark"
    assert switch(door, "spf=off") == "rdns=mark,sender=defer,spf=off,headers=mark"
    done = subprocess.run([house.CLI, "--socket", str(door.socket), "domain", "set", "customer.test",
                           "--checks", "spf=on"], capture_output=True, text=True)
    assert done.returncode == 64 and "at byte 5" in done.stderr and "off, mark, defer or refuse" in done.stderr


@pytest.mark.parametrize("source,mode,code,word", [
    ("127.0.0.9", "refuse", "250 2.1.5", "confirmed"),
    ("127.0.0.8", "refuse", "550 5.7.25", "mismatch"),
    ("127.0.0.7", "defer", "450 4.7.25", "none"),
    ("127.0.0.7", "mark", "250 2.1.5", "none"),
])
def test_s26_the_clients_name(door, source, mode, code, word):
    switch(door, "rdns=" + mode)
    assert rcpt(door, source, "a@good.org")[1].startswith(code)
    assert "client=%s" % source in checked(door) and "sender=off spf=off" in checked(door)


@pytest.mark.parametrize("sender,mode,code", [
    ("a@good.org", "refuse", "250 2.1.5"),
    ("", "refuse", "250 2.1.5"),
    ("a@[192.0.2.1]", "refuse", "250 2.1.5"),
    ("a@gone.org", "refuse", "550 5.1.8"),
    ("a@gone.org", "defer", "450 4.1.8"),
    ("a@dead.org", "refuse", "550 5.7.27"),
    ("a@dead.org", "mark", "250 2.1.5"),
    ("a@some.localhost", "refuse", "550 5.1.8"),
])
def test_s27_the_senders_domain(door, sender, mode, code):
    switch(door, "sender=" + mode)
    assert rcpt(door, "127.0.0.9", sender)[1].startswith(code)


@pytest.mark.parametrize("source,sender,mode,code", [
    ("127.0.0.9", "a@good.org", "refuse", "250 2.1.5"),
    ("127.0.0.8", "a@good.org", "refuse", "550 5.7.23 SPF fail for good.org"),
    ("127.0.0.8", "a@strict.org", "defer",
     "450 4.7.23 SPF fail, its owner says: 127.0.0.8 may not send for us"),
    ("127.0.0.8", "a@good.org", "mark", "250 2.1.5"),
    ("127.0.0.8", "a@dead.org", "refuse", "250 2.1.5"),
])
def test_spf_says_who_may_send(door, source, sender, mode, code):
    switch(door, "spf=" + mode)
    assert rcpt(door, source, sender)[1].startswith(code)


def test_what_spf_said_goes_with_the_message(door):
    switch(door, "spf=mark")
    head = headers_of(door, send(door))
    assert head.startswith("Authentication-Results: trispool; spf=pass smtp.mailfrom=a@good.org\r\n"
                           "Received-SPF: pass ") and head.count("Received:") == 1
    assert head.index("Received:") > head.index("identity=mailfrom")
    whole = message(door, send(door, source="127.0.0.9"))
    assert whole.endswith(b"\r\n" + CLEAN) and whole.index(CLEAN) == whole.index(b"From: <a@good.org>")
    head = headers_of(door, send(door, source="127.0.0.8"))
    assert "Received-SPF: fail " in head and 'envelope-from="a@good.org"' in head.replace("\r\n\t", " ")
    switch(door, "spf=off,rdns=mark")
    assert "Received-SPF" not in headers_of(door, send(door))
    switch(door, "rdns=off")
    assert headers_of(door, send(door)).startswith("Received: ")


@pytest.mark.parametrize("mode", ["servfail", "silent"])
def test_what_dns_does_not_say_is_held_against_nobody(door, mode):
    switch(door, "all=refuse")
    door.dns.mode = mode
    assert rcpt(door, "127.0.0.7", "a@gone.org")[0] == 250
    assert "rdns=unknown name" in checked(door) and "spf=temperror" in checked(door)


def test_the_first_in_order_refuses_and_all_recipients_have_one_verdict(door):
    switch(door, "all=refuse")
    assert rcpt(door, "127.0.0.8", "a@dead.org")[1].startswith("550 5.7.25")
    assert rcpt(door, "127.0.0.9", "a@dead.org")[1].startswith("550 5.7.27")
    assert send(door)[0] == 250
    assert len(door.events("checked")) == 3
    assert rcpt(door, "127.0.0.8", "a@dead.org", to="postmaster")[0] == 250


def test_a_refusal_counts_for_the_whole_transaction(door):
    switch(door, "all=defer")
    c = house.Client(door.port, source="127.0.0.8").hello()
    for _ in range(3):
        assert c.code("MAIL FROM:<a@dead.org>") == 250
        assert {c.code("RCPT TO:<u%d@customer.test>" % i) for i in range(50)} == {450}
        assert c.code("RSET") == 250
    assert len(door.events("checked")) == 3


def test_domain_after_domain_is_not_looked_up_without_end(door):
    for i in range(5):
        door.add_domain("c%d.test" % i, route="127.0.0.1:1", checks="all=defer")
    c = house.Client(door.port, source="127.0.0.8").hello()
    assert c.code("MAIL FROM:<a@dead.org>") == 250
    assert [c.code("RCPT TO:<u@c%d.test>" % i) for i in range(5)] == [450, 450, 450, 452, 452]
    assert len(door.events("checked")) == 3


def test_postmaster_is_reached_by_who_was_refused(door):
    switch(door, "all=refuse")
    c = house.Client(door.port, source="127.0.0.8").hello()
    assert c.code("MAIL FROM:<a@dead.org>") == 250
    assert c.code("RCPT TO:<b@customer.test>") == 550
    assert c.code("RCPT TO:<postmaster>") == 250
    assert c.code("DATA") == 354
    c.raw(b"no header\r\n.\r\n")
    assert c.reply()[0] == 250


def test_what_was_sent_ahead_waits_for_the_verdict(door):
    switch(door, "all=refuse")
    c = house.Client(door.port, source="127.0.0.9").hello()
    c.raw(b"MAIL FROM:<a@good.org>\r\nRCPT TO:<b@customer.test>\r\nRCPT TO:<c@customer.test>\r\nDATA\r\n")
    assert [c.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
    c.raw(CLEAN + b".\r\nMAIL FROM:<a@dead.org>\r\nRCPT TO:<b@customer.test>\r\nQUIT\r\n")
    assert [c.reply()[0] for _ in range(4)] == [250, 250, 550, 221]


def test_what_dns_found_is_not_asked_again_and_again(door):
    switch(door, "all=refuse")
    c = house.Client(door.port, source="127.0.0.9").hello()
    assert c.send(CLEAN, sender="a@good.org", rcpts=["b@customer.test"])[0] == 250
    asked = door.dns.asked
    assert c.send(CLEAN, sender="other@good.org", rcpts=["b@customer.test"])[0] == 250
    assert door.dns.asked == asked > 0 and len(door.events("checked")) == 2


def test_the_null_sender_is_judged_by_its_helo(door):
    switch(door, "spf=refuse")
    door.dns.records[("bad.good.org", TXT)] = [txt("v=spf1 -all")]
    c = house.Client(door.port, source="127.0.0.9")
    assert c.code("EHLO bad.good.org") == 250 and c.code("MAIL FROM:<>") == 250
    assert c.say("RCPT TO:<b@customer.test>")[1][-1] == "550 5.7.23 SPF fail for bad.good.org"


@pytest.mark.parametrize("mode,code", [("refuse", "550 5.6.0"), ("mark", "250 2.0.0")])
@pytest.mark.parametrize("body", [
    b"Subject: no from, no date\r\n\r\nx\r\n",
    CLEAN.replace(b"Subject", b"Date"),
    b"From me\r\n" + CLEAN,
    CLEAN.replace(b"x\r\n", b"\xe4\r\n"),
])
def test_s28_the_form_of_the_header(door, body, mode, code):
    switch(door, "headers=" + mode)
    assert send(door, CLEAN)[0] == 250
    answer = send(door, body)
    assert answer[1].startswith(code), answer
    assert "mode=" + mode in door.events("headers_bad")[-1]
    assert send(door, CLEAN)[0] == 250


def test_a_refused_header_leaves_the_session_open(door):
    switch(door, "headers=refuse")
    c = house.Client(door.port).hello()
    assert c.send(b"x: y\r\n\r\nz\r\n", rcpts=["b@customer.test"])[0] == 550
    assert c.send(CLEAN, rcpts=["b@customer.test"])[0] == 250


def test_clients_that_do_not_wait_leave_nothing_behind(door):
    switch(door, "all=refuse")
    door.dns.mode = "silent"
    for _ in range(20):
        c = house.Client(door.port, source="127.0.0.9").hello()
        c.raw(b"MAIL FROM:<a@good.org>\r\nRCPT TO:<b@customer.test>\r\nDATA\r\n")
        with contextlib.suppress(OSError):
            c.s.shutdown(socket.SHUT_RDWR)
        c.close()
    house.until(lambda: door.dns.asked >= 20)
    house.until(lambda: door.status()["sessions"] == 0)
    door.dns.mode = "answer"
    assert send(door)[0] == 250


def test_it_ends_in_good_order_while_something_is_asked(door):
    switch(door, "all=refuse")
    door.dns.mode = "silent"
    c = house.Client(door.port, source="127.0.0.9").hello()
    c.raw(b"MAIL FROM:<a@good.org>\r\nRCPT TO:<b@customer.test>\r\n")
    house.until(lambda: door.dns.asked > 0)
    c.raw(b"QUIT\r\n")
    door.process.send_signal(house.signal.SIGTERM)
    assert [c.reply()[0] for _ in range(3)] == [250, 250, 221]  # not cut off, and not waited for in vain
    assert door.process.wait(timeout=60) == 0, door.log_text()[-4000:]  # a leak is an error here
