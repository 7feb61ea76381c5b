"""Train one point after another with Hydra's multirun.

Examples:
    python -m benchmarks.peers.multirun --multirun +point=0,1,2
"""

import json
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from benchmarks.peers import POINTS
from benchmarks.peers.training import train_logged
from pipeline.system.determinism import configure_tensorflow

FOLDER = Path.cwd()  # Hydra changes it


@hydra.main(version_base="1.3", config_path=None)
def main(given: DictConfig) -> None:
    """Train the point of this number."""
    configure_tensorflow(None)
    GlobalHydra.instance().clear()  # otherwise Hydra refuses to compose again
    points = json.loads((FOLDER / POINTS).read_text())
    train_logged(points[given.point], FOLDER)


if __name__ == "__main__":
    main()
