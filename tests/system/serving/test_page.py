"""The page to draw on, in a real browser: drawn, opened and refused, wide and on a phone."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image
from pillow_heif import from_pillow
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from pipeline.artifacts.keras_file import save_model
from pipeline.artifacts.loading import load_main
from pipeline.models import mlp
from pipeline.serving.app import create_app
from pipeline.serving.models import Models
from tests.helpers.browser import chrome
from tests.helpers.project import REPOSITORY, Project
from tests.helpers.server import free_port

pytestmark = pytest.mark.browser

# The strokes of digits, as shares of the sheet from its centre.
SEVEN = [(-0.22, -0.3), (0.22, -0.3), (0.12, 0.0), (0.0, 0.32)]


@pytest.fixture(scope="module")
def address(sample: Project) -> Iterator[str]:
    """A server of the model that was trained on the sample, and of its int8 form."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--port", str(port), "--model", "models/model.keras", "exports/model_int8.tflite"]
    process = sample.start("python", "-m", "pipeline.serve", *arguments)
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            break
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
    yield f"http://127.0.0.1:{port}/"
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) == 143


@pytest.fixture(params=[1200, 390])
def browser(address: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chrome]:
    """A browser at the width of a desk or of a phone, on the page."""
    with chrome(request.param, tmp_path) as browser:
        browser.get(address)
        yield browser


def text(browser: Chrome, part: str) -> str:
    return browser.find_element(By.ID, part).text.strip()


def wait_for(browser: Chrome, part: str, wanted: str) -> None:
    WebDriverWait(browser, 20).until(
        lambda _: text(browser, part) == wanted, f"{part}: {text(browser, part)!r}"
    )


def test_drawn_seven_is_a_seven(browser: Chrome) -> None:
    sheet = browser.find_element(By.ID, "paper")
    pen, side = ActionChains(browser, duration=20), sheet.size["width"]
    places = [(round(across * side), round(down * side)) for across, down in SEVEN]
    pen.move_to_element_with_offset(sheet, *places[0]).click_and_hold()
    for place in places[1:]:
        pen.move_to_element_with_offset(sheet, *place)
    pen.release().perform()
    wait_for(browser, "digit", "7")
    panels = browser.find_elements(By.CSS_SELECTOR, "#models > div")
    assert ["litert" in panel.text for panel in panels] == [True, True]
    assert len(browser.find_elements(By.CSS_SELECTOR, "#models tr.best")) == 2
    assert browser.find_element(By.ID, "seen").get_attribute("alt")
    assert browser.find_element(By.ID, "steps").is_displayed()
    browser.find_element(By.ID, "clear").click()
    wait_for(browser, "digit", "")
    time.sleep(1)
    assert text(browser, "digit") == "", "an answer that was on its way is not shown"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= browser.execute_script("return window.innerWidth"), "no sideways scrolling"


def test_keys_draw_a_one(browser: Chrome) -> None:
    sheet = browser.find_element(By.ID, "paper")
    sheet.send_keys(*[Keys.ARROW_UP] * 14, " ", *[Keys.ARROW_DOWN] * 28)
    wait_for(browser, "digit", "1")
    sheet.send_keys(Keys.ESCAPE)
    wait_for(browser, "digit", "")


def test_photo_is_answered_and_a_blank_one_refused(browser: Chrome, tmp_path: Path) -> None:
    grey = np.full((300, 400), 235, np.uint8)
    Image.fromarray(grey).save(tmp_path / "blank.png")
    grey[60:240, 195:210] = 40
    Image.fromarray(grey).save(tmp_path / "one.png")
    from_pillow(Image.fromarray(grey)).save(tmp_path / "phone.heic")
    opened = browser.find_element(By.ID, "file")
    for name in ("one.png", "phone.heic"):
        opened.send_keys(str(tmp_path / name))
        wait_for(browser, "digit", "1")
        browser.find_element(By.ID, "clear").click()
        wait_for(browser, "digit", "")
    opened.send_keys(str(tmp_path / "blank.png"))
    wait_for(browser, "said", "no digit is seen")
    assert text(browser, "digit") == ""


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[tuple[Models, str]]:
    """A model that has version 1, and the address of its server."""
    path = tmp_path / "models/model.keras"
    save_model(mlp((28, 28), 10, depth=1, width=5), path)
    loaded = load_main(str(path))
    models = Models(["models:/any@champion"], lambda uri: replace(loaded, uri=uri, version="1"))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(models), port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield models, f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join()


def test_page_shows_the_version_that_answers(followed: tuple[Models, str], tmp_path: Path) -> None:
    models, address = followed
    with chrome(1200, tmp_path / "profile") as browser:
        browser.get(address)
        sheet = browser.find_element(By.ID, "paper")
        for version in ("1", "2"):
            models.refresh(lambda _, version=version: version)  # type: ignore[misc]
            sheet.send_keys(Keys.ESCAPE, *[Keys.ARROW_UP] * 14, " ", *[Keys.ARROW_DOWN] * 28)
            WebDriverWait(browser, 20).until(lambda _: text(browser, "digit"))
            assert f"version {version}" in text(browser, "models")


def test_help_and_taken_port_are_lines(address: str) -> None:
    command = [sys.executable, "-m", "pipeline.serve"]
    port = address.rpartition(":")[2].rstrip("/")
    taken = subprocess.run(
        [*command, "--port", port], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert taken.returncode == 1
    assert taken.stderr.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")
    assert len(taken.stderr.splitlines()) == 1
