"""openmoment priors: make, show."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.options.methods import Device
from openmoment.cli.options.outputs import Json
from openmoment.cli.options.queries import read_queries
from openmoment.cli.text.console import INPUT_FAULT, print_json, progress_bar, say, verb

if TYPE_CHECKING:
    from openmoment.priors.files import Prior, Provenance
    from openmoment.priors.make import Made, Maker

app = typer.Typer(help="Sentences and pictures of labels, as files.", no_args_is_help=True)


@app.command("make")
@verb
def make_verb(
    names: Annotated[Path, typer.Option(metavar="FILE", help="The labels, one a line.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where a folder for each label goes.")],
    texts: Annotated[
        str,
        typer.Option(
            metavar="PROVIDER", help="template, none, openai:MODEL or transformers:FOLDER."
        ),
    ] = "template",
    images: Annotated[
        str,
        typer.Option(
            metavar="PROVIDER", help="none, folder:DIR, openai:MODEL or diffusers:FOLDER."
        ),
    ] = "none",
    num: Annotated[
        int, typer.Option("-k", min=1, help="Sentences, and pictures, of each label.")
    ] = 4,
    seed: Annotated[int, typer.Option(min=0, help="For providers that take one.")] = 0,
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Of an OpenAI-compatible server.", show_default="$OPENAI_BASE_URL"
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="S", min=0.1, help="Seconds to wait for one answer.")
    ] = 120.0,
    device: Device = "cpu",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Ask again for what was asked before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write sentences and pictures of each label, for people to read and to correct.

    Run it again to go on where it stopped: what is there is kept, also what you wrote yourself.
    The key of a server is read from OPENAI_API_KEY. What it costs is between you and the server;
    nothing else in openmoment ever calls it.

    openmoment priors make --names labels.txt --out priors/ --texts openai:gpt-5-mini
    """
    from openmoment.features.cache import Cache
    from openmoment.pipeline.queries import tidy_names
    from openmoment.priors.access import Access
    from openmoment.priors.make import Maker
    from openmoment.priors.providers import load_image_provider, load_text_provider

    labels = tidy_names(read_queries(names))
    access = Access(base_url, timeout, device=device)
    maker = Maker(
        load_text_provider(texts, access),
        load_image_provider(images, access),
        num=num,
        seed=seed,
        cache=None if no_cache else Cache(),
    )
    done = _follow(maker, labels, out)
    counts = Counter(item.status for item in done)
    told = ", ".join(f"{number} {status}" for status, number in counts.items())
    say(f"{len(done)} labels: {told}. Priors are in {out}.")
    if as_json:
        rows = [asdict(item) | {"folder": str(item.folder)} for item in done]
        print_json({"counts": dict(counts), "labels": rows})
    if counts["failed"]:
        raise typer.Exit(INPUT_FAULT)


def _follow(maker: "Maker", labels: Sequence[str], out: Path) -> "list[Made]":
    """Make those of every label, with a bar, and say what became of each."""
    done: list[Made] = []
    with progress_bar(f"{len(labels)} labels") as advance:
        for item in maker.make(labels, out):
            done.append(item)
            if advance:
                advance(len(done), len(labels))
            if item.status != "kept" or item.message:
                say(_describe(item))
    return done


@app.command("show")
@verb
def show_verb(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of priors.")],
    as_json: Json = False,
) -> None:
    """Say which sentences and pictures each label has, and who made them."""
    from openmoment.priors.files import read_priors

    priors = read_priors(folder)
    if as_json:
        print_json({"priors": [_to_dict(prior) for prior in priors.values()]})
        return
    for prior in priors.values():
        by = _by(prior.made) + (", edited" if prior.is_edited else "")
        typer.echo(f"{prior.label}  ({by})" if prior.texts else f"{prior.label}  (no sentences)")
        for text in prior.texts:
            typer.echo(f"  {text}")
        for image, made in zip(prior.images, prior.images_made, strict=True):
            typer.echo(f"  {image.name}  ({_by(made)})")


def _describe(item: "Made") -> str:
    # an error names its label or its file already
    is_named = item.label in item.message or str(item.folder) in item.message
    return f"{item.status:<6}  " + (item.message if is_named else f"{item.label}: {item.message}")


def _by(made: "Provenance | None") -> str:
    if made is None:
        return "by hand"
    return f"{made.provider} {made.model}".strip() + f", {made.date}"


def _to_dict(prior: "Prior") -> dict[str, object]:
    images = zip(prior.images, prior.images_made, strict=True)
    return {
        "label": prior.label,
        "texts": list(prior.texts),
        "made": prior.made and asdict(prior.made),
        "edited": prior.is_edited,
        "images": [{"path": str(image), "made": made and asdict(made)} for image, made in images],
    }
