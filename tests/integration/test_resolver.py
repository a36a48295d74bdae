"""What the resolver says of itself and of signatures (DNSSEC): silence, failure, bogus, no such name and nothing of
that type are five answers, and only the last two count against anybody."""
import json
import subprocess

import house
import pytest
from nameserver import Dns, a, mx, txt

A, MX, TXT = 1, 15, 16


@pytest.fixture
def dns():
    d = Dns()
    d.records = {("good.org", MX): [mx(10, "mail.good.org")], ("good.org", TXT): [txt("v=spf1 -all")]}
    yield d
    d.s.close()


@pytest.fixture
def start(tmp_path, dns):
    nodes = []

    def begin():
        nodes.append(house.Node(tmp_path, extra='dns:\n  servers: ["127.0.0.1:%d"]\n' % dns.port).__enter__())
        return nodes[-1]

    yield begin
    for n in nodes:
        n.__exit__(None, None, None)


@pytest.mark.parametrize("says, word, event", [
    ("validates", "validates", "resolver_validates"), ("plain", "unvalidated", "resolver_unvalidated"),
    ("bogus", "bogus-root", "resolver_bogus"), ("silent", "no-answer", "resolver_silent"), ("servfail", "no-answer", "resolver_silent"),
])
def test_status_says_what_the_resolver_is_worth(start, dns, says, word, event):
    dns.validates = says == "validates"
    if says in ("silent", "servfail"):
        dns.mode = says
    if says == "bogus":
        dns.bogus = {""}
    n = start()
    house.until(lambda: n.status()["resolver"] == word)
    assert len(n.events(event)) == 1


def test_a_resolver_that_answers_again_is_found_soon(start, dns):
    dns.mode, dns.validates = "servfail", True
    n = start()
    house.until(lambda: n.status()["resolver"] == "no-answer")
    dns.mode = "answer"
    house.until(lambda: n.status()["resolver"] == "validates", 60)


def policy(node, sender):
    done = subprocess.run([house.CLI, "--socket", str(node.socket), "-o", "json", "policy", "test", "--ip", "127.0.0.9",
                           "--helo", "mail.good.org", "--from", sender, "--rcpt", "b@customer.test"],
                          capture_output=True, text=True)
    row, = json.loads(done.stdout)["items"]
    return row["reply"][:3], {l["check"]: (l["result"], l["detail"]) for l in row["checks"]}


def test_wrong_signatures_are_an_answer_of_their_own_and_held_against_nobody(start, dns):
    n = start()
    n.add_domain("customer.test", route="127.0.0.1:%d" % house.free_port(), dsn="none")
    n.ask("domain.set", name="customer.test", checks="spf=refuse,sender=refuse")
    assert policy(n, "a@good.org")[0] == "550"
    dns.bogus = {"good.org"}
    reply, found = policy(n, "a@good.org")
    assert reply == "250" and found["sender"][0] == "unknown"
    assert found["spf"][0] == "temperror" and "DNSSEC" in found["spf"][1]
    dns.bogus, dns.mode = set(), "servfail"
    reply, found = policy(n, "a@good.org")
    assert reply == "250" and "DNS server failure" in found["spf"][1]
    dns.mode = "answer"
    assert policy(n, "a@none.org")[0] == "550"


def test_a_failure_that_took_long_is_no_silence(start, dns):
    """The resolver lets a question wait, and then fails it: c-ares says that time was up."""
    n = start()
    n.add_domain("customer.test", route="127.0.0.1:%d" % house.free_port(), dsn="none")
    n.ask("domain.set", name="customer.test", checks="spf=refuse")
    dns.bogus, dns.late = {"good.org"}, {("good.org", TXT)}
    assert "DNSSEC" in policy(n, "a@good.org")[1]["spf"][1] and not dns.late
