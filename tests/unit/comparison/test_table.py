import pytest

from pipeline.comparison.result import Result
from pipeline.comparison.table import make_markdown, make_table, shorten
from tests.helpers.results import SETTINGS, history, result


def test_table_has_names_metrics_and_what_differs() -> None:
    table = make_table(
        [result("HEAD"), result("wide", {"model": "mlp", "model.depth": "2"}, 0.125)], 120
    )
    assert table.splitlines() == [
        "name  val_accuracy  test_accuracy  val_loss  test_loss  model",
        "HEAD        0.7500         0.7500    0.2500     0.2500  cnn",
        "wide        0.8750         0.8750    0.1250     0.1250  mlp",
    ]


def test_missing_results_say_why() -> None:
    results = [result("HEAD"), Result("later", state="queued"), Result("bad", state="failed")]
    head, _, later, bad = make_table(results, 120).splitlines()
    assert head.split()[5] == "state"
    assert later.split() == ["later", "-", "-", "-", "-", "queued"]
    assert bad.split()[-1] == "failed"
    assert "state" not in make_table(results[:1], 120)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("differences", [0, 1, 3, 40])
def test_table_fits_and_names_all_differences(width: int, differences: int) -> None:
    name = "a long name " * 10
    changes = {f"train.a_long_key_{n}": f"value {n} " * 9 for n in range(differences)}
    base = dict.fromkeys(changes, "a value")
    table = make_table([result(name, base), result(f"other {name}", changes)], width)
    assert max(map(len, table.splitlines())) <= width
    for key in changes:
        assert key in table
    assert "…" in table


def test_losses_fill_the_room_only_if_there_is_some() -> None:
    results = [Result("a", SETTINGS, history(0.25)), Result("b", {**SETTINGS, "train.epochs": "1"})]
    assert "val_loss" in make_table(results, 120)
    assert "val_loss" not in make_table(results, 60)


@pytest.mark.parametrize(
    ("text", "short"), [("abcd", "abcd"), ("abcde", "abc…"), ("a\nb", "a\\nb"), ("×", "×")]
)
def test_texts_are_shortened_to_one_line(text: str, short: str) -> None:
    assert shorten(text, 4) == short


def test_markdown_has_all_differences_and_no_broken_cell() -> None:
    results = [result("HEAD"), result("a|b", {"model": "mlp", "model.depth": "2"}, 0.125)]
    assert make_markdown([*results, Result("later", state="queued")]).splitlines() == [
        "| name | val_accuracy | test_accuracy | val_loss | test_loss | model |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| HEAD | 0.7500 | 0.7500 | 0.2500 | 0.2500 | cnn |",
        "| a\\|b | 0.8750 | 0.8750 | 0.1250 | 0.1250 | mlp |",
        "| later | queued | queued | queued | queued |  |",
    ]
