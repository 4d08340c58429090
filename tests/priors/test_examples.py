"""Questions by example: literal averages, pictures in each kind of space, the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from fakes import FakeEncoder
from numpy import ndarray as Array
from PIL import Image
from videos import make_video

import openmoment
from openmoment.encoders import load_encoder
from openmoment.encoders.base import AsksByPicture, SeesPictures
from openmoment.encoders.towers.projected import ProjectedSpace, Projections, unit
from openmoment.errors import ConfigError, FormatError, QueryError
from openmoment.features.cache import Cache
from openmoment.methods import load_method
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.priors import Example, examples_of, read_priors
from openmoment.priors.examples import blend, embed_pictures
from openmoment.video import read_frames
from openmoment.video.demo import make_demo_video

CAT_S, ROCKET_S = 14.0, 22.0
"""When the demo shows them."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "demo.mp4"
    make_demo_video(path)
    return path


def frame_at(video: Path, time_s: float, path: Path) -> Path:
    """A picture file of what a video shows at a time."""
    frame = next(f for f in read_frames(video, fps=4.0) if f.end_s > time_s)
    Image.fromarray(frame.rgb).save(path)
    return path


def write_priors(folder: Path, label: str, texts: list[str], *images: Path) -> Path:
    (folder / label).mkdir(parents=True)
    (folder / label / "texts.json").write_text(json.dumps({"label": label, "texts": texts}))
    for i, image in enumerate(images):
        (folder / label / f"img_{i}.png").write_bytes(image.read_bytes())
    return folder


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# averages ----------------------------------------------------------------------------------------


def test_a_blend_is_the_mean_of_the_kinds_means_in_the_joint_space() -> None:
    projection = noise(6, 4, seed=9)
    space = ProjectedSpace(lambda: Projections(None, projection, 10.0))
    words, texts, pictures = noise(1, 6), noise(3, 6, seed=1), noise(2, 6, seed=2)
    blended = blend([words, texts, pictures], space)

    means = []
    for rows in (words, texts, pictures):
        points = [row @ projection / np.linalg.norm(row @ projection) for row in rows]
        means.append(sum(points) / len(points))
    expected = sum(means) / 3
    expected = expected / np.linalg.norm(expected)
    np.testing.assert_allclose(blended @ projection, expected, atol=1e-6)


def test_a_blend_of_one_text_is_that_text_at_length_one(embedded) -> None:
    row = 3 * embedded.encode_text(["pole vault"])
    np.testing.assert_allclose(blend([row], embedded.space), row[0] / 3, atol=1e-6)
    empty = np.zeros((0, row.shape[1]), np.float32)
    np.testing.assert_allclose(blend([row, empty], embedded.space), row[0] / 3, atol=1e-6)


@pytest.mark.parametrize(("wide", "is_exact"), [(8, True), (4, True), (3, False)])
def test_a_picture_stands_where_a_text_stands(wide: int, is_exact: bool) -> None:
    """Whatever the width of texts before their projection, d = 4 after it."""
    video, text = noise(5, 4), noise(wide, 4, seed=1)
    space = ProjectedSpace(lambda: Projections(video, text, 10.0))
    features = noise(7, 5, seed=2)
    points = space.project_video(features)
    found = space.project_text(space.picture_queries(features))
    best = points @ np.linalg.pinv(text) @ text
    np.testing.assert_allclose(found, best, atol=1e-4)
    assert np.allclose(found, points, atol=1e-4) == is_exact


def test_without_projections_a_picture_is_its_features() -> None:
    space = ProjectedSpace(lambda: Projections(None, None, 10.0))
    features = noise(3, 5)
    np.testing.assert_array_equal(space.picture_queries(features), features)


def test_the_default_backbone_asks_with_the_texts_of_a_pictures_classes(embedded) -> None:
    features = np.abs(noise(2, 1000))
    features /= features.sum(axis=1, keepdims=True)
    sharp = [row**2 / (row**2).sum() for row in features]  # softened by a temperature of 2 before
    expected = unit(np.stack([row @ embedded.space.class_texts for row in sharp]))
    found = embedded.space.picture_queries(features)
    np.testing.assert_allclose(found, expected, atol=1e-5)


# a pipeline --------------------------------------------------------------------------------------


def test_queries_are_joined_by_what_shows_them(embedded, tmp_path: Path) -> None:
    picture = tmp_path / "a cat.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8)).save(picture)
    cache, method = Cache(tmp_path / "cache"), load_method("similarity", embedded.space)
    asked = Pipeline(embedded, method, "similarity", 4.0, cache)
    plain = asked.queries(["a cat", "a dog"])
    texts = ("whiskers", "a pet on a sofa")
    examples = {"a cat": Example(texts, (picture,)), "seen": Example((), (picture,), False)}
    shown = asked.queries(["a cat", "a dog"], examples=examples)

    seen = embed_pictures([picture], embedded, None)
    sentences = embedded.encode_text(texts, templates=("{}",))
    expected = unit((plain.embeddings[:1] + sentences.mean(axis=0) + seen) / 3)
    assert shown.names == ("a cat", "a dog", "seen")
    np.testing.assert_allclose(shown.embeddings[:1], expected, atol=1e-5)
    np.testing.assert_array_equal(shown.embeddings[1], plain.embeddings[1])
    np.testing.assert_allclose(shown.embeddings[2:], seen, atol=1e-5)
    np.testing.assert_array_equal(shown.background, plain.background)
    with pytest.raises(QueryError, match="take no examples"):
        asked.find(picture, shown, images=[picture])
    assert shown.examples is not None
    assert shown.examples["a cat"] == {"words": True, "texts": 2, "images": ["a cat.png"]}


def test_pictures_are_embedded_once_by_content(embedded, tmp_path: Path, monkeypatch) -> None:
    cache = Cache(tmp_path / "cache")
    first, same = tmp_path / "first.png", tmp_path / "same.png"
    for path in (first, same):
        Image.new("RGB", (30, 20), (9, 99, 200)).save(path)
    found = embed_pictures([first], embedded, cache)
    monkeypatch.setattr("openmoment.priors.examples.read_picture", None)
    np.testing.assert_array_equal(embed_pictures([same, first], embedded, cache), found[[0, 0]])


def test_a_clip_like_model_finds_a_picture_by_its_joint_point(tmp_path: Path) -> None:
    from openmoment.encoders.weights.torchvision_ops import declare_missing

    declare_missing()
    pytest.importorskip("open_clip")
    from small_models import CLIP, save_model

    encoder = load_encoder(str(save_model(tmp_path / "small", CLIP)))
    assert isinstance(encoder, SeesPictures)
    assert isinstance(encoder.space, AsksByPicture)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, rgb in zip(paths, pixels, strict=True):
        Image.fromarray(rgb).save(path)
    features = encoder.encode_pictures(list(pixels))
    points = unit(encoder.space.project_video(features))
    logits = encoder.space.logits(features, embed_pictures(paths, encoder, None))
    np.testing.assert_allclose(logits, encoder.space.logit_scale * points @ points.T, rtol=1e-3)


def test_a_backbone_that_sees_no_single_pictures_says_so(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="fake cannot be asked with pictures"):
        embed_pictures([tmp_path / "a.png"], FakeEncoder(), None)


@pytest.mark.parametrize(("method", "settings"), [("t3al", {"adapt_text_encoder": True})])
def test_a_method_that_reads_the_words_themselves_says_so(method: str, settings: dict) -> None:
    asked = load_pipeline("embedded", method, settings=settings)
    with pytest.raises(ConfigError, match="reads the words themselves"):
        asked.queries(["a cat"], examples={"a cat": Example(("whiskers",))})


def test_which_examples_a_question_has(tmp_path: Path) -> None:
    for name in ("cat.png", "dive.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "b").mkdir()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "b" / "dive.jpg")
    cat, dive, other = tmp_path / "cat.png", tmp_path / "dive.jpg", tmp_path / "b" / "dive.jpg"
    priors = read_priors(write_priors(tmp_path / "priors", "Cat", ["whiskers"], cat))
    (image,) = priors["cat"].images
    assert examples_of(["cat", "dog"], priors=priors, images=[cat, dive, other]) == {
        "cat": Example(("whiskers",), (image, cat)),
        "dive": Example((), (dive, other), has_words=False),
    }
    with pytest.raises(FormatError, match="none of 'dog'. It has: Cat"):
        examples_of(["dog"], priors=priors)
    assert examples_of(["dog"]) == {}


# answers -----------------------------------------------------------------------------------------


def test_moments_like_a_picture(demo: Path, tmp_path: Path) -> None:
    picture = frame_at(demo, CAT_S, tmp_path / "tom.png")
    found = openmoment.find(demo, images=[picture], fps=2.0)
    assert found.names == ("tom",)
    np.testing.assert_allclose(found.segments[0], [12, 16], atol=0.5)
    assert found.origin is not None
    assert found.origin.settings["examples"]["tom"]["images"] == ["tom.png"]
    with pytest.raises(QueryError, match="No query"):
        openmoment.find(demo)


def test_find_takes_pictures_with_and_without_words(demo: Path, tmp_path: Path) -> None:
    cat = frame_at(demo, CAT_S, tmp_path / "tom.png")
    rocket = frame_at(demo, ROCKET_S, tmp_path / "start.jpg")
    result = run(
        "find", demo, "a cup of coffee", "--image", cat, "--image", rocket, "--fps", 2, "--json"
    )
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert [query["query"] for query in answer["queries"]] == ["a cup of coffee", "tom", "start"]
    best = {}
    for moment in sorted(answer["moments"], key=lambda moment: moment["score"]):
        best[moment["query"]] = (moment["start_s"], moment["end_s"])
    np.testing.assert_allclose(best["tom"], [12, 16], atol=0.5)
    np.testing.assert_allclose(best["start"], [20, 24], atol=0.5)
    assert answer["method"]["settings"]["examples"]["tom"]["words"] is False


def test_find_takes_a_folder_of_priors(demo: Path, tmp_path: Path) -> None:
    cat = frame_at(demo, CAT_S, tmp_path / "cat.png")
    priors = write_priors(tmp_path / "priors", "tom", ["a striped cat looks up"], cat)
    out = tmp_path / "answer.json"
    words = ("tom", "a rocket launch", "--priors", priors)
    result = run("find", demo, *words, "--fps", 2, "--json", "--out", out)
    assert result.exit_code == 0, result.output
    assert "nothing of a rocket launch" in result.stderr
    answer = json.loads(result.stdout)
    moments = [m for m in answer["moments"] if m["query"] == "tom"]
    np.testing.assert_allclose([moments[0]["start_s"], moments[0]["end_s"]], [12, 16], atol=0.5)
    shown = answer["method"]["settings"]["examples"]
    assert shown == {"tom": {"words": True, "texts": 1, "images": ["img_0.png"]}}
    assert out.is_file()


def test_examples_that_cannot_be_read_are_one_line(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture at all")
    for name in ("text.jpg", "gone.jpg"):
        assert name in refusal("find", demo, "--image", tmp_path / name)
    assert "no such folder of priors" in refusal("find", demo, "x", "--priors", tmp_path / "gone")
    priors = write_priors(tmp_path / "priors", "tom", ["a cat"])
    assert "none of 'a dog'. It has: tom" in refusal("find", demo, "a dog", "--priors", priors)
    (priors / "tom" / "texts.json").write_text('{"label": "tom"}')
    assert "'texts' is missing" in refusal("find", demo, "tom", "--priors", priors)


CLIPS = {
    "baby": "BabyCrawling/v_BabyCrawling_g18_c03.avi",
    "band": "BandMarching/v_BandMarching_g17_c01.avi",
    "bow": "Archery/v_Archery_g03_c01.avi",
    "lips": "ApplyLipstick/v_ApplyLipstick_g01_c02.avi",
}


@pytest.mark.data
def test_a_frame_of_a_real_clip_finds_it_in_a_composed_video(
    data_root: Path, tmp_path: Path
) -> None:
    rate, pictures, spans = 10, [], {}
    paths = {name: data_root / "clips" / "ucf101" / path for name, path in CLIPS.items()}
    for name, path in paths.items():
        start = len(pictures)
        pictures += [frame.rgb for frame in read_frames(path, fps=float(rate))]
        spans[name] = (start / rate, len(pictures) / rate)
    video = make_video(
        tmp_path / "all.mp4",
        seconds=len(pictures) / rate,
        fps=rate,
        width=320,
        height=240,
        paint=lambda time_s: pictures[round(time_s * rate)],
    )
    shown = [frame_at(path, 1.0, tmp_path / f"{name}.png") for name, path in paths.items()]
    found = openmoment.find(video, images=shown)
    for label, name in enumerate(found.names):
        start_s, end_s = found[found.labels == label].segments[0]
        first_s, last_s = spans[name]
        shared = min(end_s, last_s) - max(start_s, first_s)
        assert shared / (max(end_s, last_s) - min(start_s, first_s)) > 0.5, (name, found)
