"""Three daemons as one cluster on loopback: who may be a member, what each member knows, what an operator
can do. What links, disks and deaths do to it is in scenarios/."""
import itertools
import json
import shutil
import subprocess

import fleet
import house
import pytest

DOMAIN = "example.test"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A cluster for tests that leave it whole, its domain with a primary that is up."""
    folder = tmp_path_factory.mktemp("fleet")
    f = fleet.on_loopback(folder)
    with house.Sink(folder / "sink") as sink:
        f.sink = sink
        try:
            f.form()
            f.add_domain(DOMAIN, "127.0.0.1:%d" % sink.port)
            yield f
            f.stop()
        finally:
            f.kill()
        assert not f.broken()


@pytest.fixture
def own(tmp_path):
    """A cluster for one test alone."""
    f = fleet.on_loopback(tmp_path)
    try:
        f.form()
        yield f
    finally:
        f.kill()
    assert not f.broken()


def start_fails(member):
    """Starts a member that must not come up; what it says."""
    done = subprocess.run([str(member.daemon), "--config", str(member.config)], capture_output=True,
                          text=True, env=member.env, timeout=60)
    assert done.returncode not in (0, None), done.stdout
    return done.stdout + done.stderr


def offline_fails(member, *words):
    done = subprocess.run([house.CLI, *map(str, words), "--config", member.config], capture_output=True,
                          text=True, env=member.env, timeout=60)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def refused(*words, by):
    """What a command says that must not be done."""
    done = subprocess.run([house.CLI, "--socket", str(by.socket), *map(str, words)], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def queue_ids(member):
    return {row["id"] for row in member.ask("queue.list")}


def test_all_members_know_all_members_and_all_domains(shared):
    seen = [sorted(r["site"] for r in shared.rows("cluster", "members", by=m)) for m in shared.members]
    assert seen == [[1, 2, 3]] * 3
    shared[3].add_domain("by-three.test", "127.0.0.1:9")
    for m in shared.members:
        house.until(lambda m=m: any(r["name"] == "by-three.test" for r in m.ask("domain.list")))


def test_the_owner_of_a_domain_is_told_an_mx_record_for_each_site(shared):
    numbers = itertools.count()

    def told():
        return shared.cli("domain", "add", "mx%d.test" % next(numbers), "--route", "127.0.0.1:9",
                          by=shared[2])
    house.until(lambda: {"mx%d.example.net." % m.site for m in shared.members} <= set(told().split()),
                every=0.5)


def test_an_answer_means_that_the_asked_node_has_applied_it(shared):
    for i, m in enumerate(shared.members * 3):
        name = "d%d.test" % i
        m.add_domain(name, "127.0.0.1:9")
        assert name in [r["name"] for r in m.ask("domain.list")]


def test_mail_taken_at_any_node_is_at_all_three_and_delivered_once(shared, tmp_path):
    shared.sink.say("down")
    journals = []
    for m in shared.members:
        journals.append(tmp_path / ("journal%d" % m.site))
        house.load(m.port, "-n", 20, "-c", 4, "-m", 5, "--journal", journals[-1], "--run", "s%d" % m.site)
    house.until(lambda: [len(queue_ids(m)) for m in shared.members] == [60] * 3)
    assert queue_ids(shared[1]) == queue_ids(shared[2]) == queue_ids(shared[3])
    assert shared.is_verified()
    for m in shared.members:
        house.until(lambda m=m: m.ask("queue.list", limit=1)[0]["copies"] == 3)  # each hears of the others' in time
        row = m.ask("queue.list", limit=1)[0]
        assert row["holder"] == shared.holder(DOMAIN).site
        assert m.ask("queue.show", id=row["id"])[0]["copies"] == 3
        assert m.ask("queue.trace", id=row["id"])[0]["copies"] == 3
    shared.sink.say("up")
    house.until(lambda: shared.queued() == 0, seconds=60)
    verdict = house.compare_ledgers(journals, [shared.sink.ledger])
    assert verdict["lost"] == 0 and verdict["duplicates"] == 0 and verdict["altered"] == 0, verdict


def test_a_lease_can_be_moved_and_a_node_drained(shared):
    for to in (1, 2, 3):
        shared.cli("cluster", "move-lease", DOMAIN, "--to", to)
        house.until(lambda to=to: shared.holder(DOMAIN) is shared[to])
    shared.cli("cluster", "drain", by=shared[3])
    house.until(lambda: shared.holder(DOMAIN) not in (None, shared[3]))
    shared.cli("cluster", "undrain", by=shared[3])
    for words in ("move-lease nobody.test --to 1", "leases --domain nobody.test"):
        refused = subprocess.run([house.CLI, "--socket", shared[1].socket, "cluster", *words.split()],
                                 capture_output=True, text=True, timeout=60)
        assert refused.returncode == 1 and "no such domain" in refused.stderr, refused


def test_a_node_gets_another_key(shared):
    def keys(by):
        return {r["site"]: (r["key"], r["old_key_counts"]) for r in shared.rows("cluster", "members", by=by)}
    before = keys(shared[2])
    row, = shared.rows("cluster", "rotate-key", by=shared[2])
    assert row["key"] != before[2][0] and not row["old_key_counts"]
    for m in shared.members:
        house.until(lambda m=m: keys(m) == {**before, 2: (row["key"], False)})
        house.until(lambda m=m: m.status()["takes_mail"])
        house.load(m.port, "-n", 5, "--run", "k%d" % m.site)
    shared.until_whole()
    house.until(lambda: shared.queued() == 0)
    assert "one key only" in refused("cluster", "revoke-key", by=shared[2])
    shared[2].stop()
    shared[2].start()  # what it shows then is what stands in its files
    shared.until_whole()


def test_status_shows_the_cluster(shared):
    for m in shared.members:
        house.until(lambda m=m: m.status()["gate"] == "open")
        s = m.status()
        assert s["copies"] == 2 and not s["one_copy_mode"] and not s["solo"]
        assert s["gate"] == "open" and s["takes_mail"] and s["quorum"] and s["may_deliver"]
        assert {n["site"]: n["link"] for n in s["nodes"]} == {
            o.site: "self" if o is m else "up" for o in shared.members}
        assert sum(n["slots"] for n in s["nodes"]) == 256
        assert s["single_copies"] == 0
        house.until(lambda m=m: m.ask("health")[0]["health"] == "ok")
        assert any(r["line"].startswith("trispool_leader_known 1") for r in m.ask("metrics"))


def test_an_identity_is_given_once(shared, tmp_path):
    m = fleet.Here(tmp_path, 1)
    m.offline("cluster", "init", "--site", 1, "--control", m.control, "--data", m.data)
    assert offline_fails(m, "cluster", "init", "--site", 1, "--control", m.control, "--data", m.data)
    assert offline_fails(m, "cluster", "join", "not-a-token")


def test_a_node_without_identity_does_not_start_and_says_what_to_do(tmp_path):
    said = start_fails(fleet.Here(tmp_path, 1))
    assert "cluster init" in said and "cluster join" in said


def test_a_member_s_folder_is_not_delivered_by_a_lone_node(own):
    """The others hold the same mail: it would go out twice."""
    m = own[3]
    m.stop()
    text = m.config.read_text()
    m.config.write_text(text.replace("copies: 2", "copies: 1"))
    said = start_fails(m)
    assert "copies: 1" in said and "copies: 2" in said
    m.config.write_text(text)
    m.start()
    own.until_whole()


def test_a_node_whose_spool_was_emptied_does_not_start(own):
    m = own[3]
    m.stop()
    shutil.rmtree(m.folder / "data" / "spool")
    assert "cluster" in start_fails(m)


def test_a_node_with_an_old_store_does_not_start(own):
    m = own[2]
    m.stop()
    shutil.copytree(m.folder / "data", m.folder / "old")
    m.start()
    own.until_whole()
    own.add_domain(DOMAIN, "127.0.0.1:%d" % house.free_port())
    house.load(m.port, "-n", 10)
    m.stop()
    m.wipe()
    (m.folder / "old").rename(m.folder / "data")
    m.process = subprocess.Popen([str(m.daemon), "--config", str(m.config)], env=m.env,
                                 stdout=open(m.log, "ab"), stderr=subprocess.STDOUT)
    house.until(lambda: m.process.poll() not in (None, 0), seconds=60)


def test_a_node_of_another_cluster_gets_nothing(own, tmp_path):
    own[3].kill()
    stranger = fleet.Here(tmp_path / "stranger", 3)
    stranger.control, stranger.data = own[3].control, own[3].data
    text = stranger.config.read_text()
    text = text[:text.index("peers:")] + 'peers:\n  control: "%s"\n  data: "%s"\n' % (
        stranger.control, stranger.data) + text[text.index("smtp:"):]
    stranger.config.write_text(text)
    stranger.offline("cluster", "init", "--site", 3, "--control", stranger.control, "--data", stranger.data)
    stranger.start()
    own.add_domain(DOMAIN, "127.0.0.1:%d" % house.free_port())
    house.load(own[1].port, "-n", 5)
    assert stranger.queued() == 0 and not stranger.ask("domain.list")
    stranger.kill()


def test_mail_that_is_not_decided_is_not_in_the_queue(own):
    own.add_domain(DOMAIN, "127.0.0.1:%d" % house.free_port())
    client = house.Client(own[1].port).hello()
    assert client.code("MAIL FROM:<a@sender.example>") == 250
    assert client.code("RCPT TO:<b@%s>" % DOMAIN) == 250
    assert client.code("DATA") == 354
    own[2].freeze()
    own[3].freeze()
    client.raw(b"Subject: one\r\n\r\nhello\r\n.\r\n")
    status = house.until(lambda: (lambda s: s["undecided"] == 1 and s)(own[1].status()))
    assert status["queue_messages"] == 0 and not queue_ids(own[1]) and not own[1].ask("queue.summary")
    assert json.loads(own.cli("cluster", "verify", "-o", "jsonl", "--wait", "0", by=own[1], check=False))["problems"]
    own[2].thaw()
    own[3].thaw()
    code, _ = client.reply()
    house.until(lambda: own[1].status()["undecided"] == 0)
    assert code in (250, 451, 0)
    own.until_whole()
    if code != 0:
        assert len(queue_ids(own[1])) == (code == 250)


def test_who_lost_the_answer_of_add_asks_again(own):
    """The leader may change before the answer: the same words tell the token until the node has begun."""
    m = own[3]
    m.wipe()
    key = fleet.last_word(m.offline("cluster", "key"))

    def add():
        return subprocess.run(
            [house.CLI, "--socket", own[1].socket, "cluster", "add", "--site", "3", "--key", key,
             "--control", m.control, "--data", m.data], capture_output=True, text=True, timeout=60)
    token = fleet.last_word(add().stdout)
    assert token.startswith("trispool-join:") and fleet.last_word(add().stdout) == token
    m.offline("cluster", "join", token)
    m.start()
    house.until(lambda: any(r["site"] == 3 and r["state"] == "voter" and r["filled"]
                            for r in own.rows("cluster", "members", by=own[1])))
    refused = add()
    assert refused.returncode == 1 and "member already" in refused.stderr, refused


def test_a_removed_node_is_no_member_any_more(own):
    refused = subprocess.run([house.CLI, "--socket", own[1].socket, "cluster", "remove", "1", "--yes"],
                             capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "does not remove itself" in refused.stderr, refused
    own[2].stop()
    house.until(lambda: own.cli("cluster", "verify", by=own[1], check=False).find("not reached") >= 0)
    refused = subprocess.run([house.CLI, "--socket", own[1].socket, "cluster", "remove", "3", "--yes"],
                             capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "site 2 is not reached" in refused.stderr, refused
    own[2].start()
    own.until_whole()
    own.cli("cluster", "remove", 3, "--yes", by=own[1])
    house.until(lambda: sorted(r["site"] for r in own.rows("cluster", "members", by=own[1])) == [1, 2])
    own.add_domain(DOMAIN, "127.0.0.1:%d" % house.free_port())
    house.load(own[1].port, "-n", 5)
    assert own[3].process.poll() is not None or not queue_ids(own[3])


def test_a_node_that_stops_hands_over_at_once(own):
    own.add_domain(DOMAIN, "127.0.0.1:%d" % house.free_port())
    holder = house.until(lambda: own.holder(DOMAIN), 60)
    holder.stop()
    # A take-over without a word would take ten seconds.
    house.until(lambda: own.holder(DOMAIN) not in (None, holder), seconds=8)


def test_a_member_that_was_away_learns_another_s_key(own):
    """The old key stays good for as long as it is away, and is no good afterwards."""
    own[3].kill()
    row, = own.rows("cluster", "rotate-key", by=own[2])
    assert row["old_key_counts"]
    own[3].start()
    own.until_whole()
    row, = own.rows("cluster", "revoke-key", by=own[2])
    assert not row["old_key_counts"]
    own.add_domain(DOMAIN, "127.0.0.1:%d" % house.free_port())
    for m in own.members:
        house.until(lambda m=m: m.status()["takes_mail"])
        house.load(m.port, "-n", 5, "--run", "k%d" % m.site)
    own.until_whole()
    house.until(lambda: [len(queue_ids(m)) for m in own.members] == [15] * 3, 60)  # the third copy follows


def test_a_node_that_stops_takes_the_mail_that_is_under_way(own):
    m = own[2]
    m.add_domain(DOMAIN, "127.0.0.1:%d" % house.free_port())
    c = house.Client(m.port).hello()
    for line, code in (("MAIL FROM:<>", 250), ("RCPT TO:<b@%s>" % DOMAIN, 250), ("DATA", 354)):
        assert c.code(line) == code
    m.process.terminate()
    house.until(lambda: not m.status()["takes_mail"])
    c.raw(b"Subject: late\r\n\r\nx\r\n.\r\n")
    assert c.reply()[0] == 250
    assert m.process.wait(30) == 0
    house.until(lambda: len(queue_ids(own[1])) == 1)


def test_two_lost_sites_are_given_up_only_when_an_operator_says_so(own):
    own.add_domain(DOMAIN, "127.0.0.1:%d" % house.free_port())
    house.load(own[1].port, "-n", 5)
    own.until_whole()
    own[2].wipe()
    own[3].wipe()
    house.until(lambda: house.Client(own[1].port).banner[0] == 421)
    done = subprocess.run([house.CLI, "--socket", own[1].socket, "cluster", "solo"], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode != 0
    own.cli("cluster", "solo", "--yes", by=own[1])
    house.until(lambda: house.Client(own[1].port).banner[0] == 220, seconds=60)
    assert len(queue_ids(own[1])) == 5
    house.load(own[1].port, "-n", 5)


def test_a_report_outlives_the_node_that_was_to_send_it(own, tmp_path):
    """The primary refuses; the sender's server is away. The holder dies; another sends the reports."""
    count = 12
    mailbox = house.Sink(tmp_path / "mailbox")
    with house.Sink(tmp_path / "sink", None, "--mode", "reject code=550 at=rcpt") as refuses:
        own.add_domain("sender.test", "127.0.0.1:%d" % mailbox.port)
        own.add_domain(DOMAIN, "127.0.0.1:%d" % refuses.port, dsn="all")
        for i in range(count):
            code, _ = house.Client(own[1 + i % 3].port).hello().send(
                b"Subject: %d\r\n\r\nx\r\n" % i, sender="me%d@sender.test" % i)
            assert code == 250
        holder = house.until(lambda: own.holder(DOMAIN), 60)
        house.until(lambda: sum(r["dsn"]["fate"] == "pending" for i in queue_ids(holder)
                                for r in holder.trace(i)) == count)
        holder.kill()
        with mailbox:
            house.until(lambda: own.queued() == 0, 60)
            holder.start()
            own.until_whole()
            assert own.queued() == 0 and mailbox.stats()["received"] == count
    assert not own.flagged()
