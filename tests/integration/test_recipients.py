"""S16, B8: lists of recipients. Made at one node they count at all; who is not listed is refused before
anything is looked up; postmaster is always reached; a list is never empty by mistake."""
import json
import subprocess

import pytest

import fleet
import house


def run(node, *words, stdin=None):
    return subprocess.run([house.CLI, "--socket", str(node.socket), *map(str, words), "-o", "jsonl"],
                          capture_output=True, text=True, timeout=120, input=stdin)


def tell(node, *words, status=0, stdin=None):
    done = run(node, *words, stdin=stdin)
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return [json.loads(l) for l in done.stdout.splitlines()], done.stderr


def listed(node, domain="example.test"):
    return [r["recipient"] for r in tell(node, "recipient", "list", domain)[0]]


def answers(node, *locals_, domain="example.test"):
    c = house.Client(node.port).hello()
    assert c.code("MAIL FROM:<a@sender.example>") == 250
    got = [c.say("RCPT TO:<%s@%s>" % (l, domain)) for l in locals_]
    c.say("QUIT")
    return [(code, lines[-1]) for code, lines in got]


def codes(node, *locals_, domain="example.test"):
    return [code for code, _ in answers(node, *locals_, domain=domain)]


def test_only_listed_recipients_are_taken_once_the_domain_says_so(node):
    tell(node, "recipient", "add", "John.Doe@example.test", "mary@EXAMPLE.test")
    assert listed(node) == ["john.doe@example.test", "mary@example.test"]
    assert codes(node, "nobody") == [250]
    rows, _ = tell(node, "domain", "set", "example.test", "--recipients", "list")
    assert rows[0]["recipients"] == "list" and rows[0]["separator"] == ""
    got = answers(node, "john.doe", "JOHN.DOE", '"mary"', "mary+news", "nobody", "postmaster", "Abuse")
    assert [c for c, _ in got] == [250, 250, 250, 550, 550, 250, 250]
    assert got[4][1] == "550 5.1.1 No such recipient here"
    said = node.events("rcpt_unknown")
    assert len(said) == 2 and "local=nobody" in said[1] and "domain=example.test" in said[1]
    tell(node, "domain", "set", "example.test", "--separator", "+")
    assert codes(node, "mary+news", "mary-news", "+mary", "nobody+mary") == [250, 550, 550, 550]
    tell(node, "domain", "set", "example.test", "--recipients", "any", "--separator", "")
    assert codes(node, "nobody") == [250]


def test_mail_for_a_listed_recipient_arrives_and_the_bare_postmaster_is_taken(node, sink):
    sink.start()
    tell(node, "recipient", "add", "b@example.test")
    tell(node, "domain", "set", "example.test", "--recipients", "list")
    c = house.Client(node.port).hello()
    assert c.code("MAIL FROM:<a@sender.example>") == 250
    assert c.code("RCPT TO:<no@example.test>") == 550
    assert c.code("RCPT TO:<b@example.test>") == 250
    assert c.code("DATA") == 354
    c.raw(b"Subject: x\r\n\r\nhello\r\n.\r\n")
    assert c.reply()[0] == 250
    house.until(lambda: sink.stats()["received"] == 1)
    assert c.code("MAIL FROM:<a@sender.example>") == 250
    assert c.code("RCPT TO:<postmaster>") == 250


def test_a_catch_all_takes_everybody(node):
    tell(node, "recipient", "add", "@example.test", "mary@example.test")
    tell(node, "domain", "set", "example.test", "--recipients", "list")
    assert codes(node, "anybody", '"any body"') == [250, 250]
    rows, _ = tell(node, "recipient", "show", "x@example.test")
    assert rows[0]["match"] == "catch-all" and rows[0]["entry"] == "@example.test"
    tell(node, "recipient", "remove", "@example.test")
    assert codes(node, "anybody", "mary") == [550, 250]
    tell(node, "recipient", "show", "x@example.test", status=1)


def test_a_list_is_never_empty_by_mistake(node):
    _, error = tell(node, "domain", "set", "example.test", "--recipients", "list", status=1)
    assert "empty" in error
    tell(node, "recipient", "add", "b@example.test")
    tell(node, "domain", "set", "example.test", "--recipients", "list")
    _, error = tell(node, "recipient", "remove", "b@example.test", status=1)
    assert "--recipients any" in error
    assert codes(node, "b") == [250]


def test_a_file_is_imported_and_replaces_the_list(node, tmp_path):
    f = tmp_path / "users.txt"
    f.write_text("# our people\n\n" + "".join("User%d@Example.test\r\n" % i for i in range(1500)) + "  mary \n")
    rows, _ = tell(node, "recipient", "import", "example.test", "--file", f, "--dry-run")
    assert rows[0]["added"] == 1501 and rows[0]["listed"] == 0 and listed(node) == []
    rows, _ = tell(node, "recipient", "import", "example.test", "--file", f)
    assert (rows[0]["added"], rows[0]["removed"], rows[0]["listed"]) == (1501, 0, 1501)
    assert len(listed(node)) == 1501 and "user1499@example.test" in listed(node)
    tell(node, "domain", "set", "example.test", "--recipients", "list")
    assert codes(node, "user7", "mary", "user1500") == [250, 250, 550]
    rows, _ = tell(node, "recipient", "import", "example.test", "--file", "-", "--replace", stdin="user7\n@example.test\nnew\n")
    assert (rows[0]["added"], rows[0]["removed"], rows[0]["unchanged"], rows[0]["listed"]) == (2, 1500, 1, 3)
    assert listed(node) == ["@example.test", "new@example.test", "user7@example.test"]
    rows, _ = tell(node, "domain", "show", "example.test")
    assert rows[0]["listed"] == 3


@pytest.mark.parametrize("text, says", [
    ("john@other.test\n", ":1"),
    ("good\nbad one\n", ":2"),
    ("# nothing\n", "no recipient"),
    ("x" * 65 + "\n", "64"),
])
def test_a_file_that_is_wrong_changes_nothing(node, tmp_path, text, says):
    f = tmp_path / "users.txt"
    f.write_text(text)
    _, error = tell(node, "recipient", "import", "example.test", "--file", f, status=64)
    assert says in error, error
    assert listed(node) == []


@pytest.mark.parametrize("words, status, says", [
    (("add", "john"), 64, "domain"),
    (("add", "a@example.test", "a@other.test"), 64, "two domains"),
    (("add", "a b@example.test"), 64, "blanks"),
    (("add", "a@missing.test"), 1, "no such domain"),
    (("list", "missing.test"), 1, "no such domain"),
    (("show", "a@missing.test"), 1, "no such domain"),
    (("import", "example.test"), 64, "--file"),
    (("import", "example.test", "--file", "/nowhere/at/all"), 64, "/nowhere"),
])
def test_what_is_wrong_is_refused_with_a_hint(node, words, status, says):
    _, error = tell(node, "recipient", *words, status=status)
    assert says in error, error


def test_a_list_stays_over_a_restart_and_not_over_another_owner(node):
    tell(node, "recipient", "add", "b@example.test")
    tell(node, "domain", "set", "example.test", "--recipients", "list", "--separator", "+")
    node.kill()
    node.start()
    assert codes(node, "b+x", "c") == [250, 550]
    tell(node, "domain", "remove", "example.test", "--yes")
    house.until(lambda: run(node, "domain", "show", "example.test").returncode == 1)
    tell(node, "domain", "add", "example.test", "--route", "127.0.0.1:%d" % house.free_port())
    assert listed(node) == [] and codes(node, "c") == [250]


def test_a_list_made_at_one_site_counts_at_all(tmp_path):
    f = fleet.on_loopback(tmp_path)
    try:
        f.form()
        f.add_domain("example.test", "127.0.0.1:%d" % house.free_port())
        tell(f[1], "recipient", "add", "b@example.test")
        tell(f[2], "domain", "set", "example.test", "--recipients", "list")
        house.until(lambda: all(codes(m, "b", "c") == [250, 550] for m in f.members))
        tell(f[3], "recipient", "add", "c@example.test")
        house.until(lambda: all(codes(m, "b", "c") == [250, 250] for m in f.members))
        tell(f[1], "recipient", "remove", "b@example.test")
        house.until(lambda: all(codes(m, "b", "c") == [550, 250] for m in f.members))
    finally:
        f.kill()
    assert not f.broken()
