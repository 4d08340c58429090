"""Captioners: a video in words, CoCa and BLIP from disk, tags from features; the verb too."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result
from videos import make_video

from openmoment.cli.features import app
from openmoment.encoders import load_encoder
from openmoment.encoders.captioners import captioning
from openmoment.encoders.captioners.captioning import (
    Captioner,
    cached_captions,
    caption_video,
    load_captioner,
)
from openmoment.encoders.captioners.tags import TagCaptioner, tag_captions
from openmoment.encoders.embedded.backbone import Embedded
from openmoment.encoders.weights import hub
from openmoment.encoders.weights.torchvision_ops import declare_missing
from openmoment.errors import (
    ConfigError,
    FeatureError,
    MissingWeightsError,
    UnknownNameError,
)
from openmoment.features.cache import Cache, sha256
from openmoment.features.captions import Captions, read_captions
from openmoment.pipeline.extraction import caption
from openmoment.types import Recipe, SnippetGrid, Snippets

declare_missing()


class Colours:
    """A captioner that says how bright a picture is, and remembers what it was shown."""

    name, short_side, batch = "colours", 24, 3

    def __init__(self, fingerprint: str = "c-1") -> None:
        self.fingerprint = fingerprint
        self.seen: list[list[np.ndarray]] = []

    def missing(self) -> str | None:
        return None

    def caption(self, pictures: list[np.ndarray]) -> list[str]:
        self.seen.append(list(pictures))
        return [f" brightness\n{round(picture.mean() / 10)} " for picture in pictures]


def grey(time_s: float) -> np.ndarray:
    """A new shade every second, from the dark on."""
    return np.full((48, 64, 3), 30 + 40 * int(time_s), dtype=np.uint8)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return make_video(tmp_path / "a.mp4", seconds=5, fps=2, paint=grey)


def pictures(num: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(num)]


# a video in words ----------------------------------------------------------------------------


def test_a_video_is_captioned_at_an_even_rate(video: Path) -> None:
    captioner, heard = Colours(), []
    captions = caption_video(
        video, captioner, fps=1.0, source_sha256="ab", progress=lambda *at: heard.append(at)
    )
    assert captions.texts == tuple(f"brightness {shade}" for shade in (3, 7, 11, 15, 19))
    np.testing.assert_allclose(captions.times_s, [0.5, 1.5, 2.5, 3.5, 4.5], atol=1e-3)
    assert captions.recipe == Recipe("colours", "c-1", 1.0, "ab")
    assert [len(batch) for batch in captioner.seen] == [3, 2]
    assert captioner.seen[0][0].shape == (24, 32, 3)
    assert heard == [(pytest.approx(3.0), pytest.approx(5.0))]


def test_a_picture_that_is_shown_twice_is_captioned_once(video: Path) -> None:
    captioner = Colours()
    captions = caption_video(video, captioner, fps=8.0, source_sha256="")
    assert len(captions) == 40 and sum(map(len, captioner.seen)) == 10
    each = caption_video(video, Colours(), fps=0.0, source_sha256="")
    assert captions.texts == tuple(text for text in each.texts for _ in range(4))


def test_captions_come_from_the_cache_the_second_time(video: Path, tmp_path: Path) -> None:
    cache, first, second = Cache(tmp_path / "cache"), Colours(), Colours()
    made, known = (
        cached_captions(video, captioner, fps=1.0, source_sha256="ab", cache=cache)
        for captioner in (first, second)
    )
    assert made.texts == known.texts and not second.seen
    other = Colours("c-2")
    cached_captions(video, other, fps=1.0, source_sha256="ab", cache=cache)
    assert other.seen


# tags ----------------------------------------------------------------------------------------


def snippets_of(rows: list[dict[int, float]], *, encoder: str = "embedded") -> Snippets:
    """Snippets whose classifier was this sure of these classes, softened as the backbone does."""
    shares = np.full((len(rows), 1000), 1e-9)
    for share, row in zip(shares, rows, strict=True):
        share[list(row)] = list(row.values())
    features = np.sqrt(shares)
    features /= features.sum(axis=1, keepdims=True)
    recipe = Recipe(encoder, Embedded().fingerprint, 2.0, "ab")
    grid = SnippetGrid.uniform(len(rows), end_s=len(rows) / 2)
    return Snippets(features.astype(np.float32), grid, recipe, len(rows) / 2)


def test_tags_name_the_top_labels_above_a_share() -> None:
    captions = tag_captions(
        snippets_of(
            [
                {1: 0.96, 0: 0.04},
                {0: 0.6, 1: 0.4},
                {0: 0.3, 1: 0.25, 2: 0.2, 3: 0.15, 4: 0.1},
                dict.fromkeys(range(1000), 0.001),
                {134: 0.5, 517: 0.4, 1: 0.1},
            ]
        )
    )
    assert captions.texts == (
        "a photo of goldfish",
        "a photo of tench and goldfish",
        "a photo of tench, goldfish and great white shark",
        "a photo of tench",
        "a photo of crane and goldfish",  # the bird and the machine
    )
    assert captions.times_s.tolist() == [0.25, 0.75, 1.25, 1.75, 2.25]
    assert (captions.captioner, captions.fps, captions.source_sha256) == ("tags", 2.0, "ab")


def test_tags_of_features_are_those_of_the_video(video: Path, embedded: Embedded) -> None:
    snippets = embedded.encode_video(video, fps=2.0, source_sha256="ab")
    from_features = tag_captions(snippets)
    from_video = caption_video(video, TagCaptioner(embedded), fps=2.0, source_sha256="ab")
    assert from_features.texts == from_video.texts
    assert from_features.recipe == from_video.recipe
    np.testing.assert_allclose(from_features.times_s, from_video.times_s)


def test_features_of_another_backbone_give_no_tags() -> None:
    with pytest.raises(FeatureError, match="embedded features, 1000 wide; these are of clip"):
        tag_captions(snippets_of([{0: 1.0}], encoder="clip"))


# CoCa ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coca_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("open_clip")
    from small_models import COCA, save_model

    return save_model(tmp_path_factory.mktemp("coca"), COCA | {"embed_dim": 48})


def test_coca_says_what_its_decoder_says_step_by_step(coca_folder: Path) -> None:
    import torch
    from PIL import Image

    from openmoment.encoders.captioners.coca import CocaCaptioner
    from openmoment.encoders.captioners.decoding import Decoding
    from openmoment.encoders.two_tower.open_clip import OpenClip
    from openmoment.encoders.two_tower.open_clip_names import import_open_clip

    open_clip = import_open_clip()
    model = open_clip.create_model(f"local-dir:{coca_folder}").eval()
    settings = open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg)
    transform = open_clip.transform.image_transform_v2(settings, is_train=False)
    encoder = load_encoder(str(coca_folder))
    assert isinstance(encoder, OpenClip)
    captioner = CocaCaptioner(encoder, Decoding(beams=1, groups=1, max_length=8))
    expected: list[str] = []
    for picture in pictures():
        tokens = [49406]
        for _ in range(7):
            with torch.no_grad():
                batch = transform(Image.fromarray(picture))[None]
                logits = model(batch, torch.tensor([tokens]), output_labels=False)["logits"]
            logits[0, -1, 49407] -= torch.inf if len(tokens) < 5 else 0
            tokens.append(int(logits[0, -1].argmax()))
        expected.append(
            open_clip.decode(torch.tensor(tokens[1:])).partition("<end_of_text>")[0].strip()
        )
    assert captioner.caption(pictures()) == expected
    assert len(set(expected)) > 1


def test_coca_encodes_a_picture_once_and_says_the_same_in_any_batch(coca_folder: Path) -> None:
    captioner = load_captioner(f"coca@{coca_folder}")
    assert captioner.missing() is None and isinstance(captioner, Captioner)
    visual, shapes = captioner.encoder.model.visual, []  # pyright: ignore
    hook = visual.register_forward_hook(lambda _, given, __: shapes.append(given[0].shape[0]))
    together = captioner.caption(pictures())
    hook.remove()
    assert shapes == [3]
    assert together == captioner.caption(pictures())
    assert together == [captioner.caption([picture])[0] for picture in pictures()]
    assert len(set(together)) > 1


def test_cocas_fingerprint_knows_how_it_decodes(coca_folder: Path) -> None:
    from openmoment.encoders.captioners.coca import CocaCaptioner
    from openmoment.encoders.captioners.decoding import Decoding

    encoder = load_encoder(str(coca_folder))
    usual, same, other = (
        CocaCaptioner(encoder, how).fingerprint  # pyright: ignore
        for how in (None, Decoding(), Decoding(diversity=0.5))
    )
    assert usual == same != other


def test_a_model_that_cannot_caption_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    from small_models import CLIP, save_model

    captioner = load_captioner(f"coca@{save_model(tmp_path / 'clip', CLIP)}")
    with pytest.raises(ConfigError, match="cannot caption; that takes a CoCa model"):
        captioner.caption(pictures(1))


# BLIP ----------------------------------------------------------------------------------------

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] [DEC] a man throws the red ball dog runs on grass".split()


@pytest.fixture(scope="module")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BLIP with random weights, in transformers' own form."""
    transformers = pytest.importorskip("transformers")
    import torch

    size = {"hidden_size": 32, "intermediate_size": 32, "projection_dim": 16}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "sep_token_id": 3, "eos_token_id": 3, "bos_token_id": 5}
    text = {"vocab_size": len(WORDS), "encoder_hidden_size": 32, "max_position_embeddings": 64}
    config = transformers.BlipConfig(
        text_config=text | size | layers | special,
        vision_config={"image_size": 32, "patch_size": 16} | size | layers,
        projection_dim=16,
    )
    torch.manual_seed(0)
    model = transformers.BlipForConditionalGeneration(config)
    for parameter in model.parameters():  # spread out, so that pictures differ
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    folder = tmp_path_factory.mktemp("models") / "tiny-blip"
    model.save_pretrained(folder)
    tokenizer = transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)})
    resize = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    transformers.BlipProcessor(resize, tokenizer).save_pretrained(folder)
    return folder


def test_blip_captions_from_a_folder(blip_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    captioner = load_captioner(f"blip@{blip_folder}")
    assert isinstance(captioner, Captioner)
    assert (captioner.name, captioner.missing()) == ("blip@tiny-blip", None)
    together = captioner.caption(pictures())
    assert together == [captioner.caption([picture])[0] for picture in pictures()]
    assert len(set(together)) > 1
    assert all(set(text.split()) <= set(WORDS[5:]) for text in together)
    assert all(1 <= len(text.split()) <= 20 for text in together)
    assert capfd.readouterr() == ("", "")


def test_blip_is_found_in_the_hub_cache(
    blip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models--someone--blip"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots").mkdir()
    (folder / "snapshots" / "abc").symlink_to(blip_folder)
    monkeypatch.setattr(hub, "cache_folder", lambda: tmp_path)
    captioner = load_captioner("blip@someone/blip")
    assert captioner.missing() is None
    assert captioner.fingerprint == load_captioner(f"blip@{blip_folder}").fingerprint
    with pytest.raises(MissingWeightsError, match="hub cache"):
        load_captioner("blip@someone/else")


def copy_without(folder: Path, target: Path, name: str) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        if path.name != name:
            (target / path.name).write_bytes(path.read_bytes())
    return target


def test_blips_fingerprint_knows_its_weights(blip_folder: Path, tmp_path: Path) -> None:
    other = copy_without(blip_folder, tmp_path / "tiny-blip", "tokenizer.json")
    usual = load_captioner(f"blip@{blip_folder}").fingerprint
    (other / "tokenizer.json").write_bytes((blip_folder / "tokenizer.json").read_bytes())
    assert load_captioner(f"blip@{other}").fingerprint == usual
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert load_captioner(f"blip@{other}").fingerprint != usual


def test_a_folder_that_is_no_whole_blip_is_one_line(blip_folder: Path, tmp_path: Path) -> None:
    pickled = copy_without(blip_folder, tmp_path / "pickled", "model.safetensors")
    (pickled / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(MissingWeightsError, match="Pickled weights"):
        load_captioner(f"blip@{pickled}")
    other = copy_without(blip_folder, tmp_path / "other", "config.json")
    (other / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(MissingWeightsError, match=r"config\.json: model_type: expected 'blip'"):
        load_captioner(f"blip@{other}")
    damaged = copy_without(blip_folder, tmp_path / "damaged", "")
    (damaged / "model.safetensors").write_bytes(b"not these")
    with pytest.raises(MissingWeightsError, match="damaged: cannot be loaded"):
        load_captioner(f"blip@{damaged}").caption(pictures(1))


def test_weights_that_lack_a_tensor_are_refused(blip_folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = copy_without(blip_folder, tmp_path / "part", "")
    tensors = load_file(folder / "model.safetensors")
    tensors = {name: value for name, value in tensors.items() if "patch_embedding" not in name}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MissingWeightsError, match="lack 2 tensors, such as 'vision"):
        load_captioner(f"blip@{folder}").caption(pictures(1))


# by name, and in bulk ------------------------------------------------------------------------


def test_captioners_go_by_name() -> None:
    assert isinstance(load_captioner("tags"), TagCaptioner)
    for name in ("blip", "tags@x", "gpt", "coca", ""):
        with pytest.raises(UnknownNameError, match="captioner"):
            load_captioner(name)
    with pytest.raises(ConfigError, match="tags does not run on cuda"):
        load_captioner("tags", device="cuda")
    with pytest.raises(ConfigError, match="in bf16"):
        load_captioner("blip@x", precision="bf16")
    with pytest.raises(ConfigError, match="expected a CoCa model"):
        load_captioner("coca@embedded")


def test_many_videos_are_captioned_and_resumed(video: Path, tmp_path: Path) -> None:
    bad, out, captioner = tmp_path / "b.mp4", tmp_path / "out", Colours()
    bad.write_bytes(b"broken")
    results = list(caption([video, bad], out, captioner, fps=1.0))
    assert [item.status for item in results] == ["made", "failed"]
    assert str(bad) in results[1].message
    assert [path.name for path in out.iterdir()] == ["a.captions.json"]
    recipe = Recipe("colours", "c-1", 1.0, sha256(video))
    assert len(read_captions(results[0].path, expected=recipe)) == 5

    def again(other: Captioner = captioner, **options: bool) -> str:
        return next(caption([video], out, other, fps=1.0, **options)).status

    num_batches = len(captioner.seen)
    assert again() == "present" and len(captioner.seen) == num_batches
    assert again(Colours("c-2")) == "failed"
    assert again(Colours("c-2"), overwrite=True) == "made"
    results[0].path.write_text("{}")
    assert (again(), again(overwrite=True)) == ("failed", "made")


def ask(*words: object) -> Result:
    return CliRunner().invoke(app, ["caption", *map(str, words)])


def test_the_verb_captions_a_folder(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioning, "load_captioner", lambda name, **_: Colours())
    (video.parent / "b.mp4").write_bytes(b"broken")
    out = tmp_path / "out"
    done = ask(video.parent, "--out", out, "--captioner", "colours", "--json")
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    assert (told["captioner"], told["fps"], told["counts"]) == (
        "colours",
        1.0,
        {"made": 1, "failed": 1},
    )
    assert told["videos"][0]["captions"] == str(out / "a.captions.json")
    assert f"2 videos: 1 made, 1 failed. Captions are in {out}." in done.stderr
    other = tmp_path / "other"
    monkeypatch.setattr(Colours, "caption", lambda *_: pytest.fail("it is in the cache"))
    assert ask(video, "--out", other, "--captioner", "colours").exit_code == 0
    assert isinstance(read_captions(other / "a.captions.json"), Captions)


def test_the_verb_works_offline_with_tags(video: Path, tmp_path: Path) -> None:
    done = ask(video, "--out", tmp_path / "out", "--captioner", "tags", "--fps", 0.5)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    captions = read_captions(tmp_path / "out" / "a.captions.json")
    assert all(text.startswith("a photo of ") for text in captions.texts)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tag", "Did you mean 'tags'?"),
        ("blip@nowhere", "no such folder"),
        ("coca_ViT-L-14@/none.safetensors", "no such weights file"),
    ],
)
def test_the_verb_refuses_in_one_line(video: Path, tmp_path: Path, name: str, says: str) -> None:
    done = ask(video, "--out", tmp_path / "out", "--captioner", name)
    assert done.exit_code == 2 and says in done.stderr
    assert done.stderr.startswith("openmoment: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
