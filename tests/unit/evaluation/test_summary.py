import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.composition import compose
from pipeline.data.splits import Split
from pipeline.evaluation.corruptions import KINDS
from pipeline.evaluation.metrics import WITHOUT_LABEL_ERRORS, evaluate_predictions
from pipeline.evaluation.network import Layer, Network
from pipeline.evaluation.summary import Summary, write_summary
from tests.helpers.predictions import random_predictions

pytestmark = pytest.mark.slow

PICTURES = ("calibration", "corruptions", "learning_curves", "network", "weights")


def summary(names: list[str], count: int = 50) -> Summary:
    probabilities, labels = random_predictions(0, count, len(names))
    metrics = evaluate_predictions(probabilities, labels, 5) | {"test_robust_accuracy": 0.5}
    images = np.random.default_rng(0).integers(0, 256, (count, 12, 12), np.uint8)
    row = {"loss": 0.5, "accuracy": 0.5, "val_loss": 0.4, "val_accuracy": 0.6, "learning_rate": 0.1}
    return Summary(
        cfg=compose(["train.seed=7", "train.init_from=elsewhere.keras"]),
        threads=3,
        class_names=names,
        test=Split(images, labels),
        probabilities=probabilities,
        metrics=metrics,
        robust=dict.fromkeys(KINDS, 0.5),
        history=[{"epoch": epoch, **row} for epoch in (1, 2)],
        best={"epoch": 2, **row},
        network=Network(
            [Layer("Flatten", "144", 144, 0, 0), Layer("Dense", "3", 3, 435, 435)],
            np.random.default_rng(0).normal(size=(3, 12, 12)).astype(np.float32),
            "0" * 64,
        ),
    )


def test_page_has_the_accuracy_without_labels_in_doubt(tmp_path: Path) -> None:
    given = summary(["0", "1", "2"])
    write_summary(tmp_path, given)
    assert "doubt" not in _sentence(tmp_path)
    data = given.cfg.data.model_copy(update={"label_errors": [3, 3, 8]})
    cfg = given.cfg.model_copy(update={"data": data})
    metrics = {**given.metrics, WITHOUT_LABEL_ERRORS: 0.987}
    write_summary(tmp_path, replace(given, cfg=cfg, metrics=metrics))
    assert "Without the 2 images whose label is in doubt, it reads 98.70 % right." in _sentence(
        tmp_path
    )


def _sentence(reports: Path) -> str:
    """The first paragraph of the page."""
    return (reports / "report.html").read_text().split("<p>")[1].split("</p>")[0]


class Page(HTMLParser):
    """What a page has: the attributes of its images and links, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.images += [values] if tag == "img" else []
        self.sources += [str(values[name]) for name in ("src", "href") if name in values]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_and_pictures_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_summary(tmp_path / name, summary(["a", "b", "c"]))
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    )
    assert one == two
    assert {*one} == {"corruptions.csv", "report.html", *(f"{name}.png" for name in PICTURES)}


def test_page_needs_no_other_file_and_names_every_picture(tmp_path: Path) -> None:
    write_summary(tmp_path, summary(["a", "b", "c"]))
    page = Page((tmp_path / "report.html").read_text())
    assert all(source.startswith("data:image/") for source in page.sources)
    assert len(page.images) > len(PICTURES)
    assert all(image["alt"] for image in page.images)
    svg = [s for s in page.sources if s.startswith("data:image/svg")]
    assert len(svg) == len(PICTURES)
    drawn = base64.b64decode(svg[0].partition(",")[2]).decode()
    assert "prefers-color-scheme: dark" in drawn
    assert "#000000" not in drawn


def test_page_has_result_seeds_digests_and_configuration(tmp_path: Path) -> None:
    found = summary(["a", "b", "c"])
    write_summary(tmp_path, found)
    text = Page((tmp_path / "report.html").read_text()).text
    assert f"{100 * found.metrics['test_accuracy']:.2f} %" in text
    for part in (
        "7 (init ",
        "0" * 64,
        found.cfg.data.digest,
        "tensorflow ",
        "batch_size: 128",
        "threads: 3",
    ):
        assert part in text
    # What changes no result is left out, so that its change does not make the page stale.
    assert not re.search("mirrors|run_name|retries|elsewhere", text)


@pytest.mark.parametrize("names", [["<b>", "日本語", "$x^2$"], [f"class {i}" for i in range(60)]])
def test_page_has_any_names_and_many_classes(tmp_path: Path, names: list[str]) -> None:
    write_summary(tmp_path, summary(names))
    text = Page((tmp_path / "report.html").read_text()).text
    assert all(name in text for name in names)
    assert ("Which class is read as which" in text) == (len(names) < 50)


@pytest.mark.parametrize("count", [1, 3])
def test_page_of_very_few_images_is_written(tmp_path: Path, count: int) -> None:
    write_summary(tmp_path, summary(["a", "b", "c"], count))
    assert (tmp_path / "report.html").is_file()
