import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.plots_page import PAGE, plots_page
from tests.helpers.commands import assert_help, assert_usage_error
from tests.helpers.project import Project

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND"


@pytest.fixture(scope="module")
def page() -> str:
    return plots_page()


@pytest.mark.slow
def test_page_has_the_scripts_and_the_places_that_dvc_fills(page: str) -> None:
    assert "window.vegaEmbed=" in page
    assert re.findall(r"<script[^>]+src", page) == []
    assert page.count("</script") == page.count("<script>") == 1
    assert (page.count("{plot_divs}"), page.count("{refresh_tag}")) == (1, 1)
    assert "{scripts}" not in page, "DVC would add the scripts from the internet"


def test_configuration_of_dvc_names_the_page() -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read(REPOSITORY / ".dvc/config")
    assert config["plots"]["html_template"] == f"../.venv/{PAGE}"


def drawn(project: Project) -> str:
    """Run `dvc plots show`; return its page."""
    project.run("dvc", "plots", "show")
    return project.read("dvc_plots/index.html")


@pytest.mark.slow
def test_charts_need_no_internet(edited: Project, page: str, tmp_path: Path) -> None:
    (edited.folder / ".venv").mkdir()
    edited.write(f".venv/{PAGE}", page)
    text = drawn(edited)
    shutil.rmtree(edited.folder / ".venv")
    assert re.findall(r"""<(?:script|link)[^>]+(?:src|href)=["']?http""", text) == []
    assert text.count("vegaEmbed('#") == 7
    if not CHROMIUM:
        pytest.skip("there is no Chromium to look at the page")
    shown = subprocess.run(
        [
            CHROMIUM,
            "--no-sandbox",
            "--headless",
            f"--user-data-dir={tmp_path}",
            NO_NETWORK,
            "--virtual-time-budget=10000",
            "--dump-dom",
            (edited.folder / "dvc_plots/index.html").as_uri(),
        ],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert shown.count('class="marks"') == 7, "each chart is drawn"


@pytest.mark.slow
def test_charts_are_drawn_before_the_set_up(edited: Project) -> None:
    """With the scripts from the internet, and with a hint."""
    text = drawn(edited)
    assert "run-make-setup-to-draw-offline" in text
    assert len(re.findall(r"<script src=\"https://", text)) == 3
    assert text.count("vegaEmbed('#") == 7


def test_help_says_what_the_page_is_for(tmp_path: Path) -> None:
    assert_help("plots_page", tmp_path, "dvc plots", "internet")


def test_unknown_argument_is_a_usage_error(tmp_path: Path) -> None:
    assert_usage_error("plots_page", tmp_path, "now", message="unrecognized arguments: now")
