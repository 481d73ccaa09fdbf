"""The report as a reader opens it: from disk, in a browser, on a desk and on a phone, by day and by night."""

import base64
import csv
import shutil
import time
from io import StringIO

import browser
import pytest
from reports import report

from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

DESK, PHONE = 1280, 390
HOSTILE = '</td><script>window.stolen = 1</script><img src="https://example.org/x.png" onerror="window.stolen = 2">'
SHARES = [("A", 1, 0.10), ("B", 1, -0.02), ("A+B", 2, 0.05)]

pytestmark = [pytest.mark.very_slow, browser.needed]


@pytest.fixture(scope="module")
def page(synthetic, tmp_path_factory):
    """report.html of two models and subjects, one of whose answers, prompts and settings are hostile."""
    folder = tmp_path_factory.mktemp("report page")
    synthetic.write_base_dir(folder, synthetic.SMALL)
    synthetic.write_shares(folder, "early_late", SHARES, ("V1v", "hV4"), (1, 2))
    store = EmbeddingStore(folder / "image_embeddings/prompt_2/llava-hf_llava-1.5-13b-hf")
    store.claim({"note": HOSTILE})
    store.write([3], {"language": synthetic.np.zeros((1, 1, 1))}, [HOSTILE])
    scored = folder / "alignment/subj01/prompt_2/llava-hf_llava-1.5-13b-hf"
    settings = {"embeddings_prompt": HOSTILE, "note": HOSTILE}
    synthetic.record_settings(scored, settings | {"model": "llava"})
    done = report(folder, drawn=True)
    assert done.returncode == 0, done.stderr
    return folder / "report" / "report.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    started = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.driver.quit()


@pytest.fixture(params=[(DESK, "light"), (PHONE, "dark")], ids=["desk-light", "phone-dark"])
def opened(request, page, chromium):
    """The page, its map drawn."""
    chromium.open(page, *request.param)
    wait_for_map(chromium)
    return chromium


def wait_for_map(chromium):
    drawn = (
        "const f = document.getElementById('map-frame').contentDocument; return Boolean(f && f.querySelector('output'))"
    )
    for _ in range(100):
        if chromium.run(drawn):
            return
        time.sleep(0.05)
    raise AssertionError("the map is not drawn")


def test_the_console_is_silent_and_nothing_is_asked_of_the_network(opened):
    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    opened.run(
        "const m = document.getElementById('map-choice'); m.selectedIndex = 1; m.dispatchEvent(new Event('change'))"
    )
    time.sleep(0.3)
    said, asked = opened.logs()
    assert said == []
    assert asked
    assert [address for address in asked if not address.startswith(("file:///", "data:", "about:srcdoc"))] == []
    assert len({address for address in asked if address.startswith("file:")}) == 1


def test_every_figure_is_drawn_and_named(opened):
    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    figures = opened.run(
        """return [...document.querySelectorAll('figure')].map((figure) => {
            const svg = figure.querySelector('svg'), box = svg.getBoundingClientRect();
            return [figure.querySelector('[role=img]').getAttribute('aria-label'), box.width, box.height,
                    svg.querySelectorAll('path, use').length, svg.querySelectorAll('text').length]; })"""
    )
    assert len(figures) > 10
    for label, width, height, n_shapes, n_texts in figures:
        assert len(label) > 40
        assert width > 250
        assert height > 80
        assert n_shapes > 5
        assert n_texts > 3
    pictures = opened.run("return [...document.images].map((image) => [image.naturalWidth, image.alt])")
    assert pictures
    assert all(width > 30 and alt for width, alt in pictures)


def test_the_figures_lie_beside_the_page_as_png_svg_and_csv(page):
    links = {*page.read_text().split('href="figures/')[1:]}
    names = {link.split('"')[0] for link in links}
    assert len(names) > 30
    for name in names:
        start = (page.parent / "figures" / name).read_bytes()[:60]
        assert start.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".csv": b'"'}[name[-4:]])


def test_no_page_is_wider_than_its_screen(opened):
    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    wide, screen = opened.run("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= screen
    ends = opened.run(
        "return [...document.querySelectorAll('caption span')].map((one) => one.getBoundingClientRect().right)"
    )
    assert ends
    assert max(ends) <= screen


def test_every_number_of_the_summary_is_seen_without_scrolling_sideways(opened):
    beyond = """const screen = window.innerWidth;
        return [...document.querySelectorAll('.facts dd, .finding, .stacked td')].map((one) => {
            const box = one.getBoundingClientRect();
            return [one.textContent, box.left >= 0 && box.right <= screen && box.width > 0]; })"""
    shown = opened.run(beyond)
    assert len(shown) > 20
    assert [text for text, seen in shown if not seen] == []


def cells(chromium, heading):
    """A column of the table of regions."""
    return chromium.run(
        """const table = document.querySelector('[data-name=Regions] table');
        const column = [...table.tHead.rows[0].cells].findIndex((one) => one.textContent === arguments[0]);
        return [...table.tBodies[0].rows].map((row) => row.cells[column].textContent)""",
        heading,
    )


def test_a_table_is_sorted_by_a_click_on_a_heading_missing_values_last(opened):
    opened.run("document.querySelectorAll('[data-name=Regions] tbody tr')[1].cells[2].textContent = '–'")
    before = cells(opened, "r")
    click = """[...document.querySelectorAll('[data-name=Regions] thead button')]
        .find((one) => one.textContent === arguments[0]).click()"""
    opened.run(click, "r")
    up = cells(opened, "r")
    assert [as_number(value) for value in up[:-1]] == sorted(as_number(value) for value in before if value != "–")
    opened.run(click, "r")
    assert cells(opened, "r") == [*up[-2::-1], "–"]
    opened.run(click, "Region")
    assert cells(opened, "Region") == sorted(cells(opened, "Region"), key=str.lower)


def as_number(cell):
    return float(cell.replace("−", "-"))


def test_a_table_is_saved_as_csv_whose_cells_no_spreadsheet_runs(opened):
    """Also a cell that reads like a formula; numbers are plain numbers."""
    opened.run(
        """const cell = document.querySelector('[data-name=Regions] tbody tr').cells;
        cell[0].textContent = '=HYPERLINK("x")'; cell[2].textContent = '−0.125'; cell[3].textContent = '–';
        window.saved = []; URL.createObjectURL = (blob) => { window.saved.push(blob); return '#'; };
        HTMLAnchorElement.prototype.click = function () { window.saved.push(this.download); };
        document.querySelector('[data-name=Regions] > button').click();"""
    )
    script = "const done = arguments[0]; window.saved[0].text().then((text) => done([text, window.saved[1]]))"
    text, name = opened.driver.execute_async_script(script)
    assert name == "Regions.csv"
    rows = list(csv.reader(StringIO(text.removeprefix("\ufeff"))))
    assert rows[0][:4] == ["Region", "Model", "r", "SE"]
    assert rows[1][0] == '\'=HYPERLINK("x")'
    assert rows[1][2:4] == ["-0.125", ""]
    assert {len(row) for row in rows} == {11}


def test_a_printed_page_has_everything_open_and_no_controls(page, chromium):
    chromium.open(page, DESK)
    chromium.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = chromium.run(
        """return [...document.querySelectorAll('figure, td, .more p, .more li')]
            .filter((one) => !one.checkVisibility()).length"""
    )
    controls = chromium.run(
        """return [...document.querySelectorAll('nav, select, .table > button')]
            .filter((one) => one.checkVisibility()).map((one) => one.outerHTML)"""
    )
    cut = chromium.run(
        """return [...document.querySelectorAll('figure, tr')]
            .filter((one) => getComputedStyle(one).breakInside !== 'avoid').length"""
    )
    alone = chromium.run(
        """return [...document.querySelectorAll('h2, h3, summary, .finding')]
            .filter((one) => one.checkVisibility())
            .filter((one) => getComputedStyle(one).breakAfter !== 'avoid').length"""
    )
    wide, screen = chromium.run("return [document.documentElement.scrollWidth, window.innerWidth]")
    split = chromium.run(
        """return [...document.querySelectorAll('td:not(.n, .value)')]
            .filter((one) => getComputedStyle(one).overflowWrap === 'anywhere').length"""
    )
    pdf = base64.b64decode(chromium.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert (hidden, controls) == (0, [])
    assert (cut, alone, split) == (0, 0, 0)
    assert wide <= screen
    assert pdf.startswith(b"%PDF")


def test_a_page_mailed_alone_keeps_its_figures(page, chromium, tmp_path):
    alone = shutil.copy(page, tmp_path / "mailed.html")
    chromium.open(alone, DESK)
    assert chromium.run("return document.querySelectorAll('figure svg').length") > 10
    lost = chromium.run("return [...document.images].filter((one) => !one.naturalWidth).length")
    assert lost == 0
    assert chromium.run("return document.querySelectorAll('img:not([src^=\"data:\"])').length") == 0


def frame_of(chromium):
    chromium.driver.switch_to.frame(chromium.driver.find_element("id", "map-frame"))


def test_a_map_shows_voxels_and_slides_by_the_keyboard(opened):
    from selenium.webdriver.common.keys import Keys

    frame_of(opened)
    coloured = """const canvas = document.querySelector('canvas');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let n = 0;
        for (let i = 0; i < pixels.length; i += 4) n += Math.abs(pixels[i] - pixels[i + 1]) > 40;
        return n / (pixels.length / 4)"""
    assert opened.run(coloured) > 0.02
    before = opened.run("return document.querySelector('output').textContent")
    assert "layer" in before
    slider = opened.driver.find_elements("css selector", "label input")[0]
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    after = opened.run("return document.querySelector('output').textContent")
    opened.driver.switch_to.default_content()
    x_before, x_after = (int(text.split(",")[0].split()[1]) for text in (before, after))
    assert x_after - x_before in (3, 4)  # two voxels of 1.8 mm


def test_another_map_is_chosen_by_the_keyboard(opened):
    from selenium.webdriver.common.keys import Keys

    before = opened.run("return document.getElementById('map-frame').title")
    opened.driver.find_element("id", "map-choice").send_keys(Keys.ARROW_DOWN)
    assert opened.run("return document.getElementById('map-frame').title") != before
    wait_for_map(opened)


def test_everything_is_reached_by_tab_and_shows_that_it_is(opened):
    from selenium.webdriver.common.keys import Keys

    reachable = "a[href], summary, select, iframe, button, [tabindex='0']"
    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    opened.run(
        """document.activeElement.blur(); window.reached = new Set(); window.unmarked = [];
        document.addEventListener('focusin', ({ target }) => {
            window.reached.add(target);
            if (getComputedStyle(target).outlineStyle === 'none') window.unmarked.push(target.outerHTML.slice(0, 80));
        });"""
    )
    opened.driver.switch_to.active_element.send_keys(Keys.TAB)
    visible = f'[...document.querySelectorAll("{reachable}")].filter((one) => one.checkVisibility())'
    left = f"{visible}.filter((one) => !window.reached.has(one))"
    for _ in range(20):
        if opened.run("return document.activeElement.tagName") == "IFRAME":
            opened.run("window.reached.add(document.activeElement)")
            frame_of(opened)
        opened.driver.switch_to.active_element.send_keys(Keys.TAB * 20)
        opened.driver.switch_to.default_content()
        if not opened.run(f"return {left}.length"):
            break
    assert opened.run(f"return {left}.map((one) => one.outerHTML.slice(0, 120))") == []
    assert opened.run("return window.unmarked") == []


def test_text_of_models_and_settings_stays_text(opened):
    assert opened.run("return window.stolen") is None
    text = opened.run("return document.body.textContent")
    assert text.count(HOSTILE) >= 3  # an answer, the wording of a prompt, a setting
    assert opened.run("return document.querySelectorAll('img[src^=http], td script').length") == 0


def test_even_an_unescaped_script_would_not_run(page, chromium, tmp_path):
    """The policy holds by itself, should the template ever fail to escape."""
    altered = tmp_path / "altered.html"
    altered.write_text(page.read_text().replace("<footer>", f"<footer><div>{HOSTILE}</div>"))
    chromium.open(altered, DESK)
    refused = [message for message in chromium.logs()[0] if "Content Security Policy" in message]
    assert chromium.run("return window.stolen") is None
    assert sum("inline script" in message for message in refused) == 1
    assert sum("https://example.org/x.png" in message for message in refused) == 1


CONTRASTS = """
    const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
    const linear = (v) => v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
    const behind = (one) => {
        for (; one; one = one.parentElement) {
            const colour = rgb(getComputedStyle(one).backgroundColor);
            if (colour.length < 4 || colour[3]) return colour;
        }
    };
    // The numbers in a heat map stand on its cells, not on the page.
    const texts = document.querySelectorAll('h1, p, a, th, td, dt, summary, caption, figcaption, svg text');
    return [...texts].filter((one) => !one.closest('svg:has([id^=prompts_])')).map((one) => {
        const style = getComputedStyle(one);
        const own = light(rgb(one.tagName === 'text' ? style.fill : style.color)), page = light(behind(one));
        return [one.outerHTML.slice(0, 160), (Math.max(own, page) + .05) / (Math.min(own, page) + .05)];
    })"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page, chromium, scheme):
    """By the contrast that WCAG asks for at level AA, 4.5."""
    chromium.open(page, DESK, scheme)
    ratios = chromium.run(CONTRASTS)
    assert len(ratios) > 200
    assert [(text, ratio) for text, ratio in ratios if ratio < 4.5] == []
