"""trispool, every command, against a real daemon: what it prints, what it does, its exit status."""
import json
import os
import pty
import re
import select
import socket
import subprocess
import time

import pytest

import house

BODY = b"Subject: one\r\nX-Bytes: \xff\xfe\r\n\r\n.leading dot\r\nlast line\r\n"
WIRE = BODY.replace(b"\r\n.", b"\r\n..")  # as SMTP carries it
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


class Cli:
    def __init__(self, node):
        self.node = node

    def run(self, *args, status=0, text=None, env=None):
        done = subprocess.run([str(house.CLI), "--socket", str(self.node.socket), *map(str, args)],
                              input=text, capture_output=True, timeout=120, stdin=None if text else subprocess.DEVNULL,
                              env=dict(os.environ, **(env or {})))
        assert done.returncode == status, (args, done.returncode, done.stdout, done.stderr)
        done.text = done.stdout.decode("utf-8", "backslashreplace")
        done.errors = done.stderr.decode("utf-8", "backslashreplace")
        return done

    def table(self, *args, **kw):
        return self.run(*args, **kw).text.splitlines()

    def items(self, *args, status=0):
        answer = json.loads(self.run("-o", "json", *args, status=status).text)
        assert answer["schema"] == 1 and answer["exit"] == status
        assert answer["command"] in (args[0], " ".join(args[:2]))
        return answer["items"]

    def summary(self, *args, status=0):
        return json.loads(self.run("-o", "json", *args, status=status).text)["summary"]


@pytest.fixture
def cli(node):
    return Cli(node)


def take(node, count=1, sender="a@sender.example", rcpts=("b@example.test",)):
    """Sends messages; their ids."""
    c = house.Client(node.port).hello()
    ids = [c.send(WIRE, sender, rcpts)[1][0].split()[-1] for _ in range(count)]
    c.close()
    return ids


def record(text):
    """The fields of a record layout."""
    return dict(re.match(r"([^:]+): +(.*)", l).groups() for l in text.splitlines() if re.match(r"[^: ][^:]*: +\S", l))


# --- status ---

def test_status_says_what_the_node_is_and_that_it_has_one_copy(cli, node):
    take(node, 3)
    got = record(cli.run("status").text)
    assert got["one-copy mode"] == "yes" and got["copies of a message"] == "1"
    assert got["site"] == "1" and got["host name"] == "mx1.example.net"
    assert got["queue"] == "3" and got["domains"] == "1" and got["takes mail"] == "yes"
    assert got["fenced"] == "no" and got["alarms"] == "0" and got["possible duplicates"] == "0"
    assert re.fullmatch(TIME, got["oldest message"])
    row = cli.items("status")[0]
    assert row["copies"] == 1 and row["one_copy_mode"] is True and row["queue_messages"] == 3
    assert row["queue_bytes"] == 3 * len(BODY) and row["spool_capacity_bytes"] > row["spool_used_bytes"] > 0
    assert row["scheduler_answers"] is True and row["session_epoch"] > 0 and row["control_applied"] > 0


def test_destinations_that_are_down_are_counted(cli, node):
    take(node)
    house.until(lambda: cli.items("status")[0]["destinations_down"] == 1)


def test_health_has_the_exit_status_of_its_answer(cli, node):
    assert record(cli.run("health").text)["health"] == "ok"
    line = cli.run("health", "--nagios").text
    assert re.fullmatch(r"TRISPOOL OK - 0 messages queued \| messages=0 bytes=0B copies=1\n", line)


def test_metrics_are_prometheus_text(cli, node):
    take(node, 2)
    text = cli.run("metrics").text
    values = dict(l.rsplit(" ", 1) for l in text.splitlines() if not l.startswith("#"))
    assert values["trispool_messages_accepted_total"] == "2"
    assert values["trispool_fenced"] == "0" and values["trispool_copies_required"] == "1"
    assert values['trispool_build_info{version="0.1.0"}'] == "1"
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) trispool_\w+ .+|trispool_\w+(\{[^}]*\})? -?\d+", line), line


# --- queue ---

def test_queue_list_filters(cli, node):
    node.add_domain("other.test", route="127.0.0.1:%d" % node.primary_port)
    ids = take(node, 2) + take(node, 1, sender="") + take(node, 1, rcpts=("x@other.test",))
    lines = cli.table("queue", "list")
    assert lines[0].split() == ["ID", "STATE", "AGE", "SIZE", "TRIES", "SENDER", "RECIPIENTS"]
    assert [l.split()[0] for l in lines[1:]] == ids
    assert [r["id"] for r in cli.items("queue", "list", "--domain", "OTHER.test.")] == ids[3:]
    assert [r["id"] for r in cli.items("queue", "list", "--sender", "")] == ids[2:3]
    assert [r["id"] for r in cli.items("queue", "list", "--limit", "2")] == ids[:2]
    assert cli.items("queue", "list", "--older", "1h") == []
    assert cli.items("queue", "list", "--state", "held") == []
    assert len(cli.items("queue", "list", "--state", "queued")) == 4
    assert cli.table("queue", "list", "--domain", "nobody.test") == []
    row = cli.items("queue", "list")[0]
    assert row["recipients"] == ["b@example.test"] and row["body_bytes"] == len(BODY)
    assert re.fullmatch(TIME, row["received"]) and re.fullmatch(TIME, row["deadline"])


def test_jsonl_is_an_object_a_line(cli, node):
    ids = take(node, 3)
    rows = [json.loads(l) for l in cli.table("-o", "jsonl", "queue", "list")]
    assert [r["id"] for r in rows] == ids and all(r["schema"] == 1 for r in rows)


def test_a_long_listing_streams_past_a_slow_reader(cli, node):
    """More than the server holds for a reader: all of it comes, in order, whole."""
    house.load(node.port, "-n", 2000, "-c", 4, "-m", 500, "-s", 700, "--rcpt", "b@example.test")
    p = subprocess.Popen([str(house.CLI), "-s", str(node.socket), "-o", "jsonl", "queue", "list"],
                         stdout=subprocess.PIPE)
    first = p.stdout.readline()
    assert cli.items("status")[0]["queue_messages"] == 2000  # others are served meanwhile
    ids = [json.loads(l)["id"] for l in [first, *p.stdout]]
    assert p.wait(timeout=60) == 0
    assert len(ids) == 2000 and ids == sorted(ids)


def test_queue_show_is_for_queued_mail(cli, node):
    mid, = take(node)
    text = cli.run("queue", "show", mid).text
    got = record(text)
    assert got["id"] == mid and got["domain"] == "example.test" and got["sender"] == "a@sender.example"
    assert got["from client"] == "127.0.0.1" and got["phase"] == "deliver"
    assert "  b@example.test  pending" in text
    assert cli.items("queue", "show", mid.lower())[0]["trace_header"].startswith("Received: from ")
    cli.run("queue", "show", "0004000000000G0000000ZZZZZ", status=1)
    assert "not a message id" in cli.run("queue", "show", "nonsense", status=64).errors


def test_queue_summary_is_by_domain_with_the_primary(cli, node):
    node.add_domain("a.test", route="127.0.0.1:%d" % node.primary_port)
    take(node, 2)
    take(node, 1, rcpts=("x@a.test",))
    house.until(lambda: [r["primary"] for r in cli.items("queue", "summary")] == ["down", "down"])
    rows = cli.items("queue", "summary")
    assert [(r["domain"], r["messages"], r["bytes"]) for r in rows] == \
        [("a.test", 1, len(BODY)), ("example.test", 2, 2 * len(BODY))]
    assert cli.table("queue", "summary")[1].split()[:2] == ["a.test", "1"]


def test_trace_tells_the_fate_of_each_recipient_also_after_a_restart(cli, node, sink):
    mid, = take(node, 1, rcpts=("b@example.test", "c@example.test"))
    sink.start()
    house.until(lambda: node.queued() == 0)

    def check():
        row, = cli.items("queue", "trace", mid)
        assert row["live"] is False and row["phase"] == "done" and re.fullmatch(TIME, row["settled"])
        assert [(r["recipient"], r["fate"], r["attempts"]) for r in row["recipients"]] == \
            [("b@example.test", "delivered", 1), ("c@example.test", "delivered", 1)]
        assert all(r["reply"].startswith("250 ") and r["final"] for r in row["recipients"])
        assert row["possible_duplicates"] == 0 and row["dsn"]["fate"] == "none"
        return row
    before = check()
    text = cli.run("queue", "trace", mid).text
    assert record(text)["still queued"] == "no" and "delivered" in text
    assert "queue trace" in cli.run("queue", "show", mid, status=1).errors
    node.stop()
    node.start()
    assert check()["settled"] == before["settled"]


def test_trace_of_an_id_that_never_was(cli, node):
    assert "no message ever had this id" in cli.run("queue", "trace", "0004000000000G0000000ZZZZZ", status=1).errors


def test_hold_release_and_retry(cli, node, sink):
    ids = take(node, 3)
    assert cli.summary("queue", "hold", ids[0], ids[1])["messages"] == 2
    assert [r["id"] for r in cli.items("queue", "list", "--state", "held")] == ids[:2]
    assert cli.summary("queue", "hold", ids[0], status=1)["messages"] == 0  # held already
    sink.start()
    house.until(lambda: node.queued() == 2)
    assert cli.table("queue", "release", "--domain", "example.test", "--dry-run")[-1].startswith("would release: 2 mess")
    assert node.queued() == 2
    assert cli.table("queue", "release", "--all") == ["release: 2 messages, %dB" % (2 * len(BODY))]
    house.until(lambda: node.queued() == 0)
    assert {r["fate"] for r in node.trace(ids[0])[0]["recipients"]} == {"delivered"}


def test_retry_forgets_the_clock_of_a_message(cli, node, sink):
    sink.start()
    sink.say("tempfail")
    mid, = take(node)
    house.until(lambda: cli.items("queue", "show", mid)[0]["attempts"] >= 1)
    assert [r["id"] for r in cli.items("queue", "list", "--state", "deferred")] == [mid]
    sink.say("accept")
    assert cli.summary("queue", "retry", mid)["finished"] is True
    house.until(lambda: node.queued() == 0)


def test_delete_purges_and_bounce_tells(cli, node):
    ids = take(node, 2) + take(node, 1, sender="")
    assert cli.summary("queue", "delete", ids[0], "--yes")["messages"] == 1
    house.until(lambda: not node.trace(ids[0])[0]["live"])
    row = node.trace(ids[0])[0]
    assert row["recipients"][0]["fate"] == "purged" and row["dsn"]["fate"] == "none"
    cli.run("queue", "bounce", ids[1], ids[2], "-y")
    row = node.trace(ids[1])[0]
    assert row["recipients"][0]["fate"] == "bounced" and row["dsn"]["fate"] != "none"
    assert node.trace(ids[2])[0]["dsn"]["fate"] == "none"  # nobody is told of mail from the null sender


def test_ids_that_are_not_queued_are_named(cli, node):
    mid, = take(node)
    gone = "0004000000000G0000000ZZZZZ"
    assert "not queued: %s" % gone in cli.run("queue", "hold", mid, gone, status=2).errors
    assert cli.summary("queue", "hold", gone, status=1)["missing"] == [gone]
    cli.run("queue", "delete", "nonsense", "--yes", status=64)


def test_nothing_is_ended_without_a_word(cli, node):
    mid, = take(node)
    for args in (("queue", "delete", mid), ("queue", "bounce", "--all"), ("domain", "remove", "example.test")):
        assert "--yes" in cli.run(*args, status=64).errors
        assert json.loads(cli.run("-o", "json", *args, status=64).text)["exit"] == 64
    cli.run("queue", "delete", "--yes", status=64)
    lines = cli.table("queue", "delete", "--all", "--dry-run")
    assert mid in lines[1] and lines[-1].startswith("would delete: 1 message, ")
    cli.run("domain", "remove", "example.test", "--dry-run")
    assert node.queued() == 1 and cli.items("domain", "list")[0]["state"] == "open"


def test_the_sample_is_short_and_says_how_many_more(cli, node):
    take(node, 15)
    lines = cli.table("queue", "delete", "--all", "-n")
    assert len(lines) == 1 + 10 + 2 and lines[-2] == "... and 5 more"


def on_terminal(cli, answer, *args, before=lambda: None):
    """Runs the tool on a terminal; waits for its question, calls before(), answers."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.execv(str(house.CLI), [str(house.CLI), "-s", str(cli.node.socket), *args])
    seen = b""
    end = time.monotonic() + 60
    asked = False
    while True:
        assert time.monotonic() < end, seen
        if select.select([fd], [], [], 1)[0]:
            try:
                got = os.read(fd, 4096)
            except OSError:
                got = b""
            if not got:
                break
            seen += got
        if not asked and b"[y/N]" in seen:
            asked = True
            before()
            os.write(fd, answer)
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_on_a_terminal_it_asks_and_means_what_it_showed(cli, node):
    ids = take(node, 2)
    status, text = on_terminal(cli, b"n\n", "queue", "delete", "--all")
    assert status == 1 and ids[0] in text and "would delete: 2 messages" in text and node.queued() == 2
    # mail that comes in while the question stands is not meant
    status, text = on_terminal(cli, b"y\n", "queue", "delete", "--all", before=lambda: (time.sleep(0.01), take(node)))
    assert status == 0 and "delete: 2 messages" in text
    house.until(lambda: node.queued() == 1)
    assert "\x1b[" not in on_terminal(cli, b"", "queue", "list")[1]


def test_colours_only_on_a_terminal_that_wants_them(cli, node):
    mid, = take(node)
    cli.run("queue", "hold", mid)
    assert "\x1b[33mheld\x1b[0m" in on_terminal(cli, b"", "queue", "list")[1]
    os.environ["NO_COLOR"] = "1"
    try:
        assert "\x1b[" not in on_terminal(cli, b"", "queue", "list")[1]
    finally:
        del os.environ["NO_COLOR"]
    assert "\x1b[" not in cli.run("queue", "list").text


# --- message ---

def test_cat_shows_what_will_be_delivered(cli, node):
    mid, = take(node)
    got = cli.run("message", "cat", mid).stdout
    trace, rest = got.split(b"\r\nSubject: ", 1)
    assert trace.startswith(b"Received: from ") and mid.encode() in trace
    assert b"Subject: " + rest == BODY
    head = cli.run("message", "cat", mid, "--headers").stdout
    assert head == got[:got.index(b"\r\n\r\n") + 4]
    audit = [l for l in node.events("operator") if "message.cat" in l]
    assert len(audit) == 2 and "uid=%d " % os.getuid() in audit[0] and mid in audit[0]
    cli.run("message", "cat", "0004000000000G0000000ZZZZZ", status=1)


def test_cat_of_a_large_message_is_whole(cli, node):
    body = b"Subject: large\r\n\r\n" + b"".join(b"%070d\r\n" % i for i in range(40000))
    c = house.Client(node.port).hello()
    mid = c.send(body)[1][0].split()[-1]
    got = cli.run("message", "cat", mid).stdout
    assert got.endswith(b"\r\n" + body) and len(got) > len(body)


# --- domain ---

def test_domain_add_prints_the_mx_record(cli, node):
    text = cli.run("domain", "add", "Example.ORG", "--route", "192.0.2.1:25,mail.example.org=20", "--hold", "10d",
                   "--tls", "require", "--eight-bit", "hold", "--max-connections", "3").text
    assert "example.org. IN MX 50 mx1.example.net." in text
    row, = [r for r in cli.items("domain", "list") if r["name"] == "example.org"]
    assert row["hold_s"] == 864000 and row["tls"] == "require" and row["eight_bit"] == "hold"
    assert row["max_connections"] == 3 and row["state"] == "open" and row["generation"] > 0
    assert row["route"].startswith("192.0.2.1") and "mail.example.org" in row["route"]
    cli.run("domain", "add", "example.org", status=1)
    cli.run("domain", "add", "example.org", "--dry-run", status=1)


def test_domain_names_in_any_script(cli, node):
    assert "xn--bcher-kva.example" in cli.run("domain", "add", "B\u00fccher.example").text
    assert cli.items("domain", "show", "b\u00fccher.EXAMPLE.")[0]["name"] == "xn--bcher-kva.example"
    for name in ("under_score.example", "-x.example", "single", "", "a..b", "\u202e.example"):
        cli.run("domain", "add", name, status=64)


@pytest.mark.parametrize("args, word", [
    (("--route", "bad host"), "route"),
    (("--route", "a.example:99999"), "route"),
    (("--hold", "1h"), "hold"),
    (("--hold", "61d"), "--hold"),
    (("--tls", "maybe"), "--tls"),
    (("--max-connections", "1001"), "--max-connections"),
])
def test_domain_add_refuses_and_says_where(cli, node, args, word):
    assert word in cli.run("domain", "add", "example.org", *args, status=64).errors
    assert "example.org" not in cli.run("domain", "list").text


def test_domain_set_changes_what_is_named(cli, node):
    before, = cli.items("domain", "show", "example.test")
    cli.run("domain", "set", "example.test", "--paused", "yes", "--dry-run")
    assert cli.items("domain", "show", "example.test")[0]["paused"] is False
    cli.run("domain", "set", "example.test", "--hold", "5d", "--paused", "yes")
    after, = cli.items("domain", "show", "example.test")
    assert after["hold_s"] == 432000 and after["paused"] is True and after["state"] == "paused"
    assert after["route"] == before["route"] and after["generation"] == before["generation"]
    assert after["changed"] > before["changed"]
    cli.run("domain", "set", "nobody.test", "--paused", "yes", status=1)


def test_paused_mail_waits_and_goes_on(cli, node, sink):
    sink.start()
    cli.run("domain", "set", "example.test", "--paused", "yes")
    mid, = take(node)
    row = house.until(lambda: [r for r in cli.items("queue", "summary") if r["paused"]])[0]
    assert row["messages"] == 1 and sink.stats()["received"] == 0
    cli.run("domain", "set", "example.test", "--paused", "no")
    house.until(lambda: node.queued() == 0)
    assert node.trace(mid)[0]["recipients"][0]["fate"] == "delivered"


def test_domain_show_knows_the_primary(cli, node):
    take(node)
    row = house.until(lambda: [r for r in cli.items("domain", "show", "example.test") if r["primary"] == "down"])[0]
    assert row["messages"] == 1 and row["addresses"][0]["port"] == node.primary_port
    assert row["addresses"][0]["state"] == "down" and row["addresses"][0]["failure"] == "connect"
    assert record(cli.run("domain", "show", "example.test").text)["primary"] == "down"
    cli.run("domain", "show", "nobody.test", status=1)


def test_domain_probe_answers_now(cli, node, sink):
    row, = cli.items("domain", "probe", "example.test", status=1)
    assert row["answered"] is False and row["failure"] == "connect"
    sink.start()
    row, = cli.items("domain", "probe", "example.test")
    assert row["answered"] is True and row["port"] == node.primary_port
    cli.run("domain", "probe", "nobody.test", status=1)


def test_a_removed_domain_closes_and_comes_back(cli, node):
    take(node)
    before, = cli.items("domain", "show", "example.test")
    assert record(cli.run("domain", "remove", "example.test", "-n").text)["messages still queued"] == "1"
    cli.run("domain", "remove", "example.test", "--yes")
    assert cli.items("domain", "list")[0]["state"] == "closing"
    c = house.Client(node.port).hello()
    c.code("MAIL FROM:<a@sender.example>")
    assert c.code("RCPT TO:<b@example.test>") == 550
    assert cli.run("domain", "add", "example.test", status=1).errors
    cli.run("domain", "add", "example.test", "--reopen")
    after, = cli.items("domain", "show", "example.test")
    assert after["state"] == "open" and after["route"] == before["route"] and after["generation"] == before["generation"]
    assert c.code("RCPT TO:<b@example.test>") == 250


# --- plan ---

def test_plans(cli, node):
    assert cli.table("plan", "list") == []
    cli.run("plan", "set", "gold", "--hold", "30d", "--dry-run")
    cli.run("plan", "show", "gold", status=1)
    assert cli.table("plan", "set", "gold", "--hold", "30d")[1].split() == ["gold", "30d", "20"]
    cli.run("plan", "set", "gold", "--max-connections", "5")
    assert cli.items("plan", "show", "gold") == [{"name": "gold", "hold_s": 2592000, "max_connections": 5}]
    assert [r["name"] for r in cli.items("plan", "list")] == ["gold"]
    assert node.ask("plan.show", check=False, name="gold", hold_s=1) == []  # nothing but the name
    cli.run("plan", "set", "short", "--hold", "1h", status=64)
    cli.run("plan", "set", "Bad Name", status=64)
    cli.run("domain", "set", "example.test", "--plan", "gold")
    row, = cli.items("domain", "show", "example.test")
    assert row["hold_s"] == 2592000 and row["hold_of_plan"] is True and row["max_connections"] == 5
    cli.run("domain", "set", "example.test", "--plan", "none", status=1)
    cli.run("domain", "set", "example.test", "--plan", "none", "--dry-run", status=1)


# --- config ---

def test_config_show_is_a_configuration(cli, node, tmp_path):
    text = cli.run("config", "show", "--effective").text
    assert "hostname: mx1.example.net" in text and "copies: 1" in text
    again = tmp_path / "again.yaml"
    again.write_text(text)
    cli.run("config", "check", again)


def test_config_check_needs_no_daemon(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("site: 1\nhostname: mx1.example.net\ncopies: 1\npostmaster: a@example.test\n")
    bad.write_text("site: 9\nhostnam: x\nevil: \"\\e[31m\"\n")

    def check(path, status, *options):
        done = subprocess.run([str(house.CLI), "-s", "/nowhere", "config", "check", str(path), *options],
                              capture_output=True)
        assert done.returncode == status, done
        return done.stdout
    assert check(good, 0) == b"%s: ok\n" % bytes(good)
    text = check(bad, 78)
    assert b"bad.yaml:1:7: site" in text and b"did you mean" in text and b"\x1b" not in text
    check(tmp_path / "missing.yaml", 78)
    rows = [json.loads(l) for l in check(bad, 78, "-o", "jsonl").splitlines()]
    assert [str(bad), 1, 7] in [[r["file"], r["row"], r["column"]] for r in rows if "what" in r]
    assert any("did you mean" in r["what"] and r["row"] == 2 for r in rows if "what" in r)
    assert not any(r.get("line", "").startswith(" ") for r in rows)


def test_config_reload(cli, node):
    cli.run("config", "reload")
    good = node.config.read_text()
    node.config.write_text(good.replace("mx1.example.net", "mx9.example.net"))
    cli.run("config", "reload")
    assert "hostname: mx9.example.net" in cli.run("config", "show").text
    node.config.write_text("nonsense: true\n")
    assert "config check" in cli.run("config", "reload", status=78).errors
    assert "hostname: mx9.example.net" in cli.run("config", "show").text
    node.config.write_text(good)


# --- the tool ---

def test_without_a_daemon_it_says_how_to_start_one(tmp_path):
    for args in (["status"], ["queue", "delete", "--all", "--yes"]):
        done = subprocess.run([str(house.CLI), "-s", str(tmp_path / "no.sock"), *args], capture_output=True, text=True)
        assert done.returncode == 69 and "systemctl start trispoold" in done.stderr
    done = subprocess.run([str(house.CLI), "-s", str(tmp_path / "no.sock"), "health", "--nagios"],
                          capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout.startswith("TRISPOOL CRITICAL - ")
    done = subprocess.run([str(house.CLI), "-o", "json", "status"], capture_output=True, text=True,
                          env=dict(os.environ, TRISPOOL_SOCKET=str(tmp_path / "no.sock")))
    assert done.returncode == 69 and json.loads(done.stdout)["error"]["where"] == str(tmp_path / "no.sock")


@pytest.mark.parametrize("args", [(), ("nonsense",), ("queue",), ("queue", "lst"), ("status", "--domain", "x"),
                                  ("queue", "list", "--older", "5")])
def test_wrong_usage_is_64(args):
    assert subprocess.run([str(house.CLI), *args], capture_output=True).returncode == 64


def test_help_and_version():
    for args in (("--help",), ("queue", "--help"), ("queue", "trace", "-h"), ("--version",)):
        done = subprocess.run([str(house.CLI), *args], capture_output=True, text=True)
        assert done.returncode == 0 and "trispool" in done.stdout


def test_the_daemon_s_answers_cannot_reach_the_terminal_raw(tmp_path):
    """Whatever stands on the socket: what is printed is printable."""
    path = tmp_path / "evil.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen()
        p = subprocess.Popen([str(house.CLI), "-s", str(path), "queue", "list"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        c, _ = s.accept()
        c.recv(4096)
        c.sendall(b'{"id":"\\u001b[2J\\u009b","sender":"\xc3\xbc\\u0007"}\n{"error":{"what":"\\u001b]0;x"},"exit":1}\n')
        out, err = p.communicate(timeout=60)
        c.close()
    assert p.returncode == 1
    assert all(b in b"\n" or 0x20 <= b < 0x7f for b in out + err), (out, err)


def test_a_cut_answer_is_not_taken_for_a_whole_one(tmp_path):
    path = tmp_path / "cut.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen()
        for answer in (b"", b'{"id":"x"}\n', b'{"done":true,"exi', b"nonsense\n", b"[]\n"):
            p = subprocess.Popen([str(house.CLI), "-s", str(path), "queue", "list"], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
            c, _ = s.accept()
            c.recv(4096)
            c.sendall(answer)
            c.close()
            out, err = p.communicate(timeout=60)
            assert p.returncode == 69 and b"before its answer was whole" in err


def test_somebody_else_is_refused(cli, node):
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    node.socket.chmod(0o666)
    for folder in [node.folder, *node.folder.parents][:-1]:
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
    done = subprocess.run([str(house.CLI), "-s", str(node.socket), "queue", "list"], capture_output=True, text=True,
                          user=65534, group=65534, extra_groups=[])
    assert done.returncode == 77 and done.stdout == "" and "may not use" in done.stderr
    assert any("not permitted" in l and "uid=65534" in l for l in node.events("admin_failed"))
    node.socket.chmod(0o660)
    done = subprocess.run([str(house.CLI), "-s", str(node.socket), "status"], capture_output=True, text=True,
                          user=65534, group=65534, extra_groups=[])
    assert done.returncode == 77


def test_orders_are_written_to_the_log_with_their_giver(cli, node):
    mid, = take(node)
    cli.run("queue", "hold", mid)
    cli.run("queue", "list")
    audit = [l for l in node.events("operator") if "asked=" in l]
    assert any("asked=queue.operate" in l and mid in l and "uid=%d " % os.getuid() in l for l in audit)
    assert not any("queue.list" in l for l in audit)


def test_two_daemons_do_not_share_a_socket(node, tmp_path):
    (tmp_path / "second").mkdir()
    second = house.Node(tmp_path / "second")
    second.config.write_text(second.config.read_text().replace(str(second.socket), str(node.socket)))
    done = subprocess.run([str(house.DAEMON), "--config", str(second.config)], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "ev=admin_socket" in done.stderr
    assert node.status()["queue_messages"] == 0


def test_the_socket_goes_with_the_daemon_and_a_stale_one_is_replaced(node):
    node.kill()
    assert node.socket.exists()
    node.start()
    node.stop()
    assert not node.socket.exists()
    node.start()


MEMBER = """\
site: 2
hostname: mx2.example.net
copies: 2
data_dir: %s/data
control_socket: %s/control.sock
postmaster: ops@example.test
peers:
  control: "%s:7301"
  data: "%s:7302"
"""


def offline(folder, *words, status=0, address="192.0.2.2", **options):
    """A command on the files of a node that does not run: (what it says, what it complains of)."""
    config = folder / "trispool.yaml"
    if not config.exists():
        config.write_text(MEMBER % (folder, folder, address, address))
    done = subprocess.run([str(house.CLI), "cluster", *map(str, words), "--config", str(config)], timeout=60,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout, done.stderr


def test_a_node_makes_its_key_once_and_nobody_else_reads_it(tmp_path):
    said, _ = offline(tmp_path, "key")
    key = said.split()[-1]
    assert re.fullmatch(r"[A-Za-z0-9+/]{43}=", key)
    assert offline(tmp_path, "key")[0] == said
    assert json.loads(offline(tmp_path, "key", "-o", "jsonl")[0])["key"] == key
    assert (tmp_path / "data" / "cluster" / "key").stat().st_mode & 0o777 == 0o600


def test_the_first_member_is_made_once(tmp_path):
    assert "first member" in offline(tmp_path, "init", "--site", 2)[0]
    _, why = offline(tmp_path, "init", status=1)
    assert "empty data directory" in why
    assert "no token" in offline(tmp_path, "join", "trispool-join:AAAA", status=1)[1]


def test_a_member_is_not_made_against_its_configuration(tmp_path):
    assert "is site 2" in offline(tmp_path, "init", "--site", 1, status=64)[1]
    (tmp_path / "wild").mkdir()
    why = offline(tmp_path / "wild", "init", address="0.0.0.0", status=64)[1]
    assert "--control" in why
    offline(tmp_path / "wild", "init", "--control", "192.0.2.2:7301", "--data", "192.0.2.2:7302")
    (tmp_path / "bad").mkdir()
    assert "port" in offline(tmp_path / "bad", "init", "--control", "192.0.2.2", status=1)[1]
    lone = tmp_path / "lone"
    lone.mkdir()
    text = MEMBER % (lone, lone, "h", "h")
    (lone / "trispool.yaml").write_text(text[:text.index("peers:")].replace("copies: 2", "copies: 1"))
    assert "copies: 2" in offline(lone, "key", status=78)[1]
    (lone / "trispool.yaml").write_text(text.replace("copies: 2", "copies: 3"))
    assert "between 1 and 2" in offline(lone, "key", status=78)[1]


def test_a_lone_node_is_not_made_a_member(cli, node, tmp_path):
    take(node)
    for words in (["members"], ["verify"], ["leases"], ["rotate-key"], ["drain"], ["solo", "--yes"], ["remove", 1, "-y"]):
        assert "not a member" in cli.run("cluster", *words, status=1).errors
    node.stop()
    text = MEMBER % (node.folder, node.folder, "192.0.2.2", "192.0.2.2")
    node.config.write_text(text.replace("site: 2", "site: 1"))
    for words in (["key"], ["init"]):
        assert "lone node" in offline(node.folder, *words, status=1)[1] or words == ["init"]
    assert "control store" in offline(node.folder, "init", status=1)[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_makes_files_of_the_owner_of_the_directory(tmp_path):
    for folder in [tmp_path, *tmp_path.parents][:-1]:
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 65534, 65534)
    offline(tmp_path, "init")
    made = list((tmp_path / "data").rglob("*"))
    assert made and all(p.stat().st_uid == 65534 and p.stat().st_gid == 65534 for p in made)
