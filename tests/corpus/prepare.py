#!/usr/bin/env python3
"""Makes copies of the corpus that can travel by SMTP.

    prepare.py OUT_DIR [--wire WIRE_DIR]

SMTP knows one line end, CRLF, and a message ends with a line end; the daemon refuses anything
else (docs/invariants.md, INV-5). Mails kept in files often end their lines with LF alone. So each
copy has every bare LF and every bare CR made a CRLF, and a CRLF at its end where there was none.
Nothing else is changed, and the same input gives the same output. What a client sends is the copy,
and what arrives is compared with the copy.

OUT_DIR/<folder>_<name>.eml     one file a message
WIRE_DIR/<folder>_<name>.eml    the same as it stands on the wire: dots doubled at the start of a
                                line (RFC 5321 4.5.2), a lone dot as the end, no CRLF behind it.
                                This is what `swaks --no-data-fixup --data @FILE` sends unchanged.

One line of JSON on stdout says what was done. A mail that cannot be sent is left out and named
there with the reason; today there is none.
"""
import argparse
import json
import re
import sys
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "mail"
LINE_LIMIT = 64 * 1024  # bytes of a line with its CRLF (LIMIT_BODY_LINE_BYTES)


def canonical(data: bytes) -> bytes:
    """Every line end a CRLF, and one at the end."""
    data = re.sub(rb"\r\n|\r|\n", b"\r\n", data)
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def why_not(data: bytes):
    """The reason why a canonical mail cannot be sent, or None."""
    if b"\0" in data:
        return "holds a NUL byte"
    if max(map(len, data.split(b"\r\n"))) + 2 > LINE_LIMIT:
        return f"holds a line of more than {LINE_LIMIT} bytes"
    return None


def wire(data: bytes) -> bytes:
    """A canonical mail as DATA sends it, but for the CRLF behind the last dot."""
    return re.sub(rb"(?m)^\.", b"..", data) + b"."


def prepare(corpus: Path, out: Path, wire_out) -> dict:
    told = {"messages": 0, "bytes": 0, "changed": 0, "left_out": []}
    out.mkdir(parents=True, exist_ok=True)
    if wire_out:
        wire_out.mkdir(parents=True, exist_ok=True)
    for path in sorted(corpus.glob("*/*.msg")):
        name = f"{path.parent.name}_{path.stem}.eml"
        raw = path.read_bytes()
        data = canonical(raw)
        reason = why_not(data)
        if reason:
            told["left_out"].append({"file": name, "why": reason})
            continue
        (out / name).write_bytes(data)
        if wire_out:
            (wire_out / name).write_bytes(wire(data))
        told["messages"] += 1
        told["bytes"] += len(data)
        told["changed"] += data != raw
    return told


def main() -> int:
    p = argparse.ArgumentParser(description="Makes copies of the corpus that SMTP can carry.")
    p.add_argument("out", type=Path, help="folder for the messages")
    p.add_argument("--wire", type=Path, help="folder for the same, dot-stuffed (for swaks)")
    a = p.parse_args()
    told = prepare(CORPUS, a.out, a.wire)
    print(json.dumps(told))
    return 0 if told["messages"] else 1


if __name__ == "__main__":
    sys.exit(main())
