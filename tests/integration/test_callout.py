"""S16, B9: the primary is asked for recipients: with MAIL and RCPT and no more, ten times a minute at
most over all sites, believed only when it refuses somebody."""
import itertools
import json
import socketserver
import subprocess
import threading
import time

import fleet
import house
import knowing
import pytest


class Primary:
    """Answers RCPT by a function of the local part; None: not at all. Writes down what it was told."""

    def __init__(self, address, says):
        self.says = says
        self.connections = 0
        self.commands = []  # (time, line)
        self.open = True
        outer = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                outer.connections += 1
                self.wfile.write(b"220 primary\r\n")
                for line in self.rfile:
                    line = line.decode().rstrip("\r\n")
                    outer.commands.append((time.monotonic(), line))
                    verb = line[:4].upper()
                    if verb == "EHLO":
                        self.wfile.write(b"250-primary\r\n250-SIZE 1000000\r\n250 PIPELINING\r\n")
                    elif verb == "RCPT":
                        answer = outer.says(line.split("<")[1].split("@")[0])
                        while answer is None and outer.open:
                            time.sleep(0.05)
                        if answer is None:
                            return
                        self.wfile.write(answer.encode() + b"\r\n")
                    else:
                        self.wfile.write(b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")
                    if verb == "QUIT":
                        return

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server((address, 0), Session)
        self.route = "%s:%d" % self.server.server_address
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.open = False
        self.server.shutdown()
        self.server.server_close()

    def asked(self):
        return [line for _, line in self.commands if line.startswith("RCPT")]

    def most_in_a_minute(self):
        return knowing.most_in_a_minute([t for t, line in self.commands if line.startswith("RCPT")])


def knows(*locals_):
    return lambda local: "250 2.1.5 ok" if local in locals_ else "550 5.1.1 no such user"


def begin(node, address):
    return subprocess.Popen([house.CLI, "--socket", str(node.socket), "recipient", "ask", address, "-o", "jsonl"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(asking):
    out, error = asking.communicate(timeout=180)
    rows = [json.loads(l) for l in out.splitlines()]
    assert rows, error
    assert asking.returncode == (0 if rows[0]["verdict"] == "valid" else 1)
    return rows[0]["verdict"]


def ask(node, address):
    return end(begin(node, address))


def metric(node, name):
    return next(int(r["line"].split()[1]) for r in node.ask("metrics") if r["line"].startswith(name + " "))


def asked_at_last(node, address):
    """Nothing is asked in the first minute of a node."""
    def verdict():
        said = ask(node, address)
        return said if said != "not-asked" else None
    return house.until(verdict, 90)


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    """A node whose first minute is over."""
    first = Primary("127.0.9.1", knows("ann"))
    with house.Node(tmp_path_factory.mktemp("node")) as n:
        n.add_domain("first.test", first.route)
        assert asked_at_last(n, "ann@first.test") == "valid"
        yield n
    first.close()


@pytest.fixture
def primary():
    made = []

    def make(address, says):
        made.append(Primary(address, says))
        return made[-1]
    yield make
    for p in made:
        p.close()


def test_a_question_is_mail_and_rcpt_and_no_more(lone, primary):
    p = primary("127.0.9.2", knows("ann", "Bob"))
    lone.add_domain("dialogue.test", p.route)
    assert ask(lone, "ann@dialogue.test") == "valid"
    assert ask(lone, "eve@dialogue.test") == "invalid"
    assert ask(lone, "Bob@dialogue.test") == "valid"  # the case as it was said
    said = [line for _, line in p.commands]
    somebody = [l for l in said if "no-such-recipient-" in l]
    assert len(set(somebody)) == 2 == len(somebody)  # not for the one that was refused
    assert {l.split(" ")[0] for l in said} == {"EHLO", "MAIL", "RCPT", "RSET", "QUIT"}
    assert {l for l in said if l.startswith("MAIL")} == {"MAIL FROM:<>"}
    assert p.connections == 3 == sum(l == "QUIT" for l in said)
    assert metric(lone, "trispool_callout_questions_total") >= 5
    lines = lone.events("callout")
    assert sum("domain=dialogue.test" in l and "verdict=valid" in l for l in lines) == 2


def test_a_primary_that_takes_all_is_found_out_and_left_alone(lone, primary):
    p = primary("127.0.9.3", lambda local: "250 whoever")
    lone.add_domain("all.test", p.route)
    assert ask(lone, "ann@all.test") == "takes-all"
    assert len(p.asked()) == 2
    assert ask(lone, "bob@all.test") == "takes-all"
    assert len(p.asked()) == 2 and p.connections == 1


@pytest.mark.parametrize("number, reply", [(4, "450 4.2.0 greylisted"), (5, "550 5.7.1 blocked"), (6, "354 what")])
def test_what_says_nothing_about_the_recipient_is_not_learned(lone, primary, number, reply):
    p = primary("127.0.9.%d" % number, lambda local: reply)
    name = "odd%d.test" % number
    lone.add_domain(name, p.route)
    assert ask(lone, "ann@" + name) == "unknown"
    assert len(p.asked()) == 1
    if not reply.startswith("550"):  # it does not answer as it should: left alone for a minute
        assert ask(lone, "bob@" + name) == "not-asked"
        assert p.connections == 1


def test_a_primary_that_is_away_is_not_asked(lone, primary):
    lone.add_domain("away.test", "127.0.9.7:%d" % house.free_port())
    assert ask(lone, "ann@away.test") == "not-asked"
    assert lone.events("callout_failed")
    p = primary("127.0.9.8", knows("ann"))
    lone.add_domain("paused.test", p.route)
    for paused, says in (("yes", "not-asked"), ("no", "valid")):
        subprocess.run([house.CLI, "--socket", str(lone.socket), "domain", "set", "paused.test", "--paused", paused],
                       check=True)
        assert ask(lone, "ann@paused.test") == says
    assert p.connections == 1


def test_ten_questions_a_minute_whoever_asks_and_a_tarpit_holds_up_nobody(lone, primary):
    tar = primary("127.0.9.9", lambda local: None)
    lone.add_domain("tar.test", tar.route)
    p = primary("127.0.9.10", knows("ann"))
    for name in ("one.test", "two.test"):  # domains share a primary
        lone.add_domain(name, p.route)
    slow = begin(lone, "ann@tar.test")
    serial = 0
    flood = []
    # until the minute is over and some more were asked
    while not (len(p.asked()) > 12 and slow.poll() is not None):
        flood = [a for a in flood if a.poll() is None]
        while len(flood) < 16:
            serial += 1
            flood.append(begin(lone, "%s@%s" % ("ann" if serial % 5 == 0 else "u%d" % serial,
                                                ("one.test", "two.test")[serial % 2])))
        time.sleep(0.1)
    assert 8 <= p.most_in_a_minute() <= 10  # fewer than ten of a slow machine
    assert {l.split("@")[1] for l in p.asked()} == {"one.test>", "two.test>"}
    assert end(slow) == "unknown"
    assert len(tar.asked()) == 1 and tar.connections == 1
    assert ask(lone, "bob@tar.test") == "not-asked"
    for a in flood:
        a.kill()
        a.communicate()


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three sites whose first minutes are over, and domains of one primary of which each holds some."""
    # all but those whom nobody has: each site uses all of its share
    p = Primary("127.0.9.20", lambda local: "550 5.1.1 no such user" if local.startswith("no-such-") else "250 ok")
    f = fleet.on_loopback(tmp_path_factory.mktemp("three"))
    f.crowd = p
    try:
        f.form()
        names = ["d%d.test" % i for i in range(24)]
        for name in names:
            f.add_domain(name, p.route)
        house.until(lambda: {metric(m, "trispool_slots_held") for m in f.members} <= {85, 86}, 60, every=0.2)
        f.homes = {f.holder(name).site: name for name in names}
        assert len(f.homes) == 3
        for site, name in f.homes.items():
            assert asked_at_last(f[site], "ann@" + name) == "valid"
            assert ask(f[site % 3 + 1], "ann@" + name) == "not-asked"  # another site holds it
        yield f
    finally:
        f.kill()
        p.close()
    assert not f.broken()


def test_three_sites_together_ask_ten_times_a_minute_at_most(three):
    p, flood, serial = three.crowd, [], 0
    before = len(p.asked())
    while len(p.asked()) < before + 12:
        flood = [a for a in flood if a.poll() is None]
        while len(flood) < 12:
            serial += 1
            site = serial % 3 + 1
            flood.append(begin(three[site], "u%d@%s" % (serial, three.homes[site])))
        time.sleep(0.1)
    assert 6 < p.most_in_a_minute() <= 10
    assert not [l for _, l in p.commands if l.startswith("DATA")]
    for a in flood:
        a.kill()
        a.communicate()


# --- at the door ---

BODY = b"From: a@sender.example\r\nSubject: x\r\n\r\nhello\r\n"
CLIENTS = ("127.60.%d.1" % i for i in itertools.count())  # no try of one counts against another


def rcpt(node, local, domain):
    """What is said to RCPT of a client that has not been here before."""
    c = house.Client(node.port, source=next(CLIENTS)).hello()
    assert c.code("MAIL FROM:<a@sender.example>") == 250
    said = c.say("RCPT TO:<%s@%s>" % (local, domain))[1][-1]
    c.close()
    return said


@pytest.fixture
def learning():
    """Makes domains, one after the other, that learn and know mary; each has a primary, which has `there` too, and
    that with an address of its own: its ten questions are nobody else's. A slow machine may be late with an
    answer, and then no RCPT of the domain waits for a minute: so there are three of them to try."""
    primaries = []

    def make(nodes, number, **settings):
        for n in range(number, number + 3):
            p, domain = knowing.Primary("mary", "there", address="127.0.9.%d" % n).start(), "door%d.test" % n
            primaries.append(p)
            nodes[0].add_domain(domain, p.route)
            nodes[0].ask("domain.set", name=domain, recipients="learn", **settings)
            house.until(lambda: all(m.knows_domain(domain) for m in nodes))
            c = house.Client(nodes[0].port).hello()
            assert c.send(BODY, rcpts=["mary@" + domain])[0] == 250
            c.close()
            house.until(lambda: all(known(m, domain) == 1 for m in nodes))
            yield p, domain
    yield make
    for p in primaries:
        p.stop()


def known(node, domain):
    return node.ask("domain.show", name=domain)[0].get("learned")


def hears(node, domain, *who):
    return [rcpt(node, w, domain)[:9] for w in who]


ANSWERED = ["550 5.1.1", "250 2.1.5"]  # of gone and there


def test_rcpt_waits_for_what_the_primary_says_and_that_outlives_it(lone, learning):
    p, domain = next((p, d) for p, d in learning([lone], 30) if hears(lone, d, "gone", "there") == ANSWERED)
    assert [a.split("@")[0] for _, a in p.questions if "no-such" not in a] == ["gone", "there"]
    assert len(p.taken) == 1 and known(lone, domain) == 2  # mary's, and there is no mail for the other
    p.stop()
    assert hears(lone, domain, "gone", "there", "mary", "other") == [*ANSWERED, "250 2.1.5", "450 4.1.1"]


def test_at_any_site_rcpt_waits_for_the_one_that_asks_and_all_know_what_it_heard(three, learning):
    for p, domain in learning(three.members, 40):
        door = three[three.holder(domain).site % 3 + 1]
        heard = hears(door, domain, "gone", "there")
        if heard == ANSWERED:
            break
    assert heard == ANSWERED
    assert len(p.taken) == 1 and p.most_in_a_minute() == 3
    house.until(lambda: all(known(m, domain) == 2 for m in three.members))
    house.until(lambda: all(rcpt(m, "gone", domain).startswith("550 5.1.1 ") for m in three.members))
    p.stop()
    for m in three.members:
        assert hears(m, domain, "gone", "there", "mary") == [*ANSWERED, "250 2.1.5"]
    assert hears(door, domain, "other") == ["450 4.1.1"]


def test_whom_the_primary_has_is_no_bad_try_where_unknown_ones_are_put_off(lone, learning):
    def bad():
        rcpt(lone, "mary", domain)  # goes behind what was counted before
        return metric(lone, "trispool_harvest_bad_total")
    for p, domain in learning([lone], 50, unknown="defer"):
        before = bad()
        heard = hears(lone, domain, "there")
        if heard == ["250 2.1.5"]:
            break
    assert heard == ["250 2.1.5"] and len(p.questions) == 2 and bad() == before
    assert hears(lone, domain, "gone") == ["550 5.1.1"] and bad() == before + 1
