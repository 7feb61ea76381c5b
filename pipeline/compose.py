"""Compose conf/ with params.yaml into composed.yaml, which every other stage reads.

Examples:
    python -m pipeline.compose                    # write composed.yaml, as `dvc repro` does
    python -m pipeline.compose model=mlp --show   # print the result of these overrides
    python -m pipeline.compose --groups           # list the config groups and their choices
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from pipeline.config.composition import compose, values_left_out
from pipeline.config.paths import COMPOSED, check_root, config_groups, options_of
from pipeline.config.schema import INITIAL_MODEL
from pipeline.config.yaml_files import dump_config, save_config
from pipeline.system import cli
from pipeline.system.files import remove_parts


def main() -> None:
    """Write composed.yaml. With --show or --groups, print and write nothing."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="in Hydra's grammar")
    parser.add_argument("--show", action="store_true", help="print the configuration as YAML")
    parser.add_argument("--groups", action="store_true", help="list the groups and their choices")
    arguments = parser.parse_intermixed_args()
    if arguments.groups:
        for group in sorted(config_groups()):
            print(f"{group}: {', '.join(options_of(group))}")
        return
    params = Path("params.yaml")
    cfg = compose(arguments.overrides, params)
    if keys := values_left_out(arguments.overrides, params):
        print(
            f"the preset's values for another choice are left out: {', '.join(keys)}",
            file=sys.stderr,
        )
    if arguments.show:
        print(dump_config(cfg), end="")
        return
    check_root()
    remove_parts(Path(), COMPOSED)
    if cfg.train.init_from:
        # Only now: MLflow takes seconds.
        from pipeline.artifacts.initial import initial_digest

        cfg = cfg.model_copy(update={INITIAL_MODEL: initial_digest(cfg)})
    save_config(cfg, Path(COMPOSED))


if __name__ == "__main__":
    cli.run(main)
