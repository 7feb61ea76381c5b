from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.comparison.curves import draw_curves
from pipeline.comparison.result import Result
from tests.helpers.results import history, result


def colours(path: Path) -> int:
    """How many strong colours a picture has: one for each line."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).astype(int)
    strong = pixels[np.ptp(pixels, axis=1) > 100]
    counts = np.unique(strong, axis=0, return_counts=True)[1]
    return int((counts > 100).sum())


@pytest.mark.slow
def test_each_result_has_a_line(tmp_path: Path) -> None:
    results = [result(name, loss=loss) for name, loss in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
    draw_curves([*results, Result("queued", state="queued")], tmp_path / "three.png")
    draw_curves(results[:1], tmp_path / "one.png")
    assert (colours(tmp_path / "one.png"), colours(tmp_path / "three.png")) == (1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["_hidden", "$x", r"$\frac{$", "a^b_c", "long " * 30, "a\nb"])
def test_any_name_can_be_drawn(tmp_path: Path, name: str) -> None:
    draw_curves([Result(name, history=history(0.5)), result("b")], tmp_path / "a.png")
    draw_curves([Result("", history=history(0.5)), result("b")], tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw_curves([result("a"), result("b")], tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
