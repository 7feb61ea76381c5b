"""Which lessons there are. Add one here, a sweep to conf/sweep/, and a page to docs/learn/."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.paths import REPOSITORY
from pipeline.system.errors import UserError, nearest

FOLDER = REPOSITORY / "docs" / "learn"


@dataclass(frozen=True)
class Lesson:
    """One page of docs/learn/.

    Attributes:
        name: of the page and of its sweep.
        question: what it answers.
        compared: the keys whose values are compared.
        overrides: what its trials have besides the sweep's own keys.
    """

    name: str
    question: str
    compared: tuple[str, ...]
    overrides: tuple[str, ...] = ()

    @property
    def page(self) -> Path:
        return FOLDER / f"{self.name}.md"

    @property
    def picture(self) -> Path:
        return FOLDER / f"{self.name}.png"


LESSONS = [
    Lesson("seeds", "how much does the accuracy change from run to run?", ("train.seed",)),
    Lesson("bias", "what are biases for?", ("model.use_bias",)),
    Lesson("activations", "ReLU or tanh?", ("model.activation", "model.depth")),
    Lesson("learning_rates", "how large may a step downhill be?", ("optimizer.learning_rate",)),
    Lesson("momentum", "what does momentum do?", ("optimizer.momentum",)),
    Lesson("gradient_methods", "SGD, Adagrad or Adam?", ("optimizer",)),
    Lesson("depth", "how many hidden layers help?", ("model.depth",)),
    Lesson(
        "overfitting",
        "when does it learn by heart, and what helps?",
        ("model.dropout",),
        ("data=mnist_sample",),
    ),
    Lesson("architectures", "which network is best for the same time?", ("model",)),
]


def find_lesson(name: str) -> Lesson:
    """The lesson of a name.

    Raises:
        UserError: when there is none.
    """
    names = [lesson.name for lesson in LESSONS]
    if name not in names:
        raise UserError(f"no lesson {name!r}{nearest(name, names)}")
    return LESSONS[names.index(name)]
