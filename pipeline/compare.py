r"""Print the results of revisions, experiments, runs and model files side by side.

Examples:
    python -m pipeline.compare                  # workspace, HEAD, and the experiments from HEAD
    python -m pipeline.compare HEAD~1 my-branch workspace
    python -m pipeline.compare HEAD sunny-fox-42        # an MLflow run
    python -m pipeline.compare workspace champion       # the alias of a registered model

A name is `workspace`, a git revision, an experiment of DVC, the name, id or alias of an MLflow run,
a .keras file or another model URI; the first that fits counts. The table has only the settings that
differ, and a picture has the curves.

The models of two names also answer the validation images of the workspace. McNemar's exact test
says whether chance can explain the difference, and a picture shows images on which they differ.

DVC has a similar table of its experiments, with what params.yaml changes:

    dvc exp show --only-changed --keep '(test|val)_accuracy$' --drop '(?!set\.|[A-Za-z]+$)'
"""

import difflib
import shutil
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from pipeline.system import cli
from pipeline.system.colour import print_error
from pipeline.system.errors import UserError

CURVES = Path("build/compare.png")
DIFFERENCES = Path("build/differences.png")
_WIDTH = 120  # of the table, where the terminal does not tell its own


def main() -> int:
    """Print the table, and write the picture. Return 1 if a file is damaged, else 0."""
    parser = ArgumentParser(
        "python -m pipeline.compare",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to compare")
    parser.add_argument(
        "--markdown", action="store_true", help="print the table for a pull request, no picture"
    )
    arguments = parser.parse_args()
    names = arguments.names

    from pipeline.comparison.curves import draw_curves
    from pipeline.comparison.revisions import (
        find_revision,
        known_names,
        workspace_and_experiments,
    )
    from pipeline.comparison.table import make_markdown, make_table
    from pipeline.system.dvc import read_config

    read_config()
    results = [] if names else workspace_and_experiments()
    for name in names:
        revision = find_revision(name)
        if revision:
            results.append(revision)
            continue

        # Only now: importing MLflow takes seconds.
        from pipeline.comparison.runs import find_runs
        from pipeline.tracking.lookup import run_names

        runs = find_runs(name)
        if not runs:
            known = [*known_names(), *run_names()]
            near = ", ".join(difflib.get_close_matches(name, known, n=5, cutoff=0))
            raise UserError(
                f"no revision, experiment, MLflow run or model file {name!r}; the nearest: {near}"
            )
        results += runs
    if arguments.markdown:
        print(make_markdown(results))
    else:
        print(make_table(results, shutil.get_terminal_size((_WIDTH, 24)).columns))
        if any(result.history for result in results):
            draw_curves(results, CURVES)
            print(f"\nThe curves by epoch: {CURVES}")
    damaged = [result for result in results if result.problem]
    for result in damaged:
        print_error(f"{result.name}: {result.problem}")
    if len(names) == len(results) == 2 and not damaged and not arguments.markdown:
        # Only now: importing TensorFlow takes several seconds.
        from pipeline.comparison.answers import print_differences

        print_differences(results[0], results[1], Path("data/prepared"), DIFFERENCES)
    return 1 if damaged else 0


if __name__ == "__main__":
    cli.run(main)
