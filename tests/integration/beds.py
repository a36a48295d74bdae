"""Tests that need a bed: each runs alone, in a bed of its own.

    @in_bed
    def test_a_link_can_be_cut(net): ...

Outside, the test calls pytest with its own name inside a new bed and passes when that passes;
inside it gets what it asks for. So a test leaves nothing behind, whatever happens to it.
"""
import functools
import inspect
import subprocess

import pytest
from bed import private

LAYOUT = {"a": ["node-a"], "b": ["node-b"], "c": ["node-c"], "net": ["sender", "evil"],
          "cust": ["primary"], "dns": ["dns"]}


def in_bed(test=None, seconds=300, layout=None):
    """The test's first parameter is the bed's Net."""
    if test is None:
        return functools.partial(in_bed, seconds=seconds, layout=layout)
    parameters = list(inspect.signature(test).parameters.values())

    def run(request, **values):
        if private.is_inside():
            from bed.net import Net
            with Net(layout or LAYOUT) as net:
                test(net, **values)
            return
        node = "%s::%s" % (request.path, request.node.name)
        argv, environment = private.command(
            ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", "-s", node])
        done = subprocess.run(argv, env=environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds)
        print(done.stdout)
        if done.returncode == 0 and " skipped" in done.stdout.splitlines()[-1]:
            pytest.skip(done.stdout[-500:])
        if done.returncode != 0:
            pytest.fail("inside the bed:\n" + done.stdout[-6000:], pytrace=False)

    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    run.pytestmark = getattr(test, "pytestmark", [])
    run.__signature__ = inspect.Signature(
        [inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD)] + parameters[1:])
    return run
