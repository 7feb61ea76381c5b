"""Feed a reader with inputs of libFuzzer.

    python -m tests.helpers.fuzz idx|image|config [FILE | FLAG...]

A FILE is read once, to reproduce its crash. FLAGs are libFuzzer's, such as -max_total_time=60.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris
import numpy as np

# libFuzzer follows the branches of these packages. It cannot see those of compiled code.
with atheris.instrument_imports(include=["pipeline", "yaml", "PIL"]):
    from pipeline.config.overrides import read_params
    from pipeline.config.yaml_files import load_config
    from pipeline.data import idx
    from pipeline.pictures.digit import find_digit
    from pipeline.pictures.files import read_picture, read_pixels
    from pipeline.system.errors import UserError
    from tests.helpers import samples

FOLDER = Path(".fuzz")


def read_idx(content: bytes) -> None:
    with suppress(ValueError):
        idx.read_header(content)
    with suppress(ValueError):
        assert idx.dump(idx.parse(content)) == content


def read_image(content: bytes) -> None:
    path = FOLDER / "image/file"
    path.write_bytes(content)
    with suppress(UserError):
        pixels = read_pixels(path, 12, 8)
        assert pixels.dtype == np.uint8
        assert pixels.shape == (12, 8)
    with suppress(UserError):
        assert find_digit(read_picture(path), 12, 8).image.shape == (12, 8)


def read_config(content: bytes) -> None:
    path = FOLDER / "config/file"
    path.write_bytes(content)
    with suppress(UserError):
        load_config(path)
    with suppress(UserError):
        read_params(path)


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "idx": (read_idx, samples.idx_files),
    "image": (read_image, samples.image_files),
    "config": (read_config, samples.config_files),
}


def main() -> None:
    name, *arguments = sys.argv[1:]
    target, seeds = TARGETS[name]
    corpus = FOLDER / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    if all(argument.startswith("-") for argument in arguments):
        for number, seed in enumerate(seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)
        arguments.append(str(corpus))
    flags = [f"-artifact_prefix={FOLDER / name}/", "-max_len=4096", "-timeout=10"]
    atheris.Setup([sys.argv[0], *flags, *arguments], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
