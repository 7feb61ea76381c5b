"""Show the progress of a sweep, on a terminal or in a log."""

import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from pipeline.config.schema import Sweep
from pipeline.sweeps.storage import Store, Study, database_errors
from pipeline.sweeps.trials import (
    FAILURE,
    OVERRIDES,
    best_trial,
    end_of,
    epochs_of,
    finished_trials,
    value_of,
    weights_of,
)
from pipeline.system.errors import UserError
from pipeline.tracking.names import short_override

_SECONDS = 1.0  # between two updates


@contextmanager
def show_progress(
    store: Store, sweep: Sweep, total: int, on_end: Callable[[Study], None] = lambda study: None
) -> Iterator[None]:
    """While the block runs, show a bar on a terminal, and print a line for each ended trial.

    Args:
        store: where the study is.
        sweep: the sweep.
        total: how many trials it will have.
        on_end: called with the study when trials have ended, in another thread.
    """
    view = _View(store, sweep, total, on_end)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(view, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        view.update()
        view.bar.close()


def trial_line(trial: FrozenTrial, metric: str) -> str:
    """One line about how a trial ended, and its overrides."""
    match trial.state:
        case TrialState.COMPLETE:
            result = f"{metric} {short_number(value_of(trial))}"
            if len(trial.values) > 1:
                result += f", {weights_of(trial):,} weights"
        case TrialState.PRUNED:
            result = f"pruned after epoch {epochs_of(trial)}"
        case _:
            result = f"failed, {trial.user_attrs[FAILURE]}"
    seconds = f"{trial.duration.total_seconds():.1f} s" if trial.duration else ""
    shown = " ".join(short_override(text) for text in trial.user_attrs[OVERRIDES])
    return f"trial {trial.number}: {result}, {seconds}: {shown}"


def short_number(value: float) -> str:
    """A metric with four decimals, or with four digits if it is large, as a diverged loss is."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"


_COUNTED = {
    TrialState.FAIL: "failed",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
}


class _View:
    """The progress display of a study."""

    def __init__(
        self, store: Store, sweep: Sweep, total: int, on_end: Callable[[Study], None]
    ) -> None:
        self.study = store.open()
        self.on_end = on_end
        self.sweep = sweep
        self.reported = {trial.number for trial in finished_trials(self.study)}
        # disable=None: without a terminal, print only the lines and show no bar.
        self.bar: tqdm[Any] = tqdm(
            total=total,
            initial=len(self.reported),
            disable=None,
            desc=sweep.name,
            dynamic_ncols=True,
            bar_format="{desc} {n_fmt}/{total_fmt} {bar} {elapsed}{postfix}",
        )

    def update(self) -> None:
        """Print the trials that have ended since the last call, and refresh the bar."""
        trials = finished_trials(self.study, running=True)
        ended = [trial for trial in trials if trial.state.is_finished()]
        if {trial.number for trial in ended} - self.reported:
            self.on_end(self.study)
        for trial in sorted(ended, key=end_of):
            if trial.number not in self.reported:
                self.reported.add(trial.number)
                self.bar.write(trial_line(trial, self.sweep.metric), file=sys.stdout)
                sys.stdout.flush()
        count = Counter(trial.state for trial in trials)
        best = None if self.sweep.replicates else best_trial(self.study)
        self.bar.n = len(ended)
        # The best comes first, because a narrow terminal has no room for all parts.
        parts = [f"best {short_number(value_of(best))} (trial {best.number})"] if best else []
        parts += [f"{count[state]} {name}" for state, name in _COUNTED.items() if count[state]]
        self.bar.set_postfix_str(", ".join(fitting(parts, self._room())))

    def _room(self) -> int:
        """How many columns are left for text, after the name, the counts, the bar and the time."""
        needed = len(f"{self.sweep.name} {self.bar.total}/{self.bar.total} █ 00:00:00, ")
        return shutil.get_terminal_size().columns - needed


def fitting(parts: Sequence[str], room: int) -> list[str]:
    """The first parts that fit when they are joined by commas, in `room` columns."""
    ends = accumulate(len(part) + len(", ") for part in parts)
    return [part for part, end in zip(parts, ends, strict=True) if end - len(", ") <= room]


def _watch(view: _View, ended: threading.Event) -> None:
    while not ended.wait(_SECONDS):
        with suppress(UserError), database_errors():  # the main thread reports the same error
            view.update()
