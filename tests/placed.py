"""What the cluster's tests run on its hosts: the shape of a search, its trainings left out.

It needs what `make test-cluster` installs, and is imported there alone.
"""

import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.storages._heartbeat import get_heartbeat_thread
from optuna.trial import TrialState

# Without these a cut connection is found out after a quarter of an hour or more: on this side, and
# on the server's, where it may hold the lock that all others wait for.
_PROBES = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=5"
CONNECTION = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 5,
    "tcp_user_timeout": 15000,
    "options": _PROBES,
}


def place(
    launcher: str, address: str, count: int, work: Callable[..., Any], *arguments: Any
) -> Any:
    """Run a function `count` times at once on the hosts of a cluster."""
    from joblib import Parallel, delayed, parallel_config

    options: dict[str, Any] = {}
    if launcher == "dask":
        options["scheduler_host"] = address
    else:
        import ray
        from ray.util.joblib import register_ray

        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level="error")
        register_ray()
        # It refuses more workers than there are processors, and one host may be lost already.
        count = min(count, int(ray.cluster_resources()["CPU"]))
        # Without any share of a processor Ray crowds all workers on one host. With a whole one,
        # that of a host which is lost while they are placed would wait for another for ever.
        options["ray_remote_args"] = {"num_cpus": 0.01, "scheduling_strategy": "SPREAD"}
    with parallel_config(launcher, **options):
        return Parallel(n_jobs=count, batch_size=1, pre_dispatch="all")(
            delayed(work)(*arguments) for _ in range(count)
        )


def whereabouts(seconds: float) -> str:
    time.sleep(seconds)
    return socket.gethostname()


def search(launcher: str, address: str, *task: Any) -> None:
    """What the search's own process does: place workers until the trials are there."""
    study = Study(*task)
    while study.finished() < study.total:
        try:
            place(launcher, address, 3, work, *task)
        except Exception as error:
            print(f"placed again: {type(error).__name__}", flush=True)


def work(*task: Any) -> None:
    """One worker: a trial after the other, each one run in MLflow."""
    import mlflow

    study = Study(*task)
    mlflow.set_tracking_uri(study.tracking)
    while trial := study.claim():
        with get_heartbeat_thread(trial._trial_id, study.storage):
            run = mlflow.MlflowClient().create_run("0", tags={"study": study.name})
            time.sleep(study.seconds)
            study.optuna.tell(trial, trial.suggest_float("x", 0, 1))
            mlflow.MlflowClient().set_terminated(run.info.run_id)


class Study:
    """A study in PostgreSQL, and the lock of its trials."""

    def __init__(self, database: str, tracking: str, name: str, total: int, seconds: float) -> None:
        self.name, self.total, self.seconds, self.tracking = name, total, seconds, tracking
        connect = {"connect_args": CONNECTION, "pool_pre_ping": True}
        self.engine = sqlalchemy.create_engine(f"{database}/optuna", **connect)
        with self.lock():  # the tables are made once
            self.storage = RDBStorage(
                f"{database}/optuna",
                engine_kwargs=connect,
                heartbeat_interval=2,
                grace_period=8,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
            )
            self.optuna = optuna.create_study(
                storage=self.storage, study_name=name, load_if_exists=True
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold what one process of all hosts can hold; the server takes it from a dead one."""
        key = sqlalchemy.func.hashtext(self.name)
        with self.engine.begin() as connection:
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(key)))
            yield

    def claim(self) -> optuna.Trial | None:
        """Begin a trial; wait while those that are left are others', which may yet be lost."""
        while True:
            with self.lock():
                fail_stale_trials(self.optuna)
                if self.finished() >= self.total:
                    return None
                now = self.trials()
                if now.get("COMPLETE", 0) + now.get("RUNNING", 0) < self.total:
                    trial = self.optuna.ask()
                    trial.set_user_attr("host", socket.gethostname())
                    # One that dies before its first heartbeat would never be missed.
                    self.storage.record_heartbeat(trial._trial_id)
                    return trial
            time.sleep(1)

    def finished(self) -> int:
        return self.trials().get("COMPLETE", 0)

    def trials(self) -> Mapping[str, int]:
        """How many trials are in each state."""
        return Counter(trial.state.name for trial in self.optuna.get_trials(deepcopy=False))

    def wait_until_amid(self, host: str) -> None:
        """Wait until a few trials are complete and this host is amid another one."""
        while True:
            trials = self.optuna.get_trials(deepcopy=False, states=[TrialState.RUNNING])
            hosts = [trial.user_attrs.get("host") for trial in trials]
            if self.finished() >= 2 and host in hosts:
                return
            time.sleep(0.1)

    def runs(self) -> Mapping[str, int]:
        """How many of the study's runs in MLflow have each status."""
        import mlflow

        mlflow.set_tracking_uri(self.tracking)
        mine = f"tags.study = '{self.name}'"
        found = mlflow.search_runs(["0"], filter_string=mine, output_format="list")
        return Counter(run.info.status for run in found)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    verb, given = sys.argv[1], json.loads(sys.argv[2])
    # By name, so that what is sent to a worker is its own host's code.
    import placed

    if verb == "where":
        print(json.dumps(place(*given[:3], placed.whereabouts, *given[3:])))
    elif verb == "search":
        placed.search(*given)
    elif verb == "work":
        placed.work(*given)
    elif verb == "trials":
        print(json.dumps(placed.Study(*given).trials()))
    elif verb == "amid":
        placed.Study(*given[:-1]).wait_until_amid(given[-1])
    elif verb == "runs":
        print(json.dumps(placed.Study(*given).runs()))
    elif verb == "hold":
        with placed.Study(*given).lock():
            time.sleep(600)
