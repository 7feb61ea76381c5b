"""What the runs of a sweep and of its trials say of themselves, in Markdown."""

from collections.abc import Mapping, Sequence

from pipeline.sweeps.progress import short_number
from pipeline.system.text import percent
from pipeline.training.history import Row, best_epoch


def describe_trial(
    run_id: str, number: int, overrides: Sequence[str], history: list[Row], failure: str, state: str
) -> str:
    """How a trial ended, with which parameters, and how to run it again.

    Args:
        run_id: its run.
        number: its number.
        overrides: what it was composed with.
        history: its epochs.
        failure: why it failed; "" if it did not.
        state: as Optuna has it, such as `COMPLETE`.
    """
    result = f"It failed: {failure}" if failure else "It was pruned."
    if state == "COMPLETE":
        best = best_epoch(history)
        accuracy = percent(best["val_accuracy"])
        result = f"It reads {accuracy} of the validation images right, in epoch {best['epoch']}."
    return (
        f"**{result}**\n\nTrial {number} of a sweep: `{' '.join(overrides)}`\n\n"
        f"```\nmake reproduce RUN={run_id}\n```"
    )


def describe_sweep(name: str, best: Mapping[str, str]) -> str:
    """Which trial is the best, and how to make it a preset.

    Args:
        name: the name of the study.
        best: the tags of the best trial; empty if no trial is complete.
    """
    if not best:
        return "**No trial is complete.**"
    front, number = "", ""
    if "front.trials" in best:
        trials = best["front.trials"]
        front = f"The networks that are better than every smaller one: trials {trials}.\n\n"
        number = " TRIAL=NUMBER"
    return (
        f"**The best is trial {best['best.trial']}: {short_number(float(best['best.value']))}.** "
        f"`{best['best.overrides']}`\n\n{front}"
        f"The table and the plots are artifacts of this run.\n\n"
        f"```\nmake promote STUDY={name}{number}\n```"
    )
