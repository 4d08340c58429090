"""open_clip models from disk: equal to open_clip's own answers, and refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from openmoment.encoders.weights.torchvision_ops import declare_missing

declare_missing()
torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")
from PIL import Image  # noqa: E402
from small_models import CLIP, COCA, SIGLIP, save_model  # noqa: E402
from spaces import CosineSpace  # noqa: E402
from typer.testing import CliRunner  # noqa: E402
from videos import make_video  # noqa: E402

from openmoment.cli.main import app  # noqa: E402
from openmoment.encoders import ENCODERS, load_encoder  # noqa: E402
from openmoment.encoders.base import Encoder, Space  # noqa: E402
from openmoment.encoders.two_tower.open_clip import OpenClip  # noqa: E402
from openmoment.encoders.two_tower.open_clip_names import (  # noqa: E402
    Weights,
    import_open_clip,
    parse_spec,
    repo_of,
)
from openmoment.encoders.weights import hub  # noqa: E402
from openmoment.errors import ConfigError, MissingWeightsError, UnknownNameError  # noqa: E402
from openmoment.features.captions import read_captions  # noqa: E402
from openmoment.methods import load_method  # noqa: E402
from openmoment.pipeline import load_pipeline  # noqa: E402
from openmoment.types import Queries, Recipe, SnippetGrid, Snippets  # noqa: E402

CONFIGS = {"clip": CLIP, "coca": COCA, "siglip": SIGLIP}
NAMES = ("pole vault", "a man opens the fridge", "x")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: save_model(root / name, config) for name, config in CONFIGS.items()}


def pictures(num: int = 3, *, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(num)]


def reference(folder: Path):
    """The same model, transform and tokenizer, as open_clip makes them."""
    open_clip = import_open_clip()
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    settings = open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg)
    transform = open_clip.transform.image_transform_v2(settings, is_train=False)
    return model, transform, open_clip.get_tokenizer(f"local-dir:{folder}")


@pytest.mark.parametrize("name", CONFIGS)
def test_answers_are_those_of_open_clip(folders: dict[str, Path], name: str) -> None:
    encoder = load_encoder(str(folders[name]))
    model, transform, tokenizer = reference(folders[name])
    batch = torch.stack([transform(Image.fromarray(p)) for p in pictures()])
    assert torch.equal(encoder.preprocess(pictures()), batch)
    prompts = [f"a video of action {name}" for name in NAMES]
    with torch.no_grad():
        seen = model.encode_image(batch, normalize=True)
        words = model.encode_text(tokenizer(prompts), normalize=True)
        bias = 0.0 if model.logit_bias is None else model.logit_bias
        expected = (model.logit_scale.exp() * words @ seen.T + bias).numpy()
    found = encoder.space.logits(encoder.encode_pictures(pictures()), encoder.encode_text(NAMES))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder.space, Space)


@pytest.mark.parametrize("name", ["clip", "coca"])
def test_features_and_texts_come_before_their_projections(
    folders: dict[str, Path], name: str
) -> None:
    encoder = load_encoder(str(folders[name]))
    features, texts = encoder.encode_pictures(pictures()), encoder.encode_text(NAMES)
    towers = encoder.space.towers(features, texts)
    joint_width = CONFIGS[name]["embed_dim"]
    assert towers.video_projection.shape == (features.shape[1], joint_width)
    assert encoder.dim_in == features.shape[1]
    assert towers.text_projection.shape == (texts.shape[1], joint_width) == (48, joint_width)
    assert towers.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    model, _, _ = reference(folders[name])
    with torch.no_grad():
        joint = model.encode_image(encoder.preprocess(pictures()), normalize=False).numpy()
    projected = features @ towers.video_projection
    np.testing.assert_allclose(unit(projected), unit(joint), atol=1e-5)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_text_tower_taken_apart_gives_the_same(folders: dict[str, Path], name: str) -> None:
    encoder = load_encoder(str(folders[name]))
    tower = encoder.text_tower
    tokens = tower.tokenize(NAMES)
    assert tokens.shape == (3, tower.context_length)
    embeddings = tower.embed(tokens).requires_grad_()
    pooled, every = tower.encode(embeddings, tokens)
    assert pooled.shape == (3, tower.width)
    assert every.shape[:2] == embeddings.shape[:2]
    weights = torch.linspace(0, 1, tower.width)  # the plain sum of a normalised layer never changes
    (pooled * weights).sum().backward()  # a learnable context would learn
    assert embeddings.grad is not None
    assert float(embeddings.grad.abs().sum()) > 0
    if encoder.text_head is None:
        plain = encoder.encode_text(NAMES, templates=("{}",))
        np.testing.assert_allclose(pooled.detach().numpy(), plain, atol=1e-5)
    assert encoder.tokens(NAMES).shape == every.shape


def test_image_tokens(folders: dict[str, Path]) -> None:
    assert load_encoder(str(folders["clip"])).image_tokens(pictures()).shape == (3, 16, 64)
    assert load_encoder(str(folders["coca"])).image_tokens(pictures()).shape[0] == 3
    with pytest.raises(ConfigError, match="gives no tokens"):
        load_encoder(str(folders["siglip"])).image_tokens(pictures())


def test_a_video_is_encoded_and_asked(folders: dict[str, Path], tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", seconds=3)
    pipeline = load_pipeline(str(folders["clip"]), settings={"min_presence": 0, "min_score": 0})
    found = pipeline.find(video, ["a red thing", "a blue thing"])
    assert found.origin is not None
    assert found.origin.backbone == "clip"
    assert len(found)
    again = load_pipeline(str(folders["clip"])).snippets(video)
    assert again.recipe.fingerprint == pipeline.encoder.fingerprint
    assert again.features.shape == (12, 64)


def test_from_video_to_captions_to_t3al_with_a_small_coca(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Every step of the paper on one command line each, with weights in open_clip's form."""
    videos, captions = tmp_path / "videos", tmp_path / "captions"
    videos.mkdir()
    make_video(videos / "v.mp4", seconds=3)
    coca = folders["coca"]

    def ask(*args: object):
        done = CliRunner().invoke(app, [str(arg) for arg in args])
        assert done.exit_code == 0, (done.output, done.stderr, done.exception)
        return done

    ask("features", "caption", videos, "--out", captions, "--captioner", f"coca@{coca}", "--fps", 1)
    assert len(read_captions(captions / "v.captions.json")) == 3
    page = tmp_path / "why.html"
    args = ("--method", "t3al", "--preset", "thumos14-recommended", "--backbone", coca)
    kept = ("--explain", page, "--save-predictions", tmp_path / "all.json")
    done = ask("find", videos, "red", "blue", *args, "--captions", captions, *kept, "--json")
    (answer,) = json.loads(done.stdout)["videos"]
    assert answer["backbone"]["name"] == "coca"
    (ranked,) = json.loads((tmp_path / "all.json").read_text())["results"].values()
    assert len(ranked) >= 1
    assert "the loss went from" in page.read_text()


def test_other_weights_are_another_backbone(folders: dict[str, Path], tmp_path: Path) -> None:
    other = save_model(tmp_path / "clip", CLIP, seed=1)
    first, second = load_encoder(str(folders["clip"])), load_encoder(str(other))
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == load_encoder(str(folders["clip"])).fingerprint
    assert first.fingerprint != load_encoder(str(folders["clip"]), precision="bf16").fingerprint


def test_precision_changes_little(folders: dict[str, Path]) -> None:
    full = load_encoder(str(folders["clip"])).encode_pictures(pictures())
    half = load_encoder(str(folders["clip"]), precision="bf16").encode_pictures(pictures())
    assert 0 < np.abs(full - half).max() < 0.2
    with pytest.raises(ConfigError, match="precision: expected one of"):
        load_encoder(str(folders["clip"]), precision="int8")
    with pytest.raises(ConfigError, match="runs on the processor"):
        load_encoder("embedded", device="cuda")


def test_t3al_may_adapt_a_copy_of_the_text_tower(folders: dict[str, Path]) -> None:
    """Table 5's last row; the encoder's own tower stays as it is, bit for bit."""
    encoder = load_encoder(str(folders["clip"]))
    snippets = encode(encoder, 90)
    names = ("pole vault", "a cat")
    texts = encoder.encode_text(names)
    queries = Queries(names, texts, np.zeros((0, texts.shape[1]), np.float32))
    before = [p.clone() for p in encoder.text_tower.parameters()]
    found = {}
    for adapts in (False, True):
        settings = {"labels": "single", "adapt_text_encoder": adapts, "lr": 1e-3, "patience": 0}
        method = load_method("t3al", encoder.space, settings | {"steps": 5})
        found[adapts] = method.explain(snippets, queries).adaptations[0]
    assert found[True].losses[0] == pytest.approx(found[False].losses[0], abs=1e-5)
    assert found[True].losses[-1] != pytest.approx(found[False].losses[-1], abs=1e-7)
    for a, b in zip(before, encoder.text_tower.parameters(), strict=True):
        assert torch.equal(a, b)
    without = load_method("t3al", CosineSpace(), {"adapt_text_encoder": True})
    with pytest.raises(ConfigError, match="adapt_text_encoder needs"):
        without._prompt("x")


def encode(encoder: OpenClip, num: int) -> Snippets:
    features = encoder.encode_pictures(pictures(num))
    grid = SnippetGrid.uniform(num, end_s=num / 30)
    return Snippets(features, grid, Recipe("clip", encoder.fingerprint, 30.0, ""), num / 30)


# where weights come from -------------------------------------------------------------------------


def in_hub_cache(root: Path, repo: str, folder: Path) -> None:
    """As huggingface_hub lays it out."""
    place = root / f"models--{repo.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc123")
    snapshot = place / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        (snapshot / file.name).symlink_to(file)


def test_weights_are_found_in_the_hub_cache(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = ENCODERS["clip-vit-b-16"]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert "openmoment models pull clip-vit-b-16" in (preset.missing() or "")
    with pytest.raises(MissingWeightsError, match="models pull clip-vit-b-16"):
        _ = preset().fingerprint
    in_hub_cache(tmp_path, preset.weights.repo, folders["clip"])
    assert preset.missing() is None
    assert load_encoder("auto").name == "clip-vit-b-16"
    with pytest.raises(MissingWeightsError, match="do not fit ViT-B-16"):
        preset().encode_text(["x"])  # these are the weights of a smaller model


def test_auto_is_the_offline_default_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert load_encoder("auto").name == "embedded"


def test_specs(folders: dict[str, Path], tmp_path: Path) -> None:
    file = folders["clip"] / "open_clip_model.safetensors"
    assert parse_spec(f"ViT-B-32@{file}") == Weights("ViT-B-32", path=file)
    assert parse_spec(f"ViT-B-32@{folders['clip']}") == Weights("ViT-B-32", path=file)
    assert parse_spec("ViT-B-32@openai") == Weights("ViT-B-32", tag="openai")
    assert parse_spec("nothing") is None
    assert OpenClip(Weights("ViT-B-32", path=file)).name == "ViT-B-32@open_clip_model"
    assert OpenClip(Weights("ViT-B-32", tag="openai")).reads_english_alone
    assert not OpenClip(Weights("ViT-B-16-SigLIP2", tag="webli")).reads_english_alone
    assert repo_of(Weights("ViT-B-32", tag="openai")) == "timm/vit_base_patch32_clip_224.openai"
    with pytest.raises(ConfigError, match="no weights 'mine'"):
        repo_of(Weights("ViT-B-32", tag="mine"))
    with pytest.raises(MissingWeightsError, match="no such weights file"):
        parse_spec("ViT-B-32@/none/model.safetensors")
    pickled = tmp_path / "model.pt"
    pickled.write_bytes(b"x")
    with pytest.raises(MissingWeightsError, match="can run code"):
        parse_spec(f"ViT-B-32@{pickled}")
    with pytest.raises(MissingWeightsError, match="holds none of"):
        parse_spec(f"ViT-B-32@{tmp_path}")
    with pytest.raises(UnknownNameError):
        load_encoder("clip")


def test_damaged_weights_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m", CLIP)
    (folder / "open_clip_model.safetensors").write_bytes(b"not weights at all")
    encoder = OpenClip(parse_spec(str(folder)))
    with pytest.raises(MissingWeightsError, match="open_clip_model.safetensors"):
        encoder.encode_text(["x"])
    with pytest.raises(MissingWeightsError, match="readable weights"):
        _ = encoder.space.logit_scale


def test_nothing_is_downloaded_for_a_tokenizer(folders: dict[str, Path]) -> None:
    """SigLIP's tokenizer is on the hub; the hub is not asked behind the user's back."""
    encoder = OpenClip(
        Weights("ViT-B-16-SigLIP", path=folders["clip"] / "open_clip_model.safetensors")
    )
    with pytest.raises(MissingWeightsError, match="tokenizer is not on this machine"):
        _ = encoder._tokenizer
    from huggingface_hub import constants

    assert not constants.HF_HUB_OFFLINE


class FakeHub:
    """What pull needs of huggingface_hub."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        self.fetched: list[str] = []

    def HfApi(self) -> "FakeHub":  # noqa: N802
        return self

    def model_info(self, repo: str, timeout: float):
        names = [type("Sibling", (), {"rfilename": name}) for name in self.files]
        return type("Info", (), {"siblings": names})

    def hf_hub_url(self, repo: str, name: str) -> str:
        return f"{repo}/{name}"

    def get_hf_file_metadata(self, url: str):
        return type("Metadata", (), {"etag": None, "size": None})

    def hf_hub_download(self, repo: str, name: str) -> str:
        self.fetched.append(name)
        return str(self.files[name])


def test_pull_prefers_safetensors_and_checks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = tmp_path / ("0" * 64)
    blob.write_bytes(b"weights")
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    files = {"model.safetensors": link, "pytorch_model.bin": tmp_path / "no"}
    monkeypatch.setattr(hub, "require", lambda *_, **__: FakeHub(files))
    with pytest.raises(MissingWeightsError, match="damaged in transfer"):
        hub.pull("org/model")
    assert not blob.exists()
    small = tmp_path / "open_clip_model.safetensors"
    small.write_bytes(json.dumps({}).encode())
    files["open_clip_model.safetensors"] = small
    files["tokenizer.json"] = small
    fake = FakeHub(files)
    monkeypatch.setattr(hub, "require", lambda *_, **__: fake)
    assert hub.pull("org/model") == small
    assert fake.fetched == ["open_clip_model.safetensors", "tokenizer.json"]
    monkeypatch.setattr(hub, "require", lambda *_, **__: FakeHub({"pytorch_model.bin": small}))
    with pytest.raises(MissingWeightsError, match="holds none of"):
        hub.pull("org/model")
