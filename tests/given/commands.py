"""The command line in tests: run a command, or expect its refusal."""

from typer.testing import CliRunner, Result

from openmoment.cli.main import app


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def refusal(*args: object) -> str:
    """The one line that a mistake earns."""
    result = run(*args)
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("openmoment: ")
    assert "Traceback" not in result.output
    return lines[0]
