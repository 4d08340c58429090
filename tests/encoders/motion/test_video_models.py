"""Networks of clips: what a clip shows, what the network sees of it, and where its features go."""

import json
import re
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import refusal, run
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray as Array
from safetensors.torch import save_file
from videos import make_video, told_time

from openmoment.encoders import FEATURE_ENCODERS, load_encoder, load_feature_encoder
from openmoment.encoders.base import Encoder, SeesClips, VideoEncoder
from openmoment.encoders.motion import video_models
from openmoment.encoders.motion.clips import Clip, clips
from openmoment.encoders.motion.flow import FlowEncoder
from openmoment.encoders.motion.video_models import S3D, MViTV2S, R2Plus1D18, Swin3DT, VideoModel
from openmoment.encoders.weights.torchvision_ops import declare_missing
from openmoment.encoders.weights.torchvision_weights import TorchvisionWeights, downloads
from openmoment.errors import ConfigError, MissingExtraError, MissingWeightsError, UnknownNameError
from openmoment.features.file import find_features, read_features
from openmoment.pipeline.extraction import extract
from openmoment.video import Frame, read_frames

MODELS = (R2Plus1D18, S3D, MViTV2S, Swin3DT)
WEIGHTS = {
    R2Plus1D18: "R2Plus1D_18_Weights",
    S3D: "S3D_Weights",
    MViTV2S: "MViT_V2_S_Weights",
    Swin3DT: "Swin3D_T_Weights",
}
SMALL = replace(R2Plus1D18.architecture, num_frames=4, resize=(24, 32), crop=16)


def torchvision_video():
    declare_missing()
    from torchvision.models import video

    return video


# ---------------------------------------------------------------------------------------------
# Clips
# ---------------------------------------------------------------------------------------------


def numbered(num: int, rate: float, *, start_s: float = 0.0) -> Iterator[Frame]:
    for i in range(num):
        picture = np.full((2, 2, 3), i, np.uint8)
        yield Frame(start_s + i / rate, start_s + (i + 1) / rate, picture, is_repeat=False)


def numbers(clip: Clip) -> list[int]:
    return clip.rgb[:, 0, 0, 0].tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 20),
    st.sampled_from([7.5, 15.0]),
    st.sampled_from([0.5, 1.0, 3.75, 4.0, 10.0, 40.0]),
    st.sampled_from([0.0, 0.48]),
)
def test_a_clip_lies_around_the_centre_of_its_snippet(
    num: int, length: int, rate: float, fps: float, start_s: float
) -> None:
    found = list(
        clips(numbered(num, rate, start_s=start_s), np.copy, length=length, rate=rate, fps=fps)
    )
    centres = [(k + 0.5) / fps for k in range(num * 100) if (k + 0.5) / fps < num / rate + 1e-3]
    assert len(found) == max(len(centres), 1)
    for clip, centre_s in zip(found, centres, strict=False):
        first = np.floor(centre_s * rate - length / 2 + 0.5 + 1e-6)
        wanted = np.clip(first + np.arange(length), 0, num - 1)
        assert numbers(clip) == wanted.tolist()
        assert clip.start_s == pytest.approx(start_s + centre_s - 0.5 / fps)
    assert found[-1].end_s == pytest.approx(start_s + num / rate)


@pytest.mark.parametrize("fps", [1.0, 3.75, 4.0])
def test_snippets_lie_where_those_of_single_frames_do(tmp_path: Path, fps: float) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=3.3, fps=25, start_s=0.4, audio=(0.0, 3.0))
    single = list(read_frames(path, fps=fps))
    found = list(clips(read_frames(path, fps=15.0), np.copy, length=8, rate=15.0, fps=fps))
    np.testing.assert_allclose(
        [(clip.start_s, clip.end_s) for clip in found],
        [(frame.start_s, frame.end_s) for frame in single],
        atol=1e-9,
    )


def test_times_are_the_containers(tmp_path: Path) -> None:
    """Of a video whose frames come at an uneven rate, and later than the sound."""
    times_s = [0.0, 0.05, 0.3, 0.35, 0.4, 0.75, 0.8, 1.0, 1.2, 1.25, 1.5, 1.8, 1.9, 2.0]
    path = make_video(tmp_path / "a.mp4", times_s=times_s, start_s=0.5, audio=(0.0, 2.5))
    found = list(clips(read_frames(path, fps=10.0), np.copy, length=4, rate=10.0, fps=2.5))
    assert found[0].start_s == pytest.approx(0.5)
    for clip in found:
        centre_s = clip.start_s - 0.5 + 0.2
        asked_s = np.clip(centre_s + (np.arange(4) - 1.5) / 10, 0.05, 2.0)
        shown = [max(t for t in times_s if t <= s + 1e-6) for s in asked_s]
        assert [told_time(rgb) for rgb in clip.rgb] == pytest.approx(shown)


def test_little_is_held_and_each_frame_is_prepared_once() -> None:
    made: list[weakref.ref] = []
    asked: list[int] = []
    most = 0

    class Prepared(np.ndarray):
        pass

    def prepare(picture: Array) -> Array:
        asked.append(int(picture[0, 0, 0]))
        prepared = picture.copy().view(Prepared)
        made.append(weakref.ref(prepared))
        return prepared

    for _ in clips(numbered(200, 15.0), prepare, length=16, rate=15.0, fps=3.75):
        most = max(most, sum(prepared() is not None for prepared in made))
    assert asked == list(range(200))
    assert most <= 2 * 16  # the window, and what the clip that is held back was made of


def test_still_footage_is_seen_once() -> None:
    still = (replace(f, is_repeat=f.start_s > 0) for f in numbered(60, 15.0))
    found = list(clips(still, np.copy, length=8, rate=15.0, fps=3.75))
    assert [clip.is_repeat for clip in found] == [False] + [True] * 14
    assert all(clip.rgb is found[0].rgb for clip in found)


def test_no_frames_no_clips() -> None:
    assert list(clips(iter(()), np.copy, length=8, rate=15.0, fps=4.0)) == []


# ---------------------------------------------------------------------------------------------
# What a network sees
# ---------------------------------------------------------------------------------------------


class Recorder(torch.nn.Module):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        self.seen = seen.clone()
        return torch.zeros(len(seen), 3)


@pytest.mark.parametrize("size", [(240, 320), (271, 203), (128, 171), (256, 256)])
@pytest.mark.parametrize("cls", MODELS)
def test_preparing_is_torchvisions_bit_for_bit(
    cls: type[VideoModel], size: tuple[int, int]
) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    transform = getattr(torchvision_video(), WEIGHTS[cls]).DEFAULT.transforms()
    expected = transform(torch.from_numpy(pictures).permute(0, 3, 1, 2))
    encoder, recorder = cls(), Recorder()
    encoder.__dict__["_model"] = recorder
    encoder.encode_clips([np.stack([encoder.prepare(picture) for picture in pictures])])
    assert torch.equal(recorder.seen[0], expected)


@pytest.mark.parametrize("cls", MODELS)
def test_clips_and_downloads_are_those_of_torchvision(cls: type[VideoModel]) -> None:
    weights = getattr(torchvision_video(), WEIGHTS[cls]).KINETICS400_V1
    said = weights.meta["_docs"]
    (rate,) = re.findall(r"`frame_rate=([\d.]+)`", said)
    (length,) = re.findall(r"`clip_len=(\d+)`", said)
    architecture = cls.architecture
    assert (architecture.rate, architecture.num_frames) == (float(rate), int(length))
    assert weights.url.rpartition("/")[2] == architecture.download


@pytest.mark.parametrize(
    ("cls", "length", "side"),
    [(R2Plus1D18, 4, 16), (S3D, 14, 224), (MViTV2S, 16, 224), (Swin3DT, 4, 64)],
)
def test_features_are_what_the_classifier_sees(
    monkeypatch: pytest.MonkeyPatch, cls: type[VideoModel], length: int, side: int
) -> None:
    torch.manual_seed(0)
    model = getattr(torchvision_video(), cls.architecture.function)(weights=None).eval()
    classifier = getattr(model, cls.architecture.head)
    clip = np.random.default_rng(0).integers(0, 256, (length, side, side, 3), dtype=np.uint8)
    recorder, encoder = Recorder(), cls()
    encoder.__dict__["_model"] = recorder
    encoder.encode_clips([clip])
    with torch.inference_mode():
        expected = model(recorder.seen)
    monkeypatch.setattr(TorchvisionWeights, "load", lambda *_: model)
    features = cls().encode_clips([clip])
    assert features.shape == (1, cls.dim_in)
    with torch.inference_mode():
        seen = torch.from_numpy(features)
        if cls is S3D:  # its classifier is a convolution, before the mean
            seen = seen[..., None, None, None]
        found = classifier(seen).flatten(1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


# ---------------------------------------------------------------------------------------------
# From a video to a feature file
# ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of R(2+1)D-18, drawn at random."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("r2plus1d") / "random.safetensors"
    save_file(torchvision_video().r2plus1d_18(weights=None).state_dict(), path)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """R(2+1)D-18 with few and small frames."""
    monkeypatch.setattr(R2Plus1D18, "architecture", SMALL)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    return make_video(folder / "a.mp4", seconds=2.0, fps=15)


def test_a_video_becomes_snippets(small: None, weights: Path, video: Path) -> None:
    encoder = load_feature_encoder(f"r2plus1d-18@{weights}")
    assert isinstance(encoder, VideoEncoder) and isinstance(encoder, SeesClips)
    assert not isinstance(encoder, Encoder)
    heard: list[float] = []
    snippets = encoder.encode_video(
        video, fps=3.75, source_sha256="x", progress=lambda done_s, all_s: heard.append(done_s)
    )
    assert snippets.features.shape == (8, 512) and np.isfinite(snippets.features).all()
    recipe = snippets.recipe
    assert (recipe.encoder, recipe.fps, recipe.source_sha256) == ("r2plus1d-18", 3.75, "x")
    assert recipe.fingerprint == encoder.fingerprint
    assert heard and heard[-1] == pytest.approx(2.0)
    assert isinstance(encoder, VideoModel)
    (clip, *_) = clips(read_frames(video, fps=15.0), encoder.prepare, length=4, rate=15.0, fps=3.75)
    alone = encoder.encode_clips([clip.rgb])
    np.testing.assert_allclose(snippets.features[:1], alone, atol=1e-5)
    assert not np.allclose(snippets.features[0], snippets.features[3], atol=1e-4)


def test_how_many_clips_go_at_once_changes_nothing(
    small: None, weights: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = R2Plus1D18(weights)
    rows = []
    for num in (1, 12, 128):
        monkeypatch.setattr(video_models, "_FRAMES_AT_ONCE", num)
        rows.append(encoder.encode_video(video, fps=3.75, source_sha256="").features)
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-5)
    np.testing.assert_allclose(rows[2], rows[0], atol=1e-5)


def test_the_fingerprint_is_of_all_that_counts(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(**options: str) -> str:
        return R2Plus1D18(weights, **options).fingerprint

    plain = one()
    assert plain == one(device="cuda")
    assert plain != one(precision="bf16")
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other")
    assert plain != R2Plus1D18(other).fingerprint
    monkeypatch.setattr(R2Plus1D18, "architecture", SMALL)
    assert plain != one()


def test_half_precision_is_close(small: None, weights: Path, video: Path) -> None:
    full, half = (
        R2Plus1D18(weights, precision=p).encode_video(video, fps=1.0, source_sha256="").features
        for p in ("fp32", "bf16")
    )
    assert full.dtype == half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=0.05 * np.abs(full).max())


def test_flow_goes_through_the_same_network(small: None, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    texture = np.kron(np.random.default_rng(0).integers(0, 256, (30, 80)), np.ones((4, 4)))

    def paint(time_s: float) -> Array:
        shift = round(60 * time_s)  # half a frame height a second
        return np.repeat(texture[:, shift : shift + 160, None], 3, axis=2).astype(np.uint8)

    path = make_video(tmp_path / "a.mp4", seconds=2.0, fps=15, width=160, height=120, paint=paint)
    encoder = R2Plus1D18(weights)
    moving = FlowEncoder(encoder)
    assert moving.name == "r2plus1d-18+flow-dis"
    found = moving.encode_video(path, fps=3.75, source_sha256="")
    shown = encoder.encode_video(path, fps=3.75, source_sha256="")
    assert found.features.shape == shown.features.shape
    np.testing.assert_array_equal(found.grid.edges_s, shown.grid.edges_s)
    assert found.motion is not None
    assert found.motion.shape == (8,) and found.motion == pytest.approx([0.5] * 8, rel=0.25)
    with pytest.raises(ConfigError, match="reads no words"):
        moving.encode_text(["x"])


def test_extraction_goes_on_where_it_stopped(
    small: None, weights: Path, video: Path, tmp_path: Path
) -> None:
    encoder = R2Plus1D18(weights)
    out = tmp_path / "out"
    (made,) = extract([video], out, encoder, fps=2.0)
    (again,) = extract([video], out, encoder, fps=2.0)
    assert (made.status, again.status) == ("made", "present")
    with pytest.raises(ConfigError, match="expected an fps over 0"):
        list(extract([video], tmp_path / "all", encoder, fps=0.0))


@pytest.mark.data
def test_from_real_footage_to_a_trained_method(
    small: None, weights: Path, data_root: Path, tmp_path: Path
) -> None:
    """Two streams from the command line, joined, and a method that learns on them."""
    pytest.importorskip("cv2")
    (source,) = (data_root / "clips" / "hmdb51").glob("dive__*.mp4")
    apart, joined = tmp_path / "apart", tmp_path / "joined"
    backbone = ("--backbone", f"r2plus1d-18@{weights}")
    for flow in ((), ("--flow", "dis-ultrafast")):
        done = run("features", "extract", source, "--out", apart, *backbone, *flow)
        assert done.exit_code == 0, done.output
    assert run("features", "join", apart, "--out", joined).exit_code == 0
    (path,) = set(find_features(joined).values())
    snippets = read_features(path)
    assert snippets.features.shape[1] == 1024
    assert snippets.recipe.encoder == "r2plus1d-18 & r2plus1d-18+flow-dis-ultrafast"
    np.testing.assert_array_equal(
        snippets.features[:, :512], read_features(apart / path.name).features
    )

    segment = {"segment": [0.2, snippets.duration_s / 2], "label": "Diving"}
    record = {"subset": "Validation", "duration": snippets.duration_s, "annotations": [segment]}
    (tmp_path / "thumos14.json").write_text(json.dumps({"database": {path.stem: record}}))
    done = run(
        *("train", "dense_clip", "epochs=1", "batch_size=1", "length=8", "temporal_layers=1"),
        *("--preset", "thumos14-i3d", "--dataset", "thumos14", "--root", tmp_path),
        *("--features", joined, "--backbone", "embedded", "--out", tmp_path / "trained"),
        "--allow-missing",
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert "steps" in done.stderr
    card = json.loads((tmp_path / "trained" / "card.json").read_text())
    assert card["widths"][0] == 1024 and card["features_encoder"] == snippets.recipe.encoder


# ---------------------------------------------------------------------------------------------
# Weights, names and refusals
# ---------------------------------------------------------------------------------------------


def test_downloads_are_where_torch_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.hub import get_dir

    for name, value in ((None, None), ("XDG_CACHE_HOME", "/x/cache"), ("TORCH_HOME", "~/torch")):
        if name and value:
            monkeypatch.setenv(name, value)
        assert downloads() == Path(get_dir()) / "checkpoints"


def test_what_torchvision_has_downloaded_is_found(
    small: None, weights: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingWeightsError) as told:
        load_feature_encoder("r2plus1d-18")
    assert "\n" not in str(told.value)
    assert f"no weights at {downloads()}" in str(told.value)
    assert "Fetch them with torchvision, or give r2plus1d-18@FILE.safetensors." in str(told.value)
    downloads().mkdir(parents=True)
    torch.save(load_file(weights), downloads() / SMALL.download)
    encoder = load_feature_encoder("r2plus1d-18")
    found = encoder.encode_video(video, fps=1.0, source_sha256="")
    given = R2Plus1D18(weights).encode_video(video, fps=1.0, source_sha256="")
    np.testing.assert_array_equal(found.features, given.features)


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran.txt"),))


def test_no_code_of_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    downloads().mkdir(parents=True)
    torch.save({"x": Evil()}, downloads() / SMALL.download)
    with pytest.raises(MissingWeightsError, match="no weights of r2plus1d-18"):
        R2Plus1D18().encode_clips([np.zeros((4, 16, 16, 3), np.uint8)])
    assert not Path("ran.txt").exists()


def test_weights_of_another_kind_are_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingWeightsError, match=r"expected a \.safetensors file"):
        load_feature_encoder(f"s3d@{tmp_path / 'a.pth'}")
    with pytest.raises(MissingWeightsError, match="no such file"):
        load_feature_encoder(f"s3d@{tmp_path / 'a.safetensors'}")
    with pytest.raises(MissingWeightsError, match="no weights of s3d") as told:
        S3D(weights).encode_clips([np.zeros((14, 224, 224, 3), np.uint8)])
    assert "\n" not in str(told.value)
    with pytest.raises(ConfigError, match="precision"):
        load_feature_encoder(f"s3d@{weights}", precision="fp8")
    with pytest.raises(UnknownNameError):
        load_feature_encoder("s3e")
    monkeypatch.setattr(video_models, "find_spec", lambda _: None)
    assert "openmoment[kinetics]" in str(S3D.missing())


def test_without_torchvision_the_cure_is_told(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchvision.models.video", None)
    with pytest.raises(MissingExtraError, match=r"openmoment\[kinetics\]"):
        R2Plus1D18(weights).encode_clips([np.zeros((4, 16, 16, 3), np.uint8)])


@pytest.mark.parametrize("name", ["r2plus1d-18", "s3d@weights.safetensors"])
def test_what_reads_no_words_finds_nothing(name: str, video: Path) -> None:
    with pytest.raises(ConfigError, match=f"{name} reads no words.*features=own"):
        load_encoder(name)
    assert "reads no words" in refusal("find", video, "a cat", "--backbone", name)
    assert "torchvision's" in refusal("models", "pull", name)


def test_they_are_listed_apart() -> None:
    listed = json.loads(run("models", "--json").stdout)
    assert [row["name"] for row in listed["video_models"]] == list(FEATURE_ENCODERS)
    assert not set(FEATURE_ENCODERS) & {row["name"] for row in listed["backbones"]}
    assert all("Kinetics-400" in row["summary"] for row in listed["video_models"])
    assert "swin3d-t" in run("models").stdout
    facts = json.loads(run("doctor", "--json").stdout)
    assert facts["video_models"] == listed["video_models"]
    assert "swin3d-t" in run("doctor").stdout


def test_widths_are_known_without_weights(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((40, 500), np.float32))
    words = ("--out", tmp_path / "a.safetensors", "--duration", 10, "--backbone", "s3d")
    assert "s3d makes 1024" in refusal("features", "import", tmp_path / "a.npy", *words)
