"""open_clip's models that have a name here: what each is, and how its makers use it.

Of none of the newer ones were weights at hand: sizes follow from the architecture, licences and
sentences from the makers' own cards and code (docs/backbones.md).
"""

from openmoment.encoders.base import Facts
from openmoment.encoders.two_tower.open_clip import OpenClip
from openmoment.encoders.two_tower.open_clip_names import OPENAI, Pixels, Weights

_HALF = (0.5, 0.5, 0.5)
_CLIP_UNRELATED = 0.1  # of the real vectors that we have .14 and more; of strangers .10 at most


class OpenAIClip(OpenClip):
    """What OpenAI's three models share."""

    pixels = OPENAI
    unrelated_over = _CLIP_UNRELATED


class ClipVitB16(OpenAIClip):
    """OpenAI's CLIP ViT-B/16: the backbone of ConTrans, STALE, EffPrompt and UnLoc-B."""

    name = "clip-vit-b-16"
    weights = Weights("ViT-B-16-quickgelu", "openai", repo="timm/vit_base_patch16_clip_224.openai")
    facts = Facts(599, "MIT")


class ClipVitB32(OpenAIClip):
    """OpenAI's CLIP ViT-B/32: the quickest of the three, and a baseline of T3AL."""

    name = "clip-vit-b-32"
    weights = Weights("ViT-B-32-quickgelu", "openai", repo="timm/vit_base_patch32_clip_224.openai")
    facts = Facts(605, "MIT")


class ClipVitL14(OpenAIClip):
    """OpenAI's CLIP ViT-L/14: the backbone of UnLoc-L."""

    name = "clip-vit-l-14"
    weights = Weights("ViT-L-14-quickgelu", "openai", repo="timm/vit_large_patch14_clip_224.openai")
    facts = Facts(1710, "MIT")


class CocaVitL14(OpenClip):
    """CoCa ViT-L/14, fine-tuned for captions: the backbone of T3AL, and its captioner."""

    name = "coca-vit-l-14"
    weights = Weights(
        "coca_ViT-L-14",
        "mscoco_finetuned_laion2b_s13b_b90k",
        repo="laion/mscoco_finetuned_CoCa-ViT-L-14-laion2B-s13B-b90k",
    )
    pixels = OPENAI
    facts = Facts(2554, "MIT")


class ClipVitB32DataComp(OpenClip):
    """CLIP ViT-B/32 of DataComp-XL: as quick as OpenAI's, and knows more."""

    name = "clip-vit-b-32-datacomp"
    weights = Weights(
        "ViT-B-32", "datacomp_xl_s13b_b90k", repo="laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K"
    )
    pixels = OPENAI
    templates = ("a photo of {}.",)
    facts = Facts(605, "MIT")


class SigLip2(OpenClip):
    """What Google's SigLIP 2 models share."""

    pixels = Pixels(_HALF, _HALF, "bicubic", "squash")
    templates = ("this is a photo of {}.",)
    has_hub_tokenizer = True


class SigLip2B32(SigLip2):
    """SigLIP 2 ViT-B/32 at 256 pixels: quick, and reads many languages."""

    name = "siglip2-b-32-256"
    weights = Weights("ViT-B-32-SigLIP2-256", "webli", repo="timm/ViT-B-32-SigLIP2-256")
    facts = Facts(1507, "Apache-2.0", "many")


class SigLip2B16(SigLip2):
    """SigLIP 2 ViT-B/16 at 224 pixels: better, a third as quick; reads many languages."""

    name = "siglip2-b-16"
    weights = Weights("ViT-B-16-SigLIP2", "webli", repo="timm/ViT-B-16-SigLIP2")
    facts = Facts(1501, "Apache-2.0", "many")


class PECore(OpenClip):
    """What Meta's Perception Encoders share."""

    pixels = Pixels(_HALF, _HALF, "bilinear", "squash")
    templates = ("a video of {}.",)


class PECoreS16(PECore):
    """Perception Encoder S/16 at 384 pixels: trained on video too; a small download."""

    name = "pe-core-s-16-384"
    weights = Weights("PE-Core-S-16-384", "meta", repo="timm/PE-Core-S-16-384")
    facts = Facts(349, "Apache-2.0")


class PECoreB16(PECore):
    """Perception Encoder B/16: trained on video too, the best of these at actions; slow."""

    name = "pe-core-b-16"
    weights = Weights("PE-Core-B-16", "meta", repo="timm/PE-Core-B-16")
    facts = Facts(1791, "Apache-2.0")


class MobileClip2(OpenClip):
    """What Apple's MobileCLIP2 models share."""

    pixels = Pixels((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear", "shortest")
    templates = ("a photo of {}.",)


class MobileClip2S0(MobileClip2):
    """MobileCLIP2-S0: small and quick. Apple's licence: read it before you use it."""

    name = "mobileclip2-s0"
    weights = Weights("MobileCLIP2-S0", "dfndr2b", repo="timm/MobileCLIP2-S0-OpenCLIP")
    facts = Facts(300, "apple-amlr")


class MobileClip2S2(MobileClip2):
    """MobileCLIP2-S2: better than S0, and slower. Apple's licence: read it before you use it."""

    name = "mobileclip2-s2"
    weights = Weights("MobileCLIP2-S2", "dfndr2b", repo="timm/MobileCLIP2-S2-OpenCLIP")
    facts = Facts(397, "apple-amlr")
