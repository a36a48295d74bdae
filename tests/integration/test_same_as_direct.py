"""S25: the backup is no easier way in. The same corpus goes to a stock Postfix that judges what it gets,
straight to it, by the backup while it is up, and by the backup while it is away."""
import json
import os
from collections import Counter

import fleet
from bed import mta, stations
from bed.dns import Dns, reverse
from bed.private import until
from beds import in_bed

LAYOUT = {"a": ["node-a"], "net": ["sender", "listed", "evil"], "cust": ["primary"], "dns": ["dns"]}
DOMAIN = "cust.bed"

# What such a server refuses by itself: clients, names, senders, recipients, content, size, form.
PRIMARY = {
    "virtual_mailbox_maps": "inline:{user@cust.bed=all/, fresh@cust.bed=all/}",
    "smtpd_client_restrictions": "reject_unknown_reverse_client_hostname, reject_rbl_client dnsbl.bed",
    "smtpd_helo_required": "yes",
    "smtpd_helo_restrictions": "reject_invalid_helo_hostname, check_helo_access regexp:{ {/^[0-9.]+$$/ REJECT} }",
    "smtpd_sender_restrictions": "check_sender_access inline:{cust.bed=REJECT}, reject_non_fqdn_sender, "
                                 "reject_unknown_sender_domain",
    "header_checks": "regexp:{ {/^Subject:.*pills/ REJECT not that} }",
    "body_checks": "regexp:{ {/casino/ REJECT nor that} }",
    "message_size_limit": "200000", "smtpd_forbid_bare_newline": "reject",
    "unknown_client_reject_code": "550", "unknown_address_reject_code": "550", "smtpd_error_sleep_time": "0",
}
# The owner switches on at the backup what the primary judges of clients, whom it does not see there.
CHECKS = "rdns=refuse,dnsbl=refuse,helo=refuse,sender=refuse,forged=refuse,spf=refuse,headers=refuse"
LISTS = 'dnsbl:\n  lists: ["dnsbl.bed=127.0.0.2-127.0.0.11"]\n'

WANTED = {
    "plain": {},
    "to somebody of whom the backup does not know": {"rcpt": "fresh@cust.bed"},
    "null sender": {"sender": ""},
    "large": {"body": ("x" * 70 + "\r\n") * 2000},
}
UNWANTED = {
    "client on a list": {"host": "listed", "sender": "s@listed.bed"},
    "client without a name": {"host": "evil", "sender": "s@listed.bed"},
    "address as name": {"helo": "198.18.2.10"},
    "sender that is not": {"sender": "s@nowhere.bed"},
    "sender that takes no mail": {"sender": "s@nullmx.bed"},
    "sender of the house": {"sender": "boss@cust.bed"},
    "nobody": {"rcpt": "nobody{n}@cust.bed"},
    "nobody, from nobody": {"rcpt": "nobody{n}@cust.bed", "sender": ""},
    "somebody else's": {"rcpt": "user@elsewhere.bed"},
    "by way of": {"rcpt": "user%elsewhere.bed@cust.bed"},
    "subject": {"subject": "cheap pills"},
    "body": {"body": "the casino\r\n"},
    "too large": {"body": ("x" * 70 + "\r\n") * 4000},
    "two in one": {"body": "x\n.\r\nMAIL FROM:<s@sender.bed>\r\nRCPT TO:<user@cust.bed>\r\nDATA\r\n"
                           "X-Bed-Id: smuggled\r\nFrom: s@sender.bed\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\n"
                           "\r\ncheap pills\r\n"},
}
MAIL = ("X-Bed-Id: %s\r\nFrom: s@sender.bed\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\nSubject: %s\r\n\r\n%s")

# Standard input: mails to send, as JSON; says each one's last code.
SEND = r"""
import json, smtplib, sys
for m in json.load(sys.stdin):
    try:
        server = smtplib.SMTP(sys.argv[1], 25, m["helo"], timeout=60)
        server.ehlo()
        code = server.mail(m["sender"])[0]
        if code == 250:
            code = server.rcpt(m["rcpt"])[0]
        if code == 250:
            code = server.docmd("DATA")[0]
        if code == 354:
            server.send(m["text"].encode() + b".\r\n")
            code = server.getreply()[0]
        server.close()
    except smtplib.SMTPServerDisconnected:
        code = 421
    print(json.dumps([m["name"], code]))
"""


def corpus(host, turn):
    """The mails that come from this host. {n}: who has not been named before."""
    rows = []
    for name, what in {**WANTED, **UNWANTED}.items():
        if what.get("host", "sender") == host:
            rows.append({"name": name, "helo": what.get("helo", host + ".bed"),
                         "sender": what.get("sender", "s@sender.bed"),
                         "rcpt": what.get("rcpt", "user@cust.bed").replace("{n}", "%d%d" % (turn, len(rows))),
                         "text": MAIL % (name, what.get("subject", "hello"), what.get("body", "hello\r\n"))})
    return json.dumps(rows)


class World:
    def __init__(self, net):
        self.net, self.seen, self.turn = net, set(), 0
        self.dns = Dns(net, nodes=("node-a",), preferences=(20,)).start()
        self.dns.update("dnsbl.bed.", "set %sdnsbl.bed. 5 A 127.0.0.4"
                        % reverse(net.hosts["listed"].v4).replace("in-addr.arpa.", ""))
        self.dns.update("bed.", 'set sender.bed. 5 TXT "v=spf1 a:sender.bed -all"',
                        "set sender.bed. 5 MX 10 sender.bed.")
        self.primary = stations.Primary(mta.primary(net, "primary", DOMAIN, net.disk("primary", "tmpfs:1g"), **PRIMARY))
        self.node = fleet.InBed(net, "node-a", 1, net.disk("node-a", "tmpfs:1g"), copies=1, more=LISTS)
        self.primary.start()
        self.node.start()
        stations.until_smtp(self.node.host)
        self.node.add_domain(DOMAIN, dsn="none", checks=CHECKS)
        self.node.ask("domain.set", name=DOMAIN, recipients="learn")
        until(lambda: any(r["state"] == "on" for r in self.node.status()["dnsbl"]), 30, 0.1, "the list is asked")
        self.teach()

    def teach(self):
        """One recipient is known: from now on strangers are told apart."""
        mta.inject(self.net.hosts["sender"], self.node.host.v4, 1, "user@cust.bed")
        until(lambda: self.node.ask("domain.show", name=DOMAIN)[0].get("learned") == 1, 30, 0.1, "somebody is known")
        self.drained()
        assert sum(self.arrived().values()) == 1

    def send(self, to):
        """{name: code} of the whole corpus."""
        told, self.turn = "", self.turn + 1
        for host in ("sender", "listed", "evil"):
            told += self.net.hosts[host].run(["/usr/bin/python3", "-c", SEND, self.net.hosts[to].v4],
                                             text=corpus(host, self.turn), timeout=300)
        return dict(map(json.loads, told.splitlines()))

    def drained(self):
        until(lambda: self.node.queued() == 0 and self.primary.machine.is_alive()
              and mta.queued(self.primary.machine) == 0, 120, 0.1, "all is where it ends")

    def arrived(self):
        """What has come since last time: each mail as it was sent, without what was put above it."""
        fresh = {f.path for f in os.scandir(self.primary.mail)} - self.seen
        self.seen |= fresh
        mails = [open(path, "rb").read() for path in fresh]
        return Counter(m[m.index(b"X-Bed-Id: "):] for m in mails)


@in_bed(layout=LAYOUT)
def test_s25_what_the_primary_refuses_directly_does_not_come_by_the_backup_either(net):
    w = World(net)
    direct = w.send("primary")
    w.drained()
    assert {n for n, code in direct.items() if code == 250} == set(WANTED), direct
    wanted = w.arrived()
    assert sum(wanted.values()) == len(WANTED)

    while_up = w.send("node-a")
    w.drained()
    assert w.arrived() == wanted, while_up

    w.primary.machine.kill()
    while_down = w.send("node-a")
    assert w.node.queued() >= len(WANTED)
    print(while_up, while_down)
    w.primary.start()
    w.drained()
    assert w.arrived() == wanted, while_down
    w.node.stop()
    assert not [l for l in w.node.log_text().splitlines() if fleet.BROKEN.search(l)]
