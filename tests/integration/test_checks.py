"""S24 to S28, S31: the checks of a domain at its door. Each is off until the domain's owner switches it on,
marks or refuses as told, and holds nothing against anybody that DNS did not say."""
import contextlib
import json
import socket
import subprocess

import house
import knowing
import pytest
from nameserver import Dns, a, mx, ptr, txt

A, PTR, MX, TXT = 1, 12, 15, 16
GOOD = {
    ("9.0.0.127.in-addr.arpa", PTR): [ptr("mail.good.org")],
    ("mail.good.org", A): [a("127.0.0.9")],
    ("8.0.0.127.in-addr.arpa", PTR): [ptr("other.good.org")],
    ("good.org", MX): [mx(10, "mail.good.org")],
    ("good.org", TXT): [txt("v=spf1 ip4:127.0.0.9 -all")],
    ("strict.org", MX): [mx(10, "mail.good.org")],
    ("strict.org", TXT): [txt("v=spf1 -all exp=why.strict.org")],
    ("why.strict.org", TXT): [txt("%{i} may not send for us")],
    ("dead.org", MX): [mx(0, "")],
}
CLEAN = b"From: <a@good.org>\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\nSubject: x\r\n\r\nbody\r\n"


@contextlib.contextmanager
def open_door(folder, lists="none", threshold=1, delivery=""):
    dns = Dns()
    dns.records = dict(GOOD)
    extra = 'dns:\n  servers: ["127.0.0.1:%d"]\ndnsbl:\n  lists: %s\n  threshold: %d\n' % (
        dns.port, lists, threshold)
    with house.Node(folder, extra=extra, delivery=delivery) as n:
        n.add_domain("customer.test", route="127.0.0.1:%d" % house.free_port(), dsn="none")
        n.dns = dns
        yield n
    dns.s.close()


@pytest.fixture
def door(tmp_path):
    with open_door(tmp_path) as n:
        yield n


def switch(node, text):
    row, = node.ask("domain.set", name="customer.test", checks=text)
    return row["checks"]


def rcpt(node, source, sender, to="b@customer.test"):
    c = house.Client(node.port, source=source).hello()
    assert c.code("MAIL FROM:<%s>" % sender) == 250
    code, lines = c.say("RCPT TO:<%s>" % to)
    c.say("QUIT")
    return code, lines[-1]


def checked(node):
    return node.events("checked")[-1]


def send(node, body=CLEAN, source="127.0.0.9", sender="a@good.org"):
    c = house.Client(node.port, source=source).hello()
    code, lines = c.send(body, sender=sender, rcpts=["b@customer.test", "c@customer.test"])
    return code, lines[-1]


def message(node, answer, *options):
    mid = answer[1].split()[-1]
    done = subprocess.run([house.CLI, "--socket", str(node.socket), "message", "cat", mid, *options],
                          capture_output=True, check=True)
    return done.stdout


def headers_of(node, answer):
    return message(node, answer, "--headers").decode()


def test_s24_with_all_off_any_mail_is_taken_and_nothing_is_asked(door):
    shown = door.ask("domain.show", name="customer.test")[0]["checks"]
    assert all(one.endswith("=off") for one in shown.split(",")), shown
    assert send(door, b"no header at all\r\n", source="127.0.0.8", sender="a@dead.org")[0] == 250
    assert door.dns.asked == 0 and not door.events("checked")


@pytest.mark.parametrize("mode", ["list", "learn"])
def test_s24_with_all_off_any_mail_is_taken_for_whoever_is_there(door, mode):
    p = knowing.Primary("b", "c").start()
    door.ask("domain.set", name="customer.test", route=p.route, recipients="learn")
    if mode == "learn":
        send(door)
        house.until(lambda: door.ask("domain.show", name="customer.test")[0].get("learned") == 2)
    else:
        subprocess.run([house.CLI, "--socket", str(door.socket), "recipient", "add", "b@customer.test",
                        "c@customer.test"], check=True, capture_output=True)
        door.ask("domain.set", name="customer.test", recipients="list")
    assert send(door, b"no header at all\r\n", source="127.0.0.8", sender="a@dead.org")[0] == 250
    assert send(door, b"no header at all\r\n", source="127.0.0.7", sender="")[0] == 250
    assert door.dns.asked == 0 and not door.events("checked")
    assert rcpt(door, "127.0.0.8", "a@dead.org", "x@customer.test")[0] == (450 if mode == "learn" else 550)
    house.until(lambda: len(p.taken) == (3 if mode == "learn" else 2))
    p.stop()


def test_what_is_not_named_stays_and_what_is_wrong_is_told(door):
    assert switch(door, "all=mark,sender=defer").startswith("rdns=mark,sender=defer,spf=mark,headers=mark,dnsbl=mark")
    assert switch(door, "spf=off").startswith("rdns=mark,sender=defer,spf=off,headers=mark,dnsbl=mark")
    done = subprocess.run([house.CLI, "--socket", str(door.socket), "domain", "set", "customer.test",
                           "--checks", "spf=on"], capture_output=True, text=True)
    assert done.returncode == 64 and "at byte 5" in done.stderr and "off, mark, defer or refuse" in done.stderr


@pytest.mark.parametrize("source,mode,code,word", [
    ("127.0.0.9", "refuse", "250 2.1.5", "confirmed"),
    ("127.0.0.8", "refuse", "550 5.7.25", "mismatch"),
    ("127.0.0.7", "defer", "450 4.7.25", "none"),
    ("127.0.0.7", "mark", "250 2.1.5", "none"),
])
def test_s26_the_clients_name(door, source, mode, code, word):
    switch(door, "rdns=" + mode)
    assert rcpt(door, source, "a@good.org")[1].startswith(code)
    assert "client=%s" % source in checked(door) and "sender=off spf=off" in checked(door)


@pytest.mark.parametrize("sender,mode,code", [
    ("a@good.org", "refuse", "250 2.1.5"),
    ("", "refuse", "250 2.1.5"),
    ("a@[192.0.2.1]", "refuse", "250 2.1.5"),
    ("a@gone.org", "refuse", "550 5.1.8"),
    ("a@gone.org", "defer", "450 4.1.8"),
    ("a@dead.org", "refuse", "550 5.7.27"),
    ("a@dead.org", "mark", "250 2.1.5"),
    ("a@some.localhost", "refuse", "550 5.1.8"),
])
def test_s27_the_senders_domain(door, sender, mode, code):
    switch(door, "sender=" + mode)
    assert rcpt(door, "127.0.0.9", sender)[1].startswith(code)


@pytest.mark.parametrize("source,sender,mode,code", [
    ("127.0.0.9", "a@good.org", "refuse", "250 2.1.5"),
    ("127.0.0.8", "a@good.org", "refuse", "550 5.7.23 SPF fail for good.org"),
    ("127.0.0.8", "a@strict.org", "defer",
     "450 4.7.23 SPF fail, its owner says: 127.0.0.8 may not send for us"),
    ("127.0.0.8", "a@good.org", "mark", "250 2.1.5"),
    ("127.0.0.8", "a@dead.org", "refuse", "250 2.1.5"),
])
def test_spf_says_who_may_send(door, source, sender, mode, code):
    switch(door, "spf=" + mode)
    assert rcpt(door, source, sender)[1].startswith(code)


def test_what_spf_said_goes_with_the_message(door):
    switch(door, "spf=mark")
    head = headers_of(door, send(door))
    assert head.startswith("Authentication-Results: trispool; spf=pass smtp.mailfrom=a@good.org\r\n"
                           "Received-SPF: pass ") and head.count("Received:") == 1
    assert head.index("Received:") > head.index("identity=mailfrom")
    whole = message(door, send(door, source="127.0.0.9"))
    assert whole.endswith(b"\r\n" + CLEAN) and whole.index(CLEAN) == whole.index(b"From: <a@good.org>")
    head = headers_of(door, send(door, source="127.0.0.8"))
    assert "Received-SPF: fail " in head and 'envelope-from="a@good.org"' in head.replace("\r\n\t", " ")
    switch(door, "spf=off,rdns=mark")
    assert "Received-SPF" not in headers_of(door, send(door))
    switch(door, "rdns=off")
    assert headers_of(door, send(door)).startswith("Received: ")


@pytest.mark.parametrize("mode", ["servfail", "silent"])
def test_what_dns_does_not_say_is_held_against_nobody(door, mode):
    switch(door, "all=refuse,greylist=off")
    door.dns.mode = mode
    assert rcpt(door, "127.0.0.7", "a@gone.org")[0] == 250
    assert "rdns=unknown name" in checked(door) and "spf=temperror" in checked(door)


def test_the_first_in_order_refuses_and_all_recipients_have_one_verdict(door):
    switch(door, "all=refuse,greylist=off")
    assert rcpt(door, "127.0.0.8", "a@dead.org")[1].startswith("550 5.7.25")
    assert rcpt(door, "127.0.0.9", "a@dead.org")[1].startswith("550 5.7.27")
    assert send(door)[0] == 250
    assert len(door.events("checked")) == 3
    assert rcpt(door, "127.0.0.8", "a@dead.org", to="postmaster")[0] == 250


def test_a_refusal_counts_for_the_whole_transaction(door):
    switch(door, "all=defer,greylist=off")
    c = house.Client(door.port, source="127.0.0.8").hello()
    for _ in range(3):
        assert c.code("MAIL FROM:<a@dead.org>") == 250
        assert {c.code("RCPT TO:<u%d@customer.test>" % i) for i in range(50)} == {450}
        assert c.code("RSET") == 250
    assert len(door.events("checked")) == 3


def test_domain_after_domain_is_not_looked_up_without_end(door):
    for i in range(5):
        door.add_domain("c%d.test" % i, route="127.0.0.1:1", checks="all=defer,greylist=off")
    c = house.Client(door.port, source="127.0.0.8").hello()
    assert c.code("MAIL FROM:<a@dead.org>") == 250
    assert [c.code("RCPT TO:<u@c%d.test>" % i) for i in range(5)] == [450, 450, 450, 452, 452]
    assert len(door.events("checked")) == 3


def test_postmaster_is_reached_by_who_was_refused(door):
    switch(door, "all=refuse,greylist=off")
    c = house.Client(door.port, source="127.0.0.8").hello()
    assert c.code("MAIL FROM:<a@dead.org>") == 250
    assert c.code("RCPT TO:<b@customer.test>") == 550
    assert c.code("RCPT TO:<postmaster>") == 250
    assert c.code("DATA") == 354
    c.raw(b"no header\r\n.\r\n")
    assert c.reply()[0] == 250


def test_what_was_sent_ahead_waits_for_the_verdict(door):
    switch(door, "all=refuse,greylist=off")
    c = house.Client(door.port, source="127.0.0.9").hello()
    c.raw(b"MAIL FROM:<a@good.org>\r\nRCPT TO:<b@customer.test>\r\nRCPT TO:<c@customer.test>\r\nDATA\r\n")
    assert [c.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
    c.raw(CLEAN + b".\r\nMAIL FROM:<a@dead.org>\r\nRCPT TO:<b@customer.test>\r\nQUIT\r\n")
    assert [c.reply()[0] for _ in range(4)] == [250, 250, 550, 221]


def test_what_dns_found_is_not_asked_again_and_again(door):
    switch(door, "all=refuse,greylist=off")
    c = house.Client(door.port, source="127.0.0.9").hello()
    assert c.send(CLEAN, sender="a@good.org", rcpts=["b@customer.test"])[0] == 250
    asked = door.dns.asked
    assert c.send(CLEAN, sender="other@good.org", rcpts=["b@customer.test"])[0] == 250
    assert door.dns.asked == asked > 0 and len(door.events("checked")) == 2


@pytest.mark.parametrize("soa_s", [0, 60])
def test_that_dns_found_nothing_is_kept_as_long_as_it_says(door, soa_s):
    switch(door, "rdns=mark,sender=mark,spf=mark")
    door.dns.soa_s = soa_s
    c = house.Client(door.port, source="127.0.0.7").hello()
    for _ in range(2):
        assert c.send(CLEAN, sender="a@gone.org", rcpts=["b@customer.test"])[0] == 250
    assert door.dns.names.count("7.0.0.127.in-addr.arpa") == (1 if soa_s else 2)
    assert [("rdns=none" in l, "sender=no-domain" in l, "spf=none" in l) for l in door.events("checked")] == \
        [(True, True, True)] * 2


def test_the_null_sender_is_judged_by_its_helo(door):
    switch(door, "spf=refuse")
    door.dns.records[("bad.good.org", TXT)] = [txt("v=spf1 -all")]
    c = house.Client(door.port, source="127.0.0.9")
    assert c.code("EHLO bad.good.org") == 250 and c.code("MAIL FROM:<>") == 250
    assert c.say("RCPT TO:<b@customer.test>")[1][-1] == "550 5.7.23 SPF fail for bad.good.org"


@pytest.mark.parametrize("mode,code", [("refuse", "550 5.6.0"), ("mark", "250 2.0.0")])
@pytest.mark.parametrize("body", [
    b"Subject: no from, no date\r\n\r\nx\r\n",
    CLEAN.replace(b"Subject", b"Date"),
    b"From me\r\n" + CLEAN,
    CLEAN.replace(b"x\r\n", b"\xe4\r\n"),
])
def test_s28_the_form_of_the_header(door, body, mode, code):
    switch(door, "headers=" + mode)
    assert send(door, CLEAN)[0] == 250
    answer = send(door, body)
    assert answer[1].startswith(code), answer
    assert "mode=" + mode in door.events("headers_bad")[-1]
    assert send(door, CLEAN)[0] == 250


def test_a_refused_header_leaves_the_session_open(door):
    switch(door, "headers=refuse")
    c = house.Client(door.port).hello()
    assert c.send(b"x: y\r\n\r\nz\r\n", rcpts=["b@customer.test"])[0] == 550
    assert c.send(CLEAN, rcpts=["b@customer.test"])[0] == 250


def test_clients_that_do_not_wait_leave_nothing_behind(door):
    switch(door, "all=refuse,greylist=off")
    door.dns.mode = "silent"
    for _ in range(20):
        c = house.Client(door.port, source="127.0.0.9").hello()
        c.raw(b"MAIL FROM:<a@good.org>\r\nRCPT TO:<b@customer.test>\r\nDATA\r\n")
        with contextlib.suppress(OSError):
            c.s.shutdown(socket.SHUT_RDWR)
        c.close()
    house.until(lambda: door.dns.asked >= 20)
    house.until(lambda: door.status()["sessions"] == 0)
    door.dns.mode = "answer"
    assert send(door)[0] == 250


def test_it_ends_in_good_order_while_something_is_asked(door):
    switch(door, "all=refuse,greylist=off")
    door.dns.mode = "silent"
    c = house.Client(door.port, source="127.0.0.9").hello()
    c.raw(b"MAIL FROM:<a@good.org>\r\nRCPT TO:<b@customer.test>\r\n")
    house.until(lambda: door.dns.asked > 0)
    c.raw(b"QUIT\r\n")
    door.process.send_signal(house.signal.SIGTERM)
    assert [c.reply()[0] for _ in range(3)] == [250, 250, 221]  # not cut off, and not waited for in vain
    assert door.process.wait(timeout=60) == 0, door.log_text()[-4000:]  # a leak is an error here


# --- lists in DNS ---

BL = "bl.test=127.0.0.2-127.0.0.11"


def reverse(address):
    return ".".join(reversed(address.split(".")))


def list_address(dns, address, answer, zone="bl.test"):
    dns.records[("%s.%s" % (reverse(address), zone), A)] = [a(answer)]


def lives(dns, zone="bl.test"):
    """RFC 5782 5: 127.0.0.2 is listed, 127.0.0.1 is not; the same of IPv6."""
    list_address(dns, "127.0.0.2", "127.0.0.2", zone)
    dns.records[(".".join(reversed("0" * 20 + "ffff" + "7f000002")) + "." + zone, A)] = [a("127.0.0.2")]


def state(node, zone="bl.test", addresses="IPv4"):
    row, = [r for r in node.status()["dnsbl"] if (r["zone"], r["addresses"]) == (zone, addresses)]
    return row["state"]


def listed(node, mode="refuse", zone="bl.test", becomes="on"):
    """Switches the check on; a list that is tested."""
    switch(node, "dnsbl=" + mode)
    house.until(lambda: state(node, zone) == becomes)


@pytest.fixture
def lists(tmp_path):
    with open_door(tmp_path, '["%s"]' % BL) as n:
        lives(n.dns)
        yield n


def test_s31_lists_are_asked_nothing_before_a_domain_wants_it(lists):
    switch(lists, "all=off")
    assert state(lists) == "untested" and lists.dns.asked == 0
    assert send(lists)[0] == 250 and lists.dns.asked == 0
    listed(lists)
    house.until(lambda: state(lists, addresses="IPv6") == "on")
    assert lists.dns.asked == 4 and lists.status()["alarms"] == 0
    switch(lists, "dnsbl=off")
    house.until(lambda: state(lists) == "untested")


def test_s31_only_an_answer_that_is_named_refuses(lists):
    listed(lists)
    for last in range(2, 12):
        list_address(lists.dns, "127.0.1.%d" % last, "127.0.0.%d" % last)
        assert rcpt(lists, "127.0.1.%d" % last, "")[1] == "550 5.7.1 127.0.1.%d is listed by bl.test" % last
    for last in (1, 12, 255):
        list_address(lists.dns, "127.0.1.%d" % last, "127.0.0.%d" % last)
        if last < 255:
            assert rcpt(lists, "127.0.1.%d" % last, "a@good.org")[0] == 250
    assert rcpt(lists, "127.0.0.9", "a@good.org")[0] == 250
    assert "dnsbl=not-listed" in checked(lists)
    switch(lists, "dnsbl=defer")
    assert rcpt(lists, "127.0.1.4", "")[1] == "450 4.7.1 127.0.1.4 is listed by bl.test"
    switch(lists, "dnsbl=mark")
    assert rcpt(lists, "127.0.1.4", "")[0] == 250
    assert "dnsbl=listed" in checked(lists) and "bl.test 127.0.0.4 listed +1" in checked(lists)
    assert state(lists) == "on" and not lists.events("dnsbl_off")


@pytest.mark.parametrize("answer", ["127.255.255.252", "127.255.255.254", "127.255.255.255", "192.0.2.80", "0.0.0.0"])
def test_s31_an_error_switches_the_list_off_and_mail_flows(lists, answer):
    listed(lists)
    list_address(lists.dns, "127.0.1.50", answer)
    list_address(lists.dns, "127.0.1.51", "127.0.0.4")
    assert rcpt(lists, "127.0.1.50", "a@good.org")[0] == 250
    assert rcpt(lists, "127.0.1.51", "a@good.org")[0] == 250  # off at once, not at the next look
    assert "51.1.0.127.bl.test" not in lists.dns.names
    house.until(lambda: state(lists) == "off")
    assert len(lists.events("dnsbl_off")) == 1 and lists.status()["alarms"] == 1
    health, = lists.ask("health", check=False)
    assert health["health"] == "warning" and "list bl.test is off" in health["text"]
    assert rcpt(lists, "127.0.1.51", "a@good.org")[0] == 250
    lists.ask("config.reload")  # tested at once
    house.until(lambda: state(lists) == "on")
    assert len(lists.events("dnsbl_on")) == 3 and lists.status()["alarms"] == 0
    assert rcpt(lists, "127.0.1.51", "a@good.org")[0] == 550
    assert lists.ask("health")[0]["health"] == "ok"


@pytest.mark.parametrize("what,why", [
    ("dead", "127.0.0.2 is not listed"),
    ("wildcard", "127.0.0.1 is listed"),
    ("refused", "answers with an error"),
    ("sold", "outside 127.0.0.0/8"),
])
def test_s31_a_list_that_fails_its_test_is_never_asked_about_a_client(lists, what, why):
    if what == "dead":
        lists.dns.records.pop(("2.0.0.127.bl.test", A))
    elif what == "wildcard":
        list_address(lists.dns, "127.0.0.1", "127.0.0.2")
    else:
        list_address(lists.dns, "127.0.0.2", "127.255.255.254" if what == "refused" else "192.0.2.80")
    list_address(lists.dns, "127.0.1.51", "127.0.0.4")
    listed(lists, becomes="off")
    assert why in lists.events("dnsbl_off")[0]
    assert rcpt(lists, "127.0.1.51", "a@good.org")[0] == 250
    assert "51.1.0.127.bl.test" not in lists.dns.names and "dnsbl=not-listed" in checked(lists)


def test_s31_a_list_without_ipv6_is_no_alarm(lists):
    del lists.dns.records[(".".join(reversed("0" * 20 + "ffff" + "7f000002")) + ".bl.test", A)]
    listed(lists)
    house.until(lambda: state(lists, addresses="IPv6") == "off")
    assert lists.events("dnsbl_no_ipv6") and not lists.events("dnsbl_off") and lists.status()["alarms"] == 0


def test_s31_silence_lists_nobody(lists):
    listed(lists)
    lists.dns.quiet.add("50.1.0.127.bl.test")
    list_address(lists.dns, "127.0.1.50", "127.0.0.4")
    assert rcpt(lists, "127.0.1.50", "a@good.org")[0] == 250
    assert "dnsbl=unknown" in checked(lists) and state(lists) == "on"


def test_s31_a_key_is_asked_with_and_never_told(tmp_path):
    (tmp_path / "key").write_text("s3cr3tk3y\n")
    with open_door(tmp_path, '["bl.test=127.0.0.2,key_file=%s/key"]' % tmp_path) as n:
        lives(n.dns, "s3cr3tk3y.bl.test")
        listed(n)
        list_address(n.dns, "127.0.1.50", "127.0.0.2", "s3cr3tk3y.bl.test")
        list_address(n.dns, "127.0.1.51", "127.255.255.254", "s3cr3tk3y.bl.test")
        assert rcpt(n, "127.0.1.50", "")[1] == "550 5.7.1 127.0.1.50 is listed by bl.test"
        assert rcpt(n, "127.0.1.51", "")[0] == 250
        house.until(lambda: n.events("dnsbl_off"))
        told = [n.ask("status"), n.ask("config.show"), n.ask(
            "policy.test", check=False, ip="127.0.1.50", helo="x.test", **{"from": "", "rcpt": "b@customer.test"})]
        assert "s3cr3tk3y" not in json.dumps(told) + n.log_text()


def test_s31_a_key_file_that_is_not_there_stops_the_start_and_no_reload(tmp_path):
    with open_door(tmp_path, '["%s"]' % BL) as n:
        n.write_config('dnsbl:\n  lists: ["%s,key_file=%s/none"]\n' % (BL, tmp_path))
        n.ask("config.reload", check=False)
        assert n.events("reload_failed") and n.status()["dnsbl"][0]["zone"] == "bl.test"
        n.write_config('dnsbl:\n  lists: ["bl.test=127.0.0.2*0"]\n')
        done = subprocess.run([str(house.DAEMON), "--check", str(n.config)], capture_output=True, text=True)
        assert done.returncode == 78 and "must have weights" in done.stdout + done.stderr


def test_s31_weights_of_several_lists_reach_the_threshold_or_not(tmp_path):
    three = '["bl.test=127.0.0.2*2", "bl2.test=127.0.0.2*3", "wl.test=127.0.0.2*-2"]'
    with open_door(tmp_path, three, threshold=3) as n:
        for zone in ("bl.test", "bl2.test", "wl.test"):
            lives(n.dns, zone)
        listed(n)
        house.until(lambda: {r["state"] for r in n.status()["dnsbl"]} == {"on"})
        for source, zones, code in (("127.0.1.50", ["bl.test"], 250), ("127.0.1.51", ["bl2.test"], 550),
                                    ("127.0.1.52", ["bl.test", "bl2.test"], 550),
                                    ("127.0.1.53", ["bl2.test", "wl.test"], 250)):
            for zone in zones:
                list_address(n.dns, source, "127.0.0.2", zone)
            assert rcpt(n, source, "")[0] == code, source
        assert rcpt(n, "127.0.1.52", "")[1].endswith("is listed by bl2.test")


# --- HELO, forged senders, the allow list ---

@pytest.mark.parametrize("helo,mode,reply", [
    ("mail.good.org", "refuse", "250"),
    ("[127.0.0.9]", "refuse", "250"),
    ("localhost", "refuse", "250"),
    ("[10.0.0.1]", "refuse", "250"),
    ("127.0.0.9", "refuse", "550 5.7.1 HELO with an address"),
    ("[192.0.2.1]", "defer", "450 4.7.1 The address in your HELO"),
    ("mx1.example.net", "refuse", "550 5.7.1 The name in your HELO is ours"),
    ("MX9.example.net", "refuse", "550 5.7.1 The name in your HELO is ours"),
    ("not a name", "refuse", "550 5.7.1 Your HELO is neither"),
    ("mx1.example.net", "mark", "250"),
])
def test_the_name_in_helo(tmp_path, helo, mode, reply):
    with open_door(tmp_path, delivery="own_names: [mx9.example.net]\n") as n:
        switch(n, "helo=" + mode)
        c = house.Client(n.port, source="127.0.0.9")
        assert c.code("EHLO " + helo) == 250 and c.code("MAIL FROM:<a@good.org>") == 250
        assert c.say("RCPT TO:<b@customer.test>")[1][-1].startswith(reply)
        assert n.dns.asked == 0 and "helo=" in checked(n)


def test_a_sibling_may_say_our_names(tmp_path):
    with open_door(tmp_path, delivery="own_addresses: [127.0.0.9]\n") as n:
        switch(n, "helo=refuse")
        for source, code in (("127.0.0.9", 250), ("127.0.0.8", 550)):
            c = house.Client(n.port, source=source)
            assert c.code("EHLO mx1.example.net") == 250 and c.code("MAIL FROM:<a@good.org>") == 250
            assert c.code("RCPT TO:<b@customer.test>") == code


@pytest.mark.parametrize("source,sender,mode,reply", [
    ("127.0.0.9", "a@customer.test", "refuse", "250"),
    ("127.0.0.8", "a@customer.test", "refuse", "550 5.7.1 customer.test is served here"),
    ("127.0.0.8", "a@CUSTOMER.test", "defer", "450 4.7.1"),
    ("127.0.0.8", "a@other.test", "refuse", "550 5.7.1 other.test is served here"),  # publishes nothing
    ("127.0.0.8", "a@customer.test", "mark", "250"),
    ("127.0.0.8", "a@good.org", "refuse", "250"),
    ("127.0.0.8", "", "refuse", "250"),
])
def test_b14_a_domain_served_here_as_sender(door, source, sender, mode, reply):
    door.add_domain("other.test", route="127.0.0.1:1")
    door.dns.records[("customer.test", TXT)] = [txt("v=spf1 ip4:127.0.0.9 -all")]
    switch(door, "forged=" + mode)
    assert rcpt(door, source, sender)[1].startswith(reply)
    assert ("customer.test" in door.dns.names) == ("customer.test" in sender.lower())
    assert ("spf=off" in checked(door)) == (sender in ("", "a@good.org"))  # looked up for ours


def test_b14_dns_trouble_forges_nothing(door):
    switch(door, "forged=refuse")
    door.dns.mode = "servfail"
    assert rcpt(door, "127.0.0.8", "a@customer.test")[0] == 250
    assert "forged=unknown" in checked(door)


def test_who_is_allowed_is_spared_all_but_the_header(door):
    switch(door, "all=refuse,greylist=off")
    door.ask("access.change", op="allow", networks=["127.0.0.8"], reason="our web shop")
    house.until(lambda: rcpt(door, "127.0.0.8", "a@dead.org")[0] == 250)
    asked = door.dns.asked
    assert rcpt(door, "127.0.0.8", "a@customer.test")[0] == 250
    assert door.dns.asked == asked
    line = door.events("access_allowed")[-1]
    assert "client=127.0.0.8" in line and "our web shop" in line
    answer = send(door, b"x: y\r\n\r\nz\r\n", source="127.0.0.8", sender="a@dead.org")
    assert answer[1].startswith("550 5.6.0")
    assert rcpt(door, "127.0.0.7", "a@dead.org")[0] == 550


# --- counters ---

def counted(node):
    """All counters of the checks that are not 0, without what their names have in common."""
    rows = [r["line"].split() for r in node.ask("metrics") if r["line"].startswith("trispool_check")]
    return {n.removeprefix("trispool_").removesuffix("_total"): float(v) for n, v in rows if float(v) > 0}


@pytest.mark.parametrize("check,good,bad,unsure", [
    ("rdns", {"source": "127.0.0.9"}, {"source": "127.0.0.8"}, {"source": "127.0.0.7"}),
    ("dnsbl", {"source": "127.0.0.9"}, {"source": "127.0.1.4"}, {"source": "127.0.0.7"}),
    ("helo", {"helo": "mail.good.org"}, {"helo": "127.0.0.9"}, None),
    ("sender", {"sender": "a@good.org"}, {"sender": "a@dead.org"}, {"sender": "a@gone.org"}),
    ("forged", {"sender": "a@customer.test"}, {"sender": "a@other.test"}, {"sender": "a@third.test"}),
    ("spf", {"source": "127.0.0.9"}, {"source": "127.0.0.8"}, {"sender": "a@gone.org"}),
])
def test_each_verdict_of_a_check_is_counted_once_and_for_no_other(lists, check, good, bad, unsure):
    for name in ("other.test", "third.test"):
        lists.add_domain(name, route="127.0.0.1:1")
    lists.dns.records[("customer.test", TXT)] = [txt("v=spf1 ip4:127.0.0.9 -all")]
    list_address(lists.dns, "127.0.1.4", "127.0.0.4")
    expected = {}

    def comes(mode, code, *counters, source="127.0.0.9", sender="a@good.org", helo="client.example"):
        switch(lists, "%s=%s" % (check, mode))
        house.until(lambda: check != "dnsbl" or state(lists) == "on")
        c = house.Client(lists.port, source=source)
        assert c.code("EHLO " + helo) == 250 and c.code("MAIL FROM:<%s>" % sender) == 250
        assert c.code("RCPT TO:<b@customer.test>") == code
        c.close()
        for name in ("checks", *("check_" + x for x in counters)):
            expected[name] = expected.get(name, 0) + 1
        assert counted(lists) == expected

    comes("refuse", 250, check + "_passed", **good)
    if unsure:
        lists.dns.mode = "servfail"
        comes("refuse", 250, check + "_unknown", **unsure)
        lists.dns.mode = "answer"
    comes("mark", 250, check, **bad)
    comes("refuse", 550, check, check + "_refused", "refused", **bad)
    comes("defer", 450, check, check + "_deferred", "refused", **bad)


def test_of_several_checks_only_the_one_that_refused_counts_it(door):
    switch(door, "rdns=mark,sender=defer,spf=refuse")
    door.dns.records[("dead.org", TXT)] = [txt("v=spf1 -all")]
    assert rcpt(door, "127.0.0.8", "a@dead.org")[0] == 450
    assert counted(door) == dict.fromkeys(
        ("checks", "check_rdns", "check_sender", "check_spf", "check_sender_deferred", "check_refused"), 1)


# --- policy test ---

def policy(node, *options, code=0, **facts):
    facts = {"ip": "127.0.0.9", "helo": "mail.good.org", "from": "a@good.org", "rcpt": "b@customer.test", **facts}
    words = [w for k, v in facts.items() for w in ("--" + k, v)]
    done = subprocess.run([house.CLI, "--socket", str(node.socket), "-o", "json", "policy", "test", *words, *options],
                          capture_output=True, text=True)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    row, = json.loads(done.stdout)["items"] or [json.loads(done.stdout)["error"]]
    return row


def found(row):
    return {l["check"]: (l["mode"], l["result"], l["against"]) for l in row["checks"]}


def test_policy_test_says_what_a_session_would_hear(lists):
    listed(lists)
    switch(lists, "rdns=mark,sender=refuse,dnsbl=refuse")
    list_address(lists.dns, "127.0.0.8", "127.0.0.4")
    for facts in ({}, {"ip": "127.0.0.8"}, {"from": "a@dead.org"}, {"from": "<>", "ip": "127.0.0.7"}):
        row = policy(lists, code=1 if facts.get("ip") == "127.0.0.8" or facts.get("from") == "a@dead.org" else 0,
                     **facts)
        told = rcpt(lists, facts.get("ip", "127.0.0.9"), facts.get("from", "a@good.org").strip("<>"))
        assert row["reply"] == told[1] and row["taken"] == (told[0] == 250)
    row = policy(lists, ip="127.0.0.8", code=1)
    assert row["reply"] == "550 5.7.1 127.0.0.8 is listed by bl.test"
    got = found(row)
    assert got["access"] == ("always", "no-entry", False)
    assert got["rdns"] == ("mark", "mismatch", True) and got["dnsbl"] == ("refuse", "listed", True)
    assert got["spf"] == ("off", "fail", True) and got["helo"] == ("off", "fine", False)
    assert got["forged"] == ("off", "foreign-sender", False) and got["headers"] == ("off", "not-given", False)
    details = {l["check"]: l["detail"] for l in row["checks"]}
    assert details["spf"] == "mailfrom=good.org, -all" and details["rdns"] == "other.good.org"
    assert details["dnsbl"] == "bl.test 127.0.0.4 listed +1"


def test_policy_test_knows_the_lists_of_networks_and_the_header(door, tmp_path):
    switch(door, "all=refuse,greylist=off")
    (tmp_path / "mail").write_bytes(CLEAN.replace(b"\r\n", b"\n"))
    assert found(policy(door, "--message", str(tmp_path / "mail")))["headers"] == ("refuse", "ok", False)
    (tmp_path / "mail").write_bytes(b"Subject: x\n\nbody\n")
    row = policy(door, "-m", str(tmp_path / "mail"), code=1)
    assert row["reply"].startswith("550 5.6.0") and found(row)["headers"] == ("refuse", "missing", True)
    door.ask("access.change", op="allow", networks=["127.0.0.8"])
    door.ask("access.change", op="block", networks=["127.0.0.9"], reason="spam")
    house.until(lambda: found(policy(door, ip="127.0.0.8"))["access"][1] == "allowed")
    row = policy(door, ip="127.0.0.8")
    assert row["taken"] and found(row)["rdns"] == ("refuse", "mismatch", True)
    assert policy(door, code=1)["reply"] == "550 5.7.1 127.0.0.9 is blocked here: spam; ask postmaster"


def test_policy_test_refuses_what_makes_no_sense(door, tmp_path):
    assert policy(door, rcpt="b@nobody.test", code=1)["reply"].startswith("550 5.7.1 Relaying denied")
    for facts in ({"ip": "127.0.0"}, {"from": "a@b@c"}, {"rcpt": "nobody"}, {"helo": ""}, {"rcpt": "a%b@customer.test"}):
        policy(door, code=64, **facts)
    assert "cannot be opened" in policy(door, "-m", str(tmp_path / "none"), code=64)["what"]
    done = subprocess.run([house.CLI, "--socket", str(door.socket), "policy", "test", "--ip", "127.0.0.9"],
                          capture_output=True, text=True)
    assert done.returncode == 64 and "missing" in done.stderr


def test_policy_test_ends_with_the_node(door):
    door.dns.mode = "silent"
    asking = subprocess.Popen([house.CLI, "--socket", str(door.socket), "policy", "test", "--ip", "127.0.0.9", "--helo",
                               "x.test", "--from", "", "--rcpt", "b@customer.test"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    house.until(lambda: door.dns.asked > 0)
    door.stop()  # a leak is an error here
    assert asking.wait(timeout=60) != 0
