"""Compose conf/ with params.yaml on top into composed.yaml, which every other stage reads.

python -m pipeline.compose                          write composed.yaml, as `dvc repro` does
python -m pipeline.compose model=mlp --cfg job      print what these overrides would give
python -m pipeline.compose --help                   the groups and their choices, as Hydra says
"""

import sys
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from pipeline import command, config
from pipeline.files import remove_parts


def main() -> None:
    """Write composed.yaml, or do what one of Hydra's own flags asks for."""
    overrides = get_args_parser().parse_args().overrides
    params = Path("params.yaml")
    composed = config.compose(overrides, params)
    flags = [argument for argument in sys.argv[1:] if argument not in overrides]
    if flags:
        # Hydra's own application answers, told what params.yaml says too.
        sys.argv[1:] = [*config.merge_overrides(params, overrides), *flags]
        _hydra_app()
    else:
        remove_parts(Path(), "composed.yaml")
        config.save(composed, Path("composed.yaml"))


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def _hydra_app(composed: DictConfig) -> None:
    config.save(composed, Path("composed.yaml"))


if __name__ == "__main__":
    command.run(main)
