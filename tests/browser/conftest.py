"""A headless Chromium, driven by Selenium. Without it these tests fail with what to install."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

INSTALL = "install Chromium and its driver, such as: apt-get install chromium chromium-driver"


class Browser:
    """Actions of the tests on a page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str, width: int = 1400, height: int = 1000, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        self.driver.get("about:blank")
        self.requests(), self.complaints()  # clear the logs
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript and return its value."""
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        """Press keys; the focused element gets them."""
        from selenium.webdriver import ActionChains

        actions = ActionChains(self.driver, duration=0)
        for key in keys:
            actions.send_keys(key)
        actions.perform()

    def requests(self) -> list[str]:
        """URLs requested since the last call."""
        events = (json.loads(e["message"])["message"] for e in self.driver.get_log("performance"))
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since the last call."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]

    def picture(self, path: Path, width: int, height: int) -> None:
        """Write a screenshot of the page's upper left part."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        # Capturing beyond the window resizes the page, and MLflow then redraws its charts.
        beyond = height > self.run("return innerHeight")
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": beyond})
        path.write_bytes(base64.b64decode(shot["data"]))


def start() -> Browser:
    """Start a browser. Raises LookupError with what to install if that fails."""
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError as error:
        raise LookupError(f"{error}; run these tests by: make test-browser") from error
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        raise LookupError(INSTALL)
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--force-device-scale-factor=1"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return Browser(webdriver.Chrome(options=options, service=Service(driver)))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        chromium = start()
    except LookupError as error:
        pytest.fail(str(error))
    yield chromium
    chromium.driver.quit()
