"""Sweeps over three hosts, one of which is lost: they end with exactly the requested trials."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.helpers import cluster, sweeps, tiny
from tests.helpers.cluster import Host, Postgres

pytestmark = pytest.mark.cluster

OPEN = """
import time
from pathlib import Path
from pipeline.sweeps.storage import Store
store = Store(Path(".sweeps/{name}").resolve(), "{name}", "{database}/optuna")
study = store.create("minimize")
"""
# Waits until a few trials have ended and the host is in the middle of another one. Then it keeps
# the lock of the study, without which no trial can end.
WITHIN_TRIAL = """
while True:
    with store.lock:
        stale = [t.number for t in study.stale()]
        trials = study.get_trials(deepcopy=False)
        running = [t for t in trials if t.state.name == "RUNNING" and t.number not in stale]
        hosts = [t.user_attrs["host"] for t in running if t.intermediate_values]
        if len(trials) - len(running) >= 2 and "{host}" in hosts:
            print("within a trial", flush=True)
            time.sleep(600)
    time.sleep(0.1)
"""
# Waits until no worker runs a trial.
LEFT = """
while True:
    with store.lock:
        running = [t for t in study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]
        if len(study.stale()) == len(running):
            break
    time.sleep(0.2)
print([t.state.name for t in study.trials].count("COMPLETE"))
"""
HOLD = "with store.lock: print('held', flush=True); time.sleep(600)"

CLUSTERS = {"dask": cluster.dask_cluster, "ray": cluster.ray_cluster}


@dataclass(frozen=True)
class Servers:
    """What the hosts share.

    Attributes:
        head: the host on which they run.
        postgres: that of the studies.
        tracking: MLflow's address.
    """

    head: Host
    postgres: Postgres
    tracking: str

    @property
    def database(self) -> str:
        return self.postgres.address

    def python(self, code: str) -> str:
        return self.head.run(*self._run(code), MLFLOW_TRACKING_URI=self.tracking).splitlines()[-1]

    def start(self, host: Host, code: str) -> "subprocess.Popen[str]":
        return host.start(*self._run(code), MLFLOW_TRACKING_URI=self.tracking)

    def sweep(self, host: Host, name: str, *more: str) -> "subprocess.Popen[str]":
        """Start or resume a sweep of trials that take a few seconds each."""
        # No trial is pruned, so that the lost host is still within one.
        shared = ["train.epochs=30", "sweep.pruner.n_startup_trials=99"]
        shared += [f"sweep.name={name}", f"launcher.storage={self.database}/optuna"]
        command = ["python", "-m", "pipeline.sweep", "sweep=tiny", *shared]
        return host.start(*command, *more, MLFLOW_TRACKING_URI=self.tracking)

    @contextmanager
    def within_trial(
        self, name: str, host: Host, process: "subprocess.Popen[str]"
    ) -> Iterator[None]:
        """Wait until a host is within a trial, which cannot end before the block does."""
        code = OPEN.format(name=name, database=self.database) + WITHIN_TRIAL.format(host=host.name)
        watch = self.start(self.head, code)
        try:
            deadline = time.monotonic() + 300
            while "within a trial" not in self.head.last_log():
                assert process.poll() is None, f"the sweep ended before that\n{self.head.logs()}"
                assert time.monotonic() < deadline, self.head.logs()
                time.sleep(0.1)
            yield
        finally:
            watch.kill()
            watch.wait()

    def check(self, name: str, total: int) -> None:
        """Check the trials and their runs. At least one trial was lost with its host."""
        sweeps.check(self, name, total, f"{self.database}/optuna")
        every = sweeps.trials(self, name, f"{self.database}/optuna")
        assert any(trial["attrs"].get("discarded") == "its worker died" for trial in every)

    @staticmethod
    def _run(code: str) -> list[str]:
        return ["python", "-W", "ignore", "-c", code]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    """Hosts with a project each, whose data are not prepared."""
    raw = tmp_path_factory.mktemp("raw")
    tiny.write_raw(raw, tiny.split(150), tiny.split(60, seed=1))
    with cluster.hosts(3) as made:
        for host in made:
            project = sweeps.project(host.folder, raw)
            # No trial fails, so that the lost host is still within one.
            project.write("conf/sweep/tiny.yaml", sweeps.SWEEP.replace(", 3.0e+38", ""))
        yield made


@pytest.fixture(scope="module")
def servers(network: list[Host]) -> Iterator[Servers]:
    head = network[0]
    with (
        cluster.postgres(head) as postgres,
        cluster.mlflow_server(head, postgres.address) as tracking,
    ):
        yield Servers(head, postgres, tracking)


@pytest.fixture
def lost(network: list[Host]) -> Iterator[Host]:
    """The host that a test loses."""
    yield network[-1]
    network[-1].mend()
    network[-1].kill()


def test_several_hosts_may_create_the_tables_at_once(network: list[Host], servers: Servers) -> None:
    code = OPEN.format(name="first", database=servers.database)
    opened = [servers.start(host, code) for host in network * 2]
    assert [process.wait(60) for process in opened] == [0] * len(opened), network[0].logs()


@pytest.mark.parametrize(("launcher", "loss"), [("dask", "cut"), ("ray", "kill")])
def test_sweep_survives_its_interruption_and_the_loss_of_a_host(
    network: list[Host], lost: Host, servers: Servers, launcher: str, loss: str
) -> None:
    head, *others = network
    with CLUSTERS[launcher](head, others) as address:
        where = [f"launcher={launcher}", f"launcher.address={address}", "sweep.workers=3"]
        again = [launcher, *where, "sweep.trials=8"]
        process = servers.sweep(head, *again)
        with servers.within_trial(launcher, lost, process):
            process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130, head.logs()
        complete = servers.python(OPEN.format(name=launcher, database=servers.database) + LEFT)
        assert int(complete) < 8, "its workers release their trials"
        process = servers.sweep(head, *again)
        with servers.within_trial(launcher, lost, process):
            getattr(lost, loss)()
        began = time.monotonic()
        if process.wait(480) and _has_ray_crashed(head):
            process = servers.sweep(head, *again)
        assert process.wait(480) == 0, head.logs()
        print(f"{launcher}, {loss}: ended after {time.monotonic() - began:.0f} s")
    servers.check(launcher, 8)
    built = [host.name for host in others if list(host.folder.glob(".sweeps/.data/*/prepared"))]
    assert built == [host.name for host in others], "each built the data that it lacked"


def _has_ray_crashed(head: Host) -> bool:
    """Ray sometimes ends the process of a sweep when a host is lost (its issue 54846)."""
    logs = [log.read_text(errors="replace") for log in head.folder.glob("*-python.log")]
    return any("task that was not pending" in log for log in logs)


def test_cluster_that_does_not_answer_is_one_line(network: list[Host], servers: Servers) -> None:
    head = network[0]
    where = ["launcher=dask", "launcher.address=tcp://127.0.0.1:1"]
    assert servers.sweep(head, "nowhere", *where).wait(120) == 1, head.logs()
    last = head.last_log().splitlines()[-1]
    assert last.startswith("error: launcher.address=tcp://127.0.0.1:1: "), last


def test_sweeps_started_by_hand(network: list[Host], lost: Host, servers: Servers) -> None:
    """As SLURM starts them. One host is cut off, and returns after another has its trial."""
    others = network[1:]
    each = [servers.sweep(host, "hand", "sweep.workers=1", "sweep.trials=6") for host in others]
    with servers.within_trial("hand", lost, each[0]):
        lost.cut()
    for host, process in zip(others[:-1], each[:-1], strict=True):
        assert process.wait(480) == 0, host.logs()
    lost.mend()
    each[-1].wait(480)
    servers.check("hand", 6)


def test_sweep_resumes_when_its_database_is_back(network: list[Host], servers: Servers) -> None:
    others = network[1:3]
    again = ("away", "sweep.workers=1", "sweep.trials=6")
    each = [servers.sweep(host, *again) for host in others]
    with servers.within_trial("away", others[-1], each[0]):
        servers.postgres.end()
    assert [process.wait(120) for process in each] == [1, 1], others[0].logs()
    for host in others:
        log = host.last_log()
        assert "Traceback" not in log
        assert log.splitlines()[-1].startswith("error: launcher.storage: ")
    servers.postgres.start()
    each = [servers.sweep(host, *again) for host in others]
    for host, process in zip(others, each, strict=True):
        assert process.wait(480) == 0, host.logs()
    servers.check("away", 6)


@pytest.mark.parametrize("seconds", [0, 1])
def test_lock_of_a_lost_host_is_freed(
    network: list[Host], lost: Host, servers: Servers, seconds: int
) -> None:
    """A host that is cut off at once has not acknowledged the last packet; a later one has."""
    code = OPEN.format(name=f"lock{seconds}", database=servers.database)
    holder = servers.start(lost, code + HOLD)
    deadline = time.monotonic() + 60
    while "held" not in lost.last_log() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert holder.poll() is None, lost.logs()
    time.sleep(seconds)
    lost.cut()
    began = time.monotonic()
    servers.python(code + "with store.lock: print(len(study.trials))")
    assert 5 < time.monotonic() - began < 60


def test_no_output_and_no_file_has_the_password_of_the_database(
    network: list[Host], servers: Servers
) -> None:
    head, other, *_ = network
    again = ("secret", "sweep.workers=1", "sweep.trials=2")
    assert servers.sweep(other, *again).wait(300) == 0, other.logs()
    servers.postgres.end()
    assert servers.sweep(other, *again).wait(120) == 1
    servers.postgres.start()
    assert other.last_log().splitlines()[-1].startswith("error: launcher.storage: ")
    shown = [path for host in network for path in host.folder.rglob("*") if path.is_file()]
    assert {head.folder / "artifacts", other.folder / ".sweeps"} <= {
        parent for path in shown for parent in path.parents
    }
    assert [path for path in shown if servers.postgres.password.encode() in path.read_bytes()] == []
