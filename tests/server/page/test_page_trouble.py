"""The page when something is missing or fails: it says so in words, and loses nothing."""

# ruff: noqa: F401, F811 - fixtures are imported

import json
from typing import Any

import pytest
from page_world import Site, browser, open_page, place, rows, said, site, until, wait_saved

from openmoment.server.service.folder import video_id

pytestmark = pytest.mark.browser

MOMENTS = [(2.0, 5.0, "run-up", 0.9), (6.0, 8.0, "jump", 0.7)]
SAVING = "document.getElementById('saved').dataset.state"


def test_changes_wait_for_a_server_that_is_gone(site: Site, open_page: Any) -> None:
    watched = open_page(site.put("gone.mp4", MOMENTS))
    watched.refused = ["/review"]
    page = watched.page
    page.route("**/review", lambda route: route.abort())
    page.get_by_role("button", name="Accept run-up at 0:02.0").click()
    until(page, f"{SAVING} === 'failed'")
    assert "openmoment serve" in page.locator(".notice").inner_text()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.evaluate("location.reload()")
    page.wait_for_timeout(300)
    assert asked == ["beforeunload"]
    page.unroute("**/review")
    wait_saved(page)
    until(page, "document.querySelector('.notice') === null")
    assert site.saved("gone.mp4")["segments"][0]["status"] == "accepted"


def test_a_video_that_does_not_play_gets_a_copy(site: Site, open_page: Any) -> None:
    address = site.put("old.avi", codec="mpeg4", seconds=2.0)
    page = open_page(address, waits_for="#cover button").page
    assert "cannot play" in page.locator("#cover").inner_text()
    page.get_by_role("button", name="Make a copy that plays").click()
    page.locator("#cover").wait_for(state="hidden", timeout=60_000)
    until(page, "document.getElementById('video').readyState >= 2")


def test_a_refusal_is_told_in_the_server_s_words(site: Site, open_page: Any) -> None:
    watched = open_page(site.put("refused.mp4", MOMENTS))
    watched.refused = ["/api/"]
    page = watched.page
    answer = {"status": 422, "body": json.dumps({"error": "the backbone is out to lunch"})}
    page.route("**/api/jobs", lambda route: route.fulfill(**answer))
    page.fill("#find-field", "a cat")
    page.click("#find-button")
    page.locator(".notice").wait_for()
    assert page.locator(".notice").inner_text().strip() == "The backbone is out to lunch"
    assert page.locator(".chip").all_inner_texts() == ["a cat"]
    page.get_by_role("button", name="Close").click()
    assert page.locator(".notice").count() == 0
    page.goto(f"{site.url}#v=0123456789abcdef")
    page.locator(".notice").wait_for()
    page.locator("#home").wait_for()


def test_a_failed_job_says_why_and_can_be_run_again(site: Site, open_page: Any) -> None:
    job = {
        "id": "0" * 16,
        "kind": "find",
        "video": video_id("failed.mp4"),
        "queries": ["a cat"],
        "backbone": "embedded",
        "method": "similarity",
        "state": "failed",
        "done": None,
        "message": "",
        "error": "the worker was stopped; run it again",
        "made": "2026-11-21T20:00:00Z",
        "changed": "2026-11-21T20:00:01Z",
    }
    address = site.put("failed.mp4", MOMENTS)
    watched = open_page(site.url, waits_for="#home")
    page = watched.page
    page.route("**/api/jobs", lambda route: route.fulfill(body=json.dumps({"jobs": [job]})))
    page.goto(address)
    page.reload()
    line = page.locator(".job.failed")
    line.wait_for()
    assert "the worker was stopped; run it again" in line.inner_text()
    assert line.get_by_role("button", name="Run again").is_visible()
    line.get_by_role("button", name="Close").click()
    assert page.locator(".job").count() == 0


def test_an_empty_lane_is_labelled_by_hand(site: Site, open_page: Any) -> None:
    page = open_page(site.put("hand.mp4"), waits_for="#no-lanes").page
    page.fill("#find-field", "by hand")
    page.click("#options")
    page.get_by_role("button", name="Add as an empty lane").click()
    page.locator(".head").wait_for()
    for key in ("i", "Shift+ArrowRight", "o", "a"):
        page.locator("#tracks").press(key)
    assert rows(page) == [{"query": "by hand", "times": "0:00.0 – 0:01.0", "state": "accepted"}]
    assert said(page).startswith("Added")
    wait_saved(page)
    assert site.saved("hand.mp4")["queries"][0]["made_by"] is None


def test_the_theme_stays_and_pictures_follow_the_pointer(site: Site, open_page: Any) -> None:
    page = open_page(site.put("theme.mp4", MOMENTS), color_scheme="light").page
    page.click("#theme")
    page.reload()
    page.locator(".head").first.wait_for()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.mouse.move(*place(page, 3.5, 0))
    page.locator("#hover-image").wait_for()
    assert page.locator("#hover-text").inner_text().startswith("0:03.5")
    page.mouse.move(5, 5)
    assert page.locator("#hover").is_hidden()
