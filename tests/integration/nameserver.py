"""A DNS server on loopback that answers as it is told."""
import socket
import struct
import threading


def name(text):
    return b"".join(bytes([len(l)]) + l.encode() for l in text.split(".") if l) + b"\0"


class Dns(threading.Thread):
    """UDP on loopback. records: {(name, type): [rdata, ...]}; a missing name is NXDOMAIN, a missing
    type NODATA. mode: answer, silent, servfail, held (until released). quiet: names that are never
    answered. answered: how many were at once. names: all that were asked for. soa_s: seconds that a denial
    counts; 0: it is not told. validates: it says so of all it says (AD). bogus: names whose signatures are wrong: a
    failure, but for who does not want them checked (CD). late: (name, type) whose first question gets no answer. What is asked of the root is not counted."""

    def __init__(self):
        super().__init__(daemon=True)
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]
        self.records, self.mode, self.asked, self.kept = {}, "answer", 0, []
        self.quiet, self.names, self.soa_s, self.answered = set(), [], 0, 0
        self.validates, self.bogus, self.late = False, set(), set()
        self.start()

    def run(self):
        while True:
            try:
                q, peer = self.s.recvfrom(4096)
            except OSError:
                return
            reply, name, kind = self.reply(q)
            if name:
                self.asked += 1
                self.names.append(name)
            if self.mode == "held":
                self.kept += [(q, peer)] if name else []
            elif (name, kind) in self.late:
                self.late.discard((name, kind))
            elif self.mode != "silent" and name not in self.quiet:
                self.s.sendto(reply, peer)
                self.answered += bool(name)

    def release(self):
        self.mode = "answer"
        for q, peer in self.kept:
            self.s.sendto(self.reply(q)[0], peer)

    def reply(self, q):
        at, labels = 12, []
        while q[at]:
            labels.append(q[at + 1:at + 1 + q[at]].decode().lower())
            at += 1 + q[at]
        kind = struct.unpack("!H", q[at + 1:at + 3])[0]
        question = q[12:at + 5]
        found = self.records.get((".".join(labels), kind), [])
        known = any(n == ".".join(labels) for n, _ in self.records)
        wants_unchecked = bool(q[3] & 0x10)
        is_failing = self.mode == "servfail" or (".".join(labels) in self.bogus and not wants_unchecked)
        rcode = 2 if is_failing else 0 if known or not labels else 3
        if rcode:
            found = []
        soa = b""
        if self.soa_s and not found and rcode != 2:
            numbers = name("") * 2 + struct.pack("!IIIII", 1, 1, 1, 1, self.soa_s)
            soa = name("") + struct.pack("!HHIH", 6, 1, self.soa_s, len(numbers)) + numbers
        head = q[:2] + struct.pack("!HHHHH", 0x8180 | self.validates << 5 | rcode, 1, len(found), bool(soa), 0)
        return head + question + b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(d)) + d for d in found) + soa, ".".join(labels), kind


def mx(preference, host):
    return struct.pack("!H", preference) + name(host)


def ptr(host):
    return name(host)


def txt(text):
    return b"".join(bytes([len(text[i:i + 255])]) + text[i:i + 255].encode() for i in range(0, len(text), 255))


def a(address):
    return socket.inet_aton(address)
