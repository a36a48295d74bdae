"""Runs a scenario: a TOML file with machines, links, steps and what is expected.

    base = "three-sites"      what is not said comes from scenarios/base/three-sites.toml
    [machines.NAME]           kind, disk, start, conf, ... (stations.py); kind "node" is one of ours,
                              or with --nodes postfix a Postfix with the settings [postfix]
    steps = [{ do = "VERB", ... }]        do_VERB of Runner; every other key is an argument
    [expect]                  NAME_max, NAME_min, NAME_is over the counts of book.verdict() and what
                              steps measured; lost_is = 0 and the like are not assumed

At the end every node of ours that runs is stopped and must end in good order (bad_ends), and its
spool must be sound (bad_spools), and no log may tell of a sanitizer or an assertion (broken).
"""
import contextlib
import json
import os
import time
import tomllib
from pathlib import Path

import fleet
import house
import knowing
from bed import book, mta, stations
from bed.dns import Dns
from bed.net import Net
from bed.private import WORK, until

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"

LOAD_TOLD = ("acked", "given_up", "refused_sessions", "max_ack_gap_ms")

# Tells every change of the banner, with the time it was asked for.
WATCH = r"""
import socket, sys, time
last = None
while True:
    asked = time.time()
    try:
        s = socket.create_connection((sys.argv[1], 25), 1)
        s.settimeout(1)
        code = s.recv(99)[:3].decode() or "cut"
        s.close()
    except OSError:
        code = "none"
    if code != last:
        print(asked, code, flush=True)
    last = code
    time.sleep(0.02)
"""


def merged(below, above):
    both = dict(below)
    for key, value in above.items():
        is_table = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if is_table else value
    return both


def read(path):
    with open(path, "rb") as f:
        told = tomllib.load(f)
    base = told.pop("base", None)
    return merged(read(SCENARIOS / "base" / (base + ".toml")), told) if base else told


class Runner:
    def __init__(self, path, nodes="trispool"):
        self.told, self.nodes = read(path), nodes
        self.began, self.marked = time.monotonic(), None
        self.accepted, self.journals, self.loads, self.watches = set(), [], {}, {}
        self.measured = {"bad_ends": 0, "bad_spools": 0, "broken": 0}
        self.stations, self.aliases, self.fleet = {}, {}, None
        self.given = set()

    def say(self, *words):
        print("%8.2f  %s" % (time.monotonic() - self.began, " ".join(map(str, words))), flush=True)

    # -- building ------------------------------------------------------------------------------

    def build(self):
        t = self.told
        self.net = Net(t["sites"], t.get("seed", 1))
        for pair, what in t.get("links", {}).items():
            self.net.link(*pair.split("-"), **what)
        self.domains = t.get("dns", {}).get("customers", ["cust.bed"])
        self.dns = Dns(self.net, **t.get("dns", {})).start()
        for name, what in t["machines"].items():
            self.stations[name] = stations.build(self.net, name, self.with_kind(what), self.domains)
        for name, s in self.stations.items():
            if t["machines"][name].get("start", True) and not isinstance(s, stations.Trispool):
                s.machine.start()
        self.form()
        for name, s in self.stations.items():
            if t["machines"][name].get("start", True):
                stations.until_smtp(s.host)
        self.say("the bed is ready")

    def with_kind(self, what):
        if what["kind"] != "node":
            return what
        if self.nodes == "postfix":
            return {**what, "kind": "postfix-backup", "conf": self.told.get("postfix", {})}
        return {**what, "kind": "trispool", "conf": {**self.told.get("trispool", {}),
                                                     **what.get("conf", {})}}

    def form(self):
        """Our nodes become a cluster, or run alone, and know the domains."""
        ours = [s.member for s in self.stations.values() if isinstance(s, stations.Trispool)]
        if not ours:
            return
        self.fleet = fleet.Fleet(ours)
        if len(ours) > 1:
            self.fleet.form()
        else:
            ours[0].start()
        for name in self.domains:
            self.fleet.add_domain(name)

    def station(self, name):
        return self.aliases[name] if name.startswith("@") else self.stations[name]

    def members(self):
        return self.fleet.members if self.fleet else []

    # -- books ---------------------------------------------------------------------------------

    def books(self):
        """(accepted, unknown) so far"""
        accepted, unknown = set(self.accepted), set()
        for journal in self.journals:
            a, u = journal.read()
            accepted |= a
            unknown |= u
        return accepted, unknown - accepted

    def arrived(self):
        if not hasattr(self, "store"):
            self.store = book.Arrived([s.mail for s in self.stations.values() if s.mail])
        return self.store.look()

    # -- verbs: mail ---------------------------------------------------------------------------

    def do_inject(self, to, count, rcpt="user@cust.bed", size=2000, host=None, sender="s@sender.bed"):
        """A plain client; `to` is the sender's own server or a node."""
        ids = mta.inject(self.net.hosts[host or to], self.net.hosts[to].v4, count, rcpt, size,
                         "m%d-" % len(self.accepted), sender)
        self.accepted.update(ids)
        return "%d of %d accepted" % (len(ids), count)

    def do_flood(self, to, count, rcpt, sender, name, host="sender", clients=1):
        """Clients, all on one host, that send each message to each of these nodes in turn and never try again; no
        book has them. Measures NAME_250, NAME_450 and so on."""
        to, seen = [to] if isinstance(to, str) else to, {}
        for n in to:
            for code, times in mta.flood(self.net.hosts[host], self.net.hosts[n].v4, count // len(to), rcpt,
                                         sender, self.addresses(host, clients)).items():
                seen[code] = seen.get(code, 0) + times
        self.measured.update({"%s_%s" % (name, code): seen.get(code, 0) for code in (*seen, "250", "450", "550", "421")})
        return seen

    def addresses(self, host, count):
        """So many of the host; it gets those that it lacks."""
        v4 = self.net.hosts[host].v4
        net, own = v4.rsplit(".", 1)
        more = ["%s.%d" % (net, int(own) + 100 + i) for i in range(count - 1)]
        for address in more:
            if address not in self.given:
                self.net.add_address(host, address)
                self.given.add(address)
        return [v4, *more]

    def do_count_mail(self, node, name, to=None):
        """Measures how many messages a sink has, or how many of them are for an address with this in it."""
        folder = self.station(node).mail
        self.measured[name] = 0
        for f in os.scandir(folder) if os.path.isdir(folder) else []:
            if f.name.endswith(".env") and (to is None or to in open(f.path).read()):
                self.measured[name] += 1
        return self.measured[name]

    def do_wait_mail(self, node, count, to=None, seconds=60):
        with contextlib.suppress(TimeoutError):
            until(lambda: self.do_count_mail(node, "mail", to) >= count, seconds, 0.2)
        return self.measured.pop("mail")

    def do_load(self, to, name="load", host="sender", options="", wait=True):
        """trispool-load; wait = false: goes on beside the next steps."""
        path = "%s/journal-%s" % (WORK, name)
        targets = ",".join(self.net.hosts[t].v4 + ":25" for t in ([to] if isinstance(to, str) else to))
        self.journals.append(book.Journal(path))
        self.loads[name] = self.net.hosts[host].popen(
            [house.LOAD, "-t", targets, "--run", name, "--journal", path, *options.split()],
            log="%s/load-%s" % (WORK, name))
        return self.do_wait_load(name) if wait else None

    def do_wait_load(self, name="load", seconds=300):
        code = self.loads[name].wait(seconds)
        with open("%s/load-%s" % (WORK, name)) as f:
            told = json.loads(f.read().splitlines()[-1])
        self.measured.update({"%s_%s" % (name, k): told[k] for k in LOAD_TOLD})
        return "exit %s, %s" % (code, {k: told[k] for k in ("offered", *LOAD_TOLD)})

    def do_wait_accepted(self, count, seconds=60):
        until(lambda: len(self.books()[0]) >= count, seconds, 0.05, "%d accepted" % count)

    def do_wait_down(self, domain, seconds=60):
        """Until all our nodes know at their doors that the primary of a domain that learns is away."""
        def is_known(m):
            row, = m.ask("policy.test", False, ip="192.0.2.1", helo="h.example", rcpt="nobody@" + domain, **{"from": ""})
            return any("primary is away" in (c.get("detail") or "") for c in row["checks"])
        until(lambda: all(is_known(m) for m in self.members()), seconds, 0.1, "all know that it is away")

    def do_wait_learned(self, count, domain="cust.bed", seconds=60):
        """Until all our nodes know so many recipients of a domain that learns."""
        until(lambda: all(m.ask("domain.show", name=domain)[0].get("learned", 0) >= count for m in self.members()),
              seconds, 0.1, "%d recipients are known" % count)

    def questions(self, node):
        return mta.questions(self.station(node).machine, [a for m in self.members() for a in (m.host.v4, m.host.v6)])

    def do_wait_asked(self, count=1, node="primary", seconds=120):
        """Until our nodes have asked a Postfix for so many recipients, without mail for them."""
        if self.fleet:
            until(lambda: len(self.questions(node)) >= count, seconds, 0.2, "%s is asked" % node)

    def do_asked(self, name, node="primary"):
        """Measures for how many recipients our nodes asked a Postfix so, and NAME_most: in any one minute."""
        times = self.questions(node)
        self.measured[name], self.measured[name + "_most"] = len(times), knowing.most_in_a_minute(times)
        return self.measured[name], self.measured[name + "_most"]

    def do_wait_delivered(self, seconds=60, count=None):
        """All that was accepted so far, or so many, are with the primary; goes on in any case."""
        def all_there():
            wanted = self.books()[0]
            there = self.arrived().ids()
            return len(there) >= count if count is not None else wanted <= there
        with contextlib.suppress(TimeoutError):
            until(all_there, seconds, 0.2)
        return "%d of %d" % (len(self.arrived().ids()), len(self.books()[0]))

    def do_wait_empty(self, nodes, seconds=60):
        nodes = [nodes] if isinstance(nodes, str) else nodes

        def queued():
            return {n: self.stations[n].queued() for n in nodes}
        with contextlib.suppress(TimeoutError):
            until(lambda: not any(queued().values()), seconds, 0.2)
        return queued()

    def do_queues(self):
        return {n: s.queued() for n, s in self.stations.items()}

    # -- verbs: machines -----------------------------------------------------------------------

    def do_start(self, node, mark=False):
        if mark:
            self.do_mark()
        self.station(node).start()

    def do_stop(self, node):
        self.station(node).stop()

    def do_kill(self, node):
        self.station(node).machine.kill()

    def do_wipe(self, node):
        self.station(node).machine.wipe()

    def do_freeze(self, node):
        self.station(node).machine.freeze()

    def do_thaw(self, node):
        self.station(node).machine.thaw()

    def do_power_cut(self, node, torn=None):
        return self.station(node).machine.power_cut(torn)

    def do_memory_limit(self, node, bytes):
        self.station(node).machine.limit_memory(bytes)

    def do_disk(self, node, say):
        return [d.say(say) for d in self.station(node).machine.disks.values()]

    def do_primary(self, say, node="primary", mark=False):
        """A line to a sink: "down", "up", "tempfail at=rcpt" ..."""
        if mark:
            self.do_mark()
        return self.station(node).say(say)

    # -- verbs: our cluster --------------------------------------------------------------------

    def do_rejoin(self, node):
        """A wiped node is added again and joins; nothing where a Postfix stands in our place."""
        if self.fleet:
            self.fleet.admit(self.station(node).member)

    def do_command(self, words, by=None, fails=False):
        """A command of trispool; fails = true: it must say no."""
        if self.fleet is None:
            return "no node of ours"
        m = self.station(by).member if by else None
        try:
            return self.fleet.cli(*words.split(), by=m)
        except AssertionError:
            if not fails:
                raise
            return "refused"

    def current_holder(self, domain, seconds=30):
        member = until(lambda: self.fleet.holder(domain), seconds, 0.1, "somebody holds the lease")
        return next(s for s in self.stations.values() if getattr(s, "member", None) is member)

    def do_flush(self):
        """Retry times are forgotten: what may be a duplicate is tried now, not in five minutes."""
        if self.fleet:
            return self.fleet.cli("queue", "retry", "--all", "--yes", check=False).strip()  # 1: nothing waits
        return None

    def do_holder(self, name="holder", domain="cust.bed"):
        """Remembers who holds the lease: later steps may say node = "@holder"."""
        self.aliases["@" + name] = self.current_holder(domain)
        return self.aliases["@" + name].host.name

    def do_leader(self, name="leader"):
        """The same with who leads the control log."""
        member = until(self.fleet.leader, 30, 0.1, "somebody leads")
        self.aliases["@" + name] = next(s for s in self.stations.values()
                                        if getattr(s, "member", None) is member)
        return self.aliases["@" + name].host.name

    def do_holder_changes(self, seconds, name="holder_changes", domain="cust.bed"):
        """Looks on; measures how often the lease changes hands."""
        seen, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            member = self.fleet.holder(domain)
            if member is not None and (not seen or seen[-1] is not member):
                seen.append(member)
            time.sleep(0.2)
        self.measured[name] = max(0, len(seen) - 1)
        return [m.host.name for m in seen]

    def do_metric(self, metric, name, since=None):
        """Measures the sum of a metric over our nodes; since: how much it is above that one."""
        rows = [m.ask("metrics") for m in self.members() if m.is_alive()]
        self.measured[name] = sum(float(r["line"].split()[1]) for lines in rows for r in lines
                                  if r["line"].startswith("trispool_%s " % metric))
        self.measured[name] -= self.measured[since] if since else 0
        return self.measured[name]

    def do_wait_whole(self, seconds=60):
        """All members vote, every live message has its copies; measures whole_s."""
        began = time.monotonic()
        if self.fleet:
            self.fleet.until_whole(seconds)
        self.measured["whole_s"] = round(time.monotonic() - began, 2)

    # -- verbs: network ------------------------------------------------------------------------

    def do_cut(self, a, b, both=True, match="", action="drop", mark=False):
        if mark:
            self.do_mark()
        self.net.cut(a, b, both, match, action)

    def do_isolate(self, site, keep=(), mark=False):
        if mark:
            self.do_mark()
        self.net.isolate(site, keep)

    def do_heal(self, a=None, b=None, mark=False):
        if mark:
            self.do_mark()
        self.net.heal(a, b)

    def do_link(self, a, b, both=True, **what):
        self.net.link(a, b, both, **what)

    def do_flap(self, a, b, seconds, period):
        end, is_cut = time.monotonic() + seconds, False
        while time.monotonic() < end:
            self.net.heal(a, b) if is_cut else self.net.cut(a, b)
            is_cut = not is_cut
            time.sleep(period / 2)
        self.net.heal(a, b)

    def do_dns(self, zone, lines):
        self.dns.update(zone, *lines)

    # -- verbs: time ---------------------------------------------------------------------------

    def do_sleep(self, seconds):
        time.sleep(seconds)

    def do_mark(self):
        """Times are counted from here."""
        self.marked = time.time()

    def do_watch(self, node, host="sender"):
        """Asks for the banner of a node without pause, from here on."""
        log = "%s/watch-%s" % (WORK, node)
        self.net.hosts[host].popen(["/usr/bin/python3", "-c", WATCH, self.net.hosts[node].v4], log=log)
        self.watches[node] = log

    def do_wait_banner(self, node, code, name="banner_s", seconds=60):
        """Until the watched banner begins so; measures the seconds since the mark."""
        def now():
            with open(self.watches[node]) as f:
                rows = [l.split() for l in f]
            return float(rows[-1][0]) if rows and rows[-1][1] == code else None
        at = until(now, seconds, 0.02, "%s greets with %s" % (node, code))
        self.measured[name] = round(max(0, at - self.marked), 2)
        return self.measured[name]

    def do_banners(self, node, code, name):
        """Measures how often the watched banner has turned to this code."""
        with open(self.watches[node]) as f:
            self.measured[name] = sum(l.split()[1] == code for l in f)
        return self.measured[name]

    # -- the end -------------------------------------------------------------------------------

    def end_nodes(self):
        for m in self.members():
            if m.is_alive():
                try:
                    m.stop()
                except AssertionError as e:
                    self.measured["bad_ends"] += 1
                    self.say("bad end of", m.host.name, e)
            if os.path.isdir(os.path.join(os.fspath(m.machine.disks["/data"]), "trispool", "spool")):
                code, told = m.check_spool()
                if code != 0:
                    self.measured["bad_spools"] += 1
                    self.say("bad spool of", m.host.name, told)
        if self.fleet:
            self.measured["broken"] = len(self.fleet.broken())
            self.say(*self.fleet.broken()[:20])

    def counts(self):
        accepted, unknown = self.books()
        flagged = self.fleet.flagged() if self.fleet else set()
        altered = sum(s.altered() for s in self.stations.values() if isinstance(s, stations.Sink))
        return {**book.verdict(accepted, unknown, self.arrived(), flagged, self.marked),
                "altered": altered, **self.measured}

    def complaints(self, counts):
        for key, wanted in self.told.get("expect", {}).items():
            name, how = key.rsplit("_", 1)
            value = counts.get(name)
            good = value is not None and {"max": value <= wanted, "min": value >= wanted,
                                          "is": value == wanted}[how]
            if not good:
                yield "%s is %s, wanted %s %s" % (name, value, how, wanted)
        for name in ("bad_ends", "bad_spools", "broken"):
            if counts[name]:
                yield "%s is %d" % (name, counts[name])

    def show_logs(self):
        for m in self.members():
            print("--- the end of the log of %s\n%s" % (m.host.name, m.log_text()[-5000:]))

    def run(self):
        """(counts, complaints)"""
        try:
            self.build()
            for step in self.told["steps"]:
                step = dict(step)
                verb = step.pop("do")
                told = getattr(self, "do_" + verb)(**step)
                self.say(verb, step or "", "" if told is None else "-> %s" % (told,))
            for load in self.loads.values():
                if load.poll() is None:
                    load.terminate()
                    load.wait()
            self.end_nodes()
            counts = self.counts()
            complaints = list(self.complaints(counts))
            self.say(json.dumps(counts))
        except Exception:
            self.show_logs()
            raise
        if complaints:
            self.show_logs()
        self.say("; ".join(complaints) or "as expected")
        return counts, complaints

    def close(self):
        if hasattr(self, "net"):
            self.net.close()
