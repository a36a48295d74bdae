"""Story 3: the owner of a domain is told, by mail and not often, of mail that ended undelivered and
whose sender was not told. Nothing is left out, not by a restart and not when another site delivers."""
import re
import subprocess

import fleet
import house
import pytest
from nameserver import Dns, txt

TXT = 16
BODY = b"From: x\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\nSubject: s\r\n\r\nbody\r\n"
OWNER = "owner@elsewhere.org"


class Home:
    """The server of all senders and owners in one."""

    def __init__(self, folder, every="1s"):
        self.folder = folder / "mail"
        self.sink = house.Sink(folder / "home", None, "--dir", self.folder)
        self.delivery = 'dsn_route: ["127.0.0.1:%d"]\ndigest_every: %s' % (self.sink.port, every)

    def digests(self, to=OWNER):
        """Messages that came for the owner, in the order of their coming."""
        found = []
        for env in sorted(self.folder.glob("*.env"), key=lambda p: p.stat().st_mtime_ns):
            if "<%s>" % to in env.read_text() and env.with_suffix(".eml").exists():  # that comes second
                found.append(env.with_suffix(".eml").read_bytes())
        return found

    def told(self, to=OWNER):
        """Ids in all digests, each as often as it was told."""
        return [i for d in self.digests(to) for i in ids_of(d)]


def ids_of(digest):
    return re.findall(r"^([0-9A-Z]{26})\r$", digest.decode("ascii"), re.M)


def send(node, sender, rcpts=("b@dead.test",), source="127.0.0.9"):
    c = house.Client(node.port, source=source).hello()
    code, lines = c.send(BODY, sender=sender, rcpts=rcpts)
    c.close()
    assert code == 250
    return lines[-1].split()[-1]


def end(node, domain="dead.test"):
    """All mail of the domain is refused for good."""
    node.ask("queue.operate", op="bounce", domain=domain)


@pytest.fixture
def world(tmp_path):
    (tmp_path / "node").mkdir()
    dns = Dns()
    dns.records = {("good.org", TXT): [txt("v=spf1 ip4:127.0.0.9 -all")]}
    home = Home(tmp_path)
    node = house.Node(tmp_path / "node", extra='dns:\n  servers: ["127.0.0.1:%d"]\n' % dns.port,
                      delivery=home.delivery)
    with home.sink, node:
        node.add_domain("dead.test", route="127.0.0.1:%d" % house.free_port(), digest=OWNER)
        yield node, home
    dns.s.close()


def test_the_owner_is_told_of_what_nobody_was_told(world):
    node, home = world
    forged = send(node, "a@none.org", rcpts=("b@dead.test", "c@dead.test"))
    null = send(node, "")
    good = send(node, "u@good.org")
    end(node)
    house.until(lambda: home.digests())
    text = home.digests()[0].decode("ascii")
    assert sorted(ids_of(home.digests()[0])) == sorted([forged, null])
    assert "To: <%s>\r\n" % OWNER in text and "Subject: Undelivered mail for dead.test\r\n" in text
    assert "Auto-Submitted: auto-generated\r\n" in text and "2 messages, 3 recipients." in text
    assert "(the sender is not authenticated)" in text and "(the null sender is never told)" in text
    assert text.count("<b@dead.test>, refused") == 2 and "<c@dead.test>, refused" in text
    assert good not in text and home.digests("u@good.org")  # who was told himself


def test_what_was_told_is_not_told_again_and_what_comes_later_is(world):
    node, home = world
    told = []
    for i in range(4):
        told.append(send(node, "a%d@none.org" % i))
        end(node)
        house.until(lambda: told[-1] in home.told())
    assert home.told() == told


def test_a_restart_leaves_nothing_out(world):
    """What ended in the seconds before it may be told twice, once: the clock begins a little earlier."""
    node, home = world
    first = send(node, "a@none.org")
    end(node)
    house.until(lambda: home.told() == [first])
    node.stop()
    node.start()
    second = send(node, "b@none.org")
    end(node)
    house.until(lambda: second in home.told())
    third = send(node, "c@none.org")
    end(node)
    house.until(lambda: third in home.told())
    told = home.told()
    assert told.count(second) == 1 and told.count(third) == 1 and told.count(first) <= 2


def test_a_crash_before_the_digest_loses_nothing(world):
    node, home = world
    ids = [send(node, "a%d@none.org" % i) for i in range(5)]
    end(node)
    house.until(lambda: node.queued() == 0 or home.digests())
    node.kill()
    node.start()
    house.until(lambda: set(home.told()) == set(ids))


def test_who_gives_an_address_later_is_told_of_what_was_before(world):
    node, home = world
    node.add_domain("late.test", route="127.0.0.1:%d" % house.free_port())
    mid = send(node, "a@none.org", rcpts=("b@late.test",))
    end(node, "late.test")
    house.until(lambda: node.ask("queue.undelivered", domain="late.test"))
    other = send(node, "a@none.org")
    end(node)
    house.until(lambda: home.told() == [other])
    node.ask("domain.set", name="late.test", digest="late@elsewhere.org")
    house.until(lambda: home.told("late@elsewhere.org") == [mid])
    node.ask("domain.set", name="dead.test", digest="")
    assert node.ask("domain.show", name="dead.test")[0]["digest"] == ""


def test_more_domains_than_go_at_once_all_get_theirs(world):
    node, home = world
    told = {}
    for i in range(20):  # LIMIT_DIGESTS_AT_ONCE is 8
        node.add_domain("d%d.test" % i, route="127.0.0.1:%d" % house.free_port(), digest="o%d@elsewhere.org" % i)
        told["o%d@elsewhere.org" % i] = [send(node, "a@none.org", rcpts=("b@d%d.test" % i,))]
    for i in range(20):
        end(node, "d%d.test" % i)
    house.until(lambda: {to: home.told(to) for to in told} == told)


def test_a_digest_waits_for_the_owners_server_and_is_given_up_by_an_operator(world):
    node, home = world
    home.sink.stop()
    mid = send(node, "a@none.org")
    end(node)
    house.until(lambda: any(m["sender"] == OWNER for m in node.ask("queue.list")))
    row, = [m for m in node.ask("queue.list") if m["sender"] == OWNER]
    assert row["domain"] == "dead.test" and node.trace(row["id"])[0]["is_digest"]
    node.stop()
    checked = subprocess.run([house.CHECK, node.folder / "data" / "spool"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    node.start()
    assert node.trace(row["id"])[0]["is_digest"]

    def is_deleted():  # not before the cluster's clock is where it was
        node.ask("queue.operate", check=False, op="delete", ids=[row["id"]])
        return node.queued() == 0
    house.until(is_deleted, every=0.5)
    house.until(lambda: node.events("digest_failed"))
    assert not node.events("dsn_failed")
    assert [r["id"] for r in node.ask("queue.undelivered")] == [mid]


def test_what_a_digest_told_that_was_given_up_is_told_by_the_next(world):
    node, home = world
    home.sink.say("reject")
    first = send(node, "a@none.org")
    end(node)
    house.until(lambda: node.events("digest_failed"))
    home.sink.say("accept")
    second = send(node, "b@none.org")
    end(node)
    house.until(lambda: set(home.told()) == {first, second})
    assert home.told().count(first) == home.told().count(second) == 1


@pytest.mark.parametrize("address", ["owner", "o wner@x.org", "<o@x.org>", "o@x.org\r\nRCPT", "\"o\"@x.org"])
def test_no_address_is_said(world, address):
    node, _ = world
    with pytest.raises(AssertionError, match="digest: "):
        node.ask("domain.set", name="dead.test", digest=address)


def test_another_site_goes_on_where_the_first_left_off(tmp_path):
    """The holder dies with mail that it has not told of, and behind mail that it has."""
    home = Home(tmp_path, every="20s")
    f = fleet.on_loopback(tmp_path, delivery_more=home.delivery)
    try:
        f.form()
        with home.sink:
            f.add_domain("dead.test", "127.0.0.1:%d" % house.free_port(), digest=OWNER)
            first = send(f[1], "a@none.org")
            house.until(lambda: all(m.queued() == 1 for m in f.live()), 60)
            end(f[1])
            house.until(lambda: home.told() == [first], 60)
            house.until(lambda: f.queued() == 0, 60)
            holder = f.holder("dead.test")
            second = send(holder, "b@none.org")
            house.until(lambda: all(m.queued() == 1 for m in f.live()), 60)
            end(holder)
            house.until(lambda: all(len(m.ask("queue.undelivered")) == 2 for m in f.live()), 60)
            holder.kill()  # it would have told in some seconds
            assert second not in home.told()
            house.until(lambda: second in home.told(), 120)
            assert home.told().count(second) == 1 and 1 <= home.told().count(first) <= 2
    finally:
        f.kill()
    assert not f.broken()
