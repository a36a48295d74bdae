"""The daemon between real mail servers: a stock Debian Postfix as sender and as primary."""
import email
import re
import subprocess
import sys
from collections import Counter

import house
import postfix
import pytest
from certificates import Certificate

HEAD = (b"From: Ann <ann@sender.example>\r\nTo: bob@example.test\r\n"
        b"Date: Tue, 24 Nov 2026 01:00:00 +0000\r\nMessage-Id: <%s@sender.example>\r\n"
        b"Subject: %s\r\n\r\n")
OURS = re.compile(rb"by\s+mx1\.example\.net\s+\(trispool ")
FIELD = re.compile(rb"([!-9;-~]+):[^\r]*\r\n(?:[ \t][^\r]*\r\n)*")


def mail(tag, lines=3):
    tag = tag.encode()
    return HEAD % (tag, tag) + b"".join(b"..line %d of %s\r\n" % (i, tag) for i in range(lines))


def stuffed(body):
    return re.sub(rb"(?m)^\.", b"..", body)


def inject(port, *bodies, sender="ann@sender.example", rcpt="bob@example.test"):
    """By SMTP, in one session; each must get its 250. The dots are doubled here."""
    c = house.Client(port).hello()
    for body in bodies:
        code, lines = c.send(stuffed(body), sender=sender, rcpts=[rcpt])
        assert code == 250, lines
    c.close()


def without(message, *fields):
    """The message behind these leading fields, which must be there in this order."""
    taken = []
    for name in fields:
        m = FIELD.match(message)
        assert m and m[1] == name.encode(), message[:400]
        taken.append(m[0])
        message = message[m.end():]
    return message, taken


def as_from_sender(message):
    """What the sending Postfix was given, of what the primary got: our field, then its field."""
    body, (ours, its) = without(message, "Received", "Received")
    assert OURS.search(ours) and b"(Postfix)" in its
    return body


def as_to_primary(message):
    """What the daemon was given, of what lies in a maildir: Postfix's four fields, then ours."""
    body, fields = without(message, "Return-Path", "X-Original-To", "Delivered-To", "Received",
                           "Received")
    assert OURS.search(fields[4])
    return body


def corpus(folder):
    """The mails of other people, as they can be sent. Postfix ends a header in front of a line
    that belongs to none, so such mails are no test of bytes; most are left."""
    subprocess.run([sys.executable, house.TOP / "tests/corpus/prepare.py", folder], check=True,
                   capture_output=True)
    mails = [f.read_bytes() for f in sorted(folder.glob("*.eml"))]

    def has_clean_header(m):
        head = m.split(b"\r\n\r\n")[0] + b"\r\n"
        return b"\r\n\r\n" in m and re.fullmatch(rb"(?:%s)+" % FIELD.pattern, head)
    kept = [m for m in mails if has_clean_header(m)]
    assert len(kept) >= 60
    return kept


def kept_by(sink_folder):
    return [f.read_bytes() for f in sorted(sink_folder.glob("*.eml"))]


@pytest.fixture
def inbox(tmp_path, node):
    """The primary of `node` that keeps every byte: (sink, function that gives the messages)."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    with house.Sink(tmp_path / "sink", node.primary_port, "--dir", folder) as s:
        yield s, lambda: kept_by(folder)


def a_node(tmp_path, **settings):
    (tmp_path / "mx").mkdir()
    return house.Node(tmp_path / "mx", **settings)


def fill(port, body):
    """Sends it until there is no room for it; how many were taken."""
    c = house.Client(port).hello()
    taken = 0
    while c.send(body)[0] == 250:
        taken += 1
        if taken % 50 == 0:  # a session takes so many messages only
            c.close()
            c = house.Client(port).hello()
    c.close()
    return taken


# --- Postfix sends ---


def test_what_a_postfix_sends_arrives_byte_for_byte(tmp_path, node, inbox):
    mails = corpus(tmp_path / "corpus")
    with postfix.sender(node.port) as p:
        inject(p.port, *mails)
        house.until(lambda: p.queued() == 0)
    house.until(lambda: node.queued() == 0)
    assert Counter(map(as_from_sender, inbox[1]())) == Counter(mails)


def test_many_sessions_of_a_postfix_lose_and_double_nothing(node, inbox):
    with postfix.sender(node.port) as p:
        p.command("smtp-source", "-s", 10, "-m", 100, "-l", 4000, "-f", "ann@sender.example",
                  "-t", "bob@example.test", "127.0.0.1:%d" % p.port)
        house.until(lambda: p.queued() == 0)
        assert len(p.lines(r"relay=127\.0\.0\.1.* status=sent")) == 100
    house.until(lambda: node.queued() == 0)
    got = [as_from_sender(m) for m in inbox[1]()]
    assert len(got) == 100
    assert len({re.search(rb"(?i)message-id: *(\S+)", m)[1] for m in got}) == 100


def test_a_postfix_that_insists_on_tls_gets_it(tmp_path):
    own = Certificate(tmp_path, "own")
    with a_node(tmp_path, smtp="tls_certificate_file: %s\ntls_key_file: %s"
                % (own.certificate, own.key)) as node:
        node.primary_port = house.free_port()
        node.add_domain(route="127.0.0.1:%d" % node.primary_port)
        with postfix.sender(node.port, smtp_tls_security_level="encrypt",
                            smtp_tls_loglevel="1") as p:
            inject(p.port, mail("secret"))
            house.until(lambda: p.queued() == 0)
            assert p.lines("TLS connection established to 127")
            assert p.lines("status=sent")
        (tmp_path / "inbox").mkdir()
        with house.Sink(tmp_path / "sink", node.primary_port, "--dir", tmp_path / "inbox"):
            house.until(lambda: node.queued() == 0)
        message, = kept_by(tmp_path / "inbox")
        assert re.search(rb"with ESMTPS\s+\(TLSv1\.[23] ", message.split(b"Received:")[1])
        assert as_from_sender(message) == mail("secret")


def test_a_postfix_that_insists_on_tls_keeps_its_mail_when_there_is_none(node):
    with postfix.sender(node.port, smtp_tls_security_level="encrypt") as p:
        inject(p.port, mail("secret"))
        house.until(lambda: p.lines("status=deferred.*TLS is required"))
        assert p.queued() == 1
    assert node.queued() == 0


def test_a_postfix_keeps_its_mail_while_the_spool_is_full(tmp_path):
    with a_node(tmp_path, spool="quota: 1MiB") as node:
        node.primary_port = house.free_port()
        node.add_domain(route="127.0.0.1:%d" % node.primary_port)
        filled = fill(node.port, mail("fill", 1000))
        assert house.Client(node.port).banner[0] == 421
        with postfix.sender(node.port) as p:
            inject(p.port, mail("kept"))
            house.until(lambda: p.lines(r"status=deferred.*refused to talk to me: 421 "))
            assert p.queued() == 1
            (tmp_path / "inbox").mkdir()
            with house.Sink(tmp_path / "sink", node.primary_port, "--dir", tmp_path / "inbox"):
                house.until(lambda: p.queued() == 0)  # the spool drains, and takes mail again
                house.until(lambda: node.queued() == 0)
    got = kept_by(tmp_path / "inbox")
    assert len(got) == filled + 1
    assert [as_from_sender(m) for m in got if b"(Postfix)" in m] == [mail("kept")]


def test_a_postfix_keeps_its_mail_while_the_node_stops_and_starts(node, inbox):
    with postfix.sender(node.port) as p:
        node.stop()
        inject(p.port, mail("kept"))
        house.until(lambda: p.lines("status=deferred"))
        node.start()
        house.until(lambda: p.queued() == 0)
    house.until(lambda: node.queued() == 0)
    assert [as_from_sender(m) for m in inbox[1]()] == [mail("kept")]


@pytest.mark.parametrize("settings, said", [
    ({}, r"exceeds size limit 52428800 "),
    ({"smtp_discard_ehlo_keywords": "size"}, r"552 5\.3\.4 .*end of DATA")])
def test_more_than_50_mb_bounces_at_the_sender(node, settings, said):
    """Once the Postfix heeds SIZE, once it sends every byte and hears 552 after the dot."""
    line = b"x" * 998 + b"\r\n"
    with postfix.sender(node.port, **settings) as p:
        inject(p.port, HEAD % (b"huge", b"huge") + line * (53 * 1000 * 1000 // len(line)), sender="")
        # Not by the queue: a message on its way from one folder to the next is in none for a moment.
        house.until(lambda: p.lines(r"status=(?!deferred)"), seconds=60)
        assert p.lines(r"dsn=5\.3\.4, status=bounced.*" + said), p.log_text()
    assert node.queued() == 0


# --- Postfix is the primary ---


def test_a_postfix_primary_gets_every_byte_over_few_connections(tmp_path, node):
    mails = corpus(tmp_path / "corpus")
    inject(node.port, *mails)
    assert node.queued() == len(mails)
    with postfix.primary("example.test", port=node.primary_port) as p:
        house.until(lambda: len(p.received()) >= len(mails))
        house.until(lambda: node.queued() == 0)
        assert Counter(map(as_to_primary, p.received())) == Counter(mails)
        node.stop()  # ends the connections that are kept open: Postfix counts what they carried
        house.until(lambda: len(p.lines(" connect from ")) == len(p.lines("disconnect from ")))
        carried = [int(re.search(r" data=(\d+)", l)[1]) for l in p.lines("disconnect from .* data=")]
        assert sum(carried) == len(mails)
        assert len(carried) < len(mails) / 2
        node.start()


def test_the_bytes_arrive_over_tls_when_the_primary_insists(tmp_path, node):
    own = Certificate(tmp_path, "own")
    mails = [mail("one"), mail("two", 20000)]
    with postfix.primary("example.test", port=node.primary_port,
                         smtpd_tls_security_level="encrypt", smtpd_tls_cert_file=own.certificate,
                         smtpd_tls_key_file=own.key, smtpd_tls_received_header="yes") as p:
        node.ask("domain.set", name="example.test", tls="require")
        inject(node.port, *mails)
        house.until(lambda: node.queued() == 0)
        house.until(lambda: len(p.received()) == 2)
        assert Counter(map(as_to_primary, p.received())) == Counter(mails)
        assert all(b"with ESMTPS id" in m for m in p.received())


def test_tls_is_used_where_it_is_offered(tmp_path, node):
    own = Certificate(tmp_path, "own")
    with postfix.primary("example.test", port=node.primary_port, smtpd_tls_security_level="may",
                         smtpd_tls_cert_file=own.certificate, smtpd_tls_key_file=own.key) as p:
        inject(node.port, mail("one"))
        house.until(lambda: len(p.received()) == 1)
        assert b"with ESMTPS id" in p.received()[0]


def test_mail_that_must_go_by_tls_waits_for_it(node):
    with postfix.primary("example.test", port=node.primary_port) as p:
        node.ask("domain.set", name="example.test", tls="require")
        inject(node.port, mail("one"))
        house.until(lambda: node.events("tls_out_failed"))
        assert node.queued() == 1
        assert p.received() == [] and p.lines(" data=") == [] and p.lines(" mail=") == []
        node.ask("domain.set", name="example.test", tls="opportunistic")
        house.until(lambda: len(p.received()) == 1)
        assert as_to_primary(p.received()[0]) == mail("one")


def test_mail_without_tls_waits_when_the_primary_insists(tmp_path, node):
    """530 at MAIL is no verdict on the message."""
    own = Certificate(tmp_path, "own")
    with postfix.primary("example.test", port=node.primary_port,
                         smtpd_tls_security_level="encrypt", smtpd_tls_cert_file=own.certificate,
                         smtpd_tls_key_file=own.key) as p:
        node.ask("domain.set", name="example.test", tls="off")
        inject(node.port, mail("one"))
        house.until(lambda: node.events("message_deferred") or node.events("primary_alarm"))
        assert node.queued() == 1 and p.received() == []
        assert node.events("message_bounced") == []


def test_a_primary_that_comes_back_gets_each_message_once(node):
    tags = ["m%d" % i for i in range(30)]
    with postfix.primary("example.test", port=node.primary_port) as p:
        inject(node.port, mail("before"))
        house.until(lambda: len(p.received()) == 1)
        p.stop()
        inject(node.port, *map(mail, tags))
        house.until(lambda: node.events("primary_down"))
        house.until(lambda: node.queued() == 30)
        p.start()
        house.until(lambda: len(p.received()) > 1)
        assert node.events("primary_up")
        house.until(lambda: node.queued() == 0)
        house.until(lambda: len(p.received()) > len(tags))  # it has a queue of its own
        assert Counter(map(as_to_primary, p.received())) == Counter(map(mail, ["before"] + tags))


def test_the_sender_is_told_who_is_unknown_at_the_primary(tmp_path):
    """Refused with 550: a report by the DSN route, in the form that programs and people read."""
    with postfix.primary("sender.example") as home, \
            a_node(tmp_path, delivery="dsn_route: ['127.0.0.1:%d']" % home.port) as node:
        node.primary_port = house.free_port()
        node.add_domain(route="127.0.0.1:%d" % node.primary_port, dsn="all")
        with postfix.primary("example.test", port=node.primary_port,
                             mailboxes="inline:{bob@example.test=all/}") as p:
            c = house.Client(node.port).hello()
            code, lines = c.send(stuffed(mail("half")), sender="ann@sender.example",
                                 rcpts=["bob@example.test", "nobody@example.test"])
            assert code == 250
            mid = lines[0].split()[-1]
            house.until(lambda: home.received())
            house.until(lambda: node.queued() == 0)
            house.until(lambda: p.received())
            assert [as_to_primary(m) for m in p.received()] == [mail("half")]
        fates = {r["recipient"]: r["fate"] for r in node.trace(mid)[0]["recipients"]}
        assert fates == {"bob@example.test": "delivered", "nobody@example.test": "bounced"}
        raw, = home.received()
    assert raw.startswith(b"Return-Path: <>\r\n")
    report = email.message_from_bytes(raw)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    text, status, original = report.get_payload()
    human = text.get_payload(decode=True).decode()
    assert "nobody@example.test" in human and "bob@example.test" not in human
    about_all, about_one = status.get_payload()
    assert about_all["Reporting-MTA"] == "dns; mx1.example.net"
    assert about_one["Final-Recipient"].split(";")[1].strip() == "nobody@example.test"
    assert about_one["Action"] == "failed" and about_one["Status"] == "5.1.1"
    assert "User unknown" in about_one["Diagnostic-Code"]
    assert original.get_content_type() in ("message/rfc822", "text/rfc822-headers")
    assert b"<half@sender.example>" in original.as_bytes()
