"""How often a model takes the champion's title from one that differs only in its seed.

Examples:
    python -m benchmarks.champion [--seeds 8] [OVERRIDE...]

It trains a configuration with several seeds. For each pair of models it asks whether the new one
would replace the other, by the rule of `pipeline.tracking.registry`, at several levels. It then
counts how often the title changes when the models come one after the other, in random orders.
"""

import argparse
import itertools
import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.answers import answer
from pipeline.config.composition import compose
from pipeline.data.splits import load_split
from pipeline.evaluation.paired import Paired, compare_answers
from pipeline.sweeps.data import build_data
from pipeline.system.determinism import configure_tensorflow
from pipeline.training.loop import train

LEVELS = (1.0, 0.1, 0.05, 0.01, 0.001)
ORDERS = 1000


def main() -> None:
    """Print the accuracies, and a line for each level."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    configure_tensorflow(None)
    prepared = build_data(compose(arguments.overrides))
    labels = load_split(prepared, "validation").labels
    answers = [
        answers_of_seed(seed, arguments.overrides, prepared) for seed in range(arguments.seeds)
    ]
    print("right of", len(labels), [int((a == labels).sum()) for a in answers])
    pairs = {
        (new, old): compare_answers(answers[new], answers[old], labels)
        for new, old in itertools.permutations(range(len(answers)), 2)
    }
    decided = np.mean([paired.won + paired.lost for paired in pairs.values()])
    print(f"images on which one of two models is right: {decided:.1f}")
    for level in LEVELS:
        share = np.mean([paired.is_better(level) for paired in pairs.values()])
        print(
            f"level {level}: {share:.1%} of the pairs replace, "
            f"{changes(pairs, arguments.seeds, level):.2f} changes in {arguments.seeds - 1} runs"
        )


def answers_of_seed(seed: int, overrides: list[str], prepared: Path) -> NDArray[np.int64]:
    """What the model of a seed answers to the validation images."""
    trained = train(compose([*overrides, f"train.seed={seed}"]), prepared)
    return answer(trained.model, load_split(prepared, "validation").images, "the model")


def changes(pairs: dict[tuple[int, int], Paired], models: int, level: float) -> float:
    """The mean number of times that the title changes, over random orders of the models."""
    total = 0
    generator = random.Random(0)  # noqa: S311
    for _ in range(ORDERS):
        order = generator.sample(range(models), models)
        champion = order[0]
        for new in order[1:]:
            if pairs[new, champion].is_better(level):
                champion, total = new, total + 1
    return total / ORDERS


if __name__ == "__main__":
    main()
