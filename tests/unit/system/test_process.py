import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.config.paths import REPOSITORY
from pipeline.system import process
from pipeline.system.process import State

IDENTITY = """
import json
from pipeline.system import process
print(json.dumps(process.identity()), flush=True)
input()
"""


@contextmanager
def other_process() -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A process that waits for its input, and its identity."""
    with subprocess.Popen(
        [sys.executable, "-c", IDENTITY],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        yield child, json.loads(child.stdout.readline())
        child.kill()


def test_this_process_is_alive() -> None:
    identity = process.identity()
    assert identity["process.host"] == process.HOST
    assert identity["process.id"] == str(os.getpid())
    assert identity == process.identity()
    assert process.is_alive(identity)


def test_process_is_alive_until_it_is_killed() -> None:
    with other_process() as (child, identity):
        assert identity["process.id"] == str(child.pid)
        assert process.is_alive(identity)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process.is_alive(identity), "a zombie is dead"
        child.wait()
        assert not process.is_alive(identity)


def test_later_process_with_the_same_id_is_another_one() -> None:
    identity = process.identity()
    earlier = {**identity, "process.started": f"{float(identity['process.started']) - 5:.2f}"}
    assert not process.is_alive(earlier)


def test_process_elsewhere_is_neither_alive_nor_dead() -> None:
    identity = process.identity()
    assert process.state_of(identity) is State.ALIVE
    assert process.state_of({**identity, "process.started": "0.00"}) is State.DEAD
    for key in ("process.host", "process.boot", "process.namespace"):
        assert process.state_of({**identity, key: "another"}) is State.UNKNOWN


def test_identity_of_an_older_version_is_that_of_its_host() -> None:
    old = {key: value for key, value in process.identity().items() if "boot" not in key}
    del old["process.namespace"]
    assert process.state_of(old) is State.ALIVE
    assert process.state_of({**old, "process.started": "0.00"}) is State.DEAD
    assert process.state_of({**old, "process.host": "another"}) is State.UNKNOWN
