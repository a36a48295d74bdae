"""What was sent and what arrived: the two books a verdict comes from.

Sent: ids that got a 250, by mta.inject() or by journals of trispool-load. Arrived: the files in a
primary's store, each with the sender's id, the id that a node gave it (in its Received field), and
the time it came.
"""
import os
import re

SENT_ID = re.compile(rb"^X-(?:Bed|Trispool)-Id: (\S+)", re.M)
NODE_ID = re.compile(rb"^Received: [^\n]*\(trispool [^)]*\).*?\bid ([0-9A-Za-z]{20,})\b", re.M | re.S)
HEAD_BYTES = 6000


class Arrived:
    """Reads folders of mail, each file once."""

    def __init__(self, folders):
        self.folders = folders
        self.files = {}  # path: (id, node's id or None, unix time)

    def look(self):
        for folder in self.folders:
            for f in os.scandir(folder) if os.path.isdir(folder) else []:
                # A dot: a file that is not complete yet. An .env: the envelope beside it.
                if f.path not in self.files and not f.name.startswith(".") and \
                        not f.name.endswith(".env"):
                    with open(f.path, "rb") as mail:
                        head = mail.read(HEAD_BYTES)
                    sent, node = SENT_ID.search(head), NODE_ID.search(head)
                    if sent:
                        self.files[f.path] = (sent[1].decode(), node and node[1].decode(),
                                              f.stat().st_mtime)
        return self

    def ids(self):
        return {i for i, _, _ in self.files.values()}

    def times(self):
        """{id: time of the first copy}"""
        first = {}
        for i, _, when in self.files.values():
            first[i] = min(when, first.get(i, when))
        return first

    def copies(self):
        """{(id, node's id): how many}"""
        count = {}
        for i, node, _ in self.files.values():
            count[(i, node)] = count.get((i, node), 0) + 1
        return count


class Journal:
    """Outcomes in a journal of trispool-load, also of one that still runs."""

    def __init__(self, path):
        self.path = path

    def read(self):
        """(ids with a 250, ids of unknown outcome)"""
        accepted, unknown = set(), set()
        if os.path.exists(self.path):
            with open(self.path) as f:
                for line in f:
                    kind, name, *_ = line.split()
                    if kind == "A":
                        accepted.add(name)
                    elif kind == "U":
                        unknown.add(name)
        return accepted, unknown


def verdict(accepted, unknown, arrived, flagged, began):
    """Counts. duplicated: copies too many of one message of one node; unflagged: those of them that
    no node owned up to; resent: copies too many because the sender sent it again; times are seconds
    since `began`; gap_s: the longest silence from then to the last arrival."""
    copies, ids = arrived.copies(), arrived.ids()
    extra = {key: n - 1 for key, n in copies.items() if n > 1}
    times = sorted(when - began for when in arrived.times().values() if when >= began) if began else []
    return {
        "accepted": len(accepted), "delivered": len(ids & accepted), "lost": len(accepted - ids),
        "unexpected": len(ids - accepted - unknown), "duplicated": sum(extra.values()),
        "unflagged": sum(n for (_, node), n in extra.items() if node not in flagged),
        "resent": len(copies) - len(ids),
        "first_s": round(times[0], 2) if times else None,
        "median_s": round(times[len(times) // 2], 2) if times else None,
        "last_s": round(times[-1], 2) if times else None,
        "gap_s": round(max(b - a for a, b in zip([0, *times], times)), 2) if times else None,
    }
