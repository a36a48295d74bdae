#!/usr/bin/python3
"""Runs the files test_*.py of a folder, several at once, each by a pytest of its own. They mostly wait.

    by_file.py DIR XML_DIR AT_ONCE

Leaves XML_DIR/NAME.xml for each file, and what its pytest said on standard output, file after file. The exit
status is the worst of theirs. Each of those that run at once has ports of its own (TRISPOOL_TEST_PORTS=LOW-HIGH):
a port that a test has picked and left closed is nobody else's.
"""
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

PORTS = (10000, 32000)  # below what the kernel gives to outgoing connections
# Those that take longest begin first, so that none is left at the end alone.
FIRST = ("test_scenarios", "test_learned", "test_callout", "test_chaos", "test_cluster", "test_faults", "test_large")


def order(path):
    return FIRST.index(path.stem) if path.stem in FIRST else len(FIRST), path.name


def run(path, xml, ports):
    """(exit status, what was said)"""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", path, "-q", "-rs", "-p", "no:cacheprovider", "--junitxml=%s" % xml],
        env=dict(os.environ, TRISPOOL_TEST_PORTS="%d-%d" % ports), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout


def worker(files, xml_dir, ports, ends):
    while True:
        try:
            path = files.get_nowait()
        except queue.Empty:
            return
        ends[path] = run(path, xml_dir / (path.stem + ".xml"), ports)


def main(folder, xml_dir, at_once):
    xml_dir, at_once = Path(xml_dir), int(at_once)
    xml_dir.mkdir(parents=True, exist_ok=True)
    for old in xml_dir.glob("test_*.xml"):
        old.unlink()
    files, ends = queue.Queue(), {}
    for path in sorted(Path(folder).glob("test_*.py"), key=order):
        files.put(path)
    share = (PORTS[1] - PORTS[0]) // at_once
    threads = [threading.Thread(target=worker, args=(
        files, xml_dir, (PORTS[0] + i * share, PORTS[0] + (i + 1) * share), ends)) for i in range(at_once)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for path in sorted(ends):
        print("=== %s\n%s" % (path.name, ends[path][1]), flush=True)
    return max((abs(code) for code, _ in ends.values()), default=5)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
