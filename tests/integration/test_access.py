"""S32: the block and allow lists. Entries are made at one node and count at all, as long as they
are to; postmaster is always reached; what is wrong is refused with a word that helps."""
import json
import subprocess

import pytest

import fleet
import house

RCPT = "RCPT TO:<b@example.test>"


def tell(node, *words, status=0):
    done = subprocess.run([house.CLI, "--socket", str(node.socket), "access", *map(str, words), "-o", "jsonl"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return [json.loads(l) for l in done.stdout.splitlines()], done.stderr


def networks(node):
    return {r["network"]: r["action"] for r in tell(node, "list")[0] if "network" in r}


def answer(node, source, rcpt=RCPT):
    c = house.Client(node.port, source=source).hello()
    assert c.code("MAIL FROM:<a@sender.example>") == 250
    code, lines = c.say(rcpt)
    c.say("QUIT")
    return code, lines[-1] if lines else ""


def test_clients_of_a_blocked_network_reach_only_the_postmaster(node):
    assert answer(node, "127.0.0.9")[0] == 250
    tell(node, "block", "127.0.0.8/29", "--reason", "sends spam")
    house.until(lambda: answer(node, "127.0.0.9")[0] == 550)
    code, text = answer(node, "127.0.0.9")
    assert text == "550 5.7.1 127.0.0.9 is blocked here: sends spam; ask postmaster"
    assert answer(node, "127.0.0.9", "RCPT TO:<postmaster>")[0] == 250
    assert answer(node, "127.0.0.16")[0] == 250
    blocked = node.events("access_blocked")
    assert blocked and "client=127.0.0.9" in blocked[0] and 'reason="sends spam"' in blocked[0]


def test_the_longest_network_counts(node):
    tell(node, "block", "127.0.0.0/8")
    tell(node, "allow", "127.0.0.9")
    house.until(lambda: (answer(node, "127.0.0.9")[0], answer(node, "127.0.0.10")[0]) == (250, 550))
    shown, _ = tell(node, "show", "127.0.0.9")
    assert shown[0]["network"] == "127.0.0.9/32" and shown[0]["action"] == "allow"
    shown, _ = tell(node, "show", "127.1.2.3")
    assert shown[0]["network"] == "127.0.0.0/8"
    tell(node, "show", "192.0.2.1", status=1)


def test_an_entry_ends_by_itself_and_goes(node):
    tell(node, "block", "127.0.0.9", "--for", "1s")
    tell(node, "block", "127.0.0.10", "--for", "1h")
    house.until(lambda: answer(node, "127.0.0.10")[0] == 550)
    house.until(lambda: answer(node, "127.0.0.9")[0] == 250)
    house.until(lambda: networks(node) == {"127.0.0.10/32": "block"})


def test_entries_stay_over_a_restart_until_they_are_removed(node):
    tell(node, "block", "127.0.0.9", "2001:db8::/32", "127.0.0.9/32")
    assert networks(node) == {"127.0.0.9/32": "block", "2001:db8::/32": "block"}
    node.kill()
    node.start()
    assert answer(node, "127.0.0.9")[0] == 550  # from the first session on
    tell(node, "remove", "127.0.0.9", "192.0.2.0/24")
    house.until(lambda: answer(node, "127.0.0.9")[0] == 250)
    assert networks(node) == {"2001:db8::/32": "block"}


@pytest.mark.parametrize("words, says", [
    (("block", "192.0.2.1/24"), "192.0.2.0/24"),
    (("block", "192.0.2.0/33"), "networks"),
    (("block", "nonsense"), "192.0.2.0/24"),
    (("block", "192.0.2.0/24", "--reason", "two\nlines"), "printable"),
    (("block", "192.0.2.0/24", "--for", "1000w"), "for"),
    (("show", "192.0.2.0/24"), "address"),
    (("block",), "NETWORK"),
])
def test_what_is_wrong_is_refused_with_a_hint(node, words, says):
    _, error = tell(node, *words, status=64)
    assert says in error, error
    assert networks(node) == {}


def test_a_dry_run_changes_nothing(node):
    rows, _ = tell(node, "block", "192.0.2.0/24", "--for", "1h", "--dry-run")
    assert rows[0]["network"] == "192.0.2.0/24" and networks(node) == {}


def test_an_entry_made_at_one_site_counts_at_all(tmp_path):
    f = fleet.on_loopback(tmp_path)
    try:
        f.form()
        f.add_domain("example.test", "127.0.0.1:%d" % house.free_port())
        tell(f[1], "block", "127.0.0.9", "--reason", "at one")
        house.until(lambda: all(answer(m, "127.0.0.9")[0] == 550 for m in f.members))
        tell(f[3], "remove", "127.0.0.9")
        house.until(lambda: all(answer(m, "127.0.0.9")[0] == 250 for m in f.members))
        tell(f[2], "block", "127.0.0.9", "--for", "1s")
        house.until(lambda: all(networks(m) == {} for m in f.members))
    finally:
        f.kill()
    assert not f.broken()
