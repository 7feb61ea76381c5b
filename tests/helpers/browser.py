"""A real browser, without internet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait


@contextmanager
def chrome(width: int, profile: Path) -> Iterator[Chrome]:
    """Chromium at the width of a desk, or of a phone.

    Args:
        width: of the window, in pixels; less than 500 is a phone.
        profile: an empty folder.
    """
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless=new",
        "--no-sandbox",
        f"--user-data-dir={profile}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options, Service("/usr/bin/chromedriver")) as browser:
        size = {"width": width, "height": 1100, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield browser


def wait_for(browser: Chrome, what: str, condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    WebDriverWait(browser, 40).until(lambda _: condition(), f"{what}: {page_text(browser)[:1500]}")


def page_text(browser: Chrome) -> str:
    """All text that a page shows."""
    return browser.find_element(By.TAG_NAME, "body").text
