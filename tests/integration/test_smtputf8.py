"""RFC 6531: addresses and headers in other scripts go through byte for byte, for domains whose owner says
that their primary takes them, and are refused in the session for all others. Never sent without SMTPUTF8."""
import fleet
import house
import postfix
import pytest
from nameserver import Dns, txt

TXT = 16

SENDER, RCPT = "josé@exämple.test", "用户@bücher.test"
A_LABEL = "xn--bcher-kva.test"  # bücher.test
BODY = ("From: José <josé@exämple.test>\r\nTo: 用户@bücher.test\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\n"
        "Message-Id: <one@sender.example>\r\nSubject: Grüße\r\n\r\nschön\r\n").encode()


def say(c, *lines):
    """The codes; the last line's text."""
    for line in lines:
        c.raw(line.encode() + b"\r\n")
        code, text = c.reply()
    return code, text[-1]


def send(port, sender=SENDER, rcpts=(RCPT,), params="SMTPUTF8 BODY=8BITMIME", body=BODY):
    c = house.Client(port).hello()
    assert say(c, "MAIL FROM:<%s> %s" % (sender, params))[0] == 250
    for r in rcpts:
        assert say(c, "RCPT TO:<%s>" % r)[0] == 250
    assert say(c, "DATA")[0] == 354
    c.raw(body + b".\r\n")
    code, lines = c.reply()
    c.close()
    assert code == 250, lines
    return lines[-1].split()[-1]


def metric(node, name):
    return next(float(r["line"].split()[1]) for r in node.ask("metrics") if r["line"].startswith(name + " "))


def offers(node):
    return any("SMTPUTF8" in l for l in house.Client(node.port).say("EHLO client.example")[1])


@pytest.fixture
def utf8(tmp_path, node, sink):
    node.add_domain(A_LABEL, route="127.0.0.1:%d" % sink.port, smtputf8=True)
    house.until(lambda: offers(node))
    sink.options = ("--dir", tmp_path / "mail")
    return node


def kept(tmp_path):
    return [(p.read_text(), p.with_suffix(".eml").read_bytes()) for p in sorted((tmp_path / "mail").glob("*.env"))]


def test_every_byte_goes_out_as_it_came(tmp_path, utf8, sink):
    mid = send(utf8.port)
    assert utf8.trace(mid)[0]["smtputf8"]
    with sink:
        house.until(lambda: utf8.queued() == 0)
    (envelope, message), = kept(tmp_path)
    assert envelope.splitlines()[:2] == [
        "MAIL FROM:<%s> SIZE=%d BODY=8BITMIME SMTPUTF8" % (SENDER, len(message)), "RCPT TO:<%s>" % RCPT]
    assert message.endswith(BODY) and b"with UTF8SMTP id " in message.split(BODY)[0]


def test_one_domain_has_two_names_and_a_look_alike_is_another(utf8):
    c = house.Client(utf8.port).hello()
    assert say(c, "MAIL FROM:<%s> SMTPUTF8" % SENDER)[0] == 250
    for bad in ("a@bücher.tеst", "a@bucher.test", "a@sub.bücher.test", "a%b@bücher.test", "a@bücher.test.evil.example"):
        assert say(c, "RCPT TO:<%s>" % bad)[1].startswith("550 5.7.1"), bad
    for dot in ("a@bücher.test\u3002", "a@bücher\u3002test", "a\uff05evil.example@bücher.test"):
        assert say(c, "RCPT TO:<%s>" % dot)[1].startswith("550 5.7.1"), dot
    assert say(c, "RCPT TO:<a@bücher.test.>")[0] == 501
    assert say(c, "RCPT TO:<a@[bücher]>")[0] == 501
    c.raw(b"RCPT TO:<a\xff@b\xc3\xbccher.test>\r\n")
    assert c.reply()[0] == 501
    for good in (RCPT, "a@" + A_LABEL, "a@BÜCHER.test", "a@XN--BCHER-KVA.test"):
        assert say(c, "RCPT TO:<%s>" % good)[0] == 250, good
    assert say(c, "RCPT TO:<b@example.test>")[1].startswith("452 4.5.3")
    c.close()


def test_a_domain_without_it_refuses_in_the_session(utf8):
    c = house.Client(utf8.port).hello()
    assert say(c, "MAIL FROM:<a@x.example> SMTPUTF8")[0] == 250  # ASCII so far: the message may not be
    assert say(c, "RCPT TO:<b@example.test>")[1].startswith("550 5.6.7")
    assert say(c, "RCPT TO:<postmaster>")[1].startswith("550 5.6.7")  # the operator's is at example.test
    assert say(c, "RSET", "MAIL FROM:<a@x.example>", "RCPT TO:<b@example.test>")[0] == 250
    c.close()
    utf8.ask("domain.set", name=A_LABEL, smtputf8=False)
    house.until(lambda: not offers(utf8))
    c = house.Client(utf8.port).hello()
    assert say(c, "MAIL FROM:<%s> SMTPUTF8" % SENDER)[1].startswith("555 5.5.4")
    assert say(c, "MAIL FROM:<%s>" % SENDER)[1].startswith("501 5.6.7")
    c.close()


def test_a_header_in_another_script_needs_it_where_headers_are_checked(utf8):
    utf8.ask("domain.set", name=A_LABEL, checks="headers=refuse")
    send(utf8.port)
    c = house.Client(utf8.port).hello()
    assert say(c, "MAIL FROM:<a@x.example> BODY=8BITMIME", "RCPT TO:<a@%s>" % A_LABEL, "DATA")[0] == 354
    c.raw(BODY + b".\r\n")
    assert c.reply()[1][-1].startswith("550 5.6.0")
    c.close()


def test_it_waits_for_a_primary_that_does_not_offer_it(tmp_path, utf8, sink):
    mid = send(utf8.port)
    with house.Sink(tmp_path / "old", sink.port, "--no-8bitmime") as old:
        house.until(lambda: utf8.events("message_deferred"))
        rcpt, = utf8.trace(mid)[0]["recipients"]
        assert "does not offer SMTPUTF8" in rcpt["reply"] and rcpt["fate"] == "pending"
        assert old.stats()["received"] == old.stats()["rejected"] == 0
    with sink:
        utf8.ask("queue.operate", op="retry", ids=[mid])
        house.until(lambda: utf8.queued() == 0)
    (_, message), = kept(tmp_path)
    assert message.endswith(BODY) and not utf8.events("message_bounced")


def test_the_senders_domain_is_judged_by_its_a_labels(tmp_path):
    """forged: a domain served here is the sender's, whichever way it is written; SPF is asked for that name."""
    dns = Dns()
    dns.records = {(A_LABEL, TXT): [txt("v=spf1 -all")]}
    (tmp_path / "node").mkdir()
    with house.Node(tmp_path / "node", extra='dns:\n  servers: ["127.0.0.1:%d"]\n' % dns.port) as node:
        node.add_domain(A_LABEL, route="127.0.0.1:%d" % house.free_port(), smtputf8=True, checks="forged=refuse")
        house.until(lambda: offers(node))
        c = house.Client(node.port).hello()
        for sender in ("chef@bücher.test", "schäf@" + A_LABEL):
            assert say(c, "RSET", "MAIL FROM:<%s> SMTPUTF8" % sender)[0] == 250
            assert say(c, "RCPT TO:<%s>" % RCPT)[1].startswith("550 5.7"), sender
        assert say(c, "RSET", "MAIL FROM:<chef@bücher.example> SMTPUTF8", "RCPT TO:<%s>" % RCPT)[0] == 250
        assert say(c, "RSET", "MAIL FROM:<a@\u202e.example> SMTPUTF8")[1].startswith("501 5.1.7")
        assert say(c, "RSET", "MAIL FROM:<a@\uff45xample.org> SMTPUTF8")[1].startswith("553 5.1.7")  # a wide e
        c.close()
    dns.s.close()


def test_a_recipient_in_another_script_is_learned(tmp_path, utf8, sink):
    utf8.ask("domain.set", name=A_LABEL, recipients="learn", unknown="defer")
    with sink:
        send(utf8.port)
        house.until(lambda: utf8.queued() == 0)
        house.until(lambda: utf8.ask("domain.show", name=A_LABEL)[0]["learned"] == 1)
    house.until(lambda: metric(utf8, "trispool_recipients_unstored") == 0)
    utf8.kill()
    utf8.start()
    house.until(lambda: utf8.ask("domain.show", name=A_LABEL)[0]["learned"] == 1)
    c = house.Client(utf8.port).hello()
    assert say(c, "MAIL FROM:<%s> SMTPUTF8" % SENDER, "RCPT TO:<%s>" % RCPT)[0] == 250
    assert say(c, "RCPT TO:<客户@bücher.test>")[1].startswith("450 4.1.1")
    c.close()


def test_a_stock_postfix_sends_it_and_takes_it(tmp_path, utf8):
    with postfix.primary(A_LABEL, "bücher.test", port=utf8.primary_port, smtputf8_enable="yes") as primary, \
            postfix.sender(utf8.port, smtputf8_enable="yes") as sender:
        send(sender.port)
        house.until(lambda: sender.queued() == 0)
        assert sender.lines("status=sent"), sender.log_text()
        house.until(lambda: primary.received())
        message, = primary.received()
    assert message.endswith(BODY) and b"with UTF8SMTP id " in message


def test_all_sites_know_that_it_is(tmp_path):
    (tmp_path / "mail").mkdir()
    primary = house.free_port()
    f = fleet.on_loopback(tmp_path)
    try:
        f.form()
        f.add_domain(A_LABEL, "127.0.0.1:%d" % primary, smtputf8=True, recipients="learn")
        house.until(lambda: all(offers(m) for m in f.live()))
        mid = send(f[1].port)
        house.until(lambda: all(m.queued() == 1 for m in f.live()), 60)
        assert all(m.trace(mid)[0]["smtputf8"] for m in f.live())
        f.holder(A_LABEL).kill()
        with house.Sink(tmp_path / "sink", primary, "--dir", tmp_path / "mail"):
            house.until(lambda: f.queued() == 0, 90)
        (envelope, message), = kept(tmp_path)
        assert envelope.splitlines()[0].endswith(" SMTPUTF8") and message.endswith(BODY)
        house.until(lambda: all(m.ask("domain.show", name=A_LABEL)[0]["learned"] == 1 for m in f.live()))
    finally:
        f.kill()
    assert not f.broken()
