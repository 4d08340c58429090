"""A whole page in one file: the shared style, nothing from a network, no script but its own."""

import base64
import hashlib
from html import escape
from importlib import resources

from openmoment.version import __version__


def document(
    title: str, body: str, *, foot: str, style: str = "", script: str = "", media: str = ""
) -> str:
    """The page. ``style`` comes after the shared one; ``media`` is what the policy adds for it."""
    shared = (resources.files("openmoment.report") / "page.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'{media}"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        policy += f"; script-src 'sha256-{digest}'"
        script = f"<script>{script}</script>\n"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="generator" content="OpenMoment {__version__}">\n'
        f"<title>{escape(title)}</title>\n<style>{shared}{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n{foot}{script}</body>\n</html>\n"
    )
