"""S32: the block and allow lists. Entries are made at one node and count at all, as long as they
are to; postmaster is always reached; what is wrong is refused with a word that helps."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

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


def listen_on_ipv6(member):
    """The member's second port, on ::1; before it is started."""
    port = house.free_port()
    text = member.config.read_text()
    member.config.write_text(text.replace('listen: ["', 'listen: ["[::1]:%d", "' % port))
    return port


def answer_ipv6(port, rcpt=RCPT):
    with socket.create_connection(("::1", port), timeout=30) as s:
        f = s.makefile("rb")
        assert f.readline().startswith(b"220")
        s.sendall(b"HELO c\r\nMAIL FROM:<a@sender.example>\r\n%s\r\nQUIT\r\n" % rcpt.encode())
        return int([f.readline() for _ in range(3)][2][:3])


def test_s32_an_entry_made_at_one_site_counts_at_the_others_for_both_families(tmp_path):
    """Within two seconds is the promise; how long it took is printed, not judged."""
    f = fleet.on_loopback(tmp_path)
    ports = {m.site: listen_on_ipv6(m) for m in f.members}
    try:
        f.form()
        f.add_domain("example.test", "127.0.0.1:%d" % house.free_port())
        for words, v4, v6 in ((("block", "127.0.0.0/8", "::/64"), 550, 550),
                              (("allow", "127.0.0.9", "::1"), 250, 250),      # inside what is blocked
                              (("remove", "127.0.0.9", "::1"), 550, 550),     # the network is still there
                              (("allow", "127.0.0.9", "::1/128"), 250, 250),
                              (("block", "127.0.0.9", "::1"), 550, 550),      # the later word counts
                              (("remove", "127.0.0.9", "127.0.0.0/8", "::/64", "::1"), 250, 250)):
            tell(f[1], *words)
            began = time.monotonic()
            house.until(lambda: answer(f[3], "127.0.0.9")[0] == v4 and answer_ipv6(ports[3]) == v6)
            print(words, "made at site 1, in force at site 3 after %.3f s" % (time.monotonic() - began))
        tell(f[1], "block", "::1", "--for", "1s")
        house.until(lambda: networks(f[3]) == {})
        assert answer_ipv6(ports[3]) == 250
    finally:
        f.kill()
    assert not f.broken()


ASK = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\\n")
for line in s.makefile():
    print(line, end="")
    if '"exit"' in line:
        break
"""


def change_as(uid, gid, node, **args):
    """Exit status of a change by a user of this machine."""
    asked = json.dumps({"cmd": "access.change", "args": args})
    done = subprocess.run([sys.executable, "-c", ASK, str(node.socket), asked], capture_output=True, text=True,
                          user=uid, group=gid, extra_groups=[], check=True, timeout=60)
    return json.loads(done.stdout.splitlines()[-1])["exit"]


def with_group(gid, file):
    """In front of a daemon: its machine has the group that may use the control socket."""
    file.write_text("trispool:x:%d:\n" % gid)
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c",
            'mount --bind "$0" /etc/group && exec "$@"', str(file)]


def test_s32_who_made_an_entry_is_listed_at_all_sites(tmp_path):
    uid, gid, home = 4711, 4712, os.getuid()
    with tempfile.TemporaryDirectory(prefix="trispool-test-") as folder:
        os.chmod(folder, 0o755)  # another user walks down to the socket
        f = fleet.on_loopback(folder)
        f[1].argv0 = with_group(gid, tmp_path / "group")
        try:
            f.form()
            assert change_as(uid, gid, f[1], op="block", networks=["192.0.2.0/24", "198.51.100.0/24"]) == 0
            tell(f[2], "allow", "198.51.100.0/24")
            made_by = {"192.0.2.0/24": uid, "198.51.100.0/24": home}
            for m in f.members:
                house.until(lambda: {r["network"]: r["uid"] for r in tell(m, "list")[0]} == made_by)
                assert all(r["expires"] is None and r["added"].endswith("Z") for r in tell(m, "list")[0])
            said = f.cli("access", "list", by=f[3])
            assert str(uid) in next(l for l in said.splitlines() if "192.0.2.0/24" in l).split(), said
        finally:
            f.kill()
        assert not f.broken()


def test_s32_nobody_is_listed_for_what_he_does(tmp_path):
    """However a client behaves, and whether the primary is up or down: entries are people's."""
    with house.Node(tmp_path, smtp="max_rate_per_client: 1000\nmax_sessions_per_client: 2") as node:
        node.add_domain(route="127.0.0.1:%d" % house.free_port())
        early = house.Client(node.port, banner=False)
        early.raw(b"GET / HTTP/1.0\r\n\r\n")
        early.f.read()
        c = house.Client(node.port).hello()
        c.code("MAIL FROM:<a@sender.example>")
        while c.code("RCPT TO:<x@elsewhere.test>") == 550:  # a harvester, until it is cut off
            pass
        c = house.Client(node.port).hello()
        while c.code("NONSENSE") == 500:
            pass
        crowd = [house.Client(node.port) for _ in range(4)]  # over the limit
        assert crowd[-1].banner[0] == 421
        for c in crowd:
            c.close()
        assert networks(node) == {}
        house.until(lambda: answer(node, "127.0.0.1")[0] == 250)


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
