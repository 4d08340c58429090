"""Write docs/cli.md from the help texts of the command line.

python scripts/build_cli_docs.py [--print]
"""

import html
import re
import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from openmoment.cli.main import app

TARGET = Path(__file__).parents[1] / "docs" / "cli.md"


def command_reference() -> str:
    """Every command with its arguments and options, in Markdown."""
    command = get_command(app)
    context = typer.Context(command, info_name="openmoment")
    text = get_docs_for_click(obj=command, ctx=context, name="openmoment")
    return re.sub(r"\n{3,}", "\n\n", html.unescape(text)).strip() + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(command_reference(), end="")
    else:
        TARGET.write_text(command_reference())
