"""The network of a bed: a router, hosts in sites, links between sites, and cuts of them.

Site k has 198.18.k.0/24 and 2001:db8:k::/48; its hosts get .10, .11 and so on. Each host is a
network namespace with one veth to the router, which is the bed's own namespace. Policy routing
sends every packet that comes from a host into bed_wan, which does what the link does; what comes
back passes nftables, where the cuts are.
"""
import contextlib
import os
import subprocess

from bed import disks
from bed.machine import Machine
from bed.private import BIN, NETNS, PRIVATE, WORK, Control, is_inside, sh, until

SYSCTLS = {"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1,
           "net/ipv4/conf/all/rp_filter": 0, "net/ipv4/conf/default/rp_filter": 0,
           "net/ipv4/conf/all/send_redirects": 0, "net/ipv4/conf/default/send_redirects": 0,
           "net/ipv6/conf/default/accept_dad": 0, "net/ipv6/conf/all/accept_dad": 0}
DNS_SITE = 53  # 198.18.53.0/24, whatever its place in the layout


class Host:
    """A network namespace with one IPv4 and one IPv6 address."""

    def __init__(self, net, name, site, v4, v6):
        self.net, self.name, self.site, self.v4, self.v6 = net, name, site, v4, v6
        self.processes = []

    def enter(self, argv):
        if isinstance(argv, str):
            argv = ["sh", "-c", argv]
        return ["nsenter", "--net=%s/%s" % (NETNS, self.name), "--", *map(str, argv)]

    def run(self, argv, **how):
        return sh(self.enter(argv), **how)

    def popen(self, argv, log=None, **how):
        with open(log or os.devnull, "ab") as out:
            p = subprocess.Popen(self.enter(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 **how)
        self.processes.append(p)
        return p


class Net:
    """layout: {site: [host, ...]}. Use as a context manager."""

    def __init__(self, layout, seed=1):
        if not is_inside():
            raise RuntimeError("only inside a bed: tests/integration/bed/inside")
        self.name = os.environ[PRIVATE]
        self.hosts, self.sites, self.machines, self.failing = {}, {}, [], []
        self.cuts = {}
        self.resolver = "198.18.%d.53" % DNS_SITE
        for key, value in SYSCTLS.items():
            with contextlib.suppress(OSError), open("/proc/sys/" + key, "w") as f:
                f.write(str(value))
        path = WORK + "/wan.sock"
        self.wan_process = subprocess.Popen([BIN / "bed_wan", "-d", "wan0", "-c", path])
        until(lambda: os.path.exists(path), 20, 0.005, "bed_wan")
        self.wan = Control(path)
        self.number(layout)
        self.route()
        self.wan("seed %d" % seed)
        self.write_cuts()

    def number(self, layout):
        numbers = iter(range(1, DNS_SITE))
        for site, names in layout.items():
            k = DNS_SITE if site == "dns" else next(numbers)
            self.sites[site] = k
            self.wan("site %s 198.18.%d.0/24 2001:db8:%d::/48" % (site, k, k))
            for i, name in enumerate(names):
                n = DNS_SITE if site == "dns" and i == 0 else i + 10
                self.hosts[name] = Host(self, name, site, "198.18.%d.%d" % (k, n),
                                        "2001:db8:%d::%d" % (k, n))

    def route(self):
        lines = []
        for i, host in enumerate(self.hosts.values()):
            sh(["ip", "netns", "add", host.name])
            lines += ["link add v%d mtu 1500 type veth peer name eth0 mtu 1500 netns %s" % (i, host.name),
                      "addr add 169.254.0.1/32 dev v%d" % i, "link set v%d up" % i,
                      "-6 addr add fe80::1/64 dev v%d nodad" % i,
                      "route add %s/32 dev v%d" % (host.v4, i),
                      "-6 route add %s/128 dev v%d" % (host.v6, i)]
        lines += ["link set wan0 up mtu 1500 txqueuelen 10000"]
        for family in ("", "-6 "):
            lines += [family + "route add default dev wan0 table 100",
                      family + "rule add pref 10 iif wan0 lookup main",
                      family + "rule add pref 11 iif lo lookup main",
                      family + "rule add pref 20 lookup 100"]
        self.ip([], lines)
        for host in self.hosts.values():
            self.ip(["-n", host.name], [
                "link set lo up", "addr add %s/32 dev eth0" % host.v4,
                "-6 addr add %s/128 dev eth0 nodad" % host.v6, "link set eth0 up",
                "route add 169.254.0.1 dev eth0",
                "route add default via 169.254.0.1 dev eth0 src %s" % host.v4,
                "-6 route add default via fe80::1 dev eth0 src %s" % host.v6])

    @staticmethod
    def ip(where, lines):
        for family in ("-4", "-6"):
            mine = [l.removeprefix("-6 ") for l in lines if l.startswith("-6 ") == (family == "-6")]
            sh(["ip", *where, family, "-batch", "-"], text="\n".join(mine) + "\n")

    def add_address(self, name, v4):
        i = list(self.hosts).index(name)
        sh(["ip", "-n", name, "addr", "add", v4 + "/32", "dev", "eth0"])
        sh(["ip", "route", "add", v4 + "/32", "dev", "v%d" % i])

    # -- links and cuts ------------------------------------------------------------------------

    def link(self, a, b, both=True, **what):
        """delay="40ms", loss="0.5%", rate="20mbit", hold=True ... (wan.h), from a to b."""
        words = " ".join(k if v is True else "%s=%s" % (k, v) for k, v in what.items())
        self.wan("link %s %s %s" % (a, b, words))
        if both:
            self.wan("link %s %s %s" % (b, a, words))

    def write_cuts(self):
        rules = ["add table inet bed", "delete table inet bed", "table inet bed {", " chain cuts {",
                 "  type filter hook forward priority 0; policy accept;"]
        for (a, b), (match, action) in self.cuts.items():
            i, j = self.sites[a], self.sites[b]
            rules += ['  iifname "wan0" ip saddr 198.18.%d.0/24 ip daddr 198.18.%d.0/24 %s %s'
                      % (i, j, match, action),
                      '  iifname "wan0" ip6 saddr 2001:db8:%d::/48 ip6 daddr 2001:db8:%d::/48 %s %s'
                      % (i, j, match, action)]
        sh(["nft", "-f", "-"], text="\n".join(rules + [" }", "}"]) + "\n")

    def cut(self, a, b, both=True, match="", action="drop"):
        """Packets from a to b vanish; match="tcp dport 25", action="reject with tcp reset"."""
        self.cuts[(a, b)] = (match, action)
        if both:
            self.cuts[(b, a)] = (match, action)
        self.write_cuts()

    def isolate(self, site, keep=()):
        """The site loses all others but those."""
        for other in self.sites:
            if other != site and other not in keep:
                self.cuts[(site, other)] = self.cuts[(other, site)] = ("", "drop")
        self.write_cuts()

    def heal(self, a=None, b=None):
        """All cuts, those of a site, or those between two."""
        def is_meant(pair):
            return a is None or (a in pair and (b is None or b in pair))
        self.cuts = {pair: what for pair, what in self.cuts.items() if not is_meant(pair)}
        self.write_cuts()

    # -- machines ------------------------------------------------------------------------------

    def layer(self, folder):
        """A copy of an unpacked package that may lie over /, where bin, sbin and lib are links."""
        copy = os.path.join(WORK, "layer-" + os.path.basename(folder))
        if not os.path.isdir(copy):
            sh(["cp", "-a", folder, copy])
            for name in ("bin", "sbin", "lib", "lib64"):
                old, new = os.path.join(copy, name), os.path.join(copy, "usr", name)
                if os.path.isdir(old):
                    os.makedirs(new, exist_ok=True)
                    sh(["cp", "-a", old + "/.", new])
                    sh(["rm", "-r", old])
        return copy

    def disk(self, name, spec):
        """"failing", "tmpfs:256m", "ext4:320m"."""
        kind, _, size = spec.partition(":")
        if kind == "failing":
            self.failing.append(disks.FailingDisk(name))
            return self.failing[-1]
        if kind == "tmpfs":
            return disks.in_memory(name, size)
        return disks.in_file(name, size, kind)

    def machine(self, name, **what):
        m = Machine(self.hosts[name], **what)
        self.machines.append(m)
        return m

    def close(self):
        for m in self.machines:
            m.close()
        for d in self.failing:
            d.close()
        for host in self.hosts.values():
            for p in host.processes:
                with contextlib.suppress(OSError):
                    p.kill()
                p.wait()
        self.wan_process.terminate()
        self.wan_process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
