import subprocess
import sys
import threading
import time
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from pipeline.config.paths import REPOSITORY
from pipeline.system import process
from pipeline.tracking.description import NOTE
from pipeline.tracking.liveness import HEARTBEAT, Heartbeat, close_dead_runs, wait_until_known
from pipeline.tracking.tags import TRAINING_ID

# A run of a process that ends at once, or when its input ends.
START = """
import sys
import mlflow
from pipeline.system import process
from pipeline.tracking.store import connect
connect("digits")
run = mlflow.start_run(tags={**process.identity(), "training.fingerprint": "1"})
print(run.info.run_id, flush=True)
sys.stdin.read()
import os
os._exit(9)
"""


def start(*prefix: str) -> subprocess.Popen[str]:
    """Start a process with a run, and a command before its own, such as `unshare`."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", START],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def create_run(**tags: str) -> str:
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment is not None
    return mlflow.MlflowClient().create_run(experiment.experiment_id, tags=tags).info.run_id


def get_run(run_id: str) -> Run:
    return mlflow.MlflowClient().get_run(run_id)


def status(run_id: str) -> str:
    return str(get_run(run_id).info.status)


def ago(seconds: float) -> dict[str, str]:
    """The tag of a heartbeat some seconds ago."""
    return {HEARTBEAT: f"{time.time() - seconds:.1f}"}


@pytest.mark.slow
def test_run_of_a_dead_process_is_closed(tracked: Path) -> None:
    with start() as child:
        assert child.stdout is not None
        run_id = child.stdout.readline().strip()
        close_dead_runs()
        assert status(run_id) == "RUNNING"
        child.communicate()
    close_dead_runs()
    assert status(run_id) == "KILLED"
    assert "It was interrupted." in get_run(run_id).data.tags[NOTE]


@pytest.mark.slow
def test_live_run_of_another_container_is_left_alone(tracked: Path) -> None:
    """It has the same host name, and its own process ids."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not make namespaces")
    with start(*unshare) as child:
        assert child.stdout is not None
        run_id = child.stdout.readline().strip()
        assert get_run(run_id).data.tags["process.host"] == process.HOST
        close_dead_runs()
        assert status(run_id) == "RUNNING"
        child.communicate()


def test_only_runs_of_dead_processes_are_closed(tracked: Path) -> None:
    own = process.identity()
    dead = {**own, "process.started": "0.00"}
    elsewhere = {**dead, "process.namespace": "pid:[1]"}
    rebooted = {**own, "process.boot": "another"}
    closed = {
        "dead": create_run(**dead),
        "dead in another container": create_run(**elsewhere, **ago(1000)),
        "before the reboot": create_run(**rebooted, **ago(1000)),
        "dead on another machine": create_run(**{**dead, "process.host": "another"}, **ago(1000)),
    }
    kept = {
        "alive": create_run(**own, **ago(1000)),  # stopped, as Ctrl-Z or a laptop's lid does
        "in another container": create_run(**elsewhere, **ago(100)),
        "on another machine": create_run(**{**dead, "process.host": "another"}, **ago(-50)),
        "of an older version": create_run(**{**dead, "process.host": "another"}),
        "of no process": create_run(),
    }
    finished = create_run(**dead)
    mlflow.MlflowClient().set_terminated(finished, "FINISHED")
    close_dead_runs()
    assert {name: status(run_id) for name, run_id in closed.items()} == dict.fromkeys(
        closed, "KILLED"
    )
    assert {name: status(run_id) for name, run_id in kept.items()} == dict.fromkeys(kept, "RUNNING")
    assert status(finished) == "FINISHED"


def beat_of(run_id: str) -> float:
    return float(get_run(run_id).data.tags.get(HEARTBEAT, 0))


@pytest.mark.slow
def test_heart_beats_until_it_is_stopped(tracked: Path) -> None:
    run_id = create_run()
    heartbeat = Heartbeat(run_id, interval=0.05)
    while not (first := beat_of(run_id)):
        time.sleep(0.05)
    while beat_of(run_id) == first:
        time.sleep(0.05)
    heartbeat.stop()
    last = beat_of(run_id)
    time.sleep(0.3)
    assert beat_of(run_id) == last


@pytest.mark.slow
def test_heart_beats_again_when_the_store_is_back(tracked: Path) -> None:
    run_id = create_run()
    store = tracked / "mlflow.db"
    content = store.read_bytes()
    store.write_bytes(b"damaged" * 1000)
    heartbeat = Heartbeat(run_id, interval=0.05)
    time.sleep(0.5)
    store.write_bytes(content)
    while not beat_of(run_id):
        time.sleep(0.05)
    heartbeat.stop()


class Looks:
    """Counts how often `wait_until_known` has looked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        if self.count > 20:
            raise TimeoutError


@pytest.mark.parametrize("state", ["alive", "dead", "stale", "of another training"])
def test_known_run_is_not_waited_for(tracked: Path, state: str) -> None:
    tags = {**process.identity(), TRAINING_ID: "a", **ago(1)}
    if state == "dead":
        tags["process.started"] = "0.00"
    elif state == "stale":
        tags |= {"process.boot": "another", **ago(1000)}
    elif state == "of another training":
        tags |= {"process.boot": "another", TRAINING_ID: "b"}
    create_run(**tags)
    looks = Looks()
    wait_until_known("a", looks)
    assert looks.count == 0


@pytest.mark.slow
def test_run_that_cannot_be_seen_is_waited_for_until_its_heart_beats(
    tracked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**process.identity(), "process.boot": "another"}
    run_id = create_run(**other, **{TRAINING_ID: "a"}, **ago(1))
    looks = Looks()
    beat = threading.Timer(1.5, mlflow.MlflowClient().set_tag, [run_id, *ago(0).popitem()])
    beat.start()
    wait_until_known("a", looks)
    beat.join()
    assert looks.count > 0
    close_dead_runs()
    assert status(run_id) == "RUNNING"
    [line] = capsys.readouterr().out.splitlines()
    assert "may still be training on " in line


@pytest.mark.slow
def test_run_that_cannot_be_seen_is_closed_when_its_heartbeat_is_stale(tracked: Path) -> None:
    other = {**process.identity(), "process.boot": "another"}
    run_id = create_run(**other, **{TRAINING_ID: "a"}, **ago(148))
    wait_until_known("a", Looks())
    close_dead_runs()
    assert status(run_id) == "KILLED"


def test_waiting_can_be_interrupted(tracked: Path) -> None:
    other = {**process.identity(), "process.boot": "another"}
    create_run(**other, **{TRAINING_ID: "a"}, **ago(1))

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_until_known("a", interrupt)
