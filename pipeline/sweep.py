"""Search for a better configuration; the same command goes on with a search that was stopped.

python -m pipeline.sweep                                     conf/sweep/default.yaml
python -m pipeline.sweep sweep=depth sweep.trials=30         another one, and how many trials
python -m pipeline.sweep sweep.workers=1 train.epochs=3      any key that all trials shall share

`sweep.trials` is the total. params.yaml counts here as it does for `dvc repro`.
"""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pipeline import address, command, config, data, process, space
from pipeline.command import UserError
from pipeline.config import Config, Search, Sweep, root
from pipeline.space import Space, merge
from pipeline.worker import FOLDER, Task, build

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from pipeline.study import Store, Study

_SECTIONS = ("sweep", "launcher")
_MAX_VAIN = 15  # times that workers are placed, and end no trial: more than a trial's losses
_CATCH_UP = "When the store is back, the same command completes the runs."


def search(given: Search, base: list[str], prepared: Path, threads: int) -> None:
    """Run a search until it has its trials, wherever it was stopped.

    Args:
        given: the composed search.
        base: the overrides that all trials share.
        prepared: folder of the prepared data.
        threads: of TensorFlow in each worker.

    Raises:
        UserError: when the study of this name is another search, or too many trials fail.
    """
    import mlflow

    from pipeline import findings, search_runs, study, tracking
    from pipeline.place import place
    from pipeline.study import Store

    sweep = given.sweep
    found = space.parse(sweep)
    cfg = config.typed(config.compose(base))
    digest = data.digest(prepared)
    store = Store(root() / FOLDER / sweep.name, sweep.name, given.launcher.storage)
    opened = store.create(sweep.direction)
    tracking.use_store()
    task = Task(
        store=store,
        sweep=sweep,
        base=base,
        prepared=prepared,
        digest=digest,
        threads=threads,
        tracking_uri=mlflow.get_tracking_uri(),
        parent_run="",
        search=uuid.uuid4().hex,
        parent=process.identity() if given.launcher.backend == "loky" else None,
    )
    total = study.total(found, sweep)
    status, behind = "FAILED", None
    try:
        # Several searches may begin one study.
        with command.signals_held(), store.lock:
            _same_search(opened, sweep, found, cfg, digest, base)
            try:
                run = search_runs.open_search(cfg, prepared, sweep.name, opened.user_attrs["id"])
                task = replace(task, parent_run=run)
            except tracking.UnreachableError as error:
                behind = error
        if total < sweep.trials:
            print(f"{sweep.name}: the space has no more than {total} combinations")
        with _shown(store, sweep, total):
            vain = 0
            while len(ended := study.counted(opened)) < total and not study.hopeless(opened, sweep):
                if reason := place(given.launcher, task):
                    print(reason, file=sys.stderr)
                    time.sleep(1)
                vain = vain + 1 if len(study.counted(opened)) == len(ended) else 0
                if vain == _MAX_VAIN:
                    raise UserError(f"{sweep.name}: no worker ends a trial; the last: {reason}")
        findings.write(store.folder / "findings", opened, sweep, found)
        status = "FAILED" if study.hopeless(opened, sweep) else "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        opened.stop_search(task.search)
        raise
    finally:
        with store.lock:  # other searches of this study may end now, too
            study.requeue_lost(opened)
            if task.parent_run:
                try:
                    search_runs.settle(opened, task)
                    plots = store.folder / "findings"
                    search_runs.close_search(task.parent_run, status, plots, _tags(opened))
                except tracking.UnreachableError as error:
                    behind = error
        if behind:
            print(f"warning: tracking is behind: {behind}\n{_CATCH_UP}", file=sys.stderr)
    if status == "FAILED":
        failures = study.failed(opened)
        raise UserError(
            f"{sweep.name}: {len(failures)} of {len(study.counted(opened))} trials failed, more "
            f"than sweep.max_failed_fraction, {sweep.max_failed_fraction}; the last one, trial "
            f"{failures[-1].number}: {failures[-1].user_attrs[study.FAILURE]}"
        )
    _report(opened, sweep, store.folder / "findings")


def main() -> None:
    """Compose, check, prepare the data, search."""
    from pipeline import study

    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="in Hydra's grammar")
    arguments = parser.parse_args().overrides
    ours = [text for text in arguments if config.key_of(text).split(".")[0] in _SECTIONS]
    given = config.compose_search(ours)
    params = Path("params.yaml")
    rest = [text for text in arguments if text not in ours]
    config.compose(rest, params)
    base = config.merge_overrides(params, rest)
    cfg = config.typed(config.compose(base))
    threads = cfg.train.threads or _threads(given)
    base = merge(base, [f"train.threads={threads}"])
    given = replace(given, sweep=space.without(given.sweep, rest))
    found = space.parse(given.sweep)
    space.check(found, given.sweep, base)
    study.rehearse(found, given.sweep)
    with address.initial(cfg.train.init_from):
        pass  # it is there
    folder = root() / FOLDER / given.sweep.name
    folder.mkdir(parents=True, exist_ok=True)
    if given.launcher.storage and "://" not in os.environ.get("MLFLOW_TRACKING_URI", ""):
        raise UserError(
            "machines that share a study share an MLflow server, too: name it in "
            "MLFLOW_TRACKING_URI"
        )
    # A study in a folder is one search's at a time, one in a database any number's.
    alone = nullcontext() if given.launcher.storage else FileLock(folder / "search.lock", timeout=0)
    try:
        with alone, study.explained():
            search(given, base, _prepare(cfg), threads)
    except Timeout:
        raise UserError(f"{given.sweep.name}: this search runs already") from None


def _threads(given: Search) -> int:
    """TensorFlow threads of a worker: its share of the cores, or one on a cluster.

    The cores are those that this process may use: SLURM, or a container, has more than it gives.
    """
    from joblib import cpu_count

    if given.launcher.backend != "loky":
        return 1
    return max(cpu_count() // given.sweep.workers, 1)


def _prepare(cfg: Config) -> Path:
    """The prepared data of a configuration: the workspace's, or others beside them."""
    workspace = config.typed(config.compose(params=Path("params.yaml")))
    if (cfg.data, cfg.prepare) == (workspace.data, workspace.prepare):
        with FileLock(root() / FOLDER / "prepare.lock"):  # of several searches in one folder
            if subprocess.run(["dvc", "repro", "prepare"], check=False).returncode:
                raise UserError("`dvc repro prepare` failed")
        return Path("data/prepared").resolve()
    return build(cfg)


def _same_search(
    opened: "Study", sweep: Sweep, found: Space, cfg: Config, digest: str, base: list[str]
) -> None:
    """Refuse to go on with a study that asks something else; note in a new one what it asks."""
    from pipeline.tracking import flatten

    values = asdict(cfg)
    train = {key: value for key, value in values["train"].items() if key != "threads"}
    asked = {
        **{key: getattr(sweep, key) for key in ("metric", "direction", "params", "replicates")},
        **{key: getattr(sweep, key) for key in ("sampler", "pruner")},
        # A glob may come to name other files.
        "space": {parameter.name: str(parameter.distribution) for parameter in found.searched},
        **{key: values[key] for key in ("model", "augment", "optimizer", "schedule")},
        "train": train,
        "data": digest,
    }
    flat = json.loads(json.dumps(flatten(asked)))
    before = opened.user_attrs.get("asked")
    if before is None:
        opened.set_user_attr("id", uuid.uuid4().hex)
        opened.set_user_attr("asked", flat)
        opened.set_user_attr("base", base)
    elif before != flat:
        keys = sorted(k for k in {*before, *flat} if before.get(k) != flat.get(k))
        changes = "; ".join(f"{key}: {before.get(key)} is now {flat.get(key)}" for key in keys[:5])
        raise UserError(
            f"the search {sweep.name} has begun with another question ({changes}): "
            f"sweep.name=another begins a new one; remove {FOLDER}/{sweep.name} to begin anew"
        )


@contextmanager
def _shown(store: "Store", sweep: Sweep, total: int) -> Iterator[None]:
    """Show how the search stands while the block runs, and each trial as it ends."""
    from tqdm import tqdm

    from pipeline import study

    opened = store.open()
    over = threading.Event()
    told = {trial.number for trial in study.counted(opened)}
    # On a terminal a bar; in a file only the line at the end of each trial.
    bar = tqdm(total=total, initial=len(told), unit="trial", disable=None, desc=sweep.name)

    def show() -> None:
        begun = study.counted(opened, running=True)
        ended = [trial for trial in begun if trial.state.is_finished()]
        for trial in sorted(ended, key=lambda trial: trial.datetime_complete or trial.number):
            if trial.number not in told:
                told.add(trial.number)
                bar.write(_line(trial, sweep.metric), file=sys.stdout)
                sys.stdout.flush()
        count = [trial.state.name for trial in begun].count
        best = study.best(opened)
        bar.n = len(ended)
        bar.set_postfix_str(
            f"{count('RUNNING')} running, {count('PRUNED')} pruned, {count('FAIL')} failed"
            + (f", best {best.value:.4f} (trial {best.number})" if best else "")
        )

    def watch() -> None:
        while not over.wait(1):
            with suppress(UserError), study.explained():  # whoever searches says so, too
                show()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        show()
        bar.close()


def _line(trial: "FrozenTrial", metric: str) -> str:
    from pipeline.study import FAILURE, OVERRIDES

    what = {
        "COMPLETE": lambda: f"{metric} {trial.value:.4f}",
        "PRUNED": lambda: f"pruned after epoch {trial.last_step}",
        "FAIL": lambda: f"failed, {trial.user_attrs[FAILURE]}",
    }[trial.state.name]()
    seconds = f"{trial.duration.total_seconds():.1f} s" if trial.duration else ""
    values = " ".join(trial.user_attrs.get(OVERRIDES, []))
    return f"trial {trial.number}: {what}, {seconds}: {values}"


def _tags(opened: "Study") -> dict[str, str]:
    """What the search's run says of the best trial."""
    from pipeline import study

    best = study.best(opened)
    if best is None:
        return {}
    overrides = " ".join(best.user_attrs[study.OVERRIDES])
    value = str(best.value)
    return {"best.trial": str(best.number), "best.value": value, "best.overrides": overrides}


def _report(opened: "Study", sweep: Sweep, folder: Path) -> None:
    """Say what a search found."""
    from pipeline import study
    from pipeline.findings import spread

    best = study.best(opened)
    if best is None:
        print(f"{sweep.name}: no trial is complete")
    elif sweep.replicates:
        print(f"{sweep.name}: {sweep.metric} {spread(opened)}")
    else:
        print(f"best is {_line(best, sweep.metric)}")
        print(f"table and plots: {folder}; to make a preset of it: make promote STUDY={sweep.name}")


if __name__ == "__main__":
    command.run(main)
