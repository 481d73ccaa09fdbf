"""The 3-D page of a report: one file, opened from disk in a browser, whose picture shows the values of the maps."""

import base64
import io
import re
import time

import browser
import numpy as np
import pytest
from PIL import Image

from brain_activity_prediction.report.cortex import surface_data
from brain_activity_prediction.report.cortex.surface_page import write_surface_page
from brain_activity_prediction.report.plots.flat_maps import ColourScale, CortexMap, DrawnCortex

HALF = 10242  # vertices of a hemisphere
SCALE = ColourScale(0.0, 0.8, "inferno", "r / ceiling", (False, True))
LAYERS = ColourScale(0.0, 12.0, "viridis", "layer", (False, False))
LEFT = np.where(np.arange(2 * HALF) < HALF, 0.1 + np.arange(2 * HALF) / HALF, np.nan)  # above the scale at the end
REGIONS = {"V1": np.arange(2 * HALF) % HALF < 5000, "words": np.arange(2 * HALF) >= HALF}


def drawn(name, maps, scale, title="Scores"):
    return DrawnCortex(name, title, "", "", maps=maps, scale=scale)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of three maps, alone in its folder."""
    maps = [CortexMap("subject <1>", LEFT, REGIONS)]
    layers = [CortexMap("subject 1", np.arange(2 * HALF) % 13.0)]
    even = [CortexMap("mean", np.full(2 * HALF, 0.4))]
    figures = [drawn("flat_r", maps, SCALE), drawn("views_r", maps, SCALE)]
    figures += [drawn("flat_best", layers, LAYERS, "Layers"), drawn("flat_even", even, SCALE, "Even")]
    folder = tmp_path_factory.mktemp("surface page")
    write_surface_page(figures, False, folder)
    assert [path.name for path in folder.iterdir()] == ["surface.html"]
    return folder / "surface.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    started = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.driver.quit()


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desk-light", "phone-dark"])
def opened(request, page, chromium):
    chromium.open(page, *request.param)
    for _ in range(200):
        if chromium.run("return document.body.dataset.drawn"):
            return chromium
        time.sleep(0.05)
    raise AssertionError("the cortex is not drawn")


def choose(chromium, name, place):
    script = """const choice = document.getElementById(arguments[0]);
        choice.selectedIndex = arguments[1]; choice.dispatchEvent(new Event('change'))"""
    chromium.run(script, name, place)


def click(chromium, part):
    """What the page states after a click at a part of the width, in the middle of the height."""
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = chromium.driver.find_element("id", "cortex")
    across = int((part - 0.5) * canvas.size["width"])
    chromium.run("document.getElementById('value').textContent = ''")
    ActionChains(chromium.driver).move_to_element_with_offset(canvas, across, 0).click().perform()
    for _ in range(100):
        if text := chromium.run("return document.getElementById('value').textContent"):
            return text
        time.sleep(0.05)
    raise AssertionError("the click has no answer")


def picture(chromium):
    """The canvas (H, W, 3)."""
    canvas = chromium.driver.find_element("id", "cortex")
    return np.asarray(Image.open(io.BytesIO(canvas.screenshot_as_png)).convert("RGB")).astype(int)


def coloured(pixels):
    """The share of pixels that are no grey."""
    return (np.ptp(pixels, axis=-1) > 40).mean(axis=0)


@browser.needed
@pytest.mark.very_slow
def test_the_page_opens_without_network_or_a_message_of_its_own(opened, page):
    for place in (1, 0):
        choose(opened, "map", place)
        choose(opened, "surface", place)
    said, asked = opened.logs()
    assert [message for message in said if "GL Driver Message" not in message] == []  # of the software that draws
    assert [address for address in asked if not address.startswith(("file:///", "data:"))] == []
    assert len({address for address in asked if address.startswith("file:")}) == 1
    assert page.stat().st_size < 15e6
    wide, screen = opened.run("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= screen


@browser.needed
@pytest.mark.very_slow
def test_a_click_gives_hemisphere_vertex_regions_and_value(opened):
    text = click(opened, 0.42)
    side, vertex, regions, value = re.fullmatch(
        r"(\w+) hemisphere, vertex (\d+)(, V1)?: r / ceiling (.*)", text
    ).groups()
    assert side == "left"
    assert bool(regions) == (int(vertex) < 5000)
    assert float(value) == pytest.approx(LEFT[int(vertex)], abs=1e-3)
    text = click(opened, 0.58)
    assert re.fullmatch(r"right hemisphere, vertex \d+(, V1)?, words: no value", text)
    choose(opened, "map", 1)
    vertex, layer = re.search(r"left hemisphere, vertex (\d+): layer (\d+)$", click(opened, 0.42)).groups()
    assert int(layer) == int(vertex) % 13


@browser.needed
@pytest.mark.very_slow
def test_vertices_without_a_value_are_grey_and_hemispheres_can_be_hidden(opened):
    shown = coloured(picture(opened))
    half = len(shown) // 2
    assert shown[:half].mean() > 0.03
    assert shown[half:].mean() == 0
    choose(opened, "side", 2)  # the right hemisphere alone
    assert coloured(picture(opened)).mean() == 0
    choose(opened, "map", 1)
    assert coloured(picture(opened)).mean() > 0.03


@browser.needed
@pytest.mark.very_slow
def test_the_picture_has_the_colour_that_the_scale_gives_to_a_value(opened):
    """Darker only where the cortex is seen from the side."""
    from matplotlib import colormaps

    choose(opened, "map", 2)
    assert click(opened, 0.42).endswith("r / ceiling 0.400")
    pixels = picture(opened)
    middle = pixels[pixels.shape[0] // 2, round(0.42 * pixels.shape[1])]
    expected = np.array(colormaps["inferno"](0.5, bytes=True)[:3], dtype=float)
    shade = middle @ expected / (expected @ expected)
    assert 0.69 < shade < 1.01
    assert np.abs(middle - shade * expected).max() < 3


@browser.needed
@pytest.mark.slow
def test_the_bar_has_the_colours_of_the_scale(opened):
    from matplotlib import colormaps

    shown = opened.run("return getComputedStyle(document.getElementById('bar')).backgroundImage")
    found = np.array([[int(number) for number in stop.split(",")] for stop in re.findall(r"rgb\((.*?)\)", shown)])
    expected = colormaps["inferno"](np.linspace(0, 1, len(found)), bytes=True)[:, :3].astype(int)
    assert len(found) > 10
    assert np.abs(found - expected).max() < 8  # a step of the 256 colours


def test_maps_are_stored_for_the_vertices_that_have_a_value():
    data = surface_data.surface_data([drawn("flat_r", [CortexMap("one", LEFT, REGIONS)], SCALE)])
    (one,) = data["maps"]
    known = np.unpackbits(np.frombuffer(base64.b64decode(one["known"]), np.uint8), bitorder="little")[: 2 * HALF]
    np.testing.assert_array_equal(known, np.isfinite(LEFT))
    values = np.frombuffer(base64.b64decode(one["values"]), "<i2") * one["step"]
    np.testing.assert_allclose(values, LEFT[:HALF], atol=1.1 / 32000)
    members = np.frombuffer(base64.b64decode(data["regions"][one["regions"]]["members"]), np.uint8)
    np.testing.assert_array_equal(members & 1, REGIONS["V1"])
    np.testing.assert_array_equal(members >> 1, REGIONS["words"])


def test_maps_beyond_the_size_of_a_page_are_counted(monkeypatch):
    monkeypatch.setattr(surface_data, "LARGEST_BYTES", 60_000)
    data = surface_data.surface_data([drawn("flat_r", [CortexMap("one", LEFT)] * 3, SCALE)])
    assert (len(data["maps"]), data["n_left_out"]) == (2, 1)


def test_without_maps_the_page_of_an_earlier_report_is_deleted(tmp_path):
    (tmp_path / "surface.html").touch()
    write_surface_page([], False, tmp_path)
    assert not list(tmp_path.iterdir())
