"""Small models with random weights, saved to disk in open_clip's own form."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from openmoment.encoders.two_tower.open_clip_names import import_open_clip

VISION = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 48, "heads": 4, "layers": 2}
PREPROCESS = {
    "size": 32,
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
CLIP = {"embed_dim": 32, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT}
COCA = {
    "embed_dim": 48,
    "vision_cfg": VISION
    | {"attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
    "text_cfg": TEXT | {"context_length": 76, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": TEXT | {"context_length": 76, "attn_pooler_heads": 4},
    "custom_text": True,
}
SIGLIP = {
    "embed_dim": 512,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 32,
        "timm_model_name": "resnet10t",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "none",
    },
    "text_cfg": TEXT | {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
}


def save_model(folder: Path, config: dict, *, seed: int = 0) -> Path:
    """A folder that open_clip's ``local-dir:`` reads."""
    open_clip = import_open_clip()
    folder.mkdir(parents=True, exist_ok=True)
    document = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    torch.manual_seed(seed)
    cls = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CLIP
    if config.get("custom_text") and cls is open_clip.CLIP:
        cls = open_clip.CustomTextCLIP
    known = {key: value for key, value in config.items() if key != "custom_text"}
    model = cls(**known)
    for parameter in model.parameters():  # spread out, so that texts and pictures differ
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder
