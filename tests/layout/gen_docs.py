#!/usr/bin/env python3
"""Pages of docs/ that are made from tables in the code, so that they cannot be wrong.

    gen_docs.py [--check] [ROOT]

docs/limits.md from base/limits.h, docs/log-events.md from base/log_events.def, docs/metrics.md
from base/stats.def. With --check nothing is written: the exit status is 1 when a page is old.
(docs/configuration.md is made by config-reference and compared by node/config_test.c.)
"""
import ast
import operator
import re
import sys
from pathlib import Path

OPERATORS = {ast.Mult: operator.mul, ast.Add: operator.add, ast.Sub: operator.sub,
             ast.FloorDiv: operator.floordiv, ast.LShift: operator.lshift}
SUFFIXES = re.compile(r"(?<=[0-9a-fA-F])[uUlL]+\b")
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
LEVELS = {"DEBUG": "debug", "INFO": "info", "NOTICE": "notice", "WARN": "warn",
          "ERROR": "error", "ALARM": "alarm"}


def evaluate(text, names):
    """The value of a constant expression of C; names: those known so far."""
    def walk(node):
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name) and node.id in names:
            return names[node.id]
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        raise ValueError(f"cannot evaluate {text!r}")

    plain = SUFFIXES.sub("", text).replace("/", "//")
    return walk(ast.parse(plain.strip(), mode="eval").body)


def scaled(value, steps, last):
    """14400000 ms -> 4 h: the largest unit that leaves a whole number."""
    for name, size in steps:
        if value >= size and value % size == 0:
            n = value // size
            return f"{n:,} {name[:-1] if n == 1 and name == 'days' else name}"
    return f"{value:,} {last}"


def human(name, value):
    time = [("days", 86400000), ("h", 3600000), ("min", 60000), ("s", 1000)]
    if re.search(r"_BYTES$", name):
        return scaled(value, [(n, UNITS[n]) for n in ("TiB", "GiB", "MiB", "KiB")], "bytes")
    if name.endswith("_MS"):
        return scaled(value, time, "ms")
    if re.search(r"(?<!PER)_S$", name):
        return scaled(value * 1000, time, "s")
    if name.endswith("_DAYS"):
        return scaled(value * 86400000, time, "ms")
    return f"{value:,}"


def cell(text):
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def limits_page(root):
    text = (root / "base/limits.h").read_text().replace("\\\n", " ")
    names = dict(UNITS)
    out = ["# Limits", "",
           "Every number that somebody outside can push against, made from `base/limits.h`. What",
           "happens at a limit is never an unbounded wait: load is shed with a 4xx, or the",
           "connection ends. Those that an operator may change are in",
           "[configuration.md](configuration.md)."]
    for line in text.split("\n"):
        title = re.fullmatch(r"/\* --- (.*) --- \*/", line.strip())
        row = re.match(r"#define\s+(LIMIT_\w+)\s+(.*?)\s*(?:/\*(.*?)\*/)?\s*$", line)
        if title:
            out += ["", f"## {title[1]}", "", "| limit | value | what |", "|---|---|---|"]
        elif row:
            names[row[1]] = evaluate(row[2], names)
            out.append(f"| `{row[1]}` | {human(row[1], names[row[1]])} | {cell(row[3] or '')} |")
    return "\n".join(out) + "\n"


def rows(path):
    """X(NAME, WORD, "text" "more") of a table."""
    text = path.read_text()
    for m in re.finditer(r'^X\((\w+),\s*(\w+),\s*((?:"(?:\\.|[^"\\])*"\s*)+)\)', text, re.M):
        parts = re.findall(r'"((?:\\.|[^"\\])*)"', m[3])
        yield m[1], m[2], "".join(parts).replace('\\"', '"')


def events_page(root):
    out = ["# Log events", "",
           "Each line of the log is one event, `ev=NAME` with fields of the form `key=value`; made",
           "from `base/log_events.def`. `log.level` leaves out what is below it. An *alarm* asks",
           "for a person.", "", "| event | level | meaning |", "|---|---|---|"]
    for name, level, text in rows(root / "base/log_events.def"):
        out.append(f"| `{name.lower()}` | {LEVELS[level]} | {cell(text)} |")
    return "\n".join(out) + "\n"


def metrics_page(root):
    out = ["# Metrics", "",
           "Counters start at 0 with the daemon; made from `base/stats.def`.", "",
           "| metric | type | meaning |", "|---|---|---|"]
    for name, kind, text in rows(root / "base/stats.def"):
        out.append(f"| `trispool_{name.lower()}` | {kind.lower()} | {cell(text)} |")
    return "\n".join(out) + "\n"


PAGES = {
    "docs/limits.md": ("base/limits.h", limits_page),
    "docs/log-events.md": ("base/log_events.def", events_page),
    "docs/metrics.md": ("base/stats.def", metrics_page),
}


def old_pages(root):
    """(page, source) of each page that is not what its table says."""
    for page, (source, make) in PAGES.items():
        path = root / page
        if (root / source).exists() and (not path.exists() or path.read_text() != make(root)):
            yield page, source


def main(args):
    check = "--check" in args
    places = [a for a in args if not a.startswith("-")]
    root = Path(places[0]) if places else Path(__file__).resolve().parents[2]
    old = list(old_pages(root))
    for page, source in old:
        if check:
            print(f"{page}:1: does not say what {source} says: run tests/layout/gen_docs.py")
        else:
            (root / page).parent.mkdir(parents=True, exist_ok=True)
            (root / page).write_text(PAGES[page][1](root))
            print(f"{page}: written")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
