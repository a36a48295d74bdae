"""S29, S30 and S33: strangers are told 450 and to come again; whoever does, at any site, is known at
all of them, also when a site does not hear of it at once, and after a restart."""
import subprocess

import house
import pytest

import fleet

SHORT = "greylist:\n  delay: 2s\n"


def attempt(node, source="127.0.0.9", sender="a@sender.example", rcpt="b@customer.test"):
    """(code, text) of RCPT; the session goes on with DATA, that a stranger must not get far with."""
    c = house.Client(node.port, source=source).hello()
    assert c.code("MAIL FROM:<%s>" % sender) == 250
    code, lines = c.say("RCPT TO:<%s>" % rcpt)
    if code != 250:
        assert c.code("DATA") in (503, 554)
    c.say("QUIT")
    return code, lines[-1]


def passes(*where, **how):
    """Until a try is taken; it must not be taken at once."""
    assert attempt(*where, **how)[0] == 450
    house.until(lambda: attempt(*where, **how)[0] == 250, 30)


def verdicts(node):
    return [line.split("verdict=")[1].split()[0] for line in node.events("greylisted")]


@pytest.fixture
def door(tmp_path):
    with house.Node(tmp_path, extra=SHORT) as n:
        n.add_domain("customer.test", route="127.0.0.1:%d" % house.free_port())
        n.ask("domain.set", name="customer.test", checks="greylist=defer")
        house.until(lambda: attempt(n, "127.9.0.1")[0] == 450)  # the secret of the cluster is there
        yield n


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    f = fleet.on_loopback(tmp_path_factory.mktemp("three"), more=SHORT)
    try:
        f.form()
        f.add_domain("customer.test", "127.0.0.1:%d" % house.free_port())
        f[1].ask("domain.set", name="customer.test", checks="greylist=defer")
        house.until(lambda: all(attempt(m, "127.9.0.1")[0] == 450 for m in f.members))
        yield f
    finally:
        f.kill()
    assert not f.broken()


def test_s29_a_stranger_is_told_450(door):
    code, text = attempt(door)
    assert code == 450 and text.startswith("450 4.7.1 ")
    assert "verdict=first" in door.events("greylisted")[-1] and "wait_ms=2000" in door.events("greylisted")[-1]
    assert attempt(door)[0] == 450
    assert verdicts(door)[-1] == "early"


def test_s33_no_body_is_read_of_a_first_try(door):
    c = house.Client(door.port, source="127.0.0.9").hello()
    assert c.code("MAIL FROM:<x@sender.example>") == 250
    assert c.code("RCPT TO:<b@customer.test>") == 450
    code, lines = c.say("DATA")
    assert code in (503, 554), lines
    assert door.queued() == 0


def test_s33_a_body_that_was_sent_ahead_is_no_mail(door):
    """All in one write, without a wait for any answer."""
    def speaks(whole=b"MAIL FROM:<x@sender.example>\r\nRCPT TO:<b@customer.test>\r\nDATA\r\n"
               b"From: x@sender.example\r\n\r\n.\r\nQUIT\r\n"):
        c = house.Client(door.port, source="127.0.0.9").hello()
        c.raw(whole)
        codes = []
        while not codes or codes[-1] not in (0, 221, 421):
            codes.append(c.reply()[0])
        return codes
    first = speaks()
    assert first[:2] == [250, 450] and not {250, 354} & set(first[2:]), first
    assert door.queued() == 0 and metric(door, "trispool_messages_accepted_total") == 0
    house.until(lambda: speaks() == [250, 250, 354, 250, 221])
    assert door.queued() == 1


def test_s30_who_comes_again_in_time_is_known_with_any_sender(door):
    passes(door)
    assert verdicts(door)[-1] == "passed"
    assert attempt(door, sender="other@elsewhere.example")[0] == 250
    assert attempt(door, source="127.0.0.77")[0] == 250  # its network, a /24
    assert attempt(door, source="127.0.1.9")[0] == 450


def test_a_thread_remembers_whom_the_list_knew_for_its_network_and_spf_domain_alone(door):
    passes(door)
    c = house.Client(door.port, source="127.0.0.9").hello()  # one session is of one thread
    for known, familiar in ((1, 0), (2, 1), (3, 2)):
        assert c.code("MAIL FROM:<x%d@sender.example>" % known) == 250
        assert c.code("RCPT TO:<b@customer.test>") == 250 and c.code("RSET") == 250
        assert metric(door, "trispool_greylist_known_total") == known
        assert metric(door, "trispool_greylist_familiar_total") == familiar
    assert attempt(door, source="127.0.1.9")[0] == 450


@pytest.mark.parametrize("first, second", [
    ("list-bounce-17-b=customer.test@lists.example", "list-bounce-18-b=customer.test@lists.example"),
    ("prvs=1234abcdef=a@batv.example", "prvs=5678abcdef=a@batv.example"),
    ("", ""),
])
def test_s30_a_sender_that_differs_from_mail_to_mail_waits_once(door, first, second):
    assert attempt(door, sender=first)[0] == 450
    house.until(lambda: attempt(door, sender=second)[0] == 250, 30)


def test_the_postmaster_is_reached_at_once(door):
    assert attempt(door, source="127.0.5.1", rcpt="postmaster")[0] == 250


def test_a_client_on_the_allow_list_does_not_wait(door):
    subprocess.run([house.CLI, "--socket", str(door.socket), "access", "allow", "127.0.9.9"], check=True,
                   capture_output=True)
    house.until(lambda: attempt(door, source="127.0.9.9")[0] == 250)


def test_the_primarys_own_hosts_do_not_wait(door):
    door.ask("domain.set", name="customer.test", route="127.0.8.8:25")
    assert attempt(door, source="127.0.8.8")[0] == 250
    assert "client=127.0.8.8" in door.events("greylist_home")[-1]
    assert attempt(door, source="127.0.8.9")[0] == 450


def test_where_it_is_only_marked_or_off_nobody_waits(door):
    door.ask("domain.set", name="customer.test", checks="greylist=mark")
    assert attempt(door, source="127.0.6.1")[0] == 250
    assert verdicts(door)[-1] == "first"
    said = len(verdicts(door))
    door.ask("domain.set", name="customer.test", checks="greylist=off")
    assert attempt(door, source="127.0.7.1")[0] == 250 and len(verdicts(door)) == said


def metric(node, name):
    return next(float(r["line"].split()[1]) for r in node.ask("metrics") if r["line"].startswith(name + " "))


def test_what_is_known_stays_known_over_a_kill(door):
    passes(door)
    house.until(lambda: metric(door, "trispool_greylist_unstored") == 0)
    door.kill()
    door.start()
    assert attempt(door)[0] == 250
    assert attempt(door, source="127.8.0.1")[0] == 450  # the secret is the same: it is no blind list


def entries(three):
    """Of all three, once they agree."""
    def agreed():
        counts = {metric(m, "trispool_greylist_entries") for m in three.members}
        return counts if len(counts) == 1 else None
    return house.until(agreed, 30).pop()


def test_story_14_first_tries_at_three_sites_are_one_and_a_retry_at_any_site_passes(three):
    before = entries(three)
    for m in three.members:  # as Exim does, within a second
        assert attempt(m, source="127.1.0.1")[0] == 450
    house.until(lambda: entries(three) == before + 1, 10)
    house.until(lambda: attempt(three[3], source="127.1.0.1")[0] == 250, 30)
    house.until(lambda: all(attempt(m, source="127.1.0.1", sender="z@z.example")[0] == 250
                            for m in three.members), 10)
    for _ in range(3):  # and it is for ever one
        assert attempt(three[1], source="127.1.0.1")[0] == 250


def test_story_14_a_site_that_was_away_hears_what_it_missed(three):
    three[3].freeze()
    try:
        passes(three[1], source="127.2.0.1")
        house.until(lambda: attempt(three[2], source="127.2.0.1")[0] == 250, 30)
    finally:
        three[3].thaw()
    house.until(lambda: three[3].status()["takes_mail"], 60)
    house.until(lambda: attempt(three[3], source="127.2.0.1", sender="q@q.example")[0] == 250, 30)


def test_story_14_a_node_that_comes_back_knows_what_its_peers_saw(three):
    three[2].kill()
    passes(three[1], source="127.3.0.1")
    three[2].start()
    house.until(lambda: three[2].status()["takes_mail"], 60)
    house.until(lambda: attempt(three[2], source="127.3.0.1", sender="r@r.example")[0] == 250, 30)
