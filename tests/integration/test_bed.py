"""The bed does what it says: a broken bed must not look like a broken cluster."""
import os
import re

import pytest
from bed.dns import Dns
from bed.private import until
from beds import in_bed


def ping(net, a, b, count=10, every=0.01, is_v6=False):
    """(answers, mean round trip in ms or None)"""
    host = net.hosts[b]
    told = net.hosts[a].run(["ping", "-6" if is_v6 else "-4", "-q", "-c", count, "-i", every, "-W", "1",
                             host.v6 if is_v6 else host.v4], check=False)
    trip = re.search(r"= [\d.]+/([\d.]+)/", told)
    return int(re.search(r"(\d+) received", told)[1]), float(trip[1]) if trip else None


@pytest.mark.parametrize("is_v6", [False, True])
@in_bed
def test_a_link_takes_its_time(net, is_v6):
    net.link("a", "b", delay="30ms")
    got, trip_ms = ping(net, "node-a", "node-b", is_v6=is_v6)
    assert got == 10 and trip_ms >= 60


@in_bed
def test_a_link_is_cut_both_ways_and_for_both_families(net):
    net.cut("a", "b")
    assert ping(net, "node-a", "node-b", 2)[0] == 0
    assert ping(net, "node-a", "node-b", 2, is_v6=True)[0] == 0
    assert ping(net, "node-a", "node-c", 2)[0] == 2
    assert ping(net, "node-b", "node-c", 2)[0] == 2
    net.heal("a", "b")
    assert ping(net, "node-a", "node-b", 2)[0] == 2


@in_bed
def test_a_link_is_cut_one_way(net):
    net.cut("a", "b", both=False)
    serve = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n" \
        "s.bind(('0.0.0.0', 7))\nprint(s.recvfrom(9), flush=True)\n"
    there, here = (net.machine(n, files={"/serve.py": serve}) for n in ("node-b", "node-a"))
    for m in (there, here):
        m.start("exec /usr/bin/python3 /serve.py")
        until(lambda m=m: ":7" in m.run("ss -lun 2>/dev/null || cat /proc/net/udp | sed s/:0007/:7/"), 10)
    for a, b in (("node-a", "node-b"), ("node-b", "node-a")):
        net.hosts[a].run("echo hi | socat - UDP4:%s:7" % net.hosts[b].v4)
    until(lambda: "hi" in here.log_text(), 10)
    assert "hi" not in there.log_text()


@in_bed
def test_one_seed_loses_the_same_packets_again(net):
    seen = []
    for _ in range(2):
        net.wan("reset")
        net.wan("seed 42")
        net.link("a", "b", both=False, loss="30%")
        told = net.hosts["node-a"].run("ping -c 40 -i 0.005 -W 1 " + net.hosts["node-b"].v4, check=False)
        seen.append(re.findall(r"icmp_seq=(\d+)", told))
    assert seen[0] == seen[1] and 15 < len(seen[0]) < 38


@in_bed
def test_a_link_holds_packets_and_lets_them_go(net):
    net.link("a", "b", both=False, hold=True)
    p = net.hosts["node-a"].popen(["ping", "-c", "3", "-i", "0.05", "-W", "20", net.hosts["node-b"].v4],
                                  log="/tmp/trispool-bed/ping")
    until(lambda: "in_flight=3" in net.wan("stats"), 10)
    net.link("a", "b", both=False, release=True)
    assert p.wait(30) == 0
    assert "3 received" in open("/tmp/trispool-bed/ping").read()


@in_bed
def test_names_are_resolved_validated_and_changed(net):
    dns = Dns(net).start()
    assert dns.dig("cust.bed", "MX", "+short").count("\n") == 4
    assert " ad" in re.search(r"flags: [^;]*", dns.dig("signed.bed", "MX"))[0]
    assert "SERVFAIL" in dns.dig("bogus.bed", "MX")
    assert dns.dig("2.0.0.127.dnsbl.bed", "+short").strip() == "127.0.0.2"
    assert "SERVFAIL" in dns.dig("servfail.weird.bed", "A")
    assert "198.18.5.10" in dns.dig("tc.weird.bed", "A")
    dns.update("cust.bed.", "unset cust.bed. MX", "set cust.bed. 5 MX 1 new.bed.")
    assert dns.dig("cust.bed", "MX", "+short").strip() == "1 new.bed."


# Every other file is fsynced, and told then.
WRITER = """
import os
for i in range(10 ** 6):
    f = os.open("/data/%d" % i, os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(f, b"x" * 5000)
    if i % 2 == 0:
        os.fsync(f)
        print(i, flush=True)
    os.close(f)
"""


@pytest.mark.parametrize("torn", [None, 3])
@in_bed
def test_a_power_cut_leaves_what_was_fsynced(net, torn):
    disk = net.disk("d", "failing")
    m = net.machine("node-a", disks={"/data": disk}, files={"/writer.py": WRITER})
    m.start("exec /usr/bin/python3 /writer.py")
    until(lambda: m.log_text().count("\n") > 50, 20)
    lost = m.power_cut(torn)
    told = [int(n) for n in m.log_text().split()]
    for n in told:
        with open("%s/%d" % (disk.path, n), "rb") as f:
            assert f.read() == b"x" * 5000
    assert lost[0].startswith("lost dirty_pages=")


@in_bed
def test_a_power_cut_takes_what_was_not_fsynced(net):
    disk = net.disk("d", "failing")
    for name in ("kept", "lost"):
        with open("%s/%s" % (disk.path, name), "w") as f:
            f.write("x" * 5000)
            if name == "kept":
                f.flush()
                os.fsync(f.fileno())
    os.rename(disk.path + "/kept", disk.path + "/renamed")
    disk.power_cut()
    assert os.listdir(disk.path) == ["kept"]


@in_bed
def test_a_torn_power_cut_leaves_some_sectors_old_and_some_new(net):
    disk = net.disk("d", "failing")
    with open(disk.path + "/f", "wb", buffering=0) as f:
        f.write(b"o" * 65536)
        os.fsync(f.fileno())
        f.seek(0)
        f.write(b"n" * 65536)
    disk.power_cut(torn=5)
    with open(disk.path + "/f", "rb") as f:
        seen = [f.read(512) for _ in range(128)]
    assert {s[0:1] * 512 for s in seen} == {b"o" * 512, b"n" * 512} == set(seen)


@in_bed
def test_a_disk_fails_on_command(net):
    disk = net.disk("d", "failing")
    with open(disk.path + "/f", "wb", buffering=0) as f:
        f.write(b"x")
        disk.say("eio fsync 1")
        with pytest.raises(OSError):
            os.fsync(f.fileno())
        disk.say("eio fsync 0")
        os.fsync(f.fileno())
        disk.say("room 1")
        with pytest.raises(OSError):
            f.write(b"x" * 5000)
            os.fsync(f.fileno())
        with pytest.raises(RuntimeError):
            disk.say("nonsense")


@in_bed
def test_a_machine_freezes_thaws_and_dies(net):
    m = net.machine("node-c").start("exec socat TCP4-LISTEN:7,fork,reuseaddr EXEC:cat")

    def echoes():
        return "hi" in net.hosts["node-b"].run(
            "(echo hi; sleep 0.3) | timeout 2 socat -T1 - TCP4:%s:7,connect-timeout=1"
            % net.hosts["node-c"].v4, check=False)
    until(echoes, 20)
    m.freeze()
    assert not echoes()
    m.thaw()
    until(echoes, 20)
    m.kill()
    assert not echoes()


@in_bed
def test_a_wiped_machine_has_lost_its_disk_and_its_root(net):
    disk = net.disk("d", "tmpfs:16m")
    m = net.machine("node-a", disks={"/data": disk}).start("touch /data/x /y; exec sleep 1000")
    until(lambda: os.path.exists(disk + "/x"), 10)
    m.wipe()
    assert os.listdir(disk) == [] and not m.is_alive()
    m.start("ls /y /data; exec sleep 1000")
    until(lambda: "/data:" in m.log_text(), 10)
    assert "cannot access '/y'" in m.log_text()
