"""Backbones by name. Listing them, and making one, loads no weights and imports no torch."""

from collections.abc import Callable
from pathlib import Path

from openmoment.encoders.base import Encoder, VideoEncoder
from openmoment.errors import ConfigError, MissingWeightsError
from openmoment.registry import LazyTable

ENCODERS: LazyTable[type[Encoder]] = LazyTable(
    "backbone",
    {
        "embedded": "openmoment.encoders.embedded.backbone:Embedded",
        "pe-core-b-16": "openmoment.encoders.two_tower.presets:PECoreB16",
        "pe-core-s-16-384": "openmoment.encoders.two_tower.presets:PECoreS16",
        "siglip2-b-16": "openmoment.encoders.two_tower.presets:SigLip2B16",
        "siglip2-b-32-256": "openmoment.encoders.two_tower.presets:SigLip2B32",
        "clip-vit-b-32-datacomp": "openmoment.encoders.two_tower.presets:ClipVitB32DataComp",
        "clip-vit-b-16": "openmoment.encoders.two_tower.presets:ClipVitB16",
        "clip-vit-b-32": "openmoment.encoders.two_tower.presets:ClipVitB32",
        "clip-vit-l-14": "openmoment.encoders.two_tower.presets:ClipVitL14",
        "coca-vit-l-14": "openmoment.encoders.two_tower.presets:CocaVitL14",
        "mobileclip2-s2": "openmoment.encoders.two_tower.presets:MobileClip2S2",
        "mobileclip2-s0": "openmoment.encoders.two_tower.presets:MobileClip2S0",
        "synthetic": "openmoment.encoders.embedded.made_up:Synthetic",
    },
)
FEATURE_ENCODERS: LazyTable[type[VideoEncoder]] = LazyTable(
    "backbone",
    {
        "r2plus1d-18": "openmoment.encoders.motion.video_models:R2Plus1D18",
        "s3d": "openmoment.encoders.motion.video_models:S3D",
        "mvit-v2-s": "openmoment.encoders.motion.video_models:MViTV2S",
        "swin3d-t": "openmoment.encoders.motion.video_models:Swin3DT",
    },
)
"""Those that make features and read no words."""
FAMILIES: LazyTable[Callable[..., Encoder | None]] = LazyTable(
    "family of backbones",
    {
        "open_clip": "openmoment.encoders.two_tower.open_clip:from_name",
        "transformers": "openmoment.encoders.two_tower.transformers_clip:from_name",
    },
)
"""For names that are in no table: takes the name, device and precision; None if it is not its."""
AUTO = "auto"
"""The best backbone that is ready on this machine; it never downloads."""

BEST_FIRST = (
    "pe-core-b-16",
    "siglip2-b-16",
    "clip-vit-l-14",
    "coca-vit-l-14",
    "siglip2-b-32-256",
    "pe-core-s-16-384",
    "clip-vit-b-32-datacomp",
    "clip-vit-b-16",
    "clip-vit-b-32",
    "mobileclip2-s2",
    "mobileclip2-s0",
    "embedded",
)
"""The order in which `AUTO` looks, and `openmoment models` lists.

By what their makers report of ImageNet without training (78.4, 78.2, 75.5 ... 63.3 %; PE-Core of
Kinetics, too, 65.6 %), as nothing else is known of all; CoCa's captions cost it some of that. Those
of a licence that allows less come after all others, whatever they reach.
"""

_CPU, _FULL = "cpu", "fp32"


def load_encoder(name: str = AUTO, *, device: str = _CPU, precision: str = _FULL) -> Encoder:
    """The encoder of that name, or of an open_clip model: ``MODEL@TAG``, ``MODEL@PATH``, or a
    folder of open_clip or of transformers (CLIP, SigLIP).

    ``device`` and ``precision`` ("fp32", "bf16", "fp16") are for models of torch. Raises
    UnknownNameError, ConfigError (for one of `FEATURE_ENCODERS`, too), MissingWeightsError.
    """
    if split_path(name)[0] in FEATURE_ENCODERS:
        raise ConfigError(
            f"{name} reads no words. Make features with it (openmoment features extract), and "
            "train a method on them: features=own, and a backbone that reads words."
        )
    if name == AUTO:
        name = next(known for known in BEST_FIRST if ENCODERS[known].missing() is None)
    if name not in ENCODERS:
        for family in FAMILIES.values():
            if (found := family(name, device=device, precision=precision)) is not None:
                return found
    encoder = ENCODERS[name]
    _refuse(encoder.missing())
    if (device, precision) == (_CPU, _FULL):
        return encoder()
    if encoder.takes_device:
        return encoder(device=device, precision=precision)  # pyright: ignore[reportCallIssue]
    raise ConfigError(
        f"{name} runs on the processor, in {_FULL} alone. Leave --device and --precision out."
    )


def load_feature_encoder(
    name: str = AUTO, *, device: str = _CPU, precision: str = _FULL
) -> VideoEncoder:
    """As `load_encoder`, or one of `FEATURE_ENCODERS`, by ``NAME`` or ``NAME@FILE.safetensors``."""
    plain, path = split_path(name)
    if plain not in FEATURE_ENCODERS:
        return load_encoder(name, device=device, precision=precision)
    encoder = FEATURE_ENCODERS[plain]
    if path is None:
        _refuse(encoder.missing())
    return encoder(path, device=device, precision=precision)  # pyright: ignore[reportCallIssue]


def split_path(name: str) -> tuple[str, Path | None]:
    """``NAME@FILE`` as the name and the file."""
    plain, _, path = name.partition("@")
    return plain, Path(path).expanduser() if path else None


def _refuse(problem: str | None) -> None:
    if problem:
        raise MissingWeightsError(problem)


def describe_backbone(name: str) -> str:
    """What answers from that backbone rest on, to stand in a sentence."""
    return f"{name}, {ENCODERS[name].note}" if name in ENCODERS else name
