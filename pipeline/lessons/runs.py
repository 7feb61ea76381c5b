"""Run the sweep of a lesson, and read what it found."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.lessons.catalogue import Lesson
from pipeline.sweeps.plan import make_plan
from pipeline.sweeps.session import run_sweep
from pipeline.sweeps.trials import HISTORY, OVERRIDES, finished_trials
from pipeline.system.files import TEMPORARY, write_text
from pipeline.tracking.names import short_override
from pipeline.training.history import Row, best_epoch


@dataclass(frozen=True)
class Found:
    """The best of the trials that have one value of the compared keys.

    Attributes:
        value: the value, as text; several are joined by commas.
        trials: how many trials have it.
        rest: what else the best trial has that others have not.
        history: the epochs of the best trial; empty if all failed.
    """

    value: str
    trials: int
    rest: str
    history: list[Row]

    @property
    def best(self) -> Row:
        """The best epoch of the best trial."""
        return best_epoch(self.history)


def run_lesson(lesson: Lesson) -> list[Found]:
    """Run the sweep of a lesson until it is complete; what it found for each compared value."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        params = Path(folder) / "params.yaml"  # the lesson is the same whatever the workspace has
        write_text(params, "{}\n")
        name = f"sweep.name=learn-{lesson.name.replace('_', '-')}"
        plan = make_plan([f"sweep={lesson.name}", name, *lesson.overrides], params)
    run_sweep(plan)
    searched = {parameter.target for parameter in plan.space.searched}
    groups: dict[str, list[tuple[dict[str, str], list[Row]]]] = {}
    for trial in finished_trials(plan.store.open()):
        values = dict(text.split("=", 1) for text in trial.user_attrs[OVERRIDES])
        history = trial.user_attrs.get(HISTORY, []) if trial.state.name == "COMPLETE" else []
        shown = [short_override(f"={values[key]}").lstrip("=") for key in lesson.compared]
        groups.setdefault(", ".join(shown), []).append((values, history))
    found = []
    for value, trials in groups.items():
        complete = [trial for trial in trials if trial[1]]
        values, history = max(
            complete, key=lambda pair: best_epoch(pair[1])["val_accuracy"], default=({}, [])
        )
        rest = searched - {*lesson.compared}
        shown = [short_override(f"{key}={values[key]}") for key in sorted(rest & values.keys())]
        found.append(Found(value, len(trials), " ".join(shown), history))
    return sorted(found, key=lambda each: _order(each.value))


def _order(value: str) -> tuple[float, str]:
    """Numbers by their size, then texts by the alphabet."""
    try:
        return (float(value), "")
    except ValueError:
        return (float("inf"), value)
