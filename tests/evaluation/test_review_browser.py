"""The review page in a real browser: a headless Chromium that is driven by the keyboard."""

import csv
import functools
import io
import itertools
import json
import re
import time
from pathlib import Path

import pytest

from seedfree.evaluation.review_sheet import _FORMULA, read_reviews, review_sheet
from seedfree.records import Instruction
from seedfree.text import clean
from tests.chromium import check_policy, needs_chromium, started

pytestmark = needs_chromium

HOSTILE = [
    "</script><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>",
    "</script ><!-- <script ",
    "${alert(4)} {{7*7}} @@SHEET@@ \\u003c &lt;b&gt; \u2028 \u2029 \x00 \x1b[31m",
    "\u202eกลับ\u2067ด้าน",
    "ก" * 20_000,
    "w" * 20_000,
    "\ud800 ครึ่ง \udfff",
    "  ช่องว่าง\n\n\tแท็บ  ",
    "نص عربي مع 123 و English",
    "👩\u200d👩\u200d👧 ກຂ ကခ កខ",
]


def rows(n):
    return [
        Instruction("qa", f"โจทย์ {i}", f"คำตอบ {i}", language="th", id=f"id-{i}") for i in range(n)
    ]


class StorageLost(Exception):
    """Stands for a fault of Chromium: a busy one now and then gives a document no real storage.

    The document reads back what it writes, and its next load has none of it: about one load in
    thirty with six busy processes on two cores.
    """


def keeps(test):
    """Runs a test that reloads its page again where the browser lost the storage."""

    @functools.wraps(test)
    def attempts(page):
        for _ in range(4):
            try:
                return test(page)
            except StorageLost as error:
                lost = error
        raise lost

    return attempts


class Page:
    """A sheet in the browser, in a profile where nothing is kept yet."""

    def __init__(self, driver, folder, items, n=50, **options):
        self.driver, self.folder = driver, folder
        self.path = review_sheet(items, n, folder / "review.html", **options)
        self.key = json.loads((folder / "review.key.json").read_text("utf-8"))
        driver.get(self.path.as_uri())
        self.js("localStorage.clear()")
        driver.refresh()
        driver.get_log("performance")

    def reload(self):
        """Opens the page again; raises StorageLost where nothing is kept for it."""
        self.driver.refresh()
        if not self.text("where"):
            raise StorageLost

    def js(self, code, *values):
        return self.driver.execute_script(code, *values)

    def press(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def begin(self, name="สมชาย"):
        self.press(name, "\ue007")

    def text(self, name):
        return self.js("return document.getElementById(arguments[0]).innerText", name)

    def texts(self):
        return self.js(
            "return [...document.querySelectorAll('.text')].map((text) => text.textContent)"
        )

    def pressed(self):
        """The marks of the row that is open, None where there is none."""
        marks = self.js(
            "return [...document.querySelectorAll('.scale')].map((scale) => "
            "scale.querySelector('[aria-pressed=true]')?.innerText)"
        )
        return [mark and int(mark) for mark in marks]

    def saved(self):
        """Waits for the file that the browser saves."""
        for _ in range(500):
            if files := list(self.folder.glob("*.csv")):
                return files[0]
            time.sleep(0.01)
        raise AssertionError("nothing was saved")

    def requests(self):
        """Addresses of all that the browser asked for since the page was opened."""
        events = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return {
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        }


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with started(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(driver, tmp_path):
    def opened(items, **options):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": str(folder), "eventsEnabled": False},
        )
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        return Page(driver, folder, items, **options)

    return opened


@keeps
def test_a_sheet_is_marked_by_keyboard_alone_left_and_gone_on_with(page):
    sheet = page(rows(6))
    assert not sheet.js("return document.getElementById('start').hidden")
    assert "6 ข้อ" in sheet.text("intro")
    sheet.press("\ue007")  # no name: nothing begins
    assert sheet.js("return document.getElementById('row').hidden")
    sheet.begin("=สมชาย")
    sheet.press(
        "345\ue007", "112", "c", '=1+1, "ดี"; j5', "\ue007", "บรรทัดสอง", "\ue00c", "\ue007", "55"
    )
    assert sheet.text("where") == "ข้อ 3 จาก 6" and sheet.text("done") == "ให้คะแนนแล้ว 2 ข้อ"
    assert sheet.pressed() == [5, 5, None]

    sheet.reload()
    assert sheet.text("where") == "ข้อ 3 จาก 6" and sheet.pressed() == [5, 5, None]
    sheet.driver.switch_to.new_window("tab")
    sheet.driver.get(sheet.path.as_uri())
    assert sheet.pressed() == [5, 5, None]
    sheet.press("2", "j", "s", "444", "\ue014", "123", "q", "5", "0", "k")  # \ue014: right
    assert sheet.text("where") == "ข้อ 5 จาก 6" and sheet.pressed() == [4, 4, 4]
    sheet.press("f")
    assert "ยังไม่ได้ให้คะแนน 1 ข้อ ข้ามไป 1 ข้อ" in sheet.text("left")
    sheet.press("\ue004", "\ue007")  # tab to the button that saves
    path = sheet.saved()
    assert sheet.text("saved") == f"บันทึกเป็น {path.name} ในโฟลเดอร์ดาวน์โหลดแล้ว"
    assert "=" not in path.name
    assert path.read_bytes().startswith(
        b"\xef\xbb\xbfsheet,item,reviewer,fluency,culture,correctness,comment\r\n"
    )
    assert ",'=สมชาย," in path.read_text("utf-8-sig")
    reviews = read_reviews(path, key=sheet.path.with_suffix(".key.json"))
    marks = [(r.fluency, r.culture, r.correctness) for r in reviews.rows]
    assert marks == [(3, 4, 5), (1, 1, 2), (5, 5, 2), (None, None, None), (4, 4, 4), (None, 2, 3)]
    assert reviews.reviewers == ("=สมชาย",) and reviews.rows[1].comment == '=1+1, "ดี"; j5\nบรรทัดสอง'
    asked = {url for url in sheet.requests() if not url.startswith(("blob:", "data:"))}
    assert asked == {sheet.path.as_uri()}
    assert sheet.js("return performance.getEntriesByType('resource').length") == 0


def test_keys_count_by_their_place_on_a_thai_keyboard(page):
    sheet = page(rows(2))
    sheet.begin()
    for key, code in (("ภ", "Digit4"), ("/", "Digit2"), ("๕", "Numpad5"), ("่", "KeyJ")):
        for kind in ("keyDown", "keyUp"):
            sheet.driver.execute_cdp_cmd(
                "Input.dispatchKeyEvent", {"type": kind, "key": key, "code": code}
            )
    assert sheet.text("where") == "ข้อ 2 จาก 2" and sheet.text("done") == "ให้คะแนนแล้ว 1 ข้อ"
    sheet.press("k")
    assert sheet.pressed() == [4, 2, 5]
    sheet.driver.execute_cdp_cmd(
        "Input.dispatchKeyEvent", {"type": "keyDown", "key": "1", "code": "Digit1", "modifiers": 2}
    )
    assert sheet.pressed() == [4, 2, 5], "with Ctrl it is the browser's key"


def test_hostile_rows_are_shown_as_the_text_that_they_are(page):
    items = [
        Instruction("qa", text, text[::-1], input=text, id=str(n)) for n, text in enumerate(HOSTILE)
    ]
    sheet = page(items)
    sheet.begin()
    sheet.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True},
    )
    for origin in sheet.key["items"].values():
        text = HOSTILE[origin["row"]]
        assert sheet.texts() == [clean(text), clean(text), clean(text[::-1])]
        width, scrolled, left = sheet.js(
            "return [innerWidth, document.documentElement.scrollWidth,"
            "document.getElementById('where').getBoundingClientRect().left]"
        )
        assert scrolled <= width == 360 and left < 40, "no text widens the page or turns it round"
        sheet.press("j")
    assert sheet.js("return document.querySelectorAll('script, img, svg').length") == 2
    assert not [entry for entry in sheet.driver.get_log("browser") if entry["level"] == "SEVERE"]


def test_the_policy_lets_nothing_in_or_out(page):
    sheet = page(rows(1))
    check_policy(sheet.driver)


@keeps
def test_each_reviewer_has_marks_of_their_own_and_damage_is_nothing(page):
    sheet = page(rows(2), language="en")
    sheet.begin("A")
    sheet.press("123")
    sheet.press("f", "\ue004", "\ue004", "\ue004", "\ue007")  # tab to "another reviewer"
    sheet.begin("B")
    assert sheet.text("where") == "1 of 2" and sheet.pressed() == [None, None, None]
    sheet.js(
        "for (const name of Object.keys(localStorage))"
        " if (name.endsWith('/B')) localStorage[name] = '{\"marks\": 7'"
    )
    sheet.reload()
    assert sheet.pressed() == [None, None, None]
    for kept in ('{"marks": 7', '{"at": 99, "marks": {"r1": {"fluency": "<b>", "culture": 4}}}'):
        sheet.js("localStorage[`${place}/B`] = arguments[0]", kept)
        sheet.reload()
    assert sheet.pressed() == [None, 4, None] and sheet.text("where") == "1 of 2"


def test_where_the_browser_keeps_nothing_it_says_so_and_still_saves(page):
    script = """
        Object.defineProperty(window, "localStorage", {
          get() { throw new DOMException("no", "SecurityError"); }
        });
        """
    sheet = page(rows(2), language="en")
    added = sheet.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": script}
    )
    try:
        sheet.driver.refresh()
        assert "keeps nothing" in sheet.text("unkept")
        sheet.begin("A")
        sheet.press("123j", "321\ue007", "\ue004", "\ue007")
        reviews = read_reviews(sheet.saved(), key=sheet.path.with_suffix(".key.json"))
        assert [r.fluency for r in reviews.rows] == [1, 3]
    finally:
        sheet.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_and_reached(page, scheme):
    from selenium.webdriver.common.by import By

    sheet = page(rows(2), language="en")
    sheet.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    sheet.begin()
    groups = sheet.driver.find_elements(By.CSS_SELECTOR, ".question")
    assert [group.accessible_name for group in groups][
        0
    ] == "Does the answer read as a native speaker would write it?"
    names = [button.accessible_name for button in groups[0].find_elements(By.TAG_NAME, "button")]
    assert names == ["1, unreadable", "2", "3", "4", "5, native"]
    assert sheet.driver.find_element(By.ID, "comment").accessible_name.startswith("Comment")
    assert sheet.js("return document.activeElement.innerText") == "Text 1 of 2"
    sheet.press("3")
    assert sheet.text("heard") == "Language: 3"
    sheet.press("\ue004")
    focused = """
        const style = getComputedStyle(document.activeElement);
        return [style.outlineStyle, parseFloat(style.outlineWidth)];
        """
    assert sheet.js(focused) == ["solid", 3]
    contrast = sheet.js(
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
        const shown = [...document.querySelectorAll("body *")].filter(
          (element) => element.checkVisibility() && hasText(element) && !element.disabled);
        return shown.map((element) => {
          const colours = [getComputedStyle(element).color, behind(element)];
          const [a, b] = colours.map(light).sort((x, y) => y - x);
          return [element.innerText.slice(0, 20), (a + 0.05) / (b + 0.05)];
        });
        """
    )
    assert len(contrast) > 30 and not [pair for pair in contrast if pair[1] < 4.5], "WCAG AA"


def test_the_template_is_in_the_package():
    import seedfree.evaluation

    assert (Path(seedfree.evaluation.__file__).parent / "review.html").is_file()


def test_no_cell_begins_a_formula_wherever_the_saved_file_is_opened(page):
    sheet = page(rows(1))
    texts = [
        "=1+1",
        "a;=1+1",
        "a\n@x",
        "\t=1",
        ";\t-1",
        "a\t+1;\ufeff=2",
        "'=1",
        ";'=1",
        "a;'b",
        "\x01=1",
    ]
    cells = [sheet.js("return cell(arguments[0])", text) for text in texts]
    for text, cell in zip(texts, cells, strict=True):
        for mark in ",;\t":
            shown = csv.reader(io.StringIO(cell, newline=""), delimiter=mark)
            # One that reads the quotes, and one that takes every line and mark for an end.
            seen = [*itertools.chain(*shown), *re.split(r"[;\t\r\n]", cell.strip('"'))]
            assert not any(re.match(r"[\x00-\x1f\x7f\ufeff]*[=+\-@]", each) for each in seen), cell
        assert _FORMULA.sub("", next(csv.reader(io.StringIO(cell, newline="")))[0]) == text
