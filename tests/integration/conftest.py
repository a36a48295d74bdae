"""Fixtures of the integration tests. Run: /usr/bin/python3 -m pytest tests/integration"""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import house  # noqa: E402


@pytest.fixture
def node(tmp_path):
    """A running daemon that serves example.test, whose primary is a closed port."""
    with house.Node(tmp_path / "node" if (tmp_path / "node").mkdir() is None else None) as n:
        n.primary_port = house.free_port()
        n.add_domain(route="127.0.0.1:%d" % n.primary_port)
        yield n


@pytest.fixture
def sink(tmp_path, node):
    """The primary of `node`, not started."""
    s = house.Sink(tmp_path / "sink", node.primary_port)
    yield s
    s.stop()
