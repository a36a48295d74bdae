"""What the daemon says over the wire. RFC 5321 and the promises about the end of data."""
import itertools

import house
import pytest


def test_a_message_is_taken_kept_and_its_id_is_in_the_answer(node):
    c = house.Client(node.port).hello()
    code, lines = c.send(b"Subject: x\r\n\r\nhello\r\n")
    assert code == 250
    mid = lines[0].split()[-1]
    trace = node.trace(mid)
    assert trace[0]["id"] == mid
    assert node.queued() == 1


def test_ehlo_offers_what_is_honoured_and_nothing_else(node):
    c = house.Client(node.port)
    _, lines = c.say("EHLO client.example")
    words = {l[4:].split()[0] for l in lines[1:]}
    assert words == {"PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "LIMITS"}


@pytest.mark.parametrize("rcpt", [
    "b@other.test", "b%other.test@example.test", "other.test!b@example.test",
    "@example.test:b@other.test", '"b@other.test"@example.test', "b@[127.0.0.1]",
    "b@sub.example.test", "b@example.test.", "b@example.test@other.test", "b@example.test,c@other.test",
    "b", "b@xn--exmple-cua.test"])
def test_no_form_of_address_makes_a_relay(node, rcpt):
    c = house.Client(node.port).hello()
    assert c.code("MAIL FROM:<a@sender.example>") == 250
    assert c.code("RCPT TO:<%s>" % rcpt) in (501, 550, 553)
    assert c.code("RCPT TO:<b@EXAMPLE.test>") == 250


def test_postmaster_without_a_domain_goes_to_the_operator(node, sink):
    c = house.Client(node.port).hello()
    code, _ = c.send(b"Subject: help\r\n\r\n.\r\n"[:-3], rcpts=["Postmaster"])
    assert code == 250
    assert node.ask("queue.list")[0]["domain"] == "example.test"


def test_a_pipelined_group_is_answered_in_order(node):
    c = house.Client(node.port).hello()
    c.raw(b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@example.test>\r\nRCPT TO:<b@other.test>\r\nDATA\r\n")
    assert [c.reply()[0] for _ in range(4)] == [250, 250, 452, 354]  # a second domain: another message
    c.raw(b"x: y\r\n\r\n..dot\r\n.\r\nNOOP\r\nQUIT\r\n")
    assert [c.reply()[0] for _ in range(3)] == [250, 250, 221]
    assert c.closed()


@pytest.mark.parametrize("line,code", [
    ("VRFY b", 252), ("EXPN list", 502), ("HELP", 214), ("NOOP", 250), ("RSET", 250), ("DATA", 503),
    ("RCPT TO:<b@example.test>", 503), ("FOO", 500), ("MAIL FROM:<a@b> SIZE=99999999999", 552),
    ("MAIL FROM:<a@b> FOO=1", 555), ("STARTTLS", 502)])
def test_commands_and_their_codes(node, line, code):
    c = house.Client(node.port).hello()
    assert c.code(line) == code


def test_a_bare_line_feed_ends_no_command(node):
    c = house.Client(node.port)
    c.raw(b"EHLO client.example\nMAIL FROM:<a@b>\r\n")
    codes = []
    while True:
        code, _ = c.reply()
        if code == 0:
            break
        codes.append(code)
    assert 250 not in codes


def test_two_domains_are_two_messages(node):
    node.add_domain("example.org", route="127.0.0.1:1")
    c = house.Client(node.port).hello()
    c.say("MAIL FROM:<a@sender.example>")
    assert c.code("RCPT TO:<b@example.test>") == 250
    code, lines = c.say("RCPT TO:<b@example.org>")
    assert code == 452 and "4.5.3" in lines[0]


def test_a_loop_is_refused(node):
    c = house.Client(node.port).hello()
    code, _ = c.send(b"Received: from a by b; date\r\n" * 60 + b"\r\nx\r\n")
    assert code == 554
    assert node.queued() == 0


def ends_data(text):
    """Independent of the daemon: does CRLF.CRLF (or .CRLF at the very start) come?"""
    return ("\r\n" + text).find("\r\n.\r\n")


def wire_cases(length):
    return ["".join(p) for p in itertools.product("\r\n.\0a", repeat=length)]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_only_the_canonical_dot_ends_data(node, length):
    """Every string over CR LF . NUL a of this length inside DATA, over the wire. After it the
    true end follows; the number of answers and what is queued must match the rule."""
    c = house.Client(node.port).hello()
    before = node.queued()
    taken = 0
    for text in wire_cases(length):
        full = text + "\r\n.\r\n"
        at = ends_data(full)
        body = ("\r\n" + full)[:at + 2][2:]
        stripped = body.replace("\r\n", "")
        clean = not set("\r\n\0") & set(stripped)
        if c.f.closed or c.s.fileno() < 0:
            c = house.Client(node.port).hello()
        assert c.code("MAIL FROM:<a@sender.example>") == 250
        assert c.code("RCPT TO:<b@example.test>") == 250
        assert c.code("DATA") == 354
        c.raw(full.encode())
        code, lines = c.reply()
        assert (code == 250) == clean, (text, code, lines)
        taken += clean
        if at + 3 < len(full):  # bytes behind an early end are commands; nonsense ones here
            c.close()
            c = house.Client(node.port).hello()
        elif "\r" in stripped or "\n" in stripped:
            assert c.closed(), "the session must end after %r" % text
            c.close()
            c = house.Client(node.port).hello()
        elif code != 250:
            c.say("RSET")
    assert node.queued() - before == taken
