"""The page as a person uses it: find, correct, take away and bring back, ask, come back later."""

# ruff: noqa: F401, F811 - fixtures are imported

import shutil
from pathlib import Path
from typing import Any

import pytest
from page_world import (
    Site,
    browser,
    drag,
    open_page,
    place,
    rows,
    said,
    site,
    until,
    wait_saved,
)

pytestmark = pytest.mark.browser

CLIP, CLIP_S = "clips/thumos_like/Billiards_video_12_0130_0140_Trim.mp4", 3.167
WORK_MS = 120_000  # that finding may take where the machine is busy
TWO = [
    (2.0, 5.0, "run-up", 0.9),
    (6.0, 8.0, "jump", 0.7),
    (9.0, 9.5, "jump", 0.3),
    (12.0, 14.0, "jump", 0.6),
]


@pytest.mark.data
@pytest.mark.slow
def test_a_person_finds_corrects_exports_and_comes_back(
    site: Site,
    open_page: Any,
    data_root: Path,
    tmp_path: Path,
) -> None:
    clip = tmp_path / "billiards.mp4"
    shutil.copyfile(data_root / CLIP, clip)
    page = open_page(site.url, waits_for="#home").page
    page.set_input_files("#video-file", clip)
    page.locator("#editor").wait_for()
    assert page.locator("#title").inner_text() == "billiards.mp4"

    for query in ("a pool table", "a cat"):
        page.fill("#find-field", query)
        page.keyboard.press("Enter")
    assert page.locator(".chip").all_inner_texts() == ["a pool table", "a cat"]
    page.click("#find-button")
    page.locator(".job progress").wait_for()
    page.locator(".head").nth(1).wait_for(timeout=WORK_MS)
    assert "not found 0.0" in page.locator(".presence").nth(1).inner_text()
    assert "goes by objects and places" in page.locator("#lane-notes").inner_text()
    until(page, "document.querySelectorAll('tr[data-id]').length > 0")
    found = rows(page)

    page.locator(".moment").first.click()
    page.keyboard.press("k")
    edges = (page.get_by_label(f"{which} of the moment") for which in ("Start", "End"))
    start_s, end_s = (float(field.input_value().split(":")[1]) for field in edges)
    middle_s = (start_s + end_s) / 2
    edge = place(page, end_s, 0, duration_s=CLIP_S)
    drag(page, (edge[0] - 2, edge[1]), place(page, middle_s, 0, duration_s=CLIP_S))
    assert rows(page)[0]["state"] == "accepted"
    moved = page.get_by_label("End of the moment").input_value()
    assert abs(float(moved.split(":")[1]) - middle_s) < 0.3
    page.keyboard.press("Control+z")
    assert rows(page) == found
    page.keyboard.press("Control+Shift+z")
    assert rows(page)[0]["state"] == "accepted"
    wait_saved(page)

    page.click("#export")
    with page.expect_download() as download:
        page.get_by_role("button", name="elan").click()
    eaf = tmp_path / download.value.suggested_filename
    download.value.save_as(eaf)
    assert eaf.suffix == ".eaf"
    count = len(rows(page))
    page.set_input_files("#import-file", eaf)
    until(page, "document.getElementById('said').textContent.startsWith('Nothing new')")
    assert len(rows(page)) == count

    stands = rows(page)
    page.reload()
    page.locator(".head").nth(1).wait_for()
    assert rows(page) == stands
    assert page.locator("#title").inner_text() == "billiards.mp4"


def test_a_dropped_file_goes_where_it_belongs(site: Site, open_page: Any) -> None:
    drop = """([name, text]) => {
        const data = new DataTransfer();
        data.items.add(new File([text], name));
        document.dispatchEvent(new DragEvent('dragover', {dataTransfer: data, bubbles: true}));
        document.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true}));
    }"""
    watched = open_page(site.put("drop.mp4", TWO))
    page = watched.page
    count = len(rows(page))
    page.evaluate(drop, ["more.csv", "video,start_s,end_s,query,score\n,15,16,jump,1\n"])
    until(page, f"document.querySelectorAll('tr[data-id]').length === {count + 1}")
    watched.refused = ["/api/videos"]
    page.evaluate(drop, ["no video.mp4", "nothing that could be one"])
    page.locator(".notice").wait_for()
    assert "no video.mp4" in page.locator(".notice").inner_text()
    assert page.locator("#title").inner_text() == "drop.mp4"


def test_segments_are_moved_split_merged_added_and_marked(
    site: Site,
    open_page: Any,
) -> None:
    page = open_page(site.put("edit.mp4", TWO)).page
    assert [row["query"] for row in rows(page)] == ["run-up", "jump", "jump"]

    drag(page, place(page, 3.5, 0), place(page, 4.5, 0))
    assert said(page).startswith("Moved: run-up")
    assert rows(page)[0] == {"query": "run-up", "times": "0:03.0 – 0:06.0", "state": "accepted"}
    page.click("#undo")
    assert rows(page)[0]["times"] == "0:02.0 – 0:05.0"
    page.click("#redo")

    page.mouse.click(*place(page, 13.0, 1))
    page.keyboard.press("k")
    page.get_by_role("slider", name="Playhead").click(position={"x": 1, "y": 5})
    page.keyboard.press("s")
    assert "inside" in said(page)
    x, _ = place(page, 13.0, 1)
    page.mouse.click(x, page.locator("#ruler").bounding_box()["y"] + 5)
    page.keyboard.press("s")
    split = [row for row in rows(page) if row["query"] == "jump"]
    assert [row["times"] for row in split[1:]] == ["0:12.0 – 0:13.0", "0:13.0 – 0:14.0"]
    page.keyboard.press("m")
    assert len([row for row in rows(page) if row["query"] == "jump"]) == 2

    drag(page, place(page, 16.0, 0), place(page, 17.0, 0))
    assert rows(page)[-1] == {"query": "run-up", "times": "0:16.0 – 0:17.0", "state": "accepted"}
    page.select_option("#inspector select", "jump")
    assert rows(page)[-1]["query"] == "jump"
    page.get_by_role("button", name="Delete the moment").click()
    assert rows(page)[-1]["times"] == "0:12.0 – 0:14.0"

    page.get_by_role("button", name="Reject jump at 0:06.0").click()
    wait_saved(page)
    statuses = {s["start_s"]: s["status"] for s in site.saved("edit.mp4")["segments"]}
    assert statuses == {3.0: "accepted", 6.0: "rejected", 9.0: "open", 12.0: "accepted"}
    who = {change["who"] for change in site.saved("edit.mp4")["log"]}
    assert who == {"ana"}


def test_thresholds_lanes_filters_and_words_on_a_query(site: Site, open_page: Any) -> None:
    page = open_page(site.put("lanes.mp4", TWO)).page
    slider = page.get_by_role("slider", name="Threshold of jump")
    slider.fill("0.2")
    assert len(rows(page)) == 4
    slider.fill("0.95")
    assert [row["query"] for row in rows(page)] == ["run-up"]
    assert "3 below the thresholds" in page.locator("#pager").inner_text()
    page.click("#undo")
    slider.fill("0.65")
    page.get_by_role("button", name="Hide run-up").click()
    assert [row["times"] for row in rows(page)] == ["0:06.0 – 0:08.0"]
    page.get_by_role("button", name="Show run-up").click()
    page.select_option("#filter-query", "run-up")
    assert len(rows(page)) == 1
    page.select_option("#filter-state", "rejected")
    assert rows(page) == []
    assert "Choose another" in page.locator("#rows").inner_text()
    page.get_by_role("button", name="looked through the whole video for jump").click()
    page.get_by_role("button", name="run-up does not occur in this video").click()
    assert page.locator(".presence").first.inner_text() == "does not occur"
    wait_saved(page)
    run_up, jump = site.saved("lanes.mp4")["queries"]
    assert (run_up["occurs"], jump["checked"], jump["threshold"]) == (False, True, 0.65)


def test_a_lane_is_removed_and_brought_back(site: Site, open_page: Any) -> None:
    page = open_page(site.put("remove.mp4", TWO)).page
    (before,) = [q for q in site.saved("remove.mp4")["queries"] if q["query"] == "jump"]
    page.get_by_role("button", name="Remove jump").click()
    assert "undo brings it back" in page.locator("#said").inner_text()
    assert {row["query"] for row in rows(page)} == {"run-up"}
    assert page.get_by_role("group", name="Lane jump").count() == 0
    wait_saved(page)
    assert [q["query"] for q in site.saved("remove.mp4")["queries"]] == ["run-up"]
    page.click("#undo")
    assert {row["query"] for row in rows(page)} == {"run-up", "jump"}
    wait_saved(page)
    assert before in site.saved("remove.mp4")["queries"]


def test_what_is_on_view_is_found_again(site: Site, open_page: Any) -> None:
    page = open_page(site.put("again.mp4", TWO)).page
    page.mouse.click(*place(page, 7.0, 1))
    page.keyboard.press("k")
    for _ in range(3):
        page.click("#zoom-in")
    page.get_by_role("slider", name="Threshold of jump").fill("0.1")
    page.get_by_role("button", name="Hide run-up").click()
    wait_saved(page)
    until(page, "location.hash.includes('from=')")
    address, times = page.url, page.locator("#clock").inner_text()
    page.reload()
    page.get_by_role("button", name="Show run-up").wait_for()
    page.wait_for_timeout(500)
    assert page.url == address
    assert page.locator("#clock").inner_text() == times
    assert page.get_by_role("slider", name="Threshold of jump").input_value() == "0.1"


def test_a_question_is_answered_and_an_error_pointed_at(site: Site, open_page: Any) -> None:
    watched = open_page(site.put("ask.mp4", TWO))
    watched.refused = ["/ask"]
    page = watched.page
    page.get_by_role("tab", name="Question").click()
    page.get_by_role("button", name='"run-up" then "jump" within 10 s').click()
    page.keyboard.press("Enter")
    page.locator(".head.answer").wait_for()
    assert page.locator("#answer .moment").all_inner_texts() == ["0:02.0 – 0:08.0"]
    page.fill("#ask-field", '"run-up" then then "jump"')
    page.keyboard.press("Enter")
    page.locator("#ask-error").wait_for()
    text, caret, message = page.locator("#ask-error").inner_text().split("\n")[:3]
    assert text[caret.index("^") :].startswith('then "jump"')
    assert "expected" in message
    page.get_by_role("button", name="Close the answer").click()
    assert page.locator(".head.answer").count() == 0


def test_the_statistics_are_those_of_what_is_shown(site: Site, open_page: Any) -> None:
    page = open_page(site.put("figures.mp4", TWO)).page
    page.get_by_role("tab", name="Statistics").click()
    table = page.get_by_role("table", name="Counts and lengths")
    table.wait_for()
    cells = table.get_by_role("row").nth(2).inner_text().split("\t")
    assert cells[:3] == ["jump", "2", "0:04.0"]
    follows = page.get_by_role("table", name="What follows what").get_by_role("row")
    assert follows.nth(1).inner_text().split("\t") == ["run-up", "0", "1"]


def test_two_people_at_once_lose_nothing(site: Site, open_page: Any) -> None:
    address = site.put("both.mp4", TWO)
    one, other = open_page(address), open_page(address)
    for each in (one, other):
        each.refused = ["/review"]
    other.page.route("**/api/events", lambda route: route.abort())
    one.page.get_by_role("button", name="Accept run-up at 0:02.0").click()
    other.page.get_by_role("button", name="Reject jump at 0:12.0").click()
    for each in (one, other):
        wait_saved(each.page)
    until(one.page, "document.querySelector('tr.rejected') !== null")
    states = [row["state"] for row in rows(one.page)]
    assert states == ["accepted", "open", "rejected"] == [row["state"] for row in rows(other.page)]


def test_a_job_is_cancelled_and_run_again(site: Site, open_page: Any) -> None:
    page = open_page(site.put("job.mp4"), waits_for="#no-lanes").page
    assert "Find" in page.locator("#no-lanes").inner_text()
    page.fill("#find-field", "a cat")
    page.click("#find-button")
    page.get_by_role("button", name="Cancel").click()
    again = page.get_by_role("button", name="Run again")
    again.wait_for()
    again.click()
    page.get_by_role("button", name="Cancel").click()
    again.wait_for()


def test_names_are_text_whatever_they_hold(site: Site, open_page: Any) -> None:
    evil = '<img src=x onerror="window.ran=1">'
    queries = (evil, "Schuß über die Straße", "投げる動作", "ריצה ואז קפיצה", "very " * 60 + "long")
    moments = [(2.0 * i, 2.0 * i + 1, query.strip(), 0.9) for i, query in enumerate(queries)]
    page = open_page(site.put(f"{evil}.mp4", moments)).page
    page.fill("#find-field", evil)
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="Question").click()
    page.get_by_role("tab", name="Statistics").click()
    page.locator(".figures").first.wait_for()
    page.get_by_role("tab", name="Moments").click()
    page.locator(".moment").first.click()
    assert page.locator("#title").inner_text() == f"{evil}.mp4"
    assert [row["query"] for row in rows(page)] == [query.strip() for query in queries]
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    page.click("#home-link")
    page.locator(".card-name", has_text=evil).wait_for()
    assert page.evaluate(overflow) == 0
    assert page.evaluate("window.ran") is None
    assert page.locator("img[src=x]").count() == 0
