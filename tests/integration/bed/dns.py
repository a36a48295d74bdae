"""The DNS of a bed: a signed root of its own, knot that answers with authority and can be changed,
unbound that validates and caches, and servers that misbehave (odd_dns.py), all on host `dns`.

    198.18.53.53 unbound   198.18.53.54 knot   from 198.18.53.55 the odd ones
"""
import ipaddress
import os

from bed.private import HERE, WORK, sh, until

FOLDER = WORK + "/dns"
RESOLVER, KNOT, NOBODY = "198.18.53.53", "198.18.53.54", "198.18.53.99"
# An address for each kind, so that one does not spoil the resolver's opinion of another.
ODD = {"weird.bed": "198.18.53.55", "mute.bed": "198.18.53.56", "slow.bed": "198.18.53.57"}
SIGNED = (".", "bed.", "signed.bed.")
SOA = "@ 60 SOA ns.bed. hostmaster.bed. 1 60 30 3600 5\n@ 60 NS ns.bed.\n"

KNOT_CONF = """server:
  rundir: %(folder)s
  listen: %(knot)s@53
  user: root
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
control:
  listen: %(folder)s/knot.sock
database:
  storage: %(folder)s/keys
  journal-db-max-size: 64M
  kasp-db-max-size: 20M
  timer-db-max-size: 10M
acl:
  - id: update
    address: 0.0.0.0/0
    action: [update, transfer]
policy:
  - id: by-hand
    single-type-signing: on
    manual: on
    algorithm: ecdsap256sha256
template:
  - id: default
    storage: %(folder)s/zones
    acl: update
    journal-content: none
    zonefile-load: whole
    zonefile-sync: -1
zone:
"""

UNBOUND_CONF = """server:
 interface: %(resolver)s
 access-control: 0.0.0.0/0 allow
 username: ""
 chroot: ""
 directory: "%(folder)s"
 pidfile: "%(folder)s/unbound.pid"
 use-syslog: no
 do-daemonize: no
 num-threads: 1
 root-hints: "%(folder)s/hints"
 trust-anchor-file: "%(folder)s/anchor"
 module-config: "validator iterator"
 local-zone: "8.b.d.0.1.0.0.2.ip6.arpa." nodefault
 do-not-query-localhost: no
 cache-max-negative-ttl: 5
 infra-host-ttl: 5
 qname-minimisation: no
 harden-below-nxdomain: no
remote-control:
 control-enable: yes
 control-interface: %(folder)s/unbound.sock
 control-use-cert: no
"""


def reverse(address):
    return ipaddress.ip_address(address).reverse_pointer + "."


def file_of(zone):
    return "root.zone" if zone == "." else zone + "zone"


class Dns:
    """Zones of the bed. Customers' domains have their primary at 10 and the nodes behind it."""

    def __init__(self, net, customers=("cust.bed",), primary="primary", nodes=("node-a", "node-b", "node-c"),
                 preferences=(20, 20, 20)):
        self.net, self.host = net, net.hosts["dns"]
        for address in (KNOT, *ODD.values()):
            net.add_address("dns", address)
        self.zones = {}
        self.add_tree()
        self.add_hosts()
        mx = "@ 5 MX 10 %s.bed.\n" % primary + "".join(
            "@ 5 MX %d %s.bed.\n" % pair for pair in zip(preferences, nodes))
        for name in customers:
            self.add(name + ".", SOA + mx)
            self.add("bed.", name + ". 60 NS ns.bed.\n")
        self.add_special(net.hosts[primary].v4)

    def add(self, zone, text):
        self.zones[zone] = self.zones.get(zone, "") + text

    def add_tree(self):
        self.add(".", SOA + "bed. 60 NS ns.bed.\nns.bed. 60 A %s\nin-addr.arpa. 60 NS ns.bed.\n"
                 "ip6.arpa. 60 NS ns.bed.\n" % KNOT)
        self.add("bed.", SOA + "ns 60 A %s\n" % KNOT)
        self.add("in-addr.arpa.", SOA)
        self.add("ip6.arpa.", SOA)

    def add_hosts(self):
        for name, host in self.net.hosts.items():
            self.add("bed.", "%s 5 A %s\n%s 5 AAAA %s\n" % (name, host.v4, name, host.v6))
            if not name.startswith("evil"):  # those have no name for their address
                self.add("in-addr.arpa.", "%s 5 PTR %s.bed.\n" % (reverse(host.v4), name))
                self.add("ip6.arpa.", "%s 5 PTR %s.bed.\n" % (reverse(host.v6), name))

    def add_special(self, address):
        """Zones with a property: signed, wrongly signed, no MX, null MX, block lists, odd servers."""
        special = {
            "signed": "@ 5 MX 10 mx\nmx 5 A %s\n_25._tcp.mx 5 TLSA 3 1 1 %s\n" % (address, "ab" * 32),
            "bogus": "@ 5 MX 10 mx\nmx 5 A %s\n" % address,
            "nullmx": "@ 5 MX 0 .\n",
            "nomx": "@ 5 A %s\n" % address,
            "dnsbl": '2.0.0.127 5 A 127.0.0.2\n2.0.0.127 5 TXT "test entry"\n',
            "dnsblerr": "* 5 A 127.255.255.254\n",    # "open resolver", for everything
            "dnsblquota": "* 5 A 127.255.255.255\n",  # "too many queries"
        }
        for name, text in special.items():
            self.add(name + ".bed.", SOA + text)
            self.add("bed.", "%s 60 NS ns.bed.\n" % name)
        self.add("bed.", "bogus 60 DS 12345 13 2 %s\n" % ("cd" * 32))
        for zone, address in {**ODD, "lame.bed": NOBODY}.items():
            name = zone.partition(".")[0]
            self.add("bed.", "%s 60 NS ns.%s\nns.%s 60 A %s\n" % (name, name, name, address))

    def make_keys(self, conf):
        """Keys of the signed zones; each one's DS record (SHA-256)."""
        ds = {}
        for zone in SIGNED:
            keymgr = ["keymgr", "-c", conf, zone]
            sh(keymgr + ["generate", "algorithm=ECDSAP256SHA256", "ksk=yes", "zsk=yes"])
            ds[zone] = next(l for l in sh(keymgr + ["ds"]).splitlines() if l.split()[4:5] == ["2"])
        return ds

    def start(self):
        for d in ("zones", "keys"):
            os.makedirs(os.path.join(FOLDER, d), exist_ok=True)
        conf = FOLDER + "/knot.conf"
        rows = "".join('  - domain: "%s"\n    file: "%s"\n%s' % (
            z, file_of(z), "    dnssec-signing: on\n    dnssec-policy: by-hand\n" if z in SIGNED else "")
            for z in self.zones)
        write(conf, KNOT_CONF % {"folder": FOLDER, "knot": KNOT} + rows)
        ds = self.make_keys(conf)
        self.add(".", ds["bed."] + "\n")
        self.add("bed.", ds["signed.bed."] + "\n")
        for zone, text in self.zones.items():
            write("%s/zones/%s" % (FOLDER, file_of(zone)), "$ORIGIN %s\n%s" % (zone, text))
        write(FOLDER + "/hints", ". 3600 NS ns.bed.\nns.bed. 3600 A %s\n" % KNOT)
        write(FOLDER + "/anchor", ds["."] + "\n")
        write(FOLDER + "/unbound.conf", UNBOUND_CONF % {"folder": FOLDER, "resolver": RESOLVER})
        self.host.popen(["knotd", "-c", conf], log=FOLDER + "/knot.log")
        self.host.popen(["unbound", "-d", "-c", FOLDER + "/unbound.conf"], log=FOLDER + "/unbound.log")
        self.host.popen(["/usr/bin/python3", HERE / "odd_dns.py",
                         *(word for zone, a in ODD.items() for word in (a, zone))],
                        log=FOLDER + "/odd.log")
        until(lambda: "NOERROR" in self.dig("signed.bed", "SOA", "+tries=1", "+time=1"), 20, 0.02, "DNS")
        return self

    def dig(self, *words):
        return self.host.run(["dig", "@" + RESOLVER, *words], check=False)

    def update(self, zone, *lines):
        """Changes a running zone and empties the cache of it. Lines are "set OWNER TTL TYPE DATA"
        and "unset OWNER TYPE [DATA]"."""
        knotc = ["knotc", "-s", FOLDER + "/knot.sock"]
        sh(knotc + ["zone-begin", zone])
        for line in lines:
            verb, *words = line.split()
            sh(knotc + ["zone-" + verb, zone, *words])
        sh(knotc + ["zone-commit", zone])
        sh(["unbound-control", "-c", FOLDER + "/unbound.conf", "flush_zone", zone])


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
