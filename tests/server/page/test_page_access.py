"""The page without a mouse, without sight of the canvas, with fingers, and with hours of video."""

# ruff: noqa: F401, F811 - fixtures are imported

import random
from typing import Any

import pytest
from page_world import (
    Site,
    browser,
    open_page,
    rows,
    said,
    site,
    until,
    wait_drawn,
    wait_saved,
)

pytestmark = pytest.mark.browser

MOMENTS = [(2.0, 5.0, "run-up", 0.9), (6.0, 8.0, "jump", 0.7), (12.0, 14.0, "jump", 0.6)]
LEAST_FPS = 30
RECORD = """() => {
    const frames = window.frames_ms = [];
    let before = null;
    const note = (now) => {
        if (before !== null) frames.push(now - before);
        before = now;
        window.recording = requestAnimationFrame(note);
    };
    requestAnimationFrame(note);
}"""
STOP = "() => { cancelAnimationFrame(window.recording); return window.frames_ms; }"


def test_all_is_done_by_keys(site: Site, open_page: Any) -> None:
    page = open_page(site.put("keys.mp4", MOMENTS)).page
    press = page.keyboard.press
    page.locator("#tracks").focus()
    press("Tab")
    assert page.locator("tr[aria-current]").inner_text().strip().startswith("run-up")
    press("k")
    press("y")
    press("Tab")
    press("k")
    press("n")
    press("Home")
    for _ in range(7):
        press("Shift+ArrowRight")
    press("]")  # 6.0 to 7.0
    press("s")
    assert "inside" in said(page)
    press("i")
    press("Shift+ArrowRight")
    press("ArrowRight")
    press("o")
    press("1")
    press("Enter")
    assert rows(page)[2] == {"query": "run-up", "times": "0:07.0 – 0:08.1", "state": "accepted"}
    press("r")
    page.keyboard.type("jump")
    press("Escape")
    assert page.evaluate("document.activeElement.id") == "tracks"
    assert rows(page)[2]["query"] == "jump"
    press("Control+z")
    press("Delete")
    assert len(rows(page)) == 3
    press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    press("Escape")
    press("+")
    press("0")
    press("/")
    page.keyboard.type("y n")
    assert page.locator("#find-field").input_value() == "y n"
    wait_saved(page)
    states = [segment["status"] for segment in site.saved("keys.mp4")["segments"]]
    assert states == ["accepted", "rejected", "open"]


def test_focus_leaves_the_timeline(site: Site, open_page: Any) -> None:
    page = open_page(site.put("leave.mp4", MOMENTS)).page
    page.locator("#tracks").focus()
    for _ in MOMENTS:
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "tracks"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "tracks"


def test_keys_play_and_letters_can_be_turned_off(site: Site, open_page: Any) -> None:
    page = open_page(site.put("play.mp4", MOMENTS)).page
    is_paused = "document.getElementById('video').paused"
    until(page, "document.getElementById('video').readyState >= 2")
    page.keyboard.press(" ")
    until(page, f"!{is_paused}")
    page.keyboard.press("l")
    until(page, "document.getElementById('video').playbackRate === 2")
    page.keyboard.press("k")
    until(page, is_paused)
    page.click("#help")
    page.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    page.locator(".moment").first.click()
    page.keyboard.press("y")
    assert rows(page)[0]["state"] == "open"


def test_everything_to_press_has_a_name(site: Site, open_page: Any) -> None:
    page = open_page(site.put("names.mp4", MOMENTS)).page
    page.locator(".moment").first.click()
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "combobox", "textbox", "slider", "tab", "link", "checkbox", "searchbox"}
    pressed = [node for node in nodes if node.get("role", {}).get("value") in roles]
    assert len(pressed) > 40
    assert [node for node in pressed if not node.get("name", {}).get("value", "").strip()] == []
    landmarks = {node.get("role", {}).get("value") for node in nodes}
    assert {"main", "banner", "search", "region", "table", "tablist", "tabpanel"} <= landmarks


def test_moments_play_by_touch_and_targets_suit_fingers(site: Site, open_page: Any) -> None:
    tablet = {"viewport": {"width": 1024, "height": 768}, "has_touch": True, "is_mobile": True}
    page = open_page(site.put("touch.mp4", MOMENTS), **tablet).page
    canvas = page.locator("#lanes-canvas").bounding_box()
    page.touchscreen.tap(canvas["x"] + canvas["width"] * 3.5 / 20, canvas["y"] + 20)
    assert page.locator("tr[aria-current]").inner_text().strip().startswith("run-up")
    page.locator("#inspector").get_by_role("button", name="Accept").tap()
    assert rows(page)[0]["state"] == "accepted"
    small = page.evaluate(
        """() => [...document.querySelectorAll('button, select, input[type=text], a')]
            .filter((part) => part.checkVisibility() && part.offsetParent)
            .map((part) => [part.id || part.className, part.offsetHeight])
            .filter(([name, height]) => height < 36)"""
    )
    assert small == []
    assert page.evaluate("document.documentElement.scrollWidth") == 1024


def test_hours_with_thousands_of_moments_stay_smooth(site: Site, open_page: Any) -> None:
    chance = random.Random(0)
    starts = sorted(round(chance.uniform(0, 10_780), 3) for _ in range(5000))
    moments = [
        (
            *(start, round(start + chance.lognormvariate(1, 0.7) + 0.2, 3)),
            *(f"behaviour {chance.randrange(8)}", round(chance.uniform(0.3, 1), 4)),
            chance.choices(("open", "accepted", "rejected"), (6, 3, 1))[0],
        )
        for start in starts
    ]
    moments = [(start, min(end, 10_800.0), *rest) for start, end, *rest in moments]
    address = site.put("hours.mp4", times_s=[10.0 * i for i in range(1081)])
    site.review("hours.mp4", moments, duration_s=10_800.0)
    page = open_page(address).page
    page.wait_for_timeout(500)
    canvas = page.locator("#lanes-canvas").bounding_box()
    page.mouse.move(canvas["x"] + 300, canvas["y"] + 60)
    page.evaluate(RECORD)
    for key, delta in (("Shift", 60), ("Control", -25), ("Shift", 60), ("Control", 25)):
        page.keyboard.down(key)
        for _ in range(40):
            page.mouse.wheel(0, delta)
        page.keyboard.up(key)
    frames_ms = sorted(page.evaluate(STOP))
    assert len(frames_ms) > 60
    assert 1000 * len(frames_ms) / sum(frames_ms) >= LEAST_FPS
    assert frames_ms[int(0.9 * len(frames_ms))] <= 1.1 * 1000 / LEAST_FPS
    page.keyboard.press("ArrowDown")
    wait_drawn(page)
    assert page.locator("tr[aria-current]").count() == 1
    assert page.locator("tr[data-id]").count() <= 50
