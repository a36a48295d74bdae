"""Each file of scenarios/ is one test, in a bed of its own."""
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NAMES = sorted(p.stem for p in (HERE / "scenarios").glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_scenario(name):
    done = subprocess.run([sys.executable, HERE / "scenario", name], text=True, timeout=400,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(done.stdout)
    if done.returncode != 0:
        pytest.fail(done.stdout[-30000:], pytrace=False)
