"""B8, S16: a domain that learns its recipients from deliveries, at all sites; what is said of those it
does not know while its primary is up, and away; and clients that try names out, found over all sites."""
import contextlib
import itertools
import json
import random
import subprocess

import house
import pytest
from knowing import Primary
from nameserver import Dns, txt

import fleet

TXT = 16
BODY = b"From: a@good.org\r\nSubject: x\r\n\r\nhello\r\n"
OFFENDER = 50  # LIMIT_HARVEST_OFFENDER
SUSPECT = 10


def cli(node, *words):
    done = subprocess.run([house.CLI, "--socket", str(node.socket), *map(str, words), "-o", "jsonl"],
                          capture_output=True, text=True, timeout=120)
    return done.returncode, [json.loads(l) for l in done.stdout.splitlines() if l.startswith("{")]


def learned(node, domain="customer.test"):
    row, = cli(node, "domain", "show", domain)[1]
    return row.get("learned")


def rcpt(node, to, source="127.0.0.8", sender="a@bad.org"):
    """What is said to RCPT; (0, "") when there is no session."""
    c = house.Client(node.port, source=source)
    if c.banner[0] != 220:
        return c.banner[0], c.banner[1][-1]
    c.hello()
    assert c.code("MAIL FROM:<%s>" % sender) == 250
    code, lines = c.say("RCPT TO:<%s@customer.test>" % to)
    c.close()
    return code, lines[-1]


def code(*where, **how):
    return rcpt(*where, **how)[0]


def send(node, *to, source="127.0.0.9", sender="a@good.org"):
    c = house.Client(node.port, source=source).hello()
    got, lines = c.send(BODY, sender=sender, rcpts=["%s@customer.test" % t for t in to])
    c.close()
    assert got == 250, lines
    return lines[-1].split()[-1]


def metric(node, name):
    return next(float(r["line"].split()[1]) for r in node.ask("metrics") if r["line"].startswith(name + " "))


@pytest.fixture
def dns():
    d = Dns()
    d.records = {("good.org", TXT): [txt("v=spf1 ip4:127.0.0.9 -all")], ("bad.org", TXT): [txt("v=spf1 -all")]}
    yield d
    d.s.close()


@pytest.fixture
def primary():
    p = Primary("mary", "john").start()
    yield p
    p.stop()


def of(dns):
    return 'dns:\n  servers: ["127.0.0.1:%d"]\n' % dns.port


@pytest.fixture
def door(tmp_path, dns, primary):
    with house.Node(tmp_path, extra=of(dns)) as n:
        n.add_domain("customer.test", route="127.0.0.1:%d" % primary.port)
        n.ask("domain.set", name="customer.test", recipients="learn")
        yield n


@pytest.fixture
def taught(door):
    """mary is known."""
    send(door, "mary")
    house.until(lambda: learned(door) == 1)
    return door


def test_a_domain_of_which_nobody_is_known_takes_all_and_says_so(door):
    row, = cli(door, "domain", "show", "customer.test")[1]
    assert row["recipients"] == "learn" and row["unknown"] == "authenticated" and row.get("learned") == 0
    assert "every one is taken" in row["learned_note"]
    assert code(door, "anybody") == 250
    assert metric(door, "trispool_harvest_bad_total") == 0


def test_who_was_delivered_to_is_known_and_others_need_spf(taught):
    assert code(taught, "mary") == 250 and code(taught, "MARY") == 250
    got = rcpt(taught, "nobody")
    assert got[1].startswith("450 4.1.1 "), got
    assert code(taught, "nobody", source="127.0.0.9", sender="a@good.org") == 250
    assert code(taught, "nobody", sender="") == 450
    assert code(taught, "postmaster") == 250
    assert "why=unknown-and-not-authenticated" in taught.events("rcpt_unsure")[0]
    row, = cli(taught, "domain", "show", "customer.test")[1]
    assert "SPF" in row["learned_note"]


def test_spf_is_asked_only_where_it_decides(taught, dns):
    taught.ask("domain.set", name="customer.test", dsn="none")  # else it is for the notifications
    before = dns.asked
    assert code(taught, "mary") == 250 and code(taught, "x", sender="") == 450 and dns.asked == before
    assert code(taught, "nobody") == 450 and dns.asked > before


@pytest.mark.parametrize("mode, stranger, friend", [("accept", 250, 250), ("defer", 450, 450)])
def test_the_owner_says_what_becomes_of_unknown_ones(taught, mode, stranger, friend):
    row, = taught.ask("domain.set", name="customer.test", unknown=mode)
    assert row["unknown"] == mode
    assert code(taught, "nobody") == stranger
    assert code(taught, "nobody", source="127.0.0.9", sender="a@good.org") == friend
    assert code(taught, "mary") == 250


def test_one_transaction_may_name_known_and_unknown_ones(taught):
    c = house.Client(taught.port, source="127.0.0.9").hello()
    assert c.code("MAIL FROM:<a@good.org>") == 250
    assert [c.code("RCPT TO:<%s@customer.test>" % r) for r in ("mary", "x", "mary", "y")] == [250] * 4
    c.say("RSET")
    assert c.code("MAIL FROM:<a@bad.org>") == 250
    assert [c.code("RCPT TO:<%s@customer.test>" % r) for r in ("mary", "x", "mary", "y")] == [250, 450, 250, 450]


def test_spf_is_asked_for_together_with_what_the_checks_want_to_know(taught):
    taught.ask("domain.set", name="customer.test", checks="rdns=mark")
    c = house.Client(taught.port, source="127.0.0.9").hello()
    assert c.code("MAIL FROM:<a@good.org>") == 250
    assert [c.code("RCPT TO:<%s@customer.test>" % r) for r in ("mary", "x", "mary", "y", "z")] == [250] * 5
    assert len(taught.events("checked")) == 1 and "spf=pass" in taught.events("checked")[0]


def test_whom_the_primary_refused_is_refused_and_stays_so_without_it(taught, primary):
    send(taught, "gone")
    house.until(lambda: code(taught, "gone") == 550)
    assert rcpt(taught, "gone", source="127.0.0.9", sender="a@good.org")[1] == "550 5.1.1 No such recipient here"
    primary.stop()
    assert code(taught, "gone") == 550
    assert "why=primary" in taught.events("rcpt_unknown")[-1]


@pytest.mark.parametrize("refusal", ["550 5.7.1 not from you", "550 5.2.1 mailbox is closed", "450 4.1.1 later"])
def test_other_refusals_teach_nothing(taught, primary, refusal):
    primary.refusal = refusal
    send(taught, "there")
    house.until(lambda: [r for r in primary.asked if r.startswith("there@")])
    house.until(lambda: taught.events("message_bounced") or taught.events("message_deferred"))
    assert code(taught, "there") == 450 and learned(taught) == 1


def test_during_an_outage_known_ones_and_friends_are_taken(taught, primary):
    primary.stop()
    send(taught, "mary", "john")  # by SPF
    house.until(lambda: taught.queued() == 1)
    assert code(taught, "mary") == 250
    assert code(taught, "john") == 450
    primary.start()
    house.until(lambda: learned(taught) == 2)
    assert code(taught, "john") == 250


def test_sub_addresses_are_those_of_the_base(taught):
    taught.ask("domain.set", name="customer.test", separator="+")
    assert code(taught, "mary+news") == 250 and code(taught, "nobody+mary") == 450


def test_what_is_listed_is_taken_whatever_was_learned(taught):
    subprocess.run([house.CLI, "--socket", str(taught.socket), "recipient", "add", "boss@customer.test"], check=True,
                   capture_output=True)
    assert code(taught, "boss") == 250 and code(taught, "bosss") == 450


def test_what_was_learned_survives_a_kill_and_no_other_owner_gets_it(taught, primary):
    house.until(lambda: metric(taught, "trispool_recipients_unstored") == 0)
    taught.kill()
    taught.start()
    assert learned(taught) == 1 and code(taught, "nobody") == 450 and code(taught, "mary") == 250
    subprocess.run([house.CLI, "--socket", str(taught.socket), "domain", "remove", "customer.test", "--yes"],
                   check=True, capture_output=True)
    house.until(lambda: cli(taught, "domain", "show", "customer.test")[0] == 1)
    taught.add_domain("customer.test", route="127.0.0.1:%d" % primary.port)
    taught.ask("domain.set", name="customer.test", recipients="learn")
    assert learned(taught) == 0 and code(taught, "nobody") == 250


def test_a_domain_that_does_not_learn_learns_nothing(door):
    door.ask("domain.set", name="customer.test", recipients="any")
    send(door, "mary")
    house.until(lambda: door.events("message_delivered"))
    door.ask("domain.set", name="customer.test", recipients="learn")
    assert learned(door) == 0


def judged(node, to, source="127.0.0.8", sender="a@bad.org"):
    _, (row,) = cli(node, "policy", "test", "--ip", source, "--helo", "h.example", "--from", sender, "--rcpt",
                    to + "@customer.test")
    return next(l for l in row["checks"] if l["check"] == "recipient"), row["reply"][:9]


def verdict(*where):
    line, reply = judged(*where)
    return line["result"], reply


def is_away(node):
    return "primary is away" in judged(node, "x")[0]["detail"]


def test_that_the_primary_is_away_is_known_and_nobody_is_wished_for_then(taught, primary):
    known = metric(taught, "trispool_recipients_entries")
    assert not is_away(taught) and code(taught, "wish") == 450
    house.until(lambda: metric(taught, "trispool_recipients_entries") == known + 1)
    primary.stop()
    send(taught, "mary")
    house.until(lambda: is_away(taught))
    assert code(taught, "other") == 450
    assert metric(taught, "trispool_recipients_entries") == known + 1
    primary.start()
    house.until(lambda: not is_away(taught))


def test_policy_test_tells_the_recipients_verdict(taught):
    send(taught, "gone")
    house.until(lambda: code(taught, "gone") == 550)
    assert verdict(taught, "mary") == ("known", "250 2.1.5")
    assert verdict(taught, "nobody") == ("unknown", "450 4.1.1")
    assert verdict(taught, "nobody", "127.0.0.9", "a@good.org") == ("unknown", "250 2.1.5")
    assert verdict(taught, "gone") == ("refused-by-primary", "550 5.1.1")
    assert verdict(taught, "Postmaster") == ("reserved", "250 2.1.5")
    before = metric(taught, "trispool_harvest_bad_total")
    for _ in range(OFFENDER):
        verdict(taught, "nobody", "127.5.0.1")
    assert metric(taught, "trispool_harvest_bad_total") == before and code(taught, "mary", source="127.5.0.1") == 250


# --- harvest ---

def names(node, source, count, word="no", sender="a@bad.org"):
    """Tries names in one session, pipelined; the codes, up to the end of the session."""
    c = house.Client(node.port, source=source)
    if c.banner[0] != 220:
        return [c.banner[0]]
    c.hello()
    assert c.code("MAIL FROM:<%s>" % sender) == 250
    c.raw(b"".join(b"RCPT TO:<%s%d@customer.test>\r\n" % (word.encode(), i) for i in range(count)))
    got = []
    while len(got) < count and (not got or got[-1] not in (0, 421)):
        with contextlib.suppress(ConnectionError):
            got.append(c.reply()[0])
            continue
        got.append(0)
    c.close()
    return got


@pytest.fixture
def listed(door):
    subprocess.run([house.CLI, "--socket", str(door.socket), "recipient", "add", "mary@customer.test"], check=True,
                   capture_output=True)
    door.ask("domain.set", name="customer.test", recipients="list")
    house.until(lambda: metric(door, "trispool_greylist_unstored") == 0 and is_counted(door))
    return door


TRIES = itertools.count()


def is_counted(node):
    """The secret of the cluster is there: tries are counted."""
    n = next(TRIES)  # one that comes again for the same recipient is not counted again
    before = metric(node, "trispool_harvest_bad_total")
    code(node, "nobody%d" % n, source="127.200.%d.1" % (n % 250))
    with contextlib.suppress(AssertionError):  # it is counted behind the answer
        house.until(lambda: metric(node, "trispool_harvest_bad_total") > before, 1)
    return metric(node, "trispool_harvest_bad_total") > before


def test_s16_an_offender_is_cut_off_and_not_heard_again(listed):
    got = names(listed, "127.1.0.1", 500)
    assert got == [550] * (SUSPECT - 1) + [250] * (OFFENDER - SUSPECT) + [421], got
    c = house.Client(listed.port, source="127.1.0.1")
    assert c.banner == (421, ["421 4.7.0 Too many recipients that are not here, come back later"])
    assert c.closed()
    assert code(listed, "mary", source="127.1.0.2") == 250  # its neighbour
    assert "state=offender" in listed.events("harvest")[-1] and "limit=harvest" in listed.events("shed")[-1]


def test_s16_a_network_is_cut_off_for_what_all_of_it_does(listed):
    for host in range(1, 6):
        names(listed, "127.2.0.%d" % host, OFFENDER)
    assert code(listed, "mary", source="127.2.0.200") == 421
    assert code(listed, "mary", source="127.2.1.1") == 250


def test_s16_an_allowed_client_is_spared(listed):
    subprocess.run([house.CLI, "--socket", str(listed.socket), "access", "allow", "127.3.0.1"], check=True,
                   capture_output=True)
    house.until(lambda: names(listed, "127.3.0.1", 1) == [550])
    assert set(names(listed, "127.3.0.1", OFFENDER + 5)) == {550}
    assert code(listed, "mary", source="127.3.0.1") == 250


def test_s16_who_sends_more_wanted_mail_than_it_errs_is_no_offender(listed):
    assert names(listed, "127.4.0.1", 1) == [550]
    for _ in range(OFFENDER + 10):
        send(listed, "mary", source="127.4.0.1", sender="a@elsewhere.example")
    assert set(names(listed, "127.4.0.1", OFFENDER + 5)) == {550}


def behind_the_dot(node, source, *to):
    """What is said to the dot; RCPT says the same of all."""
    c = house.Client(node.port, source=source).hello()
    assert c.code("MAIL FROM:<a@bad.org>") == 250
    said = [c.say("RCPT TO:<%s@customer.test>" % t) for t in to]
    assert said == [(250, ["250 2.1.5 Ok"])] * len(to)
    assert c.code("DATA") == 354
    c.raw(BODY + b".\r\n")
    code, lines = c.reply()
    c.close()
    return code, lines[0]


def test_s16_a_suspicious_client_hears_of_nobody_before_the_dot(taught):
    """Known, unknown and refused ones alike; and a message for somebody who is there is taken for all it names."""
    house.until(lambda: is_counted(taught))
    send(taught, "gone")
    house.until(lambda: code(taught, "gone", source="127.201.0.1") == 550)
    assert set(names(taught, "127.6.0.1", SUSPECT)) == {450}
    for nobody in (["nobody"], ["gone"], ["nobody", "gone", "nemo"]):
        assert behind_the_dot(taught, "127.6.0.1", *nobody)[1].startswith("450 4.1.1 ")
    assert "why=suspicious-client" in taught.events("rcpt_unsure")[-1]
    before = metric(taught, "trispool_messages_accepted_total")
    for somebody in (["mary"], ["nobody", "mary", "gone"], ["postmaster", "nobody"]):
        assert behind_the_dot(taught, "127.6.0.1", *somebody)[0] == 250
    assert metric(taught, "trispool_messages_accepted_total") == before + 3
    assert code(taught, "other", source="127.6.1.1") == 450  # another client


def test_s16_nor_where_there_is_a_list(listed):
    names(listed, "127.61.0.1", SUSPECT)
    assert behind_the_dot(listed, "127.61.0.1", "nobody")[1].startswith("550 5.1.1 ")
    assert behind_the_dot(listed, "127.61.0.1", "nobody", "mary")[0] == 250
    assert code(listed, "nobody", source="127.61.1.1") == 550


def test_s16_a_suspicious_client_costs_no_look_ups(taught, dns):
    house.until(lambda: is_counted(taught))
    taught.ask("domain.set", name="customer.test", dsn="none")  # which needs to know who the sender is
    names(taught, "127.7.0.1", SUSPECT)
    before = dns.asked
    assert behind_the_dot(taught, "127.7.0.1", "nobody")[0] == 450 and dns.asked == before


# --- three sites ---

@pytest.fixture
def three(tmp_path, dns, primary):
    f = fleet.on_loopback(tmp_path, more=of(dns))
    try:
        f.form()
        f.add_domain("customer.test", "127.0.0.1:%d" % primary.port)
        f[1].ask("domain.set", name="customer.test", recipients="learn")
        house.until(lambda: all(learned(m) == 0 for m in f.members))
        yield f
    finally:
        f.kill()
    assert not f.broken()


def test_what_one_site_learns_all_know(three, primary):
    for to, m in zip(("mary", "gone"), three.members):
        send(m, to)
    house.until(lambda: all(learned(m) == 1 for m in three.members))
    house.until(lambda: all(code(m, "gone") == 550 for m in three.members))
    primary.stop()
    for m in three.members:
        assert [code(m, "mary"), code(m, "gone"), code(m, "nobody")] == [250, 550, 450]
    # A site that was away hears of it from the others.
    three[3].kill()
    primary.start()
    send(three[1], "john")
    # The site that was killed may have held the domain; then another has to take it over, and try again.
    house.until(lambda: all(learned(m) == 2 for m in three.live()), 120)
    three[3].start()
    house.until(lambda: learned(three[3]) == 2, 60)
    house.until(lambda: three[3].status()["takes_mail"], 60)
    assert code(three[3], "john") == 250


def test_all_sites_know_that_a_primary_is_away_also_when_its_holder_is_gone(three, primary):
    primary.stop()
    send(three[1], "mary")
    house.until(lambda: all(is_away(m) for m in three.members))
    holder = three.holder("customer.test")
    holder.kill()
    house.until(lambda: three.holder("customer.test") not in (None, holder), 60)
    assert all(is_away(m) for m in three.live())
    primary.start()
    house.until(lambda: not any(is_away(m) for m in three.live()), 120)  # the dead one's word counts a minute


def test_s16_scaled_down_offenders_are_cut_off_at_all_sites_and_wanted_mail_comes_in(three, primary):
    """60 clients, each of a network of its own, try names at all sites in turn; others send mail meanwhile."""
    send(three[1], "mary")
    house.until(lambda: all(learned(m) == 1 for m in three.members))
    house.until(lambda: all(is_counted(m) for m in three.members))
    told = {}
    random.seed(16)
    for turn in range(9):
        for i in range(60):
            m = three.members[(turn + i) % 3]
            told.setdefault(i, []).extend(
                names(m, "127.20.%d.1" % i, 12, word="n%x-" % random.getrandbits(40)))
        for m in three.members:
            assert code(m, "mary", source="127.30.%d.1" % turn) == 250
    for i, codes in told.items():
        assert set(codes) == {450, 250, 421} and codes.index(250) >= SUSPECT, (i, codes)
        # A site may hear of the last tries at the others a moment late.
        assert OFFENDER - 1 <= codes.count(450) + codes.count(250) < OFFENDER + 12, (i, codes)
        assert codes.count(450) < SUSPECT + 12, (i, codes)
    house.until(lambda: all(names(m, "127.20.%d.1" % i, 1) == [421] for m in three.members for i in range(60)))
    for n in range(10):
        send(three.members[n % 3], "mary", source="127.40.%d.1" % n, sender="a@elsewhere.example")
    house.until(lambda: three.queued() == 0, 60)
    # Strangers wait to be asked for: they are when their site's first minute is over, and on for a minute.
    house.until(lambda: primary.questions and primary.questions[-1][0] - primary.questions[0][0] > 60, 180)
    assert len(primary.taken) == 11  # no mail came of any
    assert primary.most_in_a_minute() <= 10
