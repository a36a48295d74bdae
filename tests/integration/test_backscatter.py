"""THREATS 18, stories 3 and 12: mail that nobody takes makes no backscatter. A sender is told only when
SPF said, as the mail came, that it is who it says; of the rest the owner of the domain is told."""
import select
import subprocess

import fleet
import house
import pytest
from nameserver import Dns, txt

TXT = 16
BODY = b"From: x\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\nSubject: s\r\n\r\nbody\r\n"
PER_SENDER = 10  # base/limits.h: LIMIT_DSN_PER_SENDER


class World:
    """A node, DNS, the servers of all senders in one, and a domain whose primary is dead."""

    def __init__(self, folder):
        self.dns = Dns()
        self.dns.records = {("good.org", TXT): [txt("v=spf1 ip4:127.0.0.9 -all")],
                            ("open.org", TXT): [txt("v=spf1 ?all")]}
        self.mail = folder / "mail"
        self.home = house.Sink(folder / "home", None, "--dir", self.mail)
        self.node = house.Node(
            folder / "node", extra='dns:\n  servers: ["127.0.0.1:%d"]\n' % self.dns.port,
            delivery='dsn_route: ["127.0.0.1:%d"]' % self.home.port)

    def send(self, sender, source="127.0.0.9", rcpts=("b@dead.test",)):
        c = house.Client(self.node.port, source=source).hello()
        code, lines = c.send(BODY, sender=sender, rcpts=rcpts)
        c.say("QUIT")
        c.close()
        assert code == 250
        return lines[-1].split()[-1]

    def end(self, domain="dead.test"):
        """All mail of the domain ends undelivered; whoever is told has been."""
        self.node.ask("queue.operate", op="bounce", domain=domain)
        house.until(lambda: self.node.queued() == 0)

    def told(self):
        lines = [l for p in self.mail.glob("*.env") for l in p.read_text().splitlines()]
        assert all("<>" in l for l in lines if l.upper().startswith("MAIL"))
        return sorted(l.split("<")[1].split(">")[0] for l in lines if l.upper().startswith("RCPT"))

    def undelivered(self, **args):
        return self.node.ask("queue.undelivered", **args)


@pytest.fixture
def world(tmp_path):
    (tmp_path / "node").mkdir()
    w = World(tmp_path)
    with w.home, w.node:
        w.node.add_domain("dead.test", route="127.0.0.1:%d" % house.free_port())
        yield w
    w.dns.s.close()


def test_a_flood_of_forged_senders_at_a_dead_domain_makes_no_notification(world):
    senders = ["u%d@good.org" % i for i in range(40)] + ["a@open.org", "b@none.org", "c@[192.0.2.1]"]
    ids = {world.send(s, source="127.0.0.66"): s for s in senders}
    ids[world.send("", source="127.0.0.9")] = ""
    world.end()
    assert world.told() == []
    rows = world.undelivered(domain="dead.test")
    assert {r["id"]: r["sender"] for r in rows} == ids and len(rows) == len(ids)
    assert all(r["recipient"] == "b@dead.test" and r["fate"] == "bounced" and r["received"] and r["ended"] for r in rows)
    why = {r["sender"]: r["not_told"] for r in rows}
    assert why[""] == "(the null sender is never told)" and why["u7@good.org"] == "(the sender is not authenticated)"
    spf = {s: world.node.trace(i)[0]["spf"] for i, s in ids.items()}
    assert (spf["u7@good.org"], spf["a@open.org"], spf["b@none.org"]) == ("fail", "neutral", "none")


def test_who_is_authenticated_is_told_once_each_and_not_the_null_sender(world):
    senders = ["u%d@good.org" % i for i in range(12)]
    for s in senders:
        mid = world.send(s, rcpts=("b@dead.test", "c@dead.test"))
    world.send("")
    assert world.node.trace(mid)[0]["spf"] == "pass"
    world.end()
    assert world.told() == sorted(senders)
    assert [r["sender"] for r in world.undelivered()] == [""]


def test_one_sender_is_told_so_often_and_the_owner_of_the_rest(world):
    for _ in range(PER_SENDER + 5):
        world.send("a@good.org")
    world.send("b@good.org")
    world.end()
    assert world.told() == ["a@good.org"] * PER_SENDER + ["b@good.org"]
    rows = world.undelivered(domain="dead.test", within_s=3600)
    assert [r["not_told"] for r in rows] == ["(too many notifications to this sender)"] * 5
    assert len(world.node.events("dsn_withheld")) == 5
    assert world.undelivered(domain="other.test") == []


@pytest.mark.parametrize("whom,told", [("all", ["x@none.org"]), ("none", [])])
def test_the_owner_chooses_and_then_nothing_is_looked_up(world, whom, told):
    row, = world.node.ask("domain.set", name="dead.test", dsn=whom)
    assert row["dsn"] == whom
    mid = world.send("x@none.org")
    assert world.dns.asked == 0 and world.node.trace(mid)[0]["spf"] == "not looked up"
    world.end()
    assert world.told() == told and len(world.undelivered()) == 1 - len(told)


def test_what_counts_is_what_spf_said_at_receipt(world):
    world.send("a@good.org")
    world.dns.records.clear()
    world.dns.mode = "silent"
    world.end()
    assert world.told() == ["a@good.org"]


def test_the_judge_is_not_asked_twice_and_its_word_counts(world):
    world.node.ask("domain.set", name="dead.test", checks="spf=mark")
    world.send("a@good.org")
    asked = world.dns.asked
    world.send("a@good.org", source="127.0.0.66")
    world.end()
    assert world.told() == ["a@good.org"] and asked == 1
    world.node.ask("domain.set", name="dead.test", dsn="none")
    assert world.node.trace(world.send("a@good.org"))[0]["spf"] == "pass"  # known all the same


def test_silence_of_dns_neither_stops_mail_nor_tells_anybody(world):
    world.dns.mode = "silent"
    for i in range(5):
        world.send("a@good%d.org" % i)
    assert len(set(world.dns.names)) == 5  # all are asked about; the first of each thread is waited for
    world.end()
    assert world.told() == [] and len(world.undelivered()) == 5


def test_a_sender_whose_name_servers_are_silent_silences_nobody_else(world):
    world.dns.quiet = {"silent%d.org" % i for i in range(4)}
    for name in sorted(world.dns.quiet):  # at each thread
        world.send("a@" + name)
    c = house.Client(world.node.port, source="127.0.0.9").hello()
    for line, code in (("MAIL FROM:<a@good.org>", 250), ("RCPT TO:<b@dead.test>", 250)):
        assert c.code(line) == code
    house.until(lambda: world.dns.answered == 1)  # it lies in the node's socket; then comes the dot
    assert c.code("DATA") == 354
    c.raw(BODY + b".\r\n")
    assert c.reply()[0] == 250
    world.end()
    assert world.told() == ["a@good.org"] and len(world.undelivered()) == 4


def test_an_answer_that_comes_late_is_waited_for(world):
    """It comes when the body has: RCPT did not wait for it, the answer to the dot does."""
    world.dns.mode = "held"
    c = house.Client(world.node.port, source="127.0.0.9").hello()
    for line, code in (("MAIL FROM:<a@good.org>", 250), ("RCPT TO:<b@dead.test>", 250), ("DATA", 354)):
        assert c.code(line) == code
    house.until(lambda: world.dns.kept)
    c.raw(BODY + b".\r\nNOOP\r\n")  # what stands behind the dot waits, too
    assert not select.select([c.s], [], [], 0.5)[0]
    world.dns.release()
    code, lines = c.reply()
    assert code == 250 and c.reply()[0] == 250
    assert world.node.trace(lines[-1].split()[-1])[0]["spf"] == "pass"


def test_a_client_that_goes_while_its_sender_is_looked_up_leaves_nothing(world):
    world.dns.mode = "held"
    c = house.Client(world.node.port, source="127.0.0.9").hello()
    for line in ("MAIL FROM:<a@good.org>", "RCPT TO:<b@dead.test>", "DATA"):
        c.say(line)
    c.raw(BODY + b".\r\n")
    house.until(lambda: world.dns.kept)
    c.close()
    house.until(lambda: world.node.events("disconnect"))
    world.dns.release()
    assert world.send("b@good.org") and world.node.queued() == 1


def test_the_listing_is_for_people_and_programs(world):
    world.send("a@none.org")
    world.end()
    run = lambda *o: subprocess.run([house.CLI, "--socket", str(world.node.socket), *o, "queue", "undelivered",
                                     "--domain", "dead.test"], capture_output=True, text=True, check=True).stdout
    assert "a@none.org" in run("-o", "table") and "(the sender is not authenticated)" in run("--output", "json")


def test_what_one_site_found_out_counts_at_another(tmp_path):
    """Each site takes an authenticated and a forged one; the holder tells; all list the same."""
    dns, home, mail = Dns(), house.free_port(), tmp_path / "mail"
    dns.records = {("good.org", TXT): [txt("v=spf1 ip4:127.0.0.9 -all")]}
    f = fleet.on_loopback(tmp_path, more='dns:\n  servers: ["127.0.0.1:%d"]\n' % dns.port,
                          delivery_more='dsn_route: ["127.0.0.1:%d"]' % home)
    try:
        f.form()
        f.add_domain("dead.test", "127.0.0.1:%d" % house.free_port())
        for site in (1, 2, 3):
            for source in ("127.0.0.9", "127.0.0.66"):
                c = house.Client(f[site].port, source=source).hello()
                assert c.send(BODY, sender="s%d@good.org" % site, rcpts=["b@dead.test"])[0] == 250
        house.until(lambda: all(m.queued() == 6 for m in f.live()), 60)
        with house.Sink(tmp_path / "home", home, "--dir", mail):
            f[1].ask("queue.operate", op="bounce", domain="dead.test")
            house.until(lambda: f.queued() == 0, 60)
        told = [l.split("<")[1].split(">")[0] for p in mail.glob("*.env") for l in p.read_text().splitlines()
                if l.upper().startswith("RCPT")]
        assert sorted(told) == ["s%d@good.org" % i for i in (1, 2, 3)]
        lists = [sorted((r["id"], r["sender"], r["not_told"]) for r in m.ask("queue.undelivered")) for m in f.live()]
        assert len(lists[0]) == 3 and lists[0] == lists[1] == lists[2]
    finally:
        f.kill()
        dns.s.close()
    assert not f.broken()
