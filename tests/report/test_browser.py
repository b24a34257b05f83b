"""The page in a real browser: search, filters, rows by their links, nothing asked of a network."""

import json
from dataclasses import replace

import pytest

import seedfree as sf
from seedfree.records import Instruction, Message, Source
from tests.chromium import check_policy, needs_chromium, started
from tests.fakes import FakeClock, small_pipeline, thai_llm
from tests.report.runs import lost, row, sample, write_run
from tests.report.test_page import HOSTILE

pytestmark = needs_chromium


class Page:
    """A report in the browser."""

    def __init__(self, driver, path):
        self.driver, self.address = driver, path.as_uri()
        driver.get_log("browser")
        driver.get_log("performance")
        self.open("")

    def open(self, place):
        """Opens the page anew at a place in it."""
        self.driver.get("about:blank")
        self.driver.get(self.address + place)

    def js(self, code, *values):
        return self.driver.execute_script(code, *values)

    def choose(self, **values):
        """Types a query, or chooses what the rows are filtered by, and waits for the list."""
        for name, value in values.items():
            self.js("document.getElementById(arguments[0]).value = arguments[1]", name, value)
        self.js("document.getElementById('filters').requestSubmit()")

    def count(self):
        return self.js("return document.getElementById('count').textContent")

    def ids(self):
        items = "return [...document.querySelectorAll('.row')].map((row) => row.id)"
        return [name.removeprefix("row-") for name in self.js(items)]

    def text(self, selector):
        find = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
        return self.js(find, selector)

    def click(self, selector):
        self.js("document.querySelector(arguments[0]).click()", selector)

    def complaints(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self):
        events = [
            json.loads(each["message"])["message"] for each in self.driver.get_log("performance")
        ]
        return {
            event["params"]["request"]["url"].partition("#")[0]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        } - {"about:blank", "data:,"}


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with started(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(driver, tmp_path):
    def opened(kept, dropped=(), **values):
        return Page(driver, write_run(tmp_path / "run", kept, dropped, **values).report())

    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    return opened


def test_rows_are_searched_whatever_their_case_and_form(page):
    rows = [row(i) for i in range(30)]
    rows[3] = replace(row(3), output="Fi\u0300nd the RIVER  of\u200b gold", messages=())
    rows[4] = replace(row(4), output="เที่ยวตลาดน\u0e4d\u0e49\u0e32", messages=())
    seen = page(rows)
    assert seen.count() == "30 rows" and len(seen.ids()) == 25
    for query, ids in [
        ("the river of gold", [rows[3].id]),
        ("ｒｉｖｅｒ", [rows[3].id]),
        ("f\u00ecnd", [rows[3].id]),
        ("ตลาดน้ำ", [rows[4].id]),
        (rows[7].id, [rows[7].id]),
        ("nothing has this", []),
    ]:
        seen.choose(query=query)
        assert seen.ids() == ids, query
    assert seen.count() == "0 of 30 rows"
    seen.click("#clear")
    assert seen.count() == "30 rows"


def test_rows_are_filtered_and_turned_over(page):
    kept, dropped = sample(60)
    seen = page(kept, dropped)
    seen.choose(task="open_qa", kind="general", reason="kept")
    assert seen.count() == "15 of 65 rows"
    seen.click("#clear")
    seen.choose(reason="diversity: near-duplicate")
    assert seen.ids() == [each.id for each in dropped[:2]]
    seen.choose(reason="dropped")
    assert len(seen.ids()) == 5
    seen.click("#clear")
    seen.click("#after")
    assert seen.ids() == [each.id for each in kept[25:50]]
    assert seen.text("#where") == ["26 to 50"]
    assert seen.js("return document.activeElement.id") == "rows-title"
    seen.click("#before")
    assert seen.js("return document.getElementById('before').disabled")
    # Links of the tables and the findings lead to the rows that they count.
    seen.click("[data-filter=reason][data-value='grounding: number not in the context']")
    assert seen.ids() == [each.id for each in dropped[2:]]
    seen.click("[data-filter=page]")
    assert len(seen.ids()) == 3 and "from the page https://th.example/" in seen.count()


def test_a_row_opens_by_its_link_wherever_it_stands(page):
    kept, dropped = sample(60)
    seen = page(kept, dropped)
    seen.open(f"#row-{kept[55].id}")
    assert seen.js("return document.activeElement.closest('.row').id") == f"row-{kept[55].id}"
    assert kept[55].output in seen.text(".row.open .said")
    seen.choose(task="closed_qa")
    seen.js("location.hash = arguments[0]", f"row-{dropped[0].id}")
    seen.driver.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
    (facts,) = seen.text(".row.open .facts")
    assert "Dropped" in facts and f"Duplicate of{dropped[0].duplicate_of}" in facts
    seen.click(f".facts a[href='#row-{dropped[0].duplicate_of}']")
    seen.driver.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
    assert seen.text(".row.open .facts")[0].endswith(dropped[0].duplicate_of)
    seen.open("#row-%E0%A4%A")
    assert seen.count() == "65 rows" and not seen.complaints()


def test_a_row_shows_its_source_its_evidence_and_its_prompt(driver, tmp_path):
    run = small_pipeline(thai_llm()).run(12, tmp_path, clock=FakeClock())
    (told,) = [each for each in run.dataset if each.input][:1]
    seen = Page(driver, run.report())
    seen.open(f"#row-{told.id}")
    assert seen.text(".source .said") == [told.input]
    seen.click("summary")
    assert any(told.input in text for text in seen.text(".prompt .said"))
    text = "บรรทัดแรก\n\nเรือ  หางยาว แล่นช้า ตอนเช้า"
    source = Source("wikipedia", "เรือ", "https://th.example/wiki/%E0%B9%80", license="CC-BY-SA-4.0")
    marked = replace(row(1), input=text, evidence="เรือ หางยาวแล่นช้า", source=source, messages=())
    seen = Page(driver, write_run(tmp_path / "own", [marked]).report())
    seen.click(".head")
    assert seen.text("mark") == ["เรือ  หางยาว แล่นช้า"] and seen.text(".source .said") == [text]
    links = seen.js("return [...document.querySelectorAll('.facts a')].map((a) => [a.href, a.rel])")
    assert ["https://th.example/wiki/%E0%B9%80", "noopener noreferrer"] in links
    assert seen.js("return document.querySelector('.head').ariaExpanded") == "true"
    seen.click(".head")
    assert not seen.text(".said")


def test_hostile_rows_are_shown_as_text(page):
    rows = [
        Instruction(
            "qa", text, text[::-1], input=text, id=f"{i} {text[:30]}", evidence=text, topic=text,
            source=Source(text[:30], text, text), facets={text[:30]: text}, language=text[:20],
            messages=(Message("user", text), Message("assistant", text[::-1])),
        )
        for i, text in enumerate(HOSTILE)
    ]  # fmt: skip
    seen = page(rows, [lost(100 + i, text[:300]) for i, text in enumerate(HOSTILE)], vectors=False)
    seen.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True},
    )
    seen.js("document.querySelectorAll('.head').forEach((head) => head.click())")
    seen.js("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    said = seen.text(".said")
    assert HOSTILE[0] in said and any("\\u202eกลับ\\u2067ด้าน" in text for text in said)
    assert seen.js("return document.querySelectorAll('script, img, #list svg').length") == 2
    assert seen.js("return document.documentElement.scrollWidth") <= 360, "no text widens the page"
    links = seen.js("return [...document.querySelectorAll('a')].map((a) => a.protocol)")
    assert set(links) == {"file:", "https:"}
    assert not seen.complaints() and seen.requests() == {seen.address}


def test_nothing_is_asked_of_a_network_and_the_policy_would_not_let_it(page):
    kept, dropped = sample(40)
    seen = page(kept, dropped, vectors=True)
    seen.open(f"#row-{kept[3].id}")
    assert seen.requests() == {seen.address} and not seen.complaints()
    check_policy(seen.driver)


def test_five_thousand_rows_hold_no_more_elements_than_a_page_of_them(page):
    kept, dropped = sample(4600)
    seen = page(kept, dropped, vectors=True)
    assert seen.count() == "5,000 rows", "of 5,014: the page holds no more"
    assert len(seen.ids()) == 25
    seen.choose(query="4321")
    assert all("4321" in text for text in seen.text(".says")) and seen.ids()
    seen.click("#clear")
    seen.choose(reason="diversity: near-duplicate")
    last = seen.ids()[-1]
    seen.open(f"#row-{last}")
    assert len(seen.text(".row.open")) == 1 and not seen.complaints()


def test_a_press_on_the_map_opens_the_row(page):
    kept, dropped = sample(60)
    seen = page(kept, dropped, vectors=True)
    seen.js(
        """
        const map = document.querySelector(".map640"), frame = map.getBoundingClientRect();
        const [x, y] = data.rows.find((row) => row.id === arguments[0]).at;
        const at = (share, start, size) => start + size * (8 + share * 624) / 640;
        map.dispatchEvent(new MouseEvent("click", { bubbles: true,
          clientX: at(x, frame.left, frame.width), clientY: at(y, frame.top, frame.height) }));
        """,
        kept[9].id,
    )
    seen.driver.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
    assert seen.js("return location.hash") == f"#row-{kept[9].id}"
    assert len(seen.text(".row.open")) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_can_be_read_and_reached(page, scheme, width):
    kept, dropped = sample(60)
    alike = [lost(500 + i, "diversity: near-duplicate", kept[i].id) for i in range(10)]
    seen = page(kept, [*dropped, *alike], vectors=True)
    seen.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    seen.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    seen.open(f"#row-{alike[0].id}")
    assert seen.js("return document.documentElement.scrollWidth") <= width
    contrast = seen.js(
        """
        const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
          .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
          .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = (element) => {
          for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (!colour.endsWith(", 0)")) return colour;
          }
        };
        const hasText = (element) =>
          [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        const shown = [...document.querySelectorAll("body *")].filter((element) =>
          element.checkVisibility() && hasText(element) && !element.disabled);
        return shown.map((element) => {
          const style = getComputedStyle(element), svg = element.closest("svg");
          const colours = [svg ? style.fill : style.color, behind(svg ?? element)];
          const [a, b] = colours.map(light).sort((x, y) => y - x);
          return [element.textContent.slice(0, 20), (a + 0.05) / (b + 0.05)];
        });
        """
    )
    assert len(contrast) > 100 and not [pair for pair in contrast if pair[1] < 4.5], "WCAG AA"
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    ActionChains(seen.driver).send_keys("\ue004").perform()  # tab
    focused = "const style = getComputedStyle(document.activeElement);"
    assert seen.js(f"{focused} return [style.outlineStyle, style.outlineWidth]") == ["solid", "3px"]
    labels = {
        each.accessible_name
        for each in seen.driver.find_elements(By.CSS_SELECTOR, "form input, form select")
        if each.is_displayed()
    }
    assert labels == {"Search", "Task", "Topics", "Kept or dropped", "Finding"}


def test_texts_of_any_script_have_room_and_their_direction(page):
    arabic = replace(row(0), language="ar", output="مرحبا 123 بالعالم", messages=())
    seen = page([arabic, row(1)])
    seen.js("document.querySelectorAll('.head').forEach((head) => head.click())")
    said = seen.js(
        "return [...document.querySelectorAll('.assistant .said')].map((one) => {"
        "const style = getComputedStyle(one);"
        "return [one.lang, one.matches(':dir(rtl)'),"
        "parseFloat(style.lineHeight) / parseFloat(style.fontSize)]; })"
    )
    assert [each[:2] for each in said] == [["ar", True], ["th", False]]
    assert all(each[2] >= 1.8 for each in said), "marks are stacked on each other"


def test_on_paper_the_figures_stand_without_the_browser(page):
    seen = page(*sample(60))
    seen.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        hidden = "return getComputedStyle(document.getElementById(arguments[0])).display"
        assert [seen.js(hidden, name) for name in ("filters", "list")] == ["none", "none"]
        assert seen.js(hidden, "funnel") == "block"
    finally:
        seen.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_files_of_the_page_are_in_the_package():
    from pathlib import Path

    folder = Path(sf.__file__).parent / "report"
    assert all((folder / name).is_file() for name in ("page.html", "style.css", "browser.js"))
