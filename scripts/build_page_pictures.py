"""Make the pictures of docs/page.md: python scripts/build_page_pictures.py

It serves a folder with the demo's video, made of photographs that ship with scikit-image, does what
docs/page.md tells, and photographs the page in Chromium. Needs the extras [server] and [dev].
"""

import io
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from openmoment.reviews import Predicted, Review, ReviewedQuery, ReviewedSegment, write_review
from openmoment.server.service.folder import video_id
from openmoment.video.demo import QUERIES, make_demo_video

OUT = Path(__file__).parents[1] / "docs" / "images"
SIZE = {"width": 1280, "height": 800}
DEMO, LONG = "demo.mp4", "three hours.mp4"
LONG_S, EVERY_S = 10_800, 10
LARGEST = 150_000  # bytes of a picture
BEHAVIOURS = ("feeding", "grooming", "resting", "walking", "running", "scent marking")


def main() -> None:
    """Make all of them."""
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder_name, sync_playwright() as playwright:
        folder = Path(folder_name)
        make_demo_video(folder / DEMO)
        make_long_video(folder / DEMO, folder / LONG)
        with server(folder) as url:
            path = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-gpu"]
            )
            take_all(browser, url)
            browser.close()


def make_long_video(source: Path, path: Path) -> None:
    """Three hours with a picture each ten seconds, those of the demo over and over; its review."""
    with av.open(str(source)) as video:
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)][::25]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=1000)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 6
        for i in range(LONG_S // EVERY_S + 1):
            frame = av.VideoFrame.from_ndarray(pictures[i // 8 % len(pictures)], format="rgb24")
            frame.pts, frame.time_base = i * EVERY_S * 1000, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    review = path.parent / "openmoment" / "reviews" / f"{path.name}.json"
    review.parent.mkdir(parents=True)
    write_review(made_up_review(), review)


def made_up_review() -> Review:
    """5,000 moments of nothing in particular, in bouts."""
    chance = random.Random(3)
    queries = [ReviewedQuery(name, chance.uniform(0.6, 0.99), 0.4) for name in BEHAVIOURS]
    segments = []
    for i in range(5000):
        query = chance.choice(BEHAVIOURS)
        centre_s = 1800 * (1 + BEHAVIOURS.index(query) * 0.7 % 5)
        start_s = min(abs(chance.gauss(centre_s, 2500)), LONG_S - 60)
        end_s = start_s + chance.lognormvariate(1, 0.8) + 0.3
        score = round(chance.uniform(0.3, 1), 4)
        made = Predicted(round(start_s, 3), round(end_s, 3), query, score)
        status: Any = chance.choices(("open", "accepted", "rejected"), (6, 3, 1))[0]
        times = made.start_s, made.end_s
        segments.append(ReviewedSegment(f"{i:08x}", *times, query, score, status, made))
    return Review(LONG, float(LONG_S), revision=1, queries=tuple(queries), segments=tuple(segments))


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of `openmoment serve`."""
    command = [sys.executable, "-u", "-m", "openmoment", "serve", str(folder), "--no-browser"]
    with subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = (re.search(r"http://\S+", line) for line in process.stdout)
        try:
            yield next(found[0] for found in lines if found)
        finally:
            process.terminate()


def take_all(browser: Browser, url: str) -> None:
    """Every picture, in the order of the page's own story."""
    page = browser.new_page(viewport=SIZE, color_scheme="light")  # type: ignore[arg-type]
    page.goto(url)
    page.wait_for_selector(".card img[src]")
    take(page, "folder")
    page.goto(f"{url}#v={video_id(DEMO)}")
    find(page)
    review(page)
    take(page, "light")
    statistics(page)
    take(page, "statistics")
    ask(page)
    take(page, "question")
    tablet = {"viewport": {"width": 1024, "height": 768}, "has_touch": True, "is_mobile": True}
    dark = {"viewport": SIZE, "color_scheme": "dark"}
    for name, options in (("dark", dark), ("tablet", tablet)):
        other = browser.new_page(**options)  # type: ignore[arg-type]
        other.goto(f"{url}#v={video_id(DEMO)}")
        other.locator(".moment").nth(1).click()
        other.wait_for_timeout(1000)
        other.keyboard.press("k")
        take(other, name)
    page.goto(f"{url}#v={video_id(LONG)}&from=2400&to=4200")
    page.locator(".moment").first.wait_for()
    choose(page, "#lanes-canvas", 0.4, 20)
    take(page, "long")


def find(page: Page) -> None:
    for query in QUERIES:
        page.fill("#find-field", query)
        page.keyboard.press("Enter")
    page.click("#find-button")
    page.wait_for_selector(".moment", timeout=120_000)
    page.wait_for_selector(".job", state="detached")


def review(page: Page) -> None:
    page.locator("tr .accept").nth(0).click()
    page.locator("tr .reject").nth(2).click()
    page.get_by_role("button", name=f"{QUERIES[-1]} does not occur in this video").click()
    page.locator(".moment").nth(1).click()
    page.wait_for_timeout(700)
    page.keyboard.press("k")


def statistics(page: Page) -> None:
    page.click("#tab-statistics")
    page.wait_for_selector(".figures")


def ask(page: Page) -> None:
    page.click("#tab-question")
    page.fill("#ask-field", f'"{QUERIES[0]}" then "{QUERIES[1]}" within 10 s')
    page.keyboard.press("Enter")
    page.wait_for_selector(".head.answer")


def choose(page: Page, selector: str, share: float, y: float) -> None:
    box = page.locator(selector).bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + share * box["width"], box["y"] + y)
    page.keyboard.press("k")
    page.mouse.move(5, 5)


def take(page: Page, name: str) -> None:
    """A picture of what is on view; in 256 colours where it were too large otherwise."""
    page.wait_for_timeout(1500)
    path = OUT / f"page-{name}.png"
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        in_few_colours(picture, page.locator("#screen").bounding_box()).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def in_few_colours(picture: Image.Image, photograph: Any) -> Image.Image:
    """Most of the colours go to what is no photograph, so that the page looks as it is."""
    left, top = round(photograph["x"]), round(photograph["y"])
    place = (left, top, left + round(photograph["width"]), top + round(photograph["height"]))
    drawn = picture.copy()
    drawn.paste(0, place)
    colours = [
        value
        for part, count in ((drawn, 192), (picture.crop(place), 64))
        for value in (part.quantize(count).getpalette() or [])[: 3 * count]
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
