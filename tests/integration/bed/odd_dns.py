#!/usr/bin/python3
"""odd_dns ADDRESS ZONE [ADDRESS ZONE]...: name servers that misbehave by name. What stands
directly before the zone decides:

    drop        no answer            servfail refused formerr notimp nxdomain nodata
    slow1500    late, in ms          garbage wrongid cut    no DNS, another query's, half of it
    tc tcdead   cut short by UDP; the rest by TCP, or not
    loop        a CNAME loop         flip   SERVFAIL every other time       big    a long TXT
    anything else: A 198.18.5.10 and MX 10 mx.<itself>
"""
import asyncio
import contextlib
import re
import socket
import struct
import sys

A, NS, CNAME, SOA, MX, TXT = 1, 2, 5, 6, 15, 16
RCODES = {"servfail": 2, "refused": 5, "formerr": 1, "nxdomain": 3, "notimp": 4}
FLIPS = [0]


def name(text):
    return b"".join(bytes([len(l)]) + l.encode() for l in text.split(".") if l) + b"\0"


def record(owner, kind, data, ttl=5):
    return name(owner) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def question(query):
    """(name, type, bytes of the question)"""
    i, labels = 12, []
    while query[i]:
        labels.append(query[i + 1:i + 1 + query[i]].decode("latin1"))
        i += 1 + query[i]
    return ".".join(labels).lower(), struct.unpack(">H", query[i + 1:i + 3])[0], query[12:i + 5]


def records(full, sub, word, kind, address, zone):
    """What an honest server would say."""
    if sub == "":
        soa = name("ns." + zone) + name("h." + zone) + struct.pack(">IIIII", 1, 60, 60, 60, 5)
        return {SOA: [record(zone, SOA, soa)], NS: [record(zone, NS, name("ns." + zone))]}.get(kind, [])
    if sub == "ns":
        return [record(full, A, socket.inet_aton(address))] if kind == A else []
    if word == "loop":
        to = "x.loop." if sub == "loop" else "loop."
        return [record(full, CNAME, name(to + zone))]
    if word == "big" and kind == TXT:
        return [record(full, TXT, bytes([255]) + b"x" * 255) for _ in range(12)]
    return {A: [record(full, A, socket.inet_aton("198.18.5.10"))],
            MX: [record(full, MX, struct.pack(">H", 10) + name("mx." + full))]}.get(kind, [])


def answer(query, is_tcp, address, zone):
    """(seconds to wait, bytes or None)"""
    number, flags = struct.unpack(">HH", query[:4])
    full, kind, asked = question(query)
    sub = full[:-len(zone) - 1] if full.endswith("." + zone) else ""
    word = sub.split(".")[-1]
    if word == "drop" or (word == "tcdead" and is_tcp):
        return 0, None
    if word == "garbage":
        return 0, b"\xde\xad" * 20
    late = re.fullmatch(r"slow(\d+)", word)
    rcode = RCODES.get(word, 0)
    if word == "flip":
        FLIPS[0] ^= 1
        rcode = 2 * FLIPS[0]
    is_cut = word in ("tc", "tcdead") and not is_tcp
    told = [] if rcode or is_cut or word == "nodata" else records(full, sub, word, kind, address, zone)
    more = records(zone, "", "", SOA, address, zone) if rcode in (0, 3) and not told else []
    reply = struct.pack(">HHHHHH", number ^ (0x5555 if word == "wrongid" else 0),
                        0x8400 | flags & 0x0100 | is_cut << 9 | rcode, 1, len(told), len(more), 0)
    reply += asked + b"".join(told) + b"".join(more)
    return int(late[1]) / 1000 if late else 0, reply[:len(reply) // 2] if word == "cut" else reply


class Udp(asyncio.DatagramProtocol):
    def __init__(self, address, zone):
        self.place = (address, zone)

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, query, who):
        with contextlib.suppress(IndexError, struct.error, UnicodeError):
            delay, reply = answer(query, False, *self.place)
            if reply:
                asyncio.get_running_loop().call_later(delay, self.transport.sendto, reply, who)


async def serve_tcp(reader, writer, address, zone):
    with contextlib.suppress(IndexError, struct.error, UnicodeError, OSError, asyncio.IncompleteReadError):
        while True:
            size = struct.unpack(">H", await reader.readexactly(2))[0]
            delay, reply = answer(await reader.readexactly(size), True, address, zone)
            if reply is None:
                break
            await asyncio.sleep(delay)
            writer.write(struct.pack(">H", len(reply)) + reply)
    writer.close()


async def main(places):
    loop = asyncio.get_running_loop()
    for address, zone in places:
        await loop.create_datagram_endpoint(lambda a=address, z=zone: Udp(a, z), (address, 53))
        await asyncio.start_server(lambda r, w, a=address, z=zone: serve_tcp(r, w, a, z), address, 53)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main([(a, z.rstrip(".").lower()) for a, z in zip(sys.argv[1::2], sys.argv[2::2])]))
