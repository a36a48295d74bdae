#!/usr/bin/env python3
"""Book of what ./run-tests ran: every suite adds its results, the end counts them.

    results.py BOOK ctest SUITE JUNIT_XML     ctest --output-junit; the checks that a program
                                              counts itself count (Check, unittest, the layout
                                              rules), a program that counts none is one
    results.py BOOK pytest SUITE JUNIT_XML    pytest --junitxml
    results.py BOOK fuzz SUITE FILE           what tests/fuzz/coverage.sh printed; a row is one
    results.py BOOK one SUITE NAME 0|1 [LOG]  one result by exit status
    results.py BOOK summary                   a table, what failed and why, and as the last line
                                              "N passed, N failed"; exits 0 only without failures

A skipped test counts as failed, unless tests/support/skips.txt explains it: a test that did not
run proves nothing. BOOK is a file of JSON lines; adding to it takes what is missing (a crash, a
file that was not written) as a failure, never as nothing.
"""
import fnmatch
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

SKIPS = Path(__file__).with_name("skips.txt")
SHOWN_LINES = 40  # of the output of what failed

CHECK = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)$", re.M)
UNITTEST = re.compile(r"^Ran (\d+) tests? in [\d.]+s$\s+^(?:OK|FAILED \((.*)\))", re.M)
RULE = re.compile(r"^(ok|failed) \w+: ", re.M)
FUZZER = re.compile(r"^(\w+_fuzz)(?:: (FAILED|not built)| +\d+ +\d+/\d+ +\d+ % +(\S+)(  below .*)?)$",
                    re.M)


def counted(text):
    """(checks, failed) that a program says it made."""
    pairs = [(int(n), int(f) + int(e)) for n, f, e in CHECK.findall(text)]
    pairs += [(int(n), sum(map(int, re.findall(r"\d+", bad or ""))))
              for n, bad in UNITTEST.findall(text)]
    pairs += [(1, int(word == "failed")) for word in RULE.findall(text)]
    return sum(p[0] for p in pairs), sum(p[1] for p in pairs)


class Book:
    def __init__(self, path):
        self.path = Path(path)

    def add(self, suite, name, passed, failed, detail="", skipped=0):
        row = dict(suite=suite, name=name, passed=passed, failed=failed, skipped=skipped,
                   detail="\n".join(detail.splitlines()[-SHOWN_LINES:]) if failed else "")
        with self.path.open("a") as f:
            f.write(json.dumps(row) + "\n")

    def rows(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()]


def cases(xml_path):
    """(case, outcome, text): outcome is passed, failed or skipped."""
    for case in ElementTree.parse(xml_path).iter("testcase"):
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        skip = case.find("skipped")
        out = case.findtext("system-out") or ""
        if bad is not None:
            why = "\n".join(filter(None, [bad.text, bad.get("message")]))
            yield case, "failed", "\n".join(filter(None, [out, why]))
        elif skip is not None:
            yield case, "skipped", skip.get("message") or ""
        else:
            yield case, "passed", out


def explained_skips():
    if not SKIPS.exists():
        return []
    lines = [line.strip() for line in SKIPS.read_text().splitlines()]
    return [line.split(None, 1)[0] for line in lines if line and not line.startswith("#")]


def add_case(book, suite, name, outcome, text):
    if outcome == "skipped" and any(fnmatch.fnmatch(name, p) for p in explained_skips()):
        book.add(suite, name, 0, 0, skipped=1)
    elif outcome == "skipped":
        book.add(suite, name, 0, 1, f"skipped without an explanation in {SKIPS.name}: {text}")
    else:
        book.add(suite, name, int(outcome == "passed"), int(outcome == "failed"), text)


def add_ctest(book, suite, xml_path):
    for case, outcome, text in cases(xml_path):
        name = case.get("name")
        checks, bad = counted(text)
        if outcome == "skipped" or not checks:
            add_case(book, suite, name, outcome, text)
            continue
        # All checks passed and yet the program failed: a leak at its end, or it was killed.
        extra = int(outcome == "failed" and bad == 0)
        book.add(suite, name, checks - bad, bad + extra, text)


def add_pytest(book, suite, xml_path):
    for case, outcome, text in cases(xml_path):
        add_case(book, suite, f"{case.get('classname')}::{case.get('name')}", outcome, text)


def add_fuzz(book, suite, path):
    text = Path(path).read_text(errors="replace")
    for m in FUZZER.finditer(text):
        bad = bool(m[2] or m[4])
        why = text[:m.end()] if m[2] else m[0]
        book.add(suite, m[1] + (f" {m[3]}" if m[3] else ""), int(not bad), int(bad), why)


def add(book, kind, suite, path):
    before = len(book.rows()) if book.path.exists() else 0
    adders = {"ctest": add_ctest, "pytest": add_pytest, "fuzz": add_fuzz}
    try:
        adders[kind](book, suite, path)
    except (OSError, ElementTree.ParseError) as e:
        book.add(suite, "all of it", 0, 1, f"no results were left behind: {e}")
        return
    if len(book.rows() if book.path.exists() else []) == before:
        book.add(suite, "all of it", 0, 1, "the suite ran no test at all")


def add_one(book, suite, name, status, log=None):
    text = Path(log).read_text(errors="replace") if log and Path(log).exists() else ""
    book.add(suite, name, int(status == "0"), int(status != "0"), text or f"exit status {status}")


def summary(book):
    rows = book.rows() if book.path.exists() else []
    suites = dict.fromkeys(r["suite"] for r in rows)
    for r in (r for r in rows if r["failed"]):
        print(f"\n--- failed: {r['suite']}: {r['name']}")
        print("\n".join("    " + line for line in r["detail"].splitlines()))
    print()
    for suite in suites:
        mine = [r for r in rows if r["suite"] == suite]
        skipped = sum(r["skipped"] for r in mine)
        print(f"{suite:<14} {sum(r['passed'] for r in mine):>6} passed, "
              f"{sum(r['failed'] for r in mine)} failed"
              + (f", {skipped} skipped ({SKIPS.name} says why)" if skipped else ""))
    passed, failed = sum(r["passed"] for r in rows), sum(r["failed"] for r in rows)
    if not passed:
        failed = max(failed, 1)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def main(argv):
    if len(argv) < 2:
        sys.exit(__doc__)
    book, kind, rest = Book(argv[0]), argv[1], argv[2:]
    if kind == "summary":
        return summary(book)
    if kind == "one":
        add_one(book, *rest)
    else:
        add(book, kind, *rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
