"""Run the training of an MLflow run again in a clean folder, and compare the results.

Examples:
    python -m pipeline.reproduce champion         # the alias of a registered model
    python -m pipeline.reproduce sunny-fox-42     # the name or the id of a run

It takes the commit, the changes that were not committed, the configuration, the versions of the
libraries and the number of threads from the run. It runs the code of the run, so it should be a run
that you trust. The exit status is 0 if all bytes are the same, and 1 if they are not.
"""

import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from pipeline.system import cli
from pipeline.system.files import TEMPORARY


def main() -> int:
    """Print for each file whether its bytes are the same. Return 1 if some are not, else 0."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="the id, name or alias of an MLflow run")
    name = parser.parse_args().run

    # Only now: importing MLflow takes seconds.
    from pipeline.reproduction.clean_folder import tools_for, write_code, write_configuration
    from pipeline.reproduction.differences import (
        compare_epochs,
        compare_files,
        environment_differences,
        run_in,
    )
    from pipeline.reproduction.recorded import find_recorded
    from pipeline.reproduction.stages import run_stages, stage_commands

    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as temporary:
        files, folder = (Path(temporary).resolve() / name for name in ("recorded", "clean"))
        for each in (files, folder):
            each.mkdir()
        recorded = find_recorded(name, files)
        write_code(recorded, folder)
        tools = tools_for(recorded, folder)
        last = "" if recorded.model_digest else "train"
        _, *commands = stage_commands(folder, last).items()  # the first one writes composed.yaml
        write_configuration(recorded, folder)
        run_stages(dict(commands), folder, folder, tools)
        client, again = run_in(folder)
        if recorded.model_digest:
            same = compare_files(recorded, folder)
        else:
            same = compare_epochs(recorded, client, again)
        different = environment_differences(recorded, again)
    print()
    for item, equal in same.items():
        print(f"{'same' if equal else 'differs'}: {item}")
    print(f"{sum(same.values())} of {len(same)} are the same to the last bit")
    if not all(same.values()):
        print("\n".join(different or ["The processor, threads and versions are the same."]))
    return 0 if all(same.values()) else 1


if __name__ == "__main__":
    cli.run(main)
