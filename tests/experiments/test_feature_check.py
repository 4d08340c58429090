"""Whether features from elsewhere are a backbone's: real vectors, and small models."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import run
from numpy import ndarray as Array

from openmoment.encoders import load_encoder
from openmoment.encoders.towers.projected import unit
from openmoment.encoders.two_tower.presets import ClipVitB32
from openmoment.encoders.weights.torchvision_ops import declare_missing
from openmoment.errors import FeatureError, RecipeError
from openmoment.experiments.feature_check import Corner, FeatureCheck, Fit, fit_of, misfit
from openmoment.features.file import IMPORTED, write_features
from openmoment.types import Recipe, SnippetGrid, Snippets

declare_missing()


# real vectors -------------------------------------------------------------------------------------


def vectors(root: Path, file: str, key: str) -> Array:
    with np.load(root / "embeddings" / f"{file}.npz") as file_:
        return unit(file_[key].astype(np.float64))


@pytest.fixture(scope="module")
def corner(data_root: Path) -> Corner:
    """What CLIP ViT-B/32 makes of seven photographs, and of every third class of ImageNet."""
    pictures = vectors(data_root, "flickr8k_1000_vitb32", "feat")[:7]
    texts = vectors(data_root, "imagenet1k_text_vitb32", "text1")[::3]
    return Corner(pictures, texts, ClipVitB32.unrelated_over)


def videos(root: Path) -> Iterator[tuple[str, Array]]:
    with np.load(root / "embeddings" / "hcmc_aic25_clip_vitb32_74videos.npz") as file:
        for key in file.files:
            if key.endswith("/feat"):
                yield key, unit(file[key].astype(np.float64))
    yield "lecture", vectors(root, "lecture_dARr3lGKwk8_vitb32_5s", "feat")
    yield "table tennis", vectors(root, "tabletennis_152s_vitb32", "vid")


@pytest.mark.data
def test_real_videos_fit_and_the_same_turned_do_not(corner: Corner, data_root: Path) -> None:
    rng = np.random.default_rng(0)
    for name, points in videos(data_root):
        fit = fit_of(points, corner)
        assert misfit(fit, corner) is None, (name, fit)
        assert misfit(fit_of(points[:8], corner), corner) is None, name
        turned = fit_of(points[:, rng.permutation(512)] * rng.choice([-1, 1], 512), corner)
        assert "another model" in str(misfit(turned, corner)), (name, turned)
        assert turned.to_pictures < 0.15 < 0.25 < fit.to_pictures  # on either side of the line


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("vitb16_sentences_and_pictures", "en_image"),
        ("fashionclip_pairs", "image"),
        ("searchengine_pairs", "image"),
    ],
)
def test_pictures_of_other_models_do_not_fit(
    corner: Corner, data_root: Path, file: str, key: str
) -> None:
    points = vectors(data_root, file, key)
    assert "another model" in str(misfit(fit_of(points, corner), corner))
    own = Corner(points[:7], corner.texts)
    assert misfit(fit_of(points[7:], own), own) is None


@pytest.mark.data
def test_words_of_another_model_are_noticed(corner: Corner, data_root: Path) -> None:
    others = vectors(data_root, "vitb16_sentences_and_pictures", "zegclip_coco171")
    mixed = corner._replace(texts=others)
    for name, points in videos(data_root):
        fit = fit_of(points, mixed)
        assert "words of {name} are not of the model" in str(misfit(fit, mixed)), (name, fit)
        assert misfit(fit, mixed._replace(unrelated_over=None)) is None  # where it is not known


def test_lines() -> None:
    known = Corner(np.eye(2), np.eye(2), 0.1)
    assert misfit(Fit(0.21, 0.11), known) is None
    assert "another model" in str(misfit(Fit(0.19, 0.5), known))
    assert "words" in str(misfit(Fit(0.5, 0.09), known))


# files ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two small models of random weights."""
    pytest.importorskip("open_clip")
    from small_models import CLIP, save_model

    root = tmp_path_factory.mktemp("models")
    return {name: save_model(root / name, CLIP, seed=seed) for seed, name in enumerate("ab")}


def made(folder: Path | str, num: int = 12) -> Snippets:
    encoder = load_encoder(str(folder))
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(num)]
    features = encoder.encode_pictures(pictures)
    recipe = Recipe(encoder.name, encoder.fingerprint, 4.0, "")
    return Snippets(features, SnippetGrid.uniform(num, end_s=num / 4), recipe, num / 4)


def kept(snippets: Snippets, path: Path, **changes: object) -> Path:
    fields = {name: getattr(snippets, name) for name in ("features", "grid", "recipe")} | changes
    write_features(Snippets(**fields, duration_s=20.0), path)  # type: ignore[arg-type]
    return path


def test_files_of_the_backbone_fit_and_of_another_do_not(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    own = made(folders["a"])
    imported = Recipe("a", IMPORTED, 4.0, "")
    mine = kept(own, tmp_path / "mine.safetensors", recipe=imported)
    strange = made(folders["b"]).features
    theirs = kept(own, tmp_path / "theirs.safetensors", features=strange, recipe=imported)
    done = run("features", "check", mine, theirs, "--backbone", folders["a"])
    assert done.exit_code == 2
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"fits    {mine}: 12 x 64 of")
    assert "17.0 s of 20.0 s without features" in line
    (fault,) = done.stderr.splitlines()
    assert f"{theirs}: features of another model than" in fault
    told = json.loads(
        run("features", "check", mine, theirs, "--backbone", folders["a"], "--json").stdout
    )
    assert [row["path"] for row in told["fits"]] == [str(mine)]
    assert told["fits"][0]["to_pictures"] > 0.2
    assert [row["path"] for row in told["misfits"]] == [str(theirs)]
    assert run("features", "check", mine, "--backbone", folders["a"]).exit_code == 0


def test_numbers_that_cannot_be_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    own, check = made(folders["a"]), FeatureCheck(str(folders["a"]))
    narrow = kept(own, tmp_path / "n.safetensors", features=own.features[:, :32].copy())
    with pytest.raises(FeatureError, match="32 numbers a snippet, a makes 64"):
        check.check(narrow)
    alike = kept(own, tmp_path / "c.safetensors", features=np.repeat(own.features[:1], 12, axis=0))
    with pytest.raises(FeatureError, match="all 12 snippets are alike"):
        check.check(alike)
    with pytest.raises(FeatureError, match="no such feature file"):
        check.check(tmp_path / "none.safetensors")


def test_a_file_is_checked_against_the_backbone_that_it_names(tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((12, 1000), np.float32)
    grid = SnippetGrid.uniform(12, end_s=3.0)
    ours = Snippets(features, grid, Recipe("embedded", IMPORTED, 4.0, ""), 3.0)
    path = kept(ours, tmp_path / "e.safetensors")
    found = FeatureCheck().check(path)
    assert (found.backbone, found.dim_in, found.to_pictures) == ("embedded", 1000, None)
    other = kept(ours, tmp_path / "o.safetensors", recipe=Recipe("embedded", "0" * 16, 4.0, ""))
    with pytest.raises(RecipeError, match="made by other weights of embedded"):
        FeatureCheck().check(other)
    assert FeatureCheck("embedded").check(other).num_snippets == 12
    unknown = kept(ours, tmp_path / "u.safetensors", recipe=Recipe("i3d", IMPORTED, 4.0, ""))
    done = run("features", "check", unknown)
    assert done.exit_code == 2
    assert "Unknown backbone 'i3d'" in done.stderr
