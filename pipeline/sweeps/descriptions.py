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


def describe_sweep(best: Mapping[str, str], promote: str) -> str:
    """Which trial is the best, and how to make it a preset.

    Args:
        best: the tags of the best trial; empty if no trial is complete.
        promote: the command that makes it a preset.
    """
    if not best:
        return "**No trial is complete.**"
    front = ""
    if "front.trials" in best:
        trials = best["front.trials"]
        front = f"The networks that are better than every smaller one: trials {trials}.\n\n"
    return (
        f"**The best is trial {best['best.trial']}: {short_number(float(best['best.value']))}.** "
        f"`{best['best.overrides']}`\n\n{front}"
        f"The table and the plots are artifacts of this run.\n\n"
        f"```\n{promote}\n```"
    )


def describe_replicates(spreads: Sequence[str], promote: str) -> str:
    """Mean and spread of replicates, and how to make the best mean a preset.

    Args:
        spreads: a line for each preset, the best mean first.
        promote: the command that makes it a preset; "" if there is only one.
    """
    first, *others = spreads
    lines = [f"**{first}**", *others, "The table is an artifact of this run."]
    return "\n\n".join([*lines, f"```\n{promote}\n```"] if promote else lines)
