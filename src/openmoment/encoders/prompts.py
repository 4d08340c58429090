"""Sentences that words are put into, for whoever reads or writes words."""

KINETICS_PROMPTS = tuple(
    f"{what} of {doing}{{}}."
    for what in ("a photo", "a video", "a example", "a demonstration")
    for doing in (
        "",
        "a person ",
        "a person using ",
        "a person doing ",
        "a person during ",
        "a person performing ",
        "a person practicing ",
    )
)
"""The 28 sentences of CLIP's release for Kinetics, to the letter."""
