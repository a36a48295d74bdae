"""Routes by MX against a DNS server that answers as it is told: found, silent, failing, null, us."""
import socket

import house
import pytest
from nameserver import Dns, mx, name

HOST = "127.0.0.53"  # of loopback; nobody's, port 25 is free there


@pytest.fixture
def world(tmp_path):
    dns = Dns()
    (tmp_path / "n").mkdir()
    with house.Node(tmp_path / "n", extra='dns:\n  servers: ["127.0.0.1:%d"]\n' % dns.port) as n:
        n.add_domain("customer.test", route="mx")
        n.dns = dns
        yield n
    dns.s.close()


def primary_at(tmp_path):
    """A sink on port 25 of HOST."""
    s = house.Sink(tmp_path / "sink")
    s.process = house.subprocess.Popen(
        [str(house.SINK), "-l", HOST + ":25", "--log", str(s.ledger), "--control-socket", str(s.control)],
        stdout=house.subprocess.DEVNULL)
    house.until(s.control.exists)
    return s


def take_one(n):
    code, _ = house.Client(n.port).hello().send(b"x: y\r\n\r\nz\r\n", sender="", rcpts=["a@customer.test"])
    assert code == 250


GOOD = {("customer.test", 15): [mx(10, "mail.customer.test"), mx(50, "mx1.example.net")],
        ("mail.customer.test", 1): [socket.inet_aton(HOST)]}


def test_mail_follows_the_best_mx(world, tmp_path):
    world.dns.records = GOOD
    sink = primary_at(tmp_path)
    try:
        take_one(world)
        house.until(lambda: world.queued() == 0)
        assert sink.stats()["received"] == 1
    finally:
        sink.stop()


@pytest.mark.parametrize("mode,records", [
    ("silent", {}), ("servfail", {}), ("answer", {}),  # the last: no such domain
    ("answer", {("customer.test", 15): [mx(0, "")]}),  # takes no mail (RFC 7505)
    ("answer", {("customer.test", 15): [mx(10, "mx1.example.net")], ("mx1.example.net", 1): [b"\x7f\0\0\1"]}),  # us
    ("answer", {("customer.test", 15): [mx(10, "gone.customer.test")]}),
], ids=["silent", "servfail", "nxdomain", "null_mx", "only_us", "host_unknown"])
def test_no_answer_of_dns_ends_a_message_and_it_goes_when_dns_is_back(world, tmp_path, mode, records):
    world.dns.mode, world.dns.records = mode, records
    take_one(world)
    house.until(lambda: world.dns.asked >= 1)
    if mode == "answer":
        house.until(lambda: world.events("route_failed"))
    assert house.Client(world.port).banner[0] == 220  # no look-up holds up a banner
    assert world.queued() == 1
    sink = primary_at(tmp_path)
    try:
        world.dns.records, world.dns.mode = GOOD, "answer"
        house.until(lambda: world.queued() == 0, seconds=90)
        assert sink.stats()["received"] == 1
    finally:
        sink.stop()
