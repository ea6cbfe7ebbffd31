#!/usr/bin/env python3
"""The HTML report in a real browser: that it can be read, used and trusted, with and without scripts.

check_html.py [--screenshots DIR] [--chromium FILE] [--chromedriver FILE] PAGES

PAGES is the folder that make_html filled. Pictures of the pages are left beside them; --screenshots writes those that
are published. Ends with 77 where there is no browser to drive.
"""

import argparse
import base64
import os
import pathlib
import shutil
import sys
import tempfile
import urllib.parse

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait
except ImportError:
    print(f"skipped: {sys.executable} lacks selenium (Debian: python3-selenium)")
    sys.exit(77)

MOST_MS = 2000  # until a page of 5,000 rows has loaded

# As tests/make_html.c writes it, and as reports/text.h says that it comes out.
HOSTILE = (
    "hostile</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`--></title></style><!-- &lt; "
    "${alert(3)}\u240a\u2409\u2401\u2421\ufffd\ufffd(\ufffddesrever\\"
)


class Browser:
    """Chromium without a window, and what a page did in it."""

    def __init__(self, options, scripts=True):
        self.profile = tempfile.mkdtemp(prefix="qwen3-parity-chromium-")
        chosen = Options()
        chosen.binary_location = options.chromium
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                         "--hide-scrollbars", f"--user-data-dir={self.profile}"):
            chosen.add_argument(argument)
        if not scripts:
            chosen.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        chosen.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service(options.chromedriver), options=chosen)
        self.pages = pathlib.Path(options.pages).resolve()

    def close(self):
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def look(self, width=1280, height=1600, dark=False):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, page, fragment=""):
        self.driver.get("about:blank")
        self.driver.get(f"{(self.pages / page).as_uri()}.html{fragment}")

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        """Of all such elements, whether they are in view or not."""
        return self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())",
                        selector)

    def wait(self, script):
        WebDriverWait(self.driver, 10).until(lambda driver: driver.execute_script(script))

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def picture(self, path):
        self.run("return new Promise((done) => setTimeout(done, 400))")  # charts are drawn when they come into view
        path.write_bytes(self.driver.get_screenshot_as_png())


def require(holds, what):
    if not holds:
        raise AssertionError(what)


def same(found, wanted, what):
    require(found == wanted, f"{what}: {found!r}, not {wanted!r}")


# ---- With scripts. ----


def check_no_complaints(browser):
    for page in sorted(browser.pages.glob("*.html")):
        for dark in (False, True):
            browser.look(dark=dark)
            browser.open(page.stem)
            browser.run("for (let y = 0; y < document.body.scrollHeight; y += 500) scrollTo(0, y)")
            browser.run("return new Promise((done) => setTimeout(done, 200))")
            same(browser.complaints(), [], page.stem)


def check_loads_fast(browser):
    browser.look()
    for page in ("large", "large-exact"):
        times = []
        for _ in range(3):
            browser.open(page)
            browser.wait("return performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
            times.append(browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd"))
        print(f"{page}: loaded after {', '.join(f'{time:.0f}' for time in times)} ms")
        require(min(times) < MOST_MS, f"{page} takes too long to load")
        same(len(browser.texts("#rows-table tbody tr")), 5000, "rows")


def check_loads_nothing(browser):
    browser.open("pass")
    loaded = browser.run("return performance.getEntriesByType('resource').map((e) => e.name)")
    same(loaded, [], "loaded besides the page")
    blocked = browser.run(
        "return new Promise((done) => { document.addEventListener('securitypolicyviolation', () => done(true));"
        "new Image().src = 'https://example.org/x.png'; setTimeout(() => done(false), 2000); })")
    require(blocked, "the page may load from the network")
    browser.complaints()


def check_where_to_start(browser):
    """What failed, or else is untrusted, and never what is waived: the card, and what is shown with it."""
    for page, keys in (("waived", []), ("untrusted", ["aistonia/prefill/model.layers.0.self_attn.k_proj"])):
        browser.open(page)
        same(browser.texts(".start .key a"), keys, f"{page}: where to start")
        first = browser.texts("#rows-table tbody th")[0]
        same(browser.texts("#chosen h3"), keys or [first], f"{page}: the chosen row")
    browser.open("waived")
    require("PASS" in browser.find("#summary .stamp").text, "waived rows fail")
    browser.run("document.querySelector('#rows-table tbody tr:nth-child(4)').click()")
    same(browser.texts("#chosen .why"), ["1,000 of 524,288 elements differ", "excuse: another order of the sum"],
         "a row within a bound")
    same(browser.complaints(), [], "a row that differs without a worst element")


def check_first_screen(browser):
    browser.look()
    browser.open("pass")
    require("PASS" in browser.find("#summary .stamp").text, "no PASS")
    tiles = dict(zip(browser.texts("#summary .tiles dt"), browser.texts("#summary .tiles dd")))
    same(tiles["Boundaries exact"], "27 of 27", "boundaries")
    same(tiles["Rows exact"], "3,480 of 3,480", "rows")
    same(tiles["Differ, local"], "0", "local mismatches")
    browser.open("failing")
    require("FAIL" in browser.find("#summary .stamp").text, "no FAIL")
    same(browser.texts(".start .key a"), ["aistonia/prefill/model.layers.0.input_layernorm"], "where to start")
    same(browser.texts("#chosen h3"), browser.texts(".start .key a"), "the chosen row")
    require("weight-before-cast" in browser.find(".start").text, "the kernel is not named")
    require(browser.find(".start").location["y"] < 800, "where to start is not on the first screen")
    browser.open("empty")
    require("FAIL" in browser.find("#summary .stamp").text, "nothing compared looks like success")
    require("Nothing was compared" in browser.find("h1").text, "nothing compared is not said")
    same(browser.texts("nav a"), [], "links to what is not there")
    browser.open("fused")
    require("Every bit that was compared" in browser.find("h1").text, "what is inside of nodes is said to be compared")
    browser.open("bench")
    require("PASS" in browser.find("#timing-summary .stamp").text, "bench: no PASS")


def check_unusual(browser):
    browser.open("unusual")
    text = browser.run("return document.body.textContent")
    for part in ("The run did not end", "line 7: the waiver", "no node of the plan writes it",
                 "model.layers.*.gqa_attention", "issue 12", "wrote behind its output", "1,234"):
        require(part in text, f"'{part}' is not said")
    same(browser.texts("#rows-table tbody tr.w td:nth-child(3)"), ["waived"], "waived")
    same(browser.texts("#rows-table tbody tr.u td:nth-child(3)"), ["untrusted"] * 2, "untrusted")
    for row, wanted in ((12, ["token 1, channel 1", "0x3f8000001", "0x80000000-0", "0x1.8p-10.75", "-1,065,353,217"]),
                        (14, ["token 0, channel 0", "0x00000000000000055", "0xffffffffffffffff-1"])):
        browser.run("document.querySelector(`#rows-table tbody tr:nth-child(${arguments[0]})`).click()", row)
        found = browser.texts("#worst tbody tr:first-child td")
        for part in wanted:
            require(part in found, f"{part!r} is not among {found}")
    browser.run("document.querySelector('#rows-table tbody tr:nth-child(10)').click()")
    require("-Infinity" in browser.texts("#worst tbody tr:first-child td")[3], "an infinity of fp64 is not shown")
    require("without 524,288 pairs" in browser.find("#chosen .origin").text, "what did not come in is not counted")


def check_not_finite(browser):
    """An error of no pair is unknown, and not 0."""
    browser.open("unusual")
    same(browser.texts("#rows-table tbody tr:nth-child(9) td")[5:8], ["nan"] * 3, "errors of no pair")
    line = "[...document.querySelectorAll('#boundaries tbody tr')].find((e) => e.cells[0].textContent.trim() === " \
           "'model.layers.*.self_attn.q_norm').cells"
    same(browser.run(f"return [...{line}].slice(8, 10).map((e) => e.textContent.trim())"), ["-", "-"], "pooled errors")
    for row, wanted in ((9, ["not finite"] * 3), (11, ["0", "1.23e-3", "1.21e-3"])):
        browser.run("document.querySelector(`#rows-table tbody tr:nth-child(${arguments[0]})`).click()", row)
        same(browser.texts("#errors tbody td:nth-child(2)"), wanted, "errors of the chosen row")
    same(browser.texts("#errors tbody td:nth-child(4)"), ["0", "3", "3"], "pairs that were left out")
    for column in (7, 10):
        button = browser.find(f"#rows-table thead th:nth-child({column}) button")
        for descending in (True, False):
            button.click()
            figures = [-1.0 if text == "" else float("inf") if text == "nan" else float(text)
                       for text in browser.texts(f"#rows-table tbody td:nth-child({column})")]
            same(figures, sorted(figures, reverse=descending), f"column {column}, sorted")


def keys_in_view(browser, count):
    return browser.run("return [...document.querySelectorAll('#rows-table tbody tr')].filter((e) => e.offsetParent)"
                       ".slice(0, arguments[0]).map((e) => e.cells[0].textContent.trim())", count)


def check_sort(browser):
    browser.open("failing")
    header = browser.find("#rows-table thead th:nth-child(6)")
    first = keys_in_view(browser, 5)
    header.find_element(By.TAG_NAME, "button").click()
    same(header.get_attribute("aria-sort"), "descending", "aria-sort")
    figures = [int(text.replace(",", "")) for text in browser.texts("#rows-table tbody td:nth-child(6)")]
    same(figures, sorted(figures, reverse=True), "sorted by ulp")
    require(keys_in_view(browser, 5) != first, "the order did not change")
    header.find_element(By.TAG_NAME, "button").click()
    same(header.get_attribute("aria-sort"), "ascending", "aria-sort")
    header.find_element(By.TAG_NAME, "button").click()
    same(header.get_attribute("aria-sort"), "none", "aria-sort")
    same(keys_in_view(browser, 5), first, "the order of the plan")


def check_filter(browser):
    browser.open("failing")
    field = browser.find("#filter-text")
    field.send_keys("decode.003 q_norm")
    same(browser.find("#filter output").text, "16 of 3,480 rows", "filtered")
    found = keys_in_view(browser, 99)
    require(all("decode.003" in key and "q_norm" in key for key in found), "a row that does not fit")
    field.send_keys(" weight-before-cast nosuchword")
    same(browser.find("#filter output").text, "0 of 3,480 rows", "filtered")
    browser.run("arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))", field)
    browser.run("const s = document.querySelectorAll('#filter select'); s[0].value = 'local'; s[1].value = 'open';"
                "for (const e of s) e.dispatchEvent(new Event('change'))")
    require(browser.find("#filter output").text.endswith(" of 3,480 rows"), "no count")
    same(set(browser.texts("#rows-table tbody tr.on td:nth-child(2)")), {"local"}, "modes")
    same(set(browser.texts("#rows-table tbody tr.on td:nth-child(3)")), {"fail"}, "verdicts")


def check_scrolling_shows_all(browser):
    browser.open("large")
    browser.wait("const b = document.querySelector('.rows-box'); b.scrollTop = b.scrollHeight;"
                 "return document.querySelectorAll('#rows-table tr.on').length > 1000")


def check_links(browser):
    browser.open("failing")
    element, key = browser.run("const e = [...document.querySelectorAll('#rows-table tbody tr')].at(-3);"
                               "return [e.id, e.cells[0].textContent.trim()]")
    browser.open("large")
    ids = browser.run("return [...document.querySelectorAll('#rows-table tbody tr')].map((e) => e.id)")
    same(len(set(ids)), 5000, "ids")
    for fragment in (f"#{element}", "#" + urllib.parse.quote(key)):
        browser.open("failing", fragment)
        same(browser.texts("#chosen h3"), [key], f"chosen by {fragment}")
    browser.open("pass", f"#{element}")
    same(browser.texts("#chosen h3"), [key], "the same id in another report")
    browser.run("location.hash = document.querySelector('.map td a, #rows-table tbody a').getAttribute('href')")
    browser.wait(f"return document.querySelector('#chosen h3').textContent !== {key!r}")


def check_links_again(browser):
    """A link to the row that the address names already chooses it again."""
    browser.look()
    browser.open("failing")
    other = "document.querySelector('#rows-table tbody tr:nth-child(12)').click()"
    title = "return document.querySelector('#chosen h3').textContent === "
    browser.run("document.querySelector('#depth-chart').scrollIntoView()")
    browser.wait("return !!Chart.getChart('depth-chart')")
    link = "document.querySelector('.map td a').click()"
    point = "Chart.getChart('depth-chart').options.onClick({}, [{ index: 7 }])"
    for go in (link, point):
        browser.run(go)
        browser.wait("return location.hash.slice(1) === document.querySelector('#rows-table [aria-current]').id")
        key = browser.texts("#chosen h3")[0]
        browser.run(other)
        require(browser.texts("#chosen h3") != [key], "no other row was chosen")
        browser.run(go)
        browser.wait(title + repr(key))


def check_chosen_row(browser):
    browser.look()
    browser.open("failing")
    browser.run("document.querySelector('#rows-table tbody tr:nth-child(9)').click()")
    same(browser.texts("#chosen h3"), ["aistonia/prefill/model.layers.0.input_layernorm"], "chosen")
    same(browser.texts("#rows-table tr[aria-current=true] td:nth-child(2)"), ["local"], "marked")
    position, golden, ours, fp64, distance = browser.texts("#worst tbody tr:first-child td")
    same([position, golden, ours, distance], ["token 0, channel 1", "0x3fe11.7578125", "0x3fe21.765625", "+1"],
         "the worst element")
    require(fp64.startswith("0x1."), "fp64 is not hexadecimal")
    browser.run("document.querySelector('#chosen').scrollIntoView()")
    browser.wait("return !!Chart.getChart('histogram')")
    counts = browser.run("return Chart.getChart('histogram').data.datasets[0].data")
    same(sum(count or 0 for count in counts), 5888, "elements of the histogram")
    browser.run("document.querySelector('#rows-table tbody tr:nth-child(12)').click()")
    require("Came in" in browser.find("#chosen .origin").text, "where a carried difference came from is not said")
    browser.run("document.querySelector('#rows-table tbody tr:nth-child(1)').click()")
    browser.wait("return Chart.getChart('histogram')?.data.datasets[0].data[5] === 5888")


def draw(browser, chart):
    browser.run("document.getElementById(arguments[0]).scrollIntoView()", chart)
    browser.wait(f"return !!Chart.getChart('{chart}')")


def check_charts(browser):
    browser.look()
    browser.open("pass")
    for chart, sets in (("depth-chart", 3), ("bars-chart", 3), ("roofline-chart", 5), ("timeline-chart", 20)):
        draw(browser, chart)
        found = browser.run(f"return Chart.getChart('{chart}').data.datasets.length")
        require(found >= sets, f"{chart} has {found} sets of data")
    same(browser.run("return Chart.getChart('timeline-chart').data.labels.length"), 6, "lines of the time line")
    browser.open("card")
    same(browser.texts("#times tbody tr td:last-child")[3:7],
         ["the golden does not hold its output", "", "hot: the clock was low in every sample",
          "it is another one now; cold: no clock; in-model: no clock"], "why there is no time")
    same(browser.texts("#passes tbody td:nth-child(7)")[1:], ["322.6", "322.6"], "tokens a second")


def check_depth(browser):
    """The chart is the table's: a column for each line."""
    browser.look()
    for page in ("failing", "unusual", "pass"):
        browser.open(page)
        draw(browser, "depth-chart")
        cells, sets, floor = browser.run(
            "const [path, mode] = [...document.querySelectorAll('#depth-controls select')].map((e) => e.value);"
            "const kinds = JSON.parse(document.querySelector('#kinds').textContent);"
            "const rows = [...document.querySelectorAll('#rows-table tbody tr')].filter((e) => mode === "
            "e.cells[1].textContent && e.textContent.startsWith(path + '/') && kinds[e.dataset.k][4] !== 'i64');"
            "const chart = Chart.getChart('depth-chart');"
            "return [rows.map((e) => [6, 8, 7].map((column) => e.cells[column].textContent.trim())),"
            "chart.data.datasets.slice(0, 3).map((set) => set.data), chart.scales.y.min]")
        require(len(cells) > 10, f"{page}: {len(cells)} rows of a pass")
        wanted = [[None if text == "nan" else max(float(text), floor) for text in line] for line in zip(*cells)]
        same(sets, wanted, f"{page}: the error along the depth")
    browser.open("single")
    draw(browser, "depth-chart")
    radii = browser.run("const chart = Chart.getChart('depth-chart');"
                        "return [0, 1, 2].map((set) => chart.getDatasetMeta(set).data[0].options.radius)")
    require(min(radii) > 0, f"a point without a line is not seen: {radii}")
    browser.open("integers")
    require(not browser.find("#depth").is_displayed(), "a chart of nothing")
    require("Depth" not in browser.find("nav").text, "a link to what is not there")


def check_bars(browser):
    """The times of the chart are those of the table, which has three digits of them."""
    units = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
    browser.look()
    for page in ("pass", "card"):
        browser.open(page)
        draw(browser, "bars-chart")
        lines, sets = browser.run(
            "const pass = document.querySelector('#timing-controls select').value;"
            "const lines = [...document.querySelectorAll('#times tbody tr')]"
            ".filter((e) => e.cells[0].textContent === pass);"
            "return [lines.map((e) => [4, 5, 6].map((column) => e.cells[column].textContent.trim())),"
            "Chart.getChart('bars-chart').data.datasets.map((set) => set.data)]")
        require(len(lines) > 10, f"{page}: {len(lines)} nodes")
        for found, texts in zip(sets, zip(*lines), strict=True):
            for value, text in zip(found, texts, strict=True):
                number, _, unit = text.partition(" ")
                good = value is None if text == "–" else abs(value / (float(number) * units[unit]) - 1) < 0.006
                require(good, f"{page}: {value} in the chart, {text} in the table")


def check_map(browser):
    browser.open("failing")
    same(browser.run("return document.querySelectorAll('.map').length"), 2, "maps")
    local = "const line = [...document.querySelectorAll('.map[data-mode=local] tbody tr')].find((e) => " \
            "e.cells[0].textContent.trim() === 'model.layers.*.self_attn.q_norm'); return [...line.cells].slice(1)"
    letters = browser.run(local + ".map((e) => e.textContent.trim())")
    same(letters, ["1"] * 4 + [""] + ["1"] * 4, "the cells of q_norm")
    browser.wait(local + "[0].title !== ''")
    require("layers.0.self_attn.q_norm" in browser.run(local + "[0].title"), "a cell does not say what it is")
    browser.run("const s = document.querySelector('#map-controls select'); s.value = 'one_token';"
                "s.dispatchEvent(new Event('change'))")
    target = browser.run(local + "[0].querySelector('a').getAttribute('href').slice(1)")
    require(browser.run("return document.getElementById(arguments[0]).textContent", target).startswith("one_token/"),
            "a cell of one prompt leads to another")


def check_map_twice(browser):
    """The map as it is written, and as the script fills it anew: they must be the same."""
    late = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {
        "source": "window.requestIdleCallback = (work) => { window.lateWork = work; }"})
    cells = "return [...document.querySelectorAll('.map tbody td')].map((e) => [e.className, e.textContent.trim(), " \
            "e.querySelector('a')?.getAttribute('href') ?? ''])"
    try:
        for page in ("failing", "fused", "unusual", "large", "waived", "untrusted"):
            browser.open(page)
            same(browser.run("return document.querySelectorAll('.map td[title]').length"), 0, "cells with a title")
            written = browser.run(cells)
            browser.run("lateWork()")
            require(browser.run("return document.querySelectorAll('.map td[title]').length") > 0, "nothing was filled")
            for before, after in zip(written, browser.run(cells), strict=True):
                same(after, before, f"{page}: a cell of the map")
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", late)


def check_theme(browser):
    background = "return getComputedStyle(document.documentElement).backgroundColor"
    for dark in (False, True):
        browser.look(dark=dark)
        browser.open("failing")
        before = browser.run(background)
        browser.run("document.querySelector('#depth-chart').scrollIntoView()")
        browser.wait("return !!Chart.getChart('depth-chart')")
        line = "return Chart.getChart('depth-chart').data.datasets[0].borderColor"
        colour = browser.run(line)
        browser.find("#theme").click()
        require(browser.run(background) != before, "the theme did not change")
        require(browser.run(line) != colour, "the charts did not change with it")
        browser.find("#theme").click()
        same(browser.run(background), before, "the theme")
    browser.look()


def check_keyboard(browser):
    browser.open("failing")
    keys = webdriver.ActionChains(browser.driver)
    for _ in range(3):
        keys.send_keys(Keys.TAB)
    keys.perform()
    outline = browser.run("const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth")
    same(outline, "solid3px", "what has the focus does not show it")
    browser.run("document.querySelector('#filter select:last-of-type').focus()")
    for _ in range(40):
        webdriver.ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        if browser.run("return document.activeElement.textContent") == "differ":
            break
    same(browser.run("return document.activeElement.textContent"), "differ", "reached with Tab")
    webdriver.ActionChains(browser.driver).send_keys(Keys.ENTER).perform()
    header = browser.find("#rows-table thead th:nth-child(5)")
    same(header.get_attribute("aria-sort"), "descending", "Enter on a header")
    browser.run("document.querySelector('#rows-table tbody tr.on a').focus()")
    webdriver.ActionChains(browser.driver).send_keys(Keys.ARROW_DOWN, Keys.ENTER).perform()
    second = keys_in_view(browser, 2)[1]
    browser.wait("return document.querySelector('#chosen h3').textContent === " + repr(second))
    webdriver.ActionChains(browser.driver).send_keys(Keys.ARROW_DOWN).perform()
    third = keys_in_view(browser, 3)[2]
    same(browser.run("return document.activeElement.textContent"), third, "the row below, after Enter")
    webdriver.ActionChains(browser.driver).send_keys(Keys.TAB).perform()
    require(browser.run("return !document.querySelector('#rows-table').contains(document.activeElement)"),
            "Tab does not leave the table")
    webdriver.ActionChains(browser.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    same(browser.run("return document.activeElement.textContent"), third, "back in the table")


def check_narrow(browser):
    for page in ("failing", "pass", "unusual", "card", "hostile", "empty", "large-exact", "fused"):
        browser.look(width=360, height=800)
        browser.open(page)
        browser.run("for (let y = 0; y < document.body.scrollHeight; y += 400) scrollTo(0, y)")
        require(browser.run("return document.documentElement.scrollWidth <= innerWidth"),
                f"{page} scrolls sideways at 360 pixels")
    browser.look()


def check_hostile(browser):
    browser.look()
    browser.open("hostile")
    same(browser.complaints(), [], "complaints")
    same(browser.run("return document.querySelectorAll('img').length"), 0, "images")
    same(browser.run("return document.scripts.length"), 7, "scripts")
    same(browser.texts("#summary .notice")[0],
         f"A fault was planted: {HOSTILE}. Kernels that have it compute something wrong on purpose.", "the fault")
    require(HOSTILE in browser.run("return document.title"), "the title")
    same(browser.texts("#rows-table tbody th")[0], f"{HOSTILE}/prefill/x0", "a key")
    same(browser.texts("#not-compared tbody th"), [HOSTILE], "not compared")
    require(HOSTILE in browser.texts("#chosen .tags")[0], "the chosen row’s kernel")
    same(browser.texts("#worst tbody td")[0].split(" ")[0], HOSTILE.split(" ")[0], "an axis")
    same(browser.texts("#times tbody tr td:nth-child(1)"), [HOSTILE], "a pass")
    attributes = browser.run("return [...document.querySelectorAll('*')].flatMap((e) => e.getAttributeNames())")
    require(not any(name.startswith("on") for name in attributes), "text became an attribute")


def check_print(browser):
    browser.look()
    browser.open("failing")
    pdf = base64.b64decode(browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    require(pdf.startswith(b"%PDF") and len(pdf) > 100000, "it does not print")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    same(browser.run("return getComputedStyle(document.querySelector('#theme')).display"), "none", "a button on paper")
    same(len(keys_in_view(browser, 9999)), 3480, "rows on paper")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


# ---- Without. ----


def check_without_scripts(browser):
    def text(selector):  # scripts of the driver run, too, if the page’s may not
        return [element.get_attribute("textContent").strip() for element in
                browser.driver.find_elements(By.CSS_SELECTOR, selector)]

    browser.look()
    browser.open("unusual")
    require("FAIL" in browser.find("#summary .stamp").text, "no verdict")
    rows = browser.driver.find_elements(By.CSS_SELECTOR, "#rows-table tbody tr")
    same(len(rows), 40, "rows")
    require(all(row.is_displayed() for row in rows), "a row is hidden")
    require(not browser.driver.find_elements(By.CSS_SELECTOR, "#rows-table thead button"), "scripts ran")
    require(not browser.find("#theme").is_displayed(), "a button that does nothing")
    require(not browser.find("#chosen").is_displayed(), "an empty panel")
    require(len(text(".map tbody td a")) > 0, "there is no map")
    browser.open("unusual", "#" + rows[0].get_attribute("id"))
    same([cell for cell in text("#rows-table tr:target th")], text("#rows-table tbody th")[:1], "the target")
    browser.look(width=360, height=800)
    browser.open("unusual")
    body = browser.find("body")
    require(body.size["width"] <= 360, "it scrolls sideways")


# ---- The pictures. ----


def take_pictures(browser, folder):
    for page, name, dark in (("pass", "report-light", False), ("pass", "report-dark", True),
                             ("failing", "report-failing", False)):
        browser.look(dark=dark)
        browser.open(page)
        browser.picture(folder / f"{name}.png")
    browser.look(width=360, height=1600)
    browser.open("failing")
    browser.picture(browser.pages / "narrow.png")
    browser.look()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--screenshots", metavar="DIR", help="where the published pictures go")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--chromedriver", default="/usr/bin/chromedriver")
    parser.add_argument("pages", help="the folder that make_html filled")
    options = parser.parse_args()
    if not (os.path.exists(options.chromium) and os.path.exists(options.chromedriver)):
        print("skipped: there is no Chromium with its driver (Debian: chromium, chromium-driver)")
        return 77

    with_scripts = [check_no_complaints, check_loads_fast, check_loads_nothing, check_first_screen, check_where_to_start,
                    check_unusual, check_not_finite, check_sort, check_filter, check_scrolling_shows_all, check_links,
                    check_links_again, check_chosen_row, check_charts, check_depth, check_bars, check_map,
                    check_map_twice, check_theme, check_keyboard, check_narrow, check_hostile, check_print]
    failed = 0
    for scripts, checks in ((True, with_scripts), (False, [check_without_scripts])):
        browser = Browser(options, scripts)
        try:
            for check in checks:
                try:
                    check(browser)
                    print("ok   ", check.__name__, flush=True)
                except Exception as error:  # one check's failure hides no other's
                    failed += 1
                    print("FAIL ", check.__name__, error, flush=True)
            if scripts:
                take_pictures(browser, pathlib.Path(options.screenshots or options.pages))
        finally:
            browser.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
