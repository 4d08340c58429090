"""What checks of backbones and of features found, for people."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from openmoment.postprocess import SURE

if TYPE_CHECKING:
    from openmoment.experiments.backbone_check import Checked
    from openmoment.experiments.feature_check import CheckedFeatures


def describe_backbone_check(checked: "Checked") -> list[str]:
    """A line for each thing that was checked, the verdict last."""
    presence, shown = checked.presence, checked.tiou
    absent = [name for name in presence if name not in shown]
    mean_tiou = sum(shown.values()) / len(shown)
    lines = {
        "speed": f"{checked.frames_per_s:.1f} frames a second ({checked.num_frames} frames)",
        "naming": f"{checked.named} of {checked.num_scenes} scenes by their own names; by chance 1",
        "presence": f"in {checked.told_apart:.0%} of pairs what is shown is likelier than what "
        "is not",
        "  shown": _listed(presence, shown),
        "  absent": _listed(presence, absent),
        "times": f"fit by {mean_tiou:.2f} (tIoU, of 1)",
        "  each": _listed(shown, shown),
    }
    if checked.cosine is not None:
        lines["cosine"] = f"{checked.cosine:.2f} on average, of pictures and everyday texts"
    if checked.seen:
        seen = checked.seen
        found = [name for name, value in seen.presence.items() if value >= SURE]
        told = _listed(seen.presence, found) if found else "none"
        lines["yours"] = (
            f"{seen.video}, first {seen.seconds:.0f} s: {seen.frames_per_s:.1f} frames a second; "
            f"of the same {len(seen.presence)} things it shows: {told}"
        )
    verdict = "works here" if checked.problem is None else "does not work here"
    told = [f"{name:<10}  {value}" for name, value in lines.items()]
    return [*told, f"{checked.backbone} {verdict}, after {checked.seconds:.0f} s."]


def _listed(values: Mapping[str, float], names: Iterable[str]) -> str:
    return ", ".join(f"{name} {values[name]:.2f}" for name in names)


def describe_features_check(checked: "CheckedFeatures") -> str:
    """What is known of a file that fits, in one line."""
    parts = [f"{checked.num_snippets} x {checked.dim_in} of {checked.backbone}"]
    if checked.to_pictures is not None:
        parts.append(f"cosine {checked.to_pictures:.2f} with photographs seen by it")
    else:
        parts.append("whether they are of it cannot be told, but for their width")
    if checked.to_texts is not None:
        parts.append(f"{checked.to_texts:.2f} with its texts")
    if checked.gap_s > max(2.0, checked.duration_s / 10):
        parts.append(f"{checked.gap_s:.1f} s of {checked.duration_s:.1f} s without features")
    return f"fits    {checked.path}: {', '.join(parts)}"
