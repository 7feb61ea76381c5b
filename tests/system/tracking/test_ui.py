"""What a person sees of the runs, in a real browser: the views of `make ui`, and the report."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.helpers.browser import chrome, page_text, wait_for
from tests.helpers.project import Project

pytestmark = pytest.mark.browser

WIDTHS = [1400, 400]


@pytest.fixture(scope="module")
def project(sample: Project) -> Project:
    """The sample with its run, and a sweep of two trials."""
    overrides = ["sweep=bias", "sweep.name=two", "train.epochs=2"]
    sample.run("python", "-m", "pipeline.sweep", *overrides)
    return sample


@pytest.fixture(scope="module")
def address(project: Project) -> Iterator[str]:
    """The address that `make ui` prints."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    process = project.start("python", "-m", "pipeline.ui", "--port", port)
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("the runs are at "):
            break
    assert lines[-1].startswith(f"the runs are at http://127.0.0.1:{port}/#/experiments/"), lines
    assert len(lines) < 4, lines
    yield lines[-1].split()[-1]
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) == 143
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", int(port)))  # the server has ended too


@pytest.fixture(params=WIDTHS)
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chrome]:
    with chrome(request.param, tmp_path) as browser:
        yield browser


# MLflow's own page is not made for the width of a phone; the report and the site are.
def test_a_newcomer_sees_the_runs_by_test_accuracy(tmp_path: Path, address: str) -> None:
    with chrome(1400, tmp_path) as browser:
        browser.get(address)
        name = "cnn mnist_sample"
        wait_for(browser, name, lambda: browser.find_elements(By.LINK_TEXT, name))
        assert "test_accuracy" in page_text(browser)
        assert "Leaderboard" in page_text(browser)
        assert "trial 0" not in page_text(browser), "a trial has no test accuracy"


@pytest.mark.parametrize(
    ("view", "shown", "hidden"),
    [
        ("curves", "Each epoch", "No charts"),
        ("searches", "sweep two", "cnn mnist_sample"),
        ("seeds", "Group: cnn mnist_sample", "No runs"),
    ],
)
def test_view_shows_what_its_name_says(
    tmp_path: Path, address: str, view: str, shown: str, hidden: str
) -> None:
    with chrome(1400, tmp_path) as browser:
        mode = "&compareRunsMode=CHART" if view == "curves" else ""
        browser.get(address.replace("leaderboard", view) + mode)
        wait_for(browser, shown, lambda: shown in browser.page_source)
        assert hidden not in page_text(browser)


def test_run_says_its_result_and_its_commands(tmp_path: Path, address: str) -> None:
    with chrome(1400, tmp_path) as browser:
        browser.get(address)
        name = "cnn mnist_sample"
        wait_for(browser, name, lambda: browser.find_elements(By.LINK_TEXT, name))
        browser.find_element(By.LINK_TEXT, name).click()
        sentence = "of the test images right"
        wait_for(browser, sentence, lambda: sentence in page_text(browser))
        browser.find_element(By.XPATH, "//*[text()='Show more']").click()
        text = page_text(browser)
        for part in ("Network: cnn, Conv2D", "make reproduce RUN=", "val_accuracy"):
            assert part in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_has_no_barrier(browser: Chrome, project: Project, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get((project.folder / "reports/report.html").as_uri())
    found = Axe().run(browser)["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= browser.execute_script("return window.innerWidth"), "no sideways scrolling"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_site_links_the_report_of_each_run(browser: Chrome, project: Project) -> None:
    project.run("python", "-m", "pipeline.publish")
    browser.get((project.folder / "build/site/index.html").as_uri())
    assert Axe().run(browser)["violations"] == []
    browser.find_element(By.LINK_TEXT, "cnn mnist_sample").click()
    assert "cnn on mnist_sample" in browser.title
