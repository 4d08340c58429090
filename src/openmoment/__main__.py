"""``python -m openmoment`` is the command: torchrun starts modules."""

from openmoment.cli.main import run

if __name__ == "__main__":
    run()
