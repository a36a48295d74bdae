"""Each file of scenarios/ is one test, in a bed of its own. They mostly wait, so some run at once."""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NAMES = sorted(p.stem for p in (HERE / "scenarios").glob("*.toml"))
AT_ONCE = int(os.environ.get("TRISPOOL_SCENARIOS_AT_ONCE", "2"))


def run(name):
    return subprocess.run([sys.executable, HERE / "scenario", name], text=True, timeout=600,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def runs(request):
    """{name: what becomes of its run}, for the tests that were asked for."""
    names = [i.callspec.params["name"] for i in request.session.items
             if i.module is request.module]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {name: pool.submit(run, name) for name in names}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", NAMES)
def test_scenario(runs, name):
    done = runs[name].result()
    print(done.stdout)
    if done.returncode != 0:
        pytest.fail(done.stdout[-30000:], pytrace=False)
