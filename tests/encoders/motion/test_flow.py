"""Optical flow: directions, speeds and colours that are known, in little memory, kept apart."""

import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray as Array
from PIL import Image
from safetensors.torch import save_file
from small_models import CLIP, save_model
from videos import make_video

from openmoment.encoders import load_encoder
from openmoment.encoders.base import Encoder
from openmoment.encoders.motion.flow import (
    FULL_COLOUR_SPEED,
    FlowEncoder,
    flow_frames,
    flow_of,
    to_colours,
)
from openmoment.encoders.motion.flow_algorithms import NAMES, Dis, Flow, Raft, load_flow
from openmoment.encoders.weights.torchvision_ops import declare_missing
from openmoment.encoders.weights.torchvision_weights import downloads
from openmoment.errors import (
    ConfigError,
    FeatureError,
    MissingExtraError,
    MissingWeightsError,
    UnknownNameError,
    VideoError,
)
from openmoment.features.cache import Cache
from openmoment.features.file import read_features
from openmoment.methods import load_method
from openmoment.methods.traits import Traits
from openmoment.pipeline.answering import Pipeline
from openmoment.pipeline.extraction import extract
from openmoment.pipeline.snippets import FeatureFolder, encode_snippets
from openmoment.types import Snippets
from openmoment.video import Frame, read_frames

SIZE = (120, 160)
SPEED = 0.3  # frame heights per second


class Looker(FakeEncoder):
    """Sees the mean colour of a picture, and remembers nothing else."""

    name = "looker"
    dim = 8
    picture_side = SIZE[0]
    picture_batch = 3

    def __init__(self) -> None:
        super().__init__(dim_in=3)

    def encode_pictures(self, pictures: list[Array]) -> Array:
        return np.stack([p.mean(axis=(0, 1)) for p in pictures]).astype(np.float32)


def texture(height: int, width: int) -> Array:
    """Smooth noise, which moves unmistakably."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 6, width // 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def moving(across: float, down: float) -> Callable[[float], Array]:
    """Pictures whose content moves so, in frame heights per second."""
    height, width = SIZE
    whole = texture(3 * height, 3 * width)

    def paint(time_s: float) -> Array:
        x = round(width - across * height * time_s)
        y = round(height - down * height * time_s)
        return whole[y : y + height, x : x + width]

    return paint


def zooming(time_s: float) -> Array:
    height, width = SIZE
    inset_y, inset_x = 4 + round(8 * time_s), 4 + round(8 * time_s * width / height)
    box = (inset_x, inset_y, width - inset_x, height - inset_y)
    return np.asarray(
        Image.fromarray(texture(height, width)).resize(
            (width, height), Image.Resampling.BICUBIC, box=box
        )
    )


def frames_of(paint: Callable[[float], Array], *, num: int = 5, fps: float = 4.0) -> list[Frame]:
    return [Frame(i / fps, (i + 1) / fps, paint(i / fps), False) for i in range(num)]


# ---------------------------------------------------------------------------------------------
# Colours
# ---------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_colours_are_those_of_torchvision(seed: int) -> None:
    declare_missing()
    from torchvision.utils import flow_to_image

    vectors = np.random.default_rng(seed).standard_normal((9, 11, 2)).astype(np.float32)
    longest = float(np.hypot(vectors[..., 0], vectors[..., 1]).max())
    theirs = flow_to_image(torch.from_numpy(vectors).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    ours = to_colours(vectors, longest)
    apart = np.abs(ours.astype(int) - theirs.astype(int))
    assert np.minimum(apart, 256 - apart).max() <= 1  # rounding; theirs may round 0 down to 255


@pytest.mark.parametrize(
    ("vector", "colour"),
    [((1, 0), "red"), ((0, 1), "yellow"), ((-1, 0), "cyan"), ((0, -1), "blue")],
)
def test_directions_have_their_hues(vector: tuple[int, int], colour: str) -> None:
    picture = to_colours(np.full((2, 2, 2), vector, np.float32), 1.0)
    hue, saturation, _ = np.asarray(Image.fromarray(picture).convert("HSV"))[0, 0].astype(int)
    nearest = {"red": 0, "yellow": 42, "cyan": 128, "blue": 170}
    distances = {n: min(abs(hue - h), 255 - abs(hue - h)) for n, h in nearest.items()}
    assert min(distances, key=distances.__getitem__) == colour
    assert saturation > 200


def test_lengths_are_saturation_up_to_the_full_one() -> None:
    lengths = np.array([0.0, 0.5, 1.0, 7.0], np.float32)
    vectors = np.stack([lengths, np.zeros(4, np.float32)], axis=-1)[None]
    white, half, full, beyond = to_colours(vectors, 1.0)[0]
    assert (white == 255).all()
    assert half[0] == full[0] == 255 and half[2] == 127 and full[2] == 0
    assert (beyond == full).all()


# ---------------------------------------------------------------------------------------------
# Flow of frames
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dis", "dis-fast", "dis-ultrafast"])
@pytest.mark.parametrize("direction", [(1, 0), (0, 1), (-1, 0), (0, -1)])
def test_a_translation_is_seen_in_its_direction_and_speed(
    name: str, direction: tuple[int, int]
) -> None:
    across, down = SPEED * np.array(direction)
    found = list(flow_frames(frames_of(moving(across, down)), load_flow(name), SPEED))
    assert [speed for _, speed in found] == pytest.approx([SPEED] * 5, rel=0.15)
    expected = to_colours(np.full((1, 1, 2), (across, down), np.float32), SPEED)[0, 0]
    for frame, _ in found:
        seen = np.median(frame.rgb[20:-20, 20:-20].reshape(-1, 3), axis=0)
        assert np.abs(seen - expected).max() < 60


def test_a_zoom_goes_outwards() -> None:
    first, second = zooming(0.0), zooming(0.25)
    flow = Dis().between(first, second)
    down, across = np.mgrid[: SIZE[0], : SIZE[1]] - np.array(SIZE)[:, None, None] / 2
    outwards = flow[..., 0] * across + flow[..., 1] * down
    assert (outwards > 0).mean() > 0.9
    near = np.hypot(across, down) < 20
    lengths = np.hypot(flow[..., 0], flow[..., 1])
    assert lengths[near].mean() < 0.5 * lengths[~near].mean()


def test_speed_does_not_depend_on_resolution_or_rate() -> None:
    def speed(frames: list[Frame]) -> float:
        return float(np.mean([s for _, s in flow_frames(frames, Dis())]))

    def small(time_s: float) -> Array:
        return np.asarray(Image.fromarray(moving(SPEED, 0)(time_s)).resize((80, 60)))

    found = [
        speed(frames_of(moving(SPEED, 0))),
        speed(frames_of(small)),
        speed(frames_of(moving(SPEED, 0), fps=8.0)),
    ]
    assert found == pytest.approx([SPEED] * 3, rel=0.2)


def test_the_last_frame_repeats_the_one_before() -> None:
    frames = frames_of(moving(SPEED, 0))
    *_, (before, speed_before), (last, speed) = flow_frames(frames, Dis())
    assert last.rgb is before.rgb and last.is_repeat and speed == speed_before
    assert (last.start_s, last.end_s) == (frames[-1].start_s, frames[-1].end_s)


def test_what_is_shown_again_has_not_moved() -> None:
    first, second = frames_of(moving(SPEED, 0), num=2)
    shown_again = Frame(second.start_s, second.end_s, first.rgb, is_repeat=True)
    (frame, speed), _ = flow_frames([first, shown_again], Dis())
    assert speed == 0 and (frame.rgb == 255).all()


def test_each_picture_may_have_its_own_scale() -> None:
    slow = frames_of(moving(SPEED / 8, 0), num=2)
    pale, _ = next(flow_frames(slow, Dis(), full_colour_speed=SPEED))
    strong, _ = next(flow_frames(slow, Dis(), full_colour_speed=0.0))
    assert pale.rgb.min() > 150 > 50 > strong.rgb.min()


class Still:
    """Sees no motion anywhere."""

    name = "still"

    def recipe(self) -> str:
        return self.name

    def between(self, first: Array, second: Array) -> Array:
        return np.zeros((*first.shape[:2], 2), np.float32)


def test_two_frames_are_held_at_a_time() -> None:
    alive: list[weakref.ref] = []
    most = 0

    def stream() -> Iterator[Frame]:
        for i in range(40):
            frame = Frame(i / 4, (i + 1) / 4, np.zeros((8, 8, 3), np.uint8), False)
            alive.append(weakref.ref(frame.rgb))
            yield frame
            del frame

    for _ in flow_frames(stream(), Still()):
        most = max(most, sum(ref() is not None for ref in alive))
    assert most <= 3


# ---------------------------------------------------------------------------------------------
# The encoder
# ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flow") / "pan.mp4"
    return make_video(
        path, seconds=2.5, fps=20, width=SIZE[1], height=SIZE[0], paint=moving(SPEED, 0)
    )


def encode(video: Path, encoder: FlowEncoder, fps: float = 4.0) -> Snippets:
    return encoder.encode_video(video, fps=fps, source_sha256="abc")


def test_a_video_becomes_features_of_its_motion(video: Path) -> None:
    encoder = FlowEncoder(Looker(), full_colour_speed=SPEED)
    assert isinstance(encoder, Encoder)
    heard: list[tuple[float, float]] = []
    snippets = encoder.encode_video(
        video, fps=4.0, source_sha256="abc", progress=lambda *told: heard.append(told)
    )
    frames = list(read_frames(video, fps=4.0))
    assert snippets.grid.edges_s == pytest.approx([f.start_s for f in frames] + [frames[-1].end_s])
    assert snippets.motion == pytest.approx([SPEED] * len(frames), rel=0.2)
    red, _, blue = snippets.features.T
    assert (red > 200).all() and (blue < 110).all()
    assert (snippets.features[-1] == snippets.features[-2]).all()
    assert heard[-1] == (pytest.approx(2.5), pytest.approx(2.5))
    assert encoder.encode_text(["a pan"]).shape == (1, 8)
    recipe = snippets.recipe
    assert (recipe.encoder, recipe.fingerprint) == ("looker+flow-dis", encoder.fingerprint)


def test_an_image_tower_sees_flow(video: Path, tmp_path: Path) -> None:
    encoder = load_encoder(str(save_model(tmp_path / "clip", CLIP)))
    snippets = encode(video, FlowEncoder(encoder))
    assert snippets.features.shape == (10, 64)
    assert snippets.recipe.encoder == "clip+flow-dis"


def test_fingerprints_tell_flows_apart() -> None:
    encoders = [FlowEncoder(Looker(), n) for n in ("dis", "dis-fast", "dis-ultrafast")]
    encoders += [FlowEncoder(Looker(), full_colour_speed=s) for s in (0.0, 1.0)]
    other = Looker()
    other.fingerprint = "another"
    encoders.append(FlowEncoder(other))
    prints = {Looker().fingerprint, *(encoder.fingerprint for encoder in encoders)}
    assert len(prints) == len(encoders) + 1
    assert FlowEncoder(Looker()).fingerprint == FlowEncoder(Looker()).fingerprint


def test_the_motion_comes_with_the_frames_where_it_is_seen(video: Path) -> None:
    encoder = Looker()
    made = FlowEncoder(encoder, "dis-fast")
    seen = flow_of(made.name, made.fingerprint, encoder)
    assert seen is not None and seen.fingerprint == made.fingerprint
    assert flow_of(made.name, "other settings", encoder) is None
    assert flow_of("looker+flow-magic", made.fingerprint, encoder) is None
    assert flow_of("i3d", made.fingerprint, encoder) is None
    encoder.encode_video = FakeEncoder(dim_in=3).encode_video  # of the frames themselves
    plain = Pipeline(encoder, load_method("similarity", encoder.space), "similarity", 4.0, None)
    assert plain.snippets(video).flow is None
    told = load_method("similarity", encoder.space)
    told.traits_of = lambda config: Traits(sees_flow=True)
    with pytest.raises(ConfigError, match="not made here"):
        replace(plain, method=told).snippets(video)
    both = replace(plain, method=told, flow=seen).snippets(video)
    assert both.flow is not None and both.flow.recipe.encoder == "looker+flow-dis-fast"
    np.testing.assert_array_equal(both.features, plain.snippets(video).features)
    np.testing.assert_array_equal(both.flow.features, encode(video, seen).features)


def test_both_files_lie_side_by_side_and_are_not_mistaken(video: Path, tmp_path: Path) -> None:
    plain, moved = load_encoder("embedded"), FlowEncoder(Looker())
    fake = FakeEncoder()
    assert [e.status for e in extract([video], tmp_path, moved, fps=4.0)] == ["made"]
    assert [e.status for e in extract([video], tmp_path, fake, fps=4.0)] == ["made"]
    assert [e.status for e in extract([video], tmp_path, moved, fps=4.0)] == ["present"]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["pan.flow.safetensors", "pan.safetensors"]
    for encoder, name in ((fake, "pan.safetensors"), (moved, "pan.flow.safetensors")):
        folder = FeatureFolder(tmp_path, encoder)
        assert folder.paths() == {"pan": tmp_path / name}
        assert folder.read(folder.paths()["pan"]).recipe.fingerprint == encoder.fingerprint
    with pytest.raises(FeatureError, match=r"made by looker\+flow-dis"):
        FeatureFolder(tmp_path, plain).read(tmp_path / "pan.flow.safetensors")
    (again,) = extract([video], tmp_path, FlowEncoder(Looker(), "dis-fast"), fps=4.0)
    assert again.status == "failed" and "looker+flow-dis-fast asked for" in again.message


def test_motion_comes_back_from_the_file_and_the_cache(video: Path, tmp_path: Path) -> None:
    encoder, cache = FlowEncoder(Looker()), Cache(tmp_path / "cache")
    made = encode_snippets(video, encoder, cache, fps=4.0)
    kept = cache.load(made.recipe)
    assert kept is not None and kept.motion is not None and made.motion is not None
    assert (kept.motion == made.motion).all()
    assert (kept.features == made.features).all()
    list(extract([video], tmp_path, encoder, fps=4.0))
    (path,) = tmp_path.glob("*.safetensors")
    assert (read_features(path).motion == made.motion).all()


def test_the_command_line_makes_flow_files(video: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "clip", CLIP)
    code = "from openmoment.cli.main import run; run()"
    words = ["features", "extract", video, "--out", tmp_path / "out", "--backbone", model, "--json"]
    words += ["--flow", "dis-fast", "--full-colour-speed", "0.25"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    encoder = load_encoder(str(model))
    expected = FlowEncoder(encoder, "dis-fast", full_colour_speed=0.25)
    assert (told["backbone"], told["fingerprint"]) == (expected.name, expected.fingerprint)
    made = read_features(tmp_path / "out" / "pan.flow.safetensors")
    assert made.recipe.fingerprint == expected.fingerprint
    assert made.motion == pytest.approx([SPEED] * 10, rel=0.2)


# ---------------------------------------------------------------------------------------------
# RAFT
# ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the small one, drawn at random."""
    declare_missing()
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "small.safetensors"
    save_file(raft_small(weights=None).state_dict(), path)
    return path


def pair(height: int = 128, width: int = 136) -> tuple[Array, Array]:
    picture = texture(height + 6, width)
    return picture[:height], picture[6:]


def test_raft_is_torchvisions(weights: Path) -> None:
    from safetensors.torch import load_file
    from torchvision.models.optical_flow import raft_small

    model = raft_small(weights=None).eval()
    model.load_state_dict(load_file(weights))
    first, second = pair()
    batch = [torch.from_numpy(p.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for p in (first, second)]
    with torch.inference_mode():
        expected = model(*batch)[-1][0].permute(1, 2, 0).numpy()
    flow = load_flow(f"raft-small@{weights}")
    assert flow.name == "raft-small"
    np.testing.assert_allclose(flow.between(first, second), expected, atol=1e-4)


def test_raft_takes_pictures_of_any_sides(weights: Path) -> None:
    first, second = pair(130, 149)
    assert Raft("raft-small", weights).between(first, second).shape == (130, 149, 2)


def test_raft_finds_what_torchvision_has_downloaded(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"raft-small: no weights at .*raft_small"):
        Raft("raft-small").recipe()
    downloads().mkdir(parents=True)
    downloaded = downloads() / "raft_small_C_T_V2-01064c6d.pth"
    torch.save(load_file(weights), downloaded)
    first, second = pair()
    found = Raft("raft-small").between(first, second)
    assert (found == Raft("raft-small", weights).between(first, second)).all()


def test_the_hub_files_are_those_of_torchvision() -> None:
    declare_missing()
    from torchvision.models.optical_flow import Raft_Large_Weights, Raft_Small_Weights

    from openmoment.encoders.motion.flow_algorithms import _HUB_FILES

    urls = {"raft": Raft_Large_Weights.DEFAULT.url, "raft-small": Raft_Small_Weights.DEFAULT.url}
    assert {name: url.rpartition("/")[2] for name, url in urls.items()} == _HUB_FILES


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran.txt"),))


def test_raft_runs_no_code_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    downloads().mkdir(parents=True)
    torch.save({"x": Evil()}, downloads() / "raft_small_C_T_V2-01064c6d.pth")
    with pytest.raises(MissingWeightsError, match="no weights of raft-small") as told:
        Raft("raft-small").between(*pair())
    assert "\n" not in str(told.value) and not Path("ran.txt").exists()


# ---------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------


def test_without_opencv_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    encoder = FlowEncoder(Looker())  # and its files can be read
    assert encoder.fingerprint
    with pytest.raises(MissingExtraError, match=r"openmoment\[flow\]"):
        encoder.flow.between(*pair())


def test_weights_of_another_kind_are_refused(weights: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "raft.pth"
    pickled.write_bytes(b"")
    with pytest.raises(MissingWeightsError, match=r"expected a \.safetensors file"):
        load_flow(f"raft@{pickled}").between(*pair())
    with pytest.raises(MissingWeightsError, match="no such file"):
        load_flow(f"raft@{tmp_path / 'none.safetensors'}").between(*pair())
    with pytest.raises(MissingWeightsError, match="no weights of raft "):
        load_flow(f"raft@{weights}").between(*pair())


def test_one_frame_shows_no_motion(tmp_path: Path, video: Path) -> None:
    single = make_video(tmp_path / "one.mp4", times_s=[0.0])
    with pytest.raises(VideoError, match=r"one\.mp4: has one frame at this rate"):
        encode(single, FlowEncoder(Looker()))
    (failed,) = extract([single], tmp_path / "out", FlowEncoder(Looker()), fps=4.0)
    assert failed.status == "failed" and not failed.path.exists()


def test_unknown_names_and_settings_are_refused() -> None:
    assert all(isinstance(load_flow(name), Flow) for name in NAMES)
    with pytest.raises(UnknownNameError, match="Unknown flow 'dsi'. Did you mean 'dis'"):
        load_flow("dsi")
    with pytest.raises(UnknownNameError):
        load_flow("dis@weights.safetensors")
    with pytest.raises(ConfigError, match="sees no pictures"):
        FlowEncoder(FakeEncoder())
    with pytest.raises(ConfigError, match="full_colour_speed"):
        FlowEncoder(Looker(), full_colour_speed=-1.0)


def test_the_default_that_help_tells_is_the_default() -> None:
    from openmoment.cli import features

    assert f'show_default="{FULL_COLOUR_SPEED}"' in Path(str(features.__file__)).read_text()
