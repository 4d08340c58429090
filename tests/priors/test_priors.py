"""Priors as files: what is written, read, kept, corrected by hand, and refused."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import refusal, run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openmoment.encoders.prompts import KINETICS_PROMPTS
from openmoment.errors import (
    ConfigError,
    FormatError,
    MissingExtraError,
    MissingWeightsError,
    OpenMomentError,
    ProviderError,
    QueryError,
    UnknownNameError,
)
from openmoment.features.cache import Cache
from openmoment.priors import read_priors
from openmoment.priors.access import Access
from openmoment.priors.files import folder_name, folder_names
from openmoment.priors.make import Maker
from openmoment.priors.pictures import LONGEST_SIDE, read_picture
from openmoment.priors.plain import FolderImages, NoImages, NoTexts, TemplateTexts
from openmoment.priors.providers import load_image_provider, load_text_provider


def picture(
    colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (40, 30)
) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, format="PNG")
    return content.getvalue()


class Scripted:
    """A costly provider of texts and of pictures that counts what it is asked."""

    name, model, fingerprint = "scripted", "m-1", "f-1"
    is_costly = takes_seed = True

    def __init__(self, refuse: tuple[str, ...] = (), stop_at: str = "") -> None:
        self.refuse, self.stop_at = refuse, stop_at
        self.asked: list[tuple[str, int]] = []

    def prompt(self, label: str, num: int) -> str:
        return f"say {label}"

    def count(self, label: str, num: int) -> int:
        return num

    def write(self, label: str, num: int, *, seed: int) -> list[str]:
        self._ask(label, seed)
        return [f"{label} is seen, way {seed + i}" for i in range(num)]

    def draw(self, label: str, index: int, *, seed: int) -> bytes:
        self._ask(label, seed)
        return picture((seed % 256, 0, 0))

    def _ask(self, label: str, seed: int) -> None:
        self.asked.append((label, seed))
        if label == self.stop_at:
            raise ConfigError(f"{label}: no key.")
        if label in self.refuse:
            raise ProviderError(f"{label}: refused.")


# folders and files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("pole vault", "pole vault"),
        ("CleanAndJerk", "CleanAndJerk"),
        ("high-jump_2", "high-jump_2"),
        ("../etc/passwd", "etc-passwd"),
        ("what? now", "what- now"),
        ("Stabhochsprünge", "Stabhochsprünge"),
        ("跳高", "跳高"),
    ],
)
def test_folder_names_are_readable(label: str, name: str) -> None:
    assert folder_name(label) == name


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=300))
def test_folder_names_are_safe(label: str) -> None:
    name = folder_name(label)
    assert 0 < len(name.encode()) <= 120
    assert not set(name) & set('/\\:*?"<>|.\0\n')
    assert name == name.strip()


def test_names_that_nothing_is_left_of_or_that_are_cut_stay_apart() -> None:
    long = "a person opens the door and " * 8
    labels = ["???", "!!!", long + "leaves", long + "stays", "con", "LPT1"]
    names = folder_names(labels)
    assert len({name.casefold() for name in names.values()}) == len(labels)
    assert names["con"] != "con"


@pytest.mark.parametrize("labels", [["a/b", "a-b"], ["High Jump", "high jump"], ["a b.", "a b"]])
def test_labels_that_would_share_a_folder_are_refused(labels: list[str], tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="would share the folder"):
        list(Maker(TemplateTexts(), NoImages()).make(labels, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_read(tmp_path: Path) -> None:
    labels = ["pole vault", "what? a/b"]
    made = list(Maker(Scripted(), Scripted(), num=3, seed=7).make(labels, tmp_path))
    assert [item.status for item in made] == ["made", "made"]
    priors = read_priors(tmp_path)
    assert sorted(priors) == labels
    prior = priors["  POLE  vault "]
    assert prior.texts == tuple(f"pole vault is seen, way {i}" for i in (7, 8, 9))
    assert prior.made is not None
    assert (prior.made.provider, prior.made.model, prior.made.seed) == ("scripted", "m-1", 7)
    assert prior.made.prompt == "say pole vault"
    assert not prior.is_edited
    assert [image.name for image in prior.images] == ["img_0.png", "img_1.png", "img_2.png"]
    assert [note and note.seed for note in prior.images_made] == [7, 8, 9]
    assert read_picture(prior.images[1])[0, 0].tolist() == [8, 0, 0]
    assert "nothing" not in priors
    assert json.loads((tmp_path / "what- a-b" / "texts.json").read_text())["label"] == "what? a/b"


def test_a_correction_by_hand_is_used_and_kept(tmp_path: Path) -> None:
    maker = Maker(Scripted(), NoImages())
    list(maker.make(["pole vault"], tmp_path))
    path = tmp_path / "pole vault" / "texts.json"
    document = json.loads(path.read_text())
    document["texts"] = ["  somebody flies\n over a bar "]
    path.write_text(json.dumps(document))
    assert [item.status for item in maker.make(["pole vault"], tmp_path)] == ["kept"]
    prior = read_priors(tmp_path)["pole vault"]
    assert prior.texts == ("somebody flies over a bar",)
    assert prior.is_edited


def test_a_folder_by_hand_needs_little(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "texts.json").write_text('{"label": "my dog", "texts": []}')
    (folder / "img_b.png").write_bytes(picture())
    (folder / "notes.txt").write_text("not read")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    prior = read_priors(tmp_path)["my dog"]
    assert (prior.texts, len(prior.images), prior.images_made) == ((), 1, (None,))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1: is not JSON"),
        ("[]", "expected an object"),
        ('{"texts": []}', "field 'label' is missing"),
        ('{"label": " ", "texts": []}', "label: is empty"),
        ('{"label": "x"}', "field 'texts' is missing"),
        ('{"label": "x", "texts": "one"}', "texts: expected a list"),
        ('{"label": "x", "texts": ["one", 2]}', r"texts\[1\]: expected a sentence, got 2"),
        ('{"label": "x", "texts": [""]}', r"texts\[0\]: expected a sentence"),
        ('{"label": "x", "texts": [], "made": {"provider": 3}}', "made: provider: expected text"),
        ('{"label": "x", "texts": [], "made": {"seed": "a"}}', "made: seed: expected a whole"),
        ('{"label": "x", "texts": [], "made": "me"}', "made: expected an object"),
    ],
)
def test_malformed_texts_name_file_and_field(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "texts.json").write_text(content)
    with pytest.raises(FormatError, match=rf"texts\.json.*{message}"):
        read_priors(tmp_path)


def test_folders_that_are_no_priors(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such folder"):
        read_priors(tmp_path / "gone")
    with pytest.raises(FormatError, match="holds no priors"):
        read_priors(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "texts.json").write_text('{"label": "Twin", "texts": ["t"]}')
    with pytest.raises(FormatError, match="'Twin' is there twice"):
        read_priors(tmp_path)
    (tmp_path / "b" / "texts.json").unlink()
    (tmp_path / "b" / "img_0.png").write_bytes(picture())
    with pytest.raises(FormatError, match=r"texts\.json: is missing"):
        read_priors(tmp_path)
    (tmp_path / "b" / "texts.json").write_text('{"label": "b", "texts": []}')
    (tmp_path / "b" / "img_0.png").write_text("no picture")
    with pytest.raises(FormatError, match=r"img_0\.png: is not a picture"):
        read_priors(tmp_path)


# making ------------------------------------------------------------------------------------------


def test_a_failing_label_loses_no_other_and_a_second_run_asks_for_the_rest(tmp_path: Path) -> None:
    labels = ["a", "b", "c"]
    first = Scripted(refuse=("b",))
    made = list(Maker(first, NoImages()).make(labels, tmp_path))
    assert [item.status for item in made] == ["made", "failed", "made"]
    assert made[1].message == "b: refused."
    second = Scripted()
    made = list(Maker(second, NoImages()).make(labels, tmp_path))
    assert [item.status for item in made] == ["kept", "made", "kept"]
    assert second.asked == [("b", 0)]


def test_what_fails_all_labels_stops_and_keeps_what_was_made(tmp_path: Path) -> None:
    provider = Scripted(stop_at="b")
    with pytest.raises(ConfigError, match="b: no key"):
        list(Maker(provider, NoImages()).make(["a", "b", "c"], tmp_path))
    assert list(read_priors(tmp_path)) == ["a"]
    assert provider.asked == [("a", 0), ("b", 0)]


def test_missing_pictures_alone_are_drawn(tmp_path: Path) -> None:
    list(Maker(NoTexts(), Scripted(), num=4).make(["a"], tmp_path))
    (tmp_path / "a" / "img_2.png").unlink()
    (tmp_path / "a" / "img_3.png").rename(tmp_path / "a" / "img_3.jpg")  # one's own, say
    provider = Scripted()
    (item,) = Maker(NoTexts(), provider, num=4).make(["a"], tmp_path)
    assert (item.status, item.message) == ("made", "1 images")
    assert provider.asked == [("a", 2)]
    assert read_priors(tmp_path)["a"].texts == ()


def test_texts_may_be_added_where_there_were_none(tmp_path: Path) -> None:
    list(Maker(NoTexts(), Scripted()).make(["a"], tmp_path))
    list(Maker(Scripted(), NoImages()).make(["a"], tmp_path))
    assert len(read_priors(tmp_path)["a"].texts) == 4
    (item,) = Maker(TemplateTexts(), NoImages()).make(["a"], tmp_path)
    assert item.status == "kept"
    assert "texts by scripted m-1" in item.message


def test_what_was_paid_for_once_is_not_asked_again(tmp_path: Path) -> None:
    cache, again = Cache(tmp_path / "cache"), Scripted()
    list(Maker(Scripted(), Scripted(), num=2, cache=cache).make(["a"], tmp_path / "one"))
    list(Maker(again, again, num=2, cache=cache).make(["a"], tmp_path / "two"))
    assert again.asked == []
    list(Maker(again, again, num=2, seed=9, cache=cache).make(["a"], tmp_path / "three"))
    assert again.asked == [("a", 9), ("a", 9), ("a", 10)]
    again.fingerprint = "f-2"
    list(Maker(again, NoImages(), num=2, cache=cache).make(["a"], tmp_path / "four"))
    assert again.asked[3:] == [("a", 0)]
    assert cache.size_bytes() > 0
    cache.clear()
    assert cache.size_bytes() == 0


def test_another_labels_folder_and_a_malformed_one_fail_alone(tmp_path: Path) -> None:
    for name, content in (("a-b", '{"label": "a/b", "texts": ["t"]}'), ("c", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "texts.json").write_text(content)
    made = list(Maker(TemplateTexts(), NoImages()).make(["a-b", "c", "d"], tmp_path))
    assert [item.status for item in made] == ["failed", "failed", "made"]
    assert "holds the priors of 'a/b'" in made[0].message
    assert "is not JSON" in made[1].message


def test_a_picture_that_is_none_is_not_kept(tmp_path: Path) -> None:
    class Broken(Scripted):
        def draw(self, label: str, index: int, *, seed: int) -> bytes:
            return b"no picture" if label == "a" else picture()

    cache = Cache(tmp_path / "cache")
    made = list(Maker(NoTexts(), Broken(), num=1, cache=cache).make(["a", "b"], tmp_path / "p"))
    assert [item.status for item in made] == ["failed", "made"]
    assert made[0].message.startswith("a: the picture of")
    assert not (tmp_path / "p" / "a" / "img_0.png").exists()
    assert list((tmp_path / "p" / "b").glob(".*")) == []
    (item,) = Maker(NoTexts(), Scripted(), num=1, cache=cache).make(["a"], tmp_path / "p")
    assert item.status == "made"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OpenMomentError, match="cannot be made"):
        list(Maker(TemplateTexts(), NoImages()).make(["a"], tmp_path / "file"))


# providers that need nothing ---------------------------------------------------------------------


@pytest.mark.parametrize("num", [1, 4, 5, 28])
def test_templates_are_spread_over_all_prompts(num: int) -> None:
    texts = TemplateTexts().write("CleanAndJerk", num, seed=0)
    assert len(set(texts)) == num
    assert set(texts) <= {prompt.format("Clean And Jerk") for prompt in KINETICS_PROMPTS}
    if num == 4:
        assert texts[1] == "a video of Clean And Jerk."
    with pytest.raises(ConfigError, match="28"):
        TemplateTexts().write("x", 29, seed=0)


def test_ones_own_pictures_are_upright_small_and_without_their_metadata(tmp_path: Path) -> None:
    own = tmp_path / "own" / "pole vault"
    own.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    exif[0x010E] = "where I live"
    Image.new("RGB", (1600, 800), (0, 90, 0)).save(own / "a.jpg", exif=exif)
    (own / "b.png").write_bytes(picture())
    (own / "readme.txt").write_text("no picture")
    (own / ".hidden.png").write_bytes(b"")
    maker = Maker(NoTexts(), FolderImages(str(tmp_path / "own")))
    made = list(maker.make(["pole vault", "high jump"], tmp_path / "priors"))
    assert [item.status for item in made] == ["made", "failed"]
    assert "Put pictures of 'high jump' there" in made[1].message
    prior = read_priors(tmp_path / "priors")["pole vault"]
    assert [note and note.prompt for note in prior.images_made] == ["a.jpg", "b.png"]
    assert read_picture(prior.images[0]).shape == (LONGEST_SIDE, LONGEST_SIDE // 2, 3)
    assert b"where I live" not in prior.images[0].read_bytes()
    with pytest.raises(ConfigError, match="no such folder"):
        FolderImages(str(tmp_path / "gone"))


def test_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture(size=(300, 300))[:-60])
    with pytest.raises(FormatError, match=r"cut\.png: is a picture that cannot be read"):
        read_picture(cut)
    with pytest.raises(FormatError, match="no such file"):
        read_picture(tmp_path / "gone.png")
    with pytest.raises(FormatError, match="cannot be read"):
        read_picture(tmp_path)


@pytest.mark.parametrize(("size", "shape"), [((40, 30), (24, 32)), ((9, 90), (240, 24))])
def test_a_shorter_side_keeps_the_shape(size: tuple, shape: tuple, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(picture(size=size))
    assert read_picture(path, 24).shape == (*shape, 3)


@pytest.mark.parametrize(
    ("load", "spec", "error", "message"),
    [
        (load_text_provider, "gpt", UnknownNameError, "Known: template, none, openai:MODEL"),
        (load_text_provider, "openai", ConfigError, "expected openai:MODEL"),
        (load_text_provider, "template:x", ConfigError, "expected template"),
        (load_text_provider, "transformers:gone", MissingWeightsError, "no folder with"),
        (load_image_provider, "wikipedia", UnknownNameError, "Known: none, folder:DIR"),
        (load_image_provider, "diffusers:gone", MissingWeightsError, "no folder with"),
    ],
)
def test_providers_by_name(
    load: Callable[[str], Any], spec: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load(spec)


# models on this machine --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model of random weights whose every token is a word."""
    from openmoment.encoders.weights.torchvision_ops import declare_missing

    declare_missing()
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {f"word{i}": i for i in range(40)} | {"<unk>": 40, "<end>": 41}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("models") / "tiny-writer"
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>"
    )
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=42, n_positions=128, n_embd=16, n_layer=1, n_head=2, bos_token_id=41,
        eos_token_id=41,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_a_local_model_writes_by_its_seed(tiny_writer: Path) -> None:
    import torch

    provider = load_text_provider(f"transformers:{tiny_writer}")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    texts = provider.write("pole vault", 3, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(set(texts)) == 3
    assert all("word" in text and "<end>" not in text for text in texts)
    assert provider.write("pole vault", 1, seed=5) == texts[1:2]
    assert provider.model == "tiny-writer"
    assert "pole vault" in provider.prompt("pole vault", 1)


def test_a_folder_of_another_kind_is_refused(tiny_writer: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    provider = load_text_provider(f"transformers:{tmp_path}")
    with pytest.raises(MissingWeightsError, match="cannot be loaded"):
        provider.write("x", 1, seed=0)
    assert provider.fingerprint != load_text_provider(f"transformers:{tiny_writer}").fingerprint


def test_a_diffusion_pipeline_draws_by_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights.safetensors").write_bytes(b"")
    provider: Any = load_image_provider(f"diffusers:{tmp_path}", Access(device="cpu"))

    class Answer:
        def __init__(self, level: int, is_refused: bool) -> None:
            self.images = [Image.new("RGB", (8, 8), (level, 0, 0))]
            self.nsfw_content_detected = [is_refused]

    def pipeline(prompt: str, generator: Any) -> Answer:
        return Answer(generator.initial_seed(), "gun" in prompt)

    monkeypatch.setattr(type(provider), "_pipeline", staticmethod(pipeline))
    image = Image.open(io.BytesIO(provider.draw("pole vault", 1, seed=7)))
    assert np.asarray(image)[0, 0].tolist() == [7, 0, 0]
    with pytest.raises(ProviderError, match="gun: the safety checker"):
        provider.draw("gun", 0, seed=0)


def test_diffusers_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    (tmp_path / "w.safetensors").write_bytes(b"")
    provider = load_image_provider(f"diffusers:{tmp_path}")
    with pytest.raises(MissingExtraError, match=r"openmoment\[images\]"):
        provider.draw("x", 0, seed=0)


# the command -------------------------------------------------------------------------------------


def test_make_and_show(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("pole vault\n\nhigh jump\n")
    own = tmp_path / "own" / "pole vault"
    own.mkdir(parents=True)
    (own / "one.png").write_bytes(picture())
    out = tmp_path / "priors"
    args = ("priors", "make", "--names", names, "--out", out, "--images", f"folder:{own.parent}")
    result = run(*args, "-k", 2, "--json")
    assert result.exit_code == 2
    told = json.loads(result.stdout)
    assert told["counts"] == {"made": 1, "failed": 1}
    lines = result.stderr.splitlines()
    assert lines[0] == "made    pole vault: 2 texts, 1 images"
    assert lines[1].startswith("failed")
    assert "high jump" in lines[1]
    assert lines[2] == f"2 labels: 1 made, 1 failed. Priors are in {out}."
    shown = run("priors", "show", out).stdout.splitlines()
    assert shown[0] == "high jump  (template, " + shown[0][-11:]
    assert "  a photo of high jump." in shown
    assert any(line.startswith("  img_0.png  (folder, ") for line in shown)
    document = json.loads(run("priors", "show", out, "--json").stdout)
    assert [prior["label"] for prior in document["priors"]] == ["high jump", "pole vault"]
    again = run("priors", "make", "--names", names, "--out", out, "-k", 2)
    assert again.exit_code == 0
    assert again.stderr.splitlines() == [f"2 labels: 2 kept. Priors are in {out}."]


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a/b\na-b\n")
    out = ("--out", tmp_path / "priors")
    assert "share the folder" in refusal("priors", "make", "--names", names, *out)
    assert "gone.txt" in refusal("priors", "make", "--names", tmp_path / "gone.txt", *out)
    assert "Known: template" in refusal(
        "priors", "make", "--names", names, *out, "--texts", "chatgpt"
    )
    assert "no such folder" in refusal("priors", "show", tmp_path / "gone")
