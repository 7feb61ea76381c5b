"""Three hosts, one of which is lost: what is placed on them goes on without it."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cluster
import pytest
from cluster import Host

pytestmark = pytest.mark.cluster

PLACED = Path(__file__).with_name("placed.py")


@pytest.fixture(scope="module")
def network() -> Iterator[list[Host]]:
    with cluster.hosts(3) as made:
        for host in made:
            shutil.copy(PLACED, host.folder)
        yield made


@pytest.fixture(scope="module")
def database(network: list[Host]) -> Iterator[str]:
    with cluster.postgres(network[0]) as address:
        yield address


@pytest.fixture(scope="module")
def tracking(network: list[Host], database: str) -> Iterator[str]:
    with cluster.mlflow_server(network[0], database) as address:
        yield address


@pytest.fixture
def lost(network: list[Host]) -> Iterator[Host]:
    """The host that a test loses."""
    yield network[-1]
    network[-1].mend()
    network[-1].kill()


def start(host: Host, verb: str, *arguments: Any) -> subprocess.Popen[str]:
    return host.start("python", "-W", "ignore", "placed.py", verb, json.dumps(arguments))


def run(host: Host, verb: str, *arguments: Any) -> str:
    return host.run("python", "-W", "ignore", "placed.py", verb, json.dumps(arguments))


def ask(host: Host, verb: str, *arguments: Any) -> Any:
    return json.loads(run(host, verb, *arguments).splitlines()[-1])


def test_first_use_of_a_database_by_many(network: list[Host], database: str) -> None:
    opened = [start(host, "trials", database, "", "first", 0, 0) for host in network * 2]
    assert [process.wait(60) for process in opened] == [0] * len(opened), network[0].logs()


@pytest.mark.parametrize("loss", ["cut", "kill"])
@pytest.mark.parametrize("launcher", ["dask", "ray"])
def test_search_outlives_a_host(
    network: list[Host], lost: Host, database: str, tracking: str, launcher: str, loss: str
) -> None:
    head, *others = network
    task = (database, tracking, f"{launcher}-{loss}", 12, 2)
    make = {"dask": cluster.dask_cluster, "ray": cluster.ray_cluster}[launcher]
    with make(head, others) as address:
        where = ask(head, "where", launcher, address, 3, 1)
        assert sorted(where) == [host.name for host in others]
        parent = start(head, "search", launcher, address, *task)
        run(head, "amid", *task, lost.name)
        getattr(lost, loss)()
        began = time.monotonic()
        assert parent.wait(120) == 0, head.logs()
        print(f"{launcher}, {loss}: over after {time.monotonic() - began:.0f} s")
    assert ask(head, "trials", *task)["COMPLETE"] == 12
    assert ask(head, "runs", *task)["FINISHED"] == 12


def test_workers_placed_by_hand(
    network: list[Host], lost: Host, database: str, tracking: str
) -> None:
    """As SLURM does it: one is cut off amid its trial, and comes back when that is another's."""
    head, *others = network
    task = (database, tracking, "by hand", 8)
    workers = [start(host, "work", *task, 30 if host is lost else 1) for host in others]
    run(head, "amid", *task, 0, lost.name)
    lost.cut()
    assert [worker.wait(90) for worker in workers[:-1]] == [0, 0], head.logs()
    lost.mend()
    assert workers[-1].wait(90) != 0
    assert ask(head, "trials", *task, 0) == {"COMPLETE": 8, "FAIL": 1}
    assert ask(head, "runs", *task, 0)["FINISHED"] == 8


def test_lock_of_a_lost_host_is_freed(network: list[Host], lost: Host, database: str) -> None:
    task = (database, "", "lock", 0, 0)
    holder = start(lost, "hold", *task)
    time.sleep(4)
    assert holder.poll() is None, lost.logs()
    lost.cut()
    began = time.monotonic()
    ask(network[0], "trials", *task)
    assert 5 < time.monotonic() - began < 40
