"""The MLflow runs of a search: one parent, and a child for each trial.

What the study says of a trial counts; `settle` brings its run in line where the store was away, or
a process died between the two.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import config, data, process, tracking
from pipeline.command import UserError
from pipeline.config import Config
from pipeline.space import merge
from pipeline.train import Seeds

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipeline.study import Study
    from pipeline.worker import Task

SEARCH = "search.id"  # the tag by which a search that goes on finds its run
NUMBER = "trial.number"
STATE = "trial.state"
_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}


class TrialRun(tracking.TrainingRun):
    """The run of one trial; a store that fails stops no trial."""

    def __init__(self, cfg: Config, prepared: Path, parent: str, number: int) -> None:
        """Prepare for a run that `begin` opens.

        Args:
            parent: the run of the search; "" where the store is away.
            number: of the trial.
        """
        super().__init__(cfg, prepared)
        self.parent, self.number = parent, number
        if not parent:
            self.behind = tracking.UnreachableError("the search has no run")

    def begin(self, overrides: list[str]) -> None:
        """Make the run, and log what is known before the training starts."""
        self._attempt(lambda: self._begin(overrides))

    def end(self, state: str, failure: str = "") -> None:
        """Close the run with the state that the study has for the trial."""
        self._attempt(lambda: self._end(state, failure))

    def end_lost(self) -> None:
        """Close the run of a trial that was taken for lost, and is another's by now."""
        self._attempt(lambda: self._close("KILLED"))

    def go_on(self, run: "Run") -> None:
        """Take a run that is there."""
        import mlflow

        self.run_id = run.info.run_id
        history = mlflow.MlflowClient().get_metric_history(self.run_id, "val_loss")
        self._logged = {metric.step for metric in history}

    def _begin(self, overrides: list[str]) -> None:
        import mlflow
        from mlflow.entities import Param
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        client = mlflow.MlflowClient()
        parent = client.get_run(self.parent)
        run = client.create_run(
            parent.info.experiment_id,
            run_name=f"{parent.info.run_name} {self.number}",
            tags={
                MLFLOW_PARENT_RUN_ID: self.parent,
                NUMBER: str(self.number),
                "overrides": " ".join(overrides),
                **process.identity(),
                **tracking.environment(),
            },
        )
        self.run_id = run.info.run_id
        seeds = {f"seed.{k}": v for k, v in vars(Seeds.derive(self.cfg.train.seed)).items()}
        params = {**tracking.flatten(asdict(self.cfg)), **seeds}
        client.log_batch(self.run_id, params=[Param(k, str(v)) for k, v in params.items()])

    def _end(self, state: str, failure: str) -> None:
        tracking.set_tags(self.run_id, {STATE: state})
        self._close(_STATUS[state], failure)


def open_search(cfg: Config, prepared: Path, name: str, search: str) -> str:
    """Open the run of a search, the one it has or a new one.

    Args:
        name: of the study.
        search: what tells the study from all others.

    Returns:
        The run's id.

    Raises:
        UserError: when the store cannot be read; `UnreachableError` when it does not answer.
    """
    import mlflow
    from mlflow.tracking.context.registry import resolve_tags

    tracking.connect(cfg.tracking.experiment)
    with tracking.explained():
        tracking.close_dead_runs()
        client = mlflow.MlflowClient()
        experiment = mlflow.get_experiment_by_name(cfg.tracking.experiment)
        assert experiment is not None
        [run] = mlflow.search_runs(
            experiment_ids=[experiment.experiment_id],
            filter_string=f"tags.`{SEARCH}` = '{search}'",
            max_results=1,
            output_format="list",
        ) or [
            client.create_run(
                experiment.experiment_id, run_name=name, tags=resolve_tags({SEARCH: search})
            )
        ]
        run_id = run.info.run_id
        client.update_run(run_id, "RUNNING")
        digest = {tracking.DATA_DIGEST: data.digest(prepared)}
        tracking.set_tags(run_id, {**process.identity(), "search.study": name, **digest})
        if not run.inputs or not run.inputs.dataset_inputs:
            for split, context in (("train", "training"), ("validation", "validation")):
                tracking.log_input(run_id, tracking.dataset(cfg, prepared, split), context)
        return run_id


def settle(study: "Study", task: "Task") -> None:
    """Bring the run of each trial that ended in line with the study."""
    import mlflow
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    from pipeline.study import FAILURE, HISTORY, LOST, OVERRIDES, VOID, counted

    with tracking.explained():
        tracking.close_dead_runs()
        children = mlflow.search_runs(
            search_all_experiments=True,
            filter_string=f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{task.parent_run}'",
            output_format="list",
        )
        known = {int(child.data.tags[NUMBER]): child for child in children}
        for trial in study.get_trials(deepcopy=False):
            child = known.get(trial.number)  # on another machine nobody else closes it
            if child and child.info.status == "RUNNING" and trial.user_attrs.get(VOID) == LOST:
                mlflow.MlflowClient().set_terminated(child.info.run_id, "KILLED")
    for trial in counted(study):
        child, state = known.get(trial.number), trial.state.name
        if child and (child.info.status, child.data.tags.get(STATE)) == (_STATUS[state], state):
            continue
        overrides = trial.user_attrs.get(OVERRIDES, [])
        try:
            cfg = config.typed(config.compose(merge(task.base, overrides)))
        except UserError:
            continue  # it failed for that, and had no run
        run = TrialRun(cfg, task.prepared, task.parent_run, trial.number)
        if child:
            run.go_on(child)
        else:
            run.begin(overrides)
        for row in trial.user_attrs.get(HISTORY, []):
            run.log_epoch(int(row["epoch"]), row)
        run.end(state, trial.user_attrs.get(FAILURE, ""))
        if run.behind:
            raise run.behind


def close_search(run_id: str, status: str, findings: Path, best: dict[str, str]) -> None:
    """Log what a search found, and close its run.

    Args:
        findings: a folder of plots and tables.
        best: tags of the best trial.
    """
    import mlflow

    with tracking.explained():
        client = mlflow.MlflowClient()
        tracking.set_tags(run_id, best)
        if findings.is_dir():
            client.log_artifacts(run_id, str(findings))
        client.set_terminated(run_id, status)
