"""A short run of tests/integration/chaos; by hand it runs longer."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = os.environ.get("TRISPOOL_CHAOS", "20")


def test_random_kills_freezes_and_partitions_lose_nothing():
    done = subprocess.run([sys.executable, Path(__file__).resolve().parent / "chaos", "--kills", KILLS],
                          text=True, timeout=900, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(done.stdout)
    if done.returncode != 0:
        pytest.fail(done.stdout[-20000:], pytrace=False)
