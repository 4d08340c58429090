"""What presence and scores are worth on real CLIP vectors; of `embedded`: answers.py.

    python benchmarks/real_clip.py

Vectors of real models lie in the data folder (embeddings/README.md): news videos with the objects
that a detector saw, captioned pictures, tables of texts. Labels are noisy: the detector misses a
third, and what a caption does not say may be in the picture all the same. "Yes" is what `find`
would call found; "unsure" is its guess.
"""

import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from answers import rates
from sets import data_root

from openmoment.encoders.towers.projected import ProjectedSpace, Projections
from openmoment.features import import_features
from openmoment.methods import load_method
from openmoment.methods.standing import standing_of
from openmoment.types import Queries, Snippets

SPACE = ProjectedSpace(lambda: Projections(None, None, 100.0))
MANY = 13  # an object seen in more of the videos tells none of them apart


def table(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(data_root() / "embeddings" / f"{name}.npz"))


def words_of(raw: np.ndarray):
    return json.loads(bytes(raw))


def snippets_of(features: np.ndarray, times_s: np.ndarray, duration_s: float) -> Snippets:
    """As a user brings them in: a file, and when its rows are."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.npy"
        np.save(path, features)
        given = {"encoder": "clip-vit-b-32", "dim_in": features.shape[1]}
        rising = np.maximum.accumulate(times_s + 1e-4 * np.arange(len(times_s)))
        return import_features(path, times_s=rising, duration_s=duration_s, **given)


# news -------------------------------------------------------------------------------------------


def news() -> list[tuple[Snippets, list[set[str]]]]:
    """Videos with the objects that were seen in each of their key frames."""
    data = table("hcmc_aic25_clip_vitb32_74videos")
    found = []
    for entry in words_of(data["meta_json"]):
        if not entry.get("objects"):
            continue
        video = entry["video"]
        features = data[f"{video}/feat"].astype(np.float32)
        times_s = data[f"{video}/pts_time"].astype(np.float64)
        length_s = max(float(entry["length_s"]), times_s[-1] + 0.2)
        seen = [set(map(str.lower, entry["objects"][key])) for key in sorted(entry["objects"])]
        found.append((snippets_of(features, times_s, length_s), seen))
    return found


def news_table(bank: np.ndarray) -> list[str]:
    """Presence by name and video; moments; key frames. A name seen once counts neither way."""
    texts = table("detic_text_vitb32")
    known = [name.lower() for name in words_of(texts["names"])["oid"]]
    videos = news()
    counts = [Counter(name for frame in seen for name in frame) for _, seen in videos]
    often = {n: sum(count[n] >= 2 for count in counts) for n in known}
    names = [name for name in known if 2 <= often[name] <= MANY]
    rows = np.array([known.index(name) for name in names])
    queries = Queries(tuple(names), texts["oid"][rows].astype(np.float32), bank)
    method = load_method("similarity", SPACE)
    presence, occurs, moments, hits = [], [], [], np.zeros(3)
    for (snippets, seen), count in zip(videos, counts, strict=True):
        found = method.localize(snippets, queries)
        for label, name in enumerate(names):
            if count[name] == 1:
                continue
            presence.append(found.presence[label])
            occurs.append(count[name] >= 2)
            mine = found.segments[found.labels == label]
            if occurs[-1] and found.answer_of(name) == "found":
                moments.append(len(mine))
                times_s = snippets.grid.centres_s
                inside = np.array([((t >= mine[:, 0]) & (t < mine[:, 1])).any() for t in times_s])
                true = np.array([name in frame for frame in seen])
                hits += (inside & true).sum(), inside.sum(), true.sum()
    return [
        f"news, {len(names)} names, {len(occurs)} pairs: "
        + rates(np.array(presence), np.array(occurs)),
        f"  moments of a present query: median {np.median(moments):.0f}; key frames: precision "
        f"{hits[0] / hits[1]:.2f}, recall {hits[0] / hits[2]:.2f}",
    ]


def random_names(bank: np.ndarray) -> str:
    """Rare names, of which a news video shows next to none: how many are found in a video."""
    texts = table("detic_text_vitb32")
    names = words_of(texts["names"])["lvis"]
    chosen = np.random.default_rng(0).permutation(len(names))[:300]
    queries = Queries(
        tuple(names[i] for i in chosen), texts["lvis"][chosen].astype(np.float32), bank
    )
    shares = [
        float((standing_of(SPACE, snippets, queries).presence >= 0.5).mean())
        for snippets, _ in news()
    ]
    return (
        f"random LVIS names found in a news video: median {np.median(shares):.2f}, at most "
        f"{max(shares):.2f}"
    )


def action_names() -> list[str]:
    """ViT-L/14 on one news video of 21 minutes, asked for 150 classes of ActivityNet."""
    data = table("L01_news_vitl14_vs_activitynet150")
    names = tuple(words_of(data["anet150_names"]))
    texts = data["anet150_text_l14"].astype(np.float32)
    length_s = float(words_of(data["meta_json"])["L01_V001"]["length"])
    features = data["L01_V001/l14_336"].astype(np.float32)
    times_s = data["L01_V001/pts_time"].astype(np.float64)
    snippets = snippets_of(features, times_s, max(length_s, times_s[-1] + 0.2))
    found = load_method("similarity", SPACE).localize(snippets, Queries(names, texts, texts))
    sure = [name for name in names if found.answer_of(name) == "found"]
    best = np.argsort(-found.presence)[:5]
    told = ", ".join(f"{names[i]} {found.presence[i]:.2f}" for i in best)
    moments = np.bincount(found.labels, minlength=len(names))[[names.index(n) for n in sure]]
    return [
        f"ViT-L/14 on a news video: {len(sure)} of {len(names)} action names found, a median of "
        f"{np.median(moments):.0f} moments each; surest: {told}"
    ]


# pictures ---------------------------------------------------------------------------------------


def montages(bank: np.ndarray, together: int) -> str:
    """Captioned pictures, 2 s each, joined: which captions are of this video?"""
    data = table("flickr8k_1000_vitb32")
    pictures = data["feat"].astype(np.float32)
    nouns = words_of(table("detic_text_vitb32")["names"])["coco"]
    texts = table("detic_text_vitb32")["coco"].astype(np.float32)
    captions = words_of(data["captions"])
    queries = Queries(tuple(nouns), texts, bank)
    presence, occurs = [], []
    order = np.random.default_rng(0).permutation(len(pictures))
    for first in range(0, len(order) - together + 1, together):
        chosen = order[first : first + together]
        rows = np.repeat(pictures[chosen], 8, axis=0)
        times_s = (np.arange(len(rows)) + 0.5) / 4
        snippets = snippets_of(rows, times_s, len(rows) / 4)
        said = " ".join(captions[i].lower() for i in chosen).split()
        presence.append(standing_of(SPACE, snippets, queries).presence)
        occurs.append([noun in said for noun in nouns])
    told, true = np.concatenate(presence), np.concatenate(occurs)
    return f"montages of {together} pictures, COCO's nouns in captions: {rates(told, true)}"


def other_model(name: str) -> str:
    """Two seconds of each picture, and the texts of all, which are the bank as well."""
    data = table(name)
    texts = data["text"].astype(np.float32)
    queries = Queries(tuple(map(str, range(len(texts)))), texts, texts)
    own, others = [], []
    for i, row in enumerate(data["image"].astype(np.float32)):
        rows = np.repeat(row[None], 8, axis=0)
        snippets = snippets_of(rows, (np.arange(8) + 0.5) / 4, 2.0)
        presence = standing_of(SPACE, snippets, queries).presence
        own.append(presence[i] >= 0.5)
        others.append((np.delete(presence, i) >= 0.5).mean())
    return f"{name}: own text found {np.mean(own):.2f}, another's {np.mean(others):.2f}"


def main() -> None:
    bank = table("detic_text_vitb32")["o365"].astype(np.float32)
    imagenet = table("imagenet1k_text_vitb32")["text1"].astype(np.float32)[::3]
    lines: list[str] = []
    for title, texts in (("Objects365", bank), ("every third ImageNet class", imagenet)):
        lines += [f"bank: {title}, {len(texts)} texts", *news_table(texts), random_names(texts)]
    lines += action_names()
    lines += [montages(bank, together) for together in (4, 12, 40)]
    lines += [other_model(name) for name in ("fashionclip_pairs", "searchengine_pairs")]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
