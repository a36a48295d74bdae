#!/usr/bin/env python3
"""Makes rfc7208-tests.txt, which node/policy/spf_suite_test.c reads, from rfc7208-tests.yml.

    prepare.py [--check]

With --check nothing is written: the exit status is 1 when the text is not what the YAML says.
Needs PyYAML; the test itself does not.

One line each, fields parted by tabs, bytes that are not printable ASCII, and the backslash, as
\\xHH:
    cases     NUMBER
    scenario  DESCRIPTION          what follows, up to the next one, belongs to it
    test      ID  CLIENT  HELO  MAILFROM  RESULT[,RESULT]  [EXPLANATION]
    zone      NAME  TYPE  DATA...  MX: preference, host; TXT: its strings; TIMEOUT: no data

As the suite wants it of its drivers: SPF records of a name stand for TXT records when it has no
TXT of its own ("TXT: NONE" counts as one), and TIMEOUT answers the types not named before it.
"""
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent


def field(value):
    # "\xEF\xBB\xBF" in the YAML means these three bytes
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}"
                   for b in str(value).encode("latin-1"))


def line(*fields):
    return "\t".join(field(f) for f in fields) + "\n"


def as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def rows_of(records):
    """(type, data...) of the records of one name."""
    has_txt = any(isinstance(r, dict) and "TXT" in r for r in records)
    texts = []
    for r in records:
        if r == "TIMEOUT":
            yield ("TIMEOUT",)
            continue
        for kind, value in r.items():
            data = as_list(value)
            if kind == "SPF":
                texts.append(("TXT", *data))
            elif data != ["NONE"]:
                yield (kind, *data)
    if not has_txt:
        yield from texts


def convert(path):
    scenarios = list(yaml.safe_load_all(path.read_bytes()))
    yield f"# Made from {path.name} by prepare.py. Its licence: rfc7208-tests.LICENSE\n"
    yield line("cases", sum(len(s["tests"]) for s in scenarios))
    for s in scenarios:
        yield line("scenario", s["description"])
        for name, t in s["tests"].items():
            text = [t["explanation"]] if "explanation" in t else []
            yield line("test", name, t["host"], t["helo"], t["mailfrom"],
                       ",".join(as_list(t["result"])), *text)
        for name, records in s["zonedata"].items():
            for row in rows_of(records):
                yield line("zone", name, *row)


def main():
    new = "".join(convert(HERE / "rfc7208-tests.yml"))
    text = HERE / "rfc7208-tests.txt"
    if sys.argv[1:] == ["--check"]:
        return 0 if text.exists() and text.read_text() == new else 1
    text.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
