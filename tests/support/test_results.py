"""The book of results must not be soft: whatever did not run or did not end counts as failed."""
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).with_name("results.py")

CTEST = """<testsuite>
<testcase name="broken"><system-out>90%: Checks: 10, Failures: 1, Errors: 0
x_test.c:4:F:core:a_name:0: what was wrong</system-out><failure message=""/></testcase>
<testcase name="leaks"><system-out>100%: Checks: 5, Failures: 0, Errors: 0</system-out>
<failure message="Failed"/></testcase>
<testcase name="crashes"><system-out/><failure message="SEGFAULT"/></testcase>
<testcase name="fuzz"><system-out>runs=20000 seed=1</system-out></testcase>
<testcase name="layout"><system-out>a.c:1: banned: strcpy
ok include: Folders include downwards.
failed banned: Calls that cannot be used.</system-out><failure message="Failed"/></testcase>
<testcase name="unittest"><system-out>Ran 46 tests in 2.957s

FAILED (failures=2, errors=1)</system-out><failure message="Failed"/></testcase>
<testcase name="two"><system-out>100%: Checks: 5, Failures: 0, Errors: 0
100%: Checks: 2, Failures: 0, Errors: 0</system-out></testcase>
</testsuite>"""
FUZZ = """target                             inputs  branches  file
a_b_fuzz                              100    9/10   90 % a/b.c
a_c_fuzz                              100    1/10   10 % a/c.c  below 90 %
==1==ERROR: AddressSanitizer
a_d_fuzz: FAILED
a_e_fuzz: not built
"""
SKIPPED = '<testsuite><testcase classname="c" name="n"><skipped message="no tun"/></testcase></testsuite>'


@pytest.fixture
def tool(tmp_path):
    def run(*args, text=None):
        if text is not None:
            (tmp_path / "in").write_text(text)
            args += (str(tmp_path / "in"),)
        return subprocess.run([sys.executable, TOOL, tmp_path / "book", *args],
                              capture_output=True, text=True, check=False)
    return run


def last_line(done):
    return done.stdout.splitlines()[-1]


def test_counts_the_checks_of_each_program_and_what_ended_badly_without_a_failed_check(tool):
    tool("ctest", "unit", text=CTEST)
    done = tool("summary")
    assert last_line(done) == "66 passed, 7 failed"
    assert done.returncode == 1
    assert "what was wrong" in done.stdout


@pytest.mark.parametrize("kind,text", [("ctest", "<testsuite/>"), ("pytest", "<testsuite>"),
                                       ("fuzz", ""), ("fuzz", "noise\n")])
def test_a_suite_that_left_no_results_behind_has_failed(tool, kind, text):
    tool(kind, "suite", text=text)
    assert last_line(tool("summary")) == "0 passed, 1 failed"


def test_a_file_of_results_that_is_not_there_is_a_failure(tool):
    tool("pytest", "integration", "/nowhere.xml")
    assert last_line(tool("summary")) == "0 passed, 1 failed"


def test_a_skipped_test_counts_as_failed(tool):
    tool("pytest", "integration", text=SKIPPED)
    done = tool("summary")
    assert last_line(done) == "0 passed, 1 failed"
    assert "no tun" in done.stdout


def test_a_fuzzer_counts_as_failed_when_it_found_something_or_reached_too_little(tool):
    tool("fuzz", "fuzz", text=FUZZ)
    done = tool("summary")
    assert last_line(done) == "1 passed, 3 failed"
    assert "AddressSanitizer" in done.stdout


def test_nothing_at_all_is_a_failure_and_all_good_is_exit_0(tool):
    assert last_line(tool("summary")) == "0 passed, 1 failed"
    tool("one", "story", "quickstart", "0")
    done = tool("summary")
    assert last_line(done) == "1 passed, 0 failed" and done.returncode == 0
