"""What goes with the message: Authentication-Results of ours above it, and none that only says it is
ours within it."""
import subprocess
from pathlib import Path

import house
import pytest
from knowing import Primary
from nameserver import Dns, a, mx, ptr, txt
from test_checks import A, CLEAN, MX, PTR, TXT, message, send, switch

OURS = b"Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=boss@bank.example\r\n"


@pytest.fixture
def door(tmp_path):
    dns = Dns()
    dns.records = {
        ("9.0.0.127.in-addr.arpa", PTR): [ptr("mail.good.org")],
        ("mail.good.org", A): [a("127.0.0.9")],
        ("good.org", MX): [mx(10, "mail.good.org")],
        ("good.org", TXT): [txt("v=spf1 ip4:127.0.0.9 -all")],
    }
    extra = 'authserv_id: mx.example.net\ndns:\n  servers: ["127.0.0.1:%d"]\n' % dns.port
    with house.Node(tmp_path, extra=extra) as n:
        n.primary_port = house.free_port()
        n.add_domain("customer.test", route="127.0.0.1:%d" % n.primary_port)
        n.dns = dns
        yield n
    dns.s.close()


def parts(node, answer):
    """What we put above, unfolded; and the rest."""
    whole = message(node, answer)
    at = whole.index(b"\r\n", whole.index(b"Received: ") + 1)
    while whole[at + 2:at + 3] in (b"\t", b" "):
        at = whole.index(b"\r\n", at + 2)
    return whole[:at + 2].replace(b"\r\n\t", b" ").decode().splitlines(), whole[at + 2:]


def test_what_was_found_out_stands_above_once(door):
    switch(door, "spf=mark,rdns=mark")
    ours, rest = parts(door, send(door))
    assert [l.split(":")[0] for l in ours] == ["Authentication-Results", "Received-SPF", "Received"]
    assert ours[0] == ("Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=a@good.org; "
                       "iprev=pass policy.iprev=127.0.0.9")
    assert rest == CLEAN
    ours, rest = parts(door, send(door, source="127.0.0.8"))
    assert "spf=fail smtp.mailfrom=a@good.org; iprev=permerror" in ours[0] and rest == CLEAN
    switch(door, "all=off")
    assert [l.split(":")[0] for l in parts(door, send(door))[0]] == ["Received"]


@pytest.mark.parametrize("known_too", [False, True])
def test_what_spf_said_of_who_writes_to_a_stranger_stands_above_whatever_is_off(door, known_too):
    """In a domain that learns, SPF is looked up for whom nobody knows, and decides there."""
    switch(door, "all=off")
    door.ask("domain.set", name="customer.test", recipients="learn", unknown="authenticated")
    p = Primary("c", port=door.primary_port).start()
    send(door, sender="")
    house.until(lambda: door.ask("domain.show", name="customer.test")[0].get("learned") == 1)
    p.stop()
    c = house.Client(door.port, source="127.0.0.9").hello()
    answer = c.send(CLEAN, sender="a@good.org", rcpts=["%s@customer.test" % r for r in ("c", "x")[not known_too:]])
    ours, rest = parts(door, (answer[0], answer[1][-1]))
    assert [l.split(":")[0] for l in ours] == ["Authentication-Results", "Received-SPF", "Received"]
    assert ours[0] == "Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=a@good.org"
    assert ours[1].startswith("Received-SPF: pass ") and 'envelope-from="a@good.org"' in ours[1]
    assert rest == CLEAN


@pytest.mark.parametrize("checks", ["all=off", "spf=mark"])
@pytest.mark.parametrize("forged", [
    OURS,
    b"authentication-results:\r\n\t(a) \"MX.Example.Net\" 1;\r\n\tdkim=pass header.d=bank.example\r\n",
    OURS * 3,
    b"Authentication-Results: (" + b"x" * 9000 + b"\r\n",
])
def test_a_forged_one_goes_whatever_is_switched_on(door, checks, forged):
    switch(door, checks)
    other = b"Authentication-Results: relay.example; spf=pass\r\n"
    for body in (forged + other + CLEAN, other + CLEAN.replace(b"Subject", forged + b"Subject")):
        ours, rest = parts(door, send(door, body))
        assert rest == other + CLEAN
        assert sum(l.startswith("Authentication-Results") for l in ours) == (checks != "all=off")
    assert "domain=customer.test" in door.events("auth_forged")[-1]


def test_the_primary_gets_what_is_left_and_its_digest_is_right(door, tmp_path):
    """Longer than a session keeps in memory, so that it goes by the disk."""
    tail = b"".join(b"line %06d\r\n" % i for i in range(60000))
    sent = [OURS + CLEAN + tail, CLEAN + OURS, CLEAN.replace(b"\r\n\r\n", b"\r\n" + OURS + b"\r\n", 1)]
    kept = [CLEAN + tail, CLEAN + OURS, CLEAN]
    mids = [send(door, body, sender="")[1].split()[-1] for body in sent]
    for mid, body in zip(mids, kept):
        row, = door.ask("queue.show", id=mid)
        assert row["body_bytes"] == len(body)
    with house.Sink(tmp_path / "sink", door.primary_port, "--dir", tmp_path / "bodies"):
        house.until(lambda: door.queued() == 0)
        got = {p.read_bytes() for p in Path(tmp_path / "bodies").glob("*.eml")}
    assert all(any(g.endswith(b"\r\n" + k) and g.count(b"Subject: ") == 1 for g in got) for k in kept)
    door.stop()
    checked = subprocess.run([house.CHECK, door.folder / "data" / "spool"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
