"""A headless Chromium for the tests of pages; they are skipped where there is none."""

import shutil

import pytest

__all__ = ["check_policy", "needs_chromium", "started"]

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-sync
--disable-background-networking --disable-component-update --no-first-run""".split()

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with its driver: make browser"
)


def started(profile):
    """Returns a driver that records the log and every request; use it in `with`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))


def check_policy(driver):
    """Sees that the open page's policy lets no script, style, picture or request in or out."""
    blocked = driver.execute_async_script(
        """
        const done = arguments[0], seen = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          if (seen.push(event.effectiveDirective) === 4) done(seen.sort());
        });
        const add = (tag, values) =>
          document.head.append(Object.assign(document.createElement(tag), values));
        fetch("http://127.0.0.1:9/").catch(() => {});
        add("script", { textContent: "window.ran = 1" });
        add("img", { src: "http://127.0.0.1:9/x.png" });
        add("link", { rel: "stylesheet", href: "http://127.0.0.1:9/x.css" });
        """
    )
    assert blocked == ["connect-src", "img-src", "script-src-elem", "style-src-elem"]
    assert driver.execute_script("return window.ran") is None
