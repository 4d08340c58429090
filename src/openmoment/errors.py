"""Everything that a user can cause, as one tree.

    OpenMomentError
    ├── UnknownNameError      a backbone, method, format or dataset that is not in its table
    ├── MissingExtraError     an optional dependency is not installed
    ├── MissingWeightsError   a model's weights are not on this machine
    ├── QueryError            no query, or an empty one
    │   └── QuestionError     a question that cannot be read; it knows the place
    ├── ConfigError           an unknown setting, or a value of the wrong kind
    ├── VideoError            a file that is missing, empty, damaged, or holds no video
    ├── FeatureError          features that are malformed or do not fit
    │   └── RecipeError       features made in another way than the one asked for
    ├── FormatError           a file that does not follow its format
    ├── ConflictError         a change to something that has changed meanwhile
    ├── ProviderError         a generator of priors that gave nothing usable for one label
    └── TrainingError         training that cannot begin, or that went astray

The command line prints the message on one line and exits with 2; a batch records it and goes
on. Any other exception is our mistake and keeps its traceback.
"""

from difflib import get_close_matches


class OpenMomentError(Exception):
    """Base of all errors that the input, not the program, is to blame for."""


class UnknownNameError(OpenMomentError, KeyError):
    """A name that is not in a table; the message lists what is, and the nearest."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        told = f"Known: {', '.join(known)}." if known else "There are none."
        super().__init__(f"Unknown {kind} {name!r}.{hint} {told}")

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would quote it


class MissingExtraError(OpenMomentError):
    """An optional dependency is needed; the message holds the command that installs it."""

    def __init__(self, module: str, extra: str) -> None:
        package = module.partition(".")[0]
        super().__init__(f"This needs {package!r}. Run: pip install 'openmoment[{extra}]'")


class MissingWeightsError(OpenMomentError):
    """A model's weights are not on this machine."""


class QueryError(OpenMomentError):
    """No query, or an empty one."""


class QuestionError(QueryError):
    """A question that cannot be read: ``position`` counts the characters before the place."""

    def __init__(self, message: str, position: int, *, near: str = "") -> None:
        self.position = position
        told = f', near "{near[:40]}"' if near else ""
        super().__init__(f"{message}, at character {position + 1}{told}.")


class ConfigError(OpenMomentError):
    """An unknown setting, or a value of the wrong kind."""


class VideoError(OpenMomentError):
    """A file that is missing, empty, damaged, or holds no video."""


class FeatureError(OpenMomentError):
    """Features that are malformed, not finite, or of another width than expected."""


class RecipeError(FeatureError):
    """Features that were made in another way than the one asked for."""


class FormatError(OpenMomentError):
    """A file that does not follow its format; the message names the file and the field."""


class ConflictError(OpenMomentError):
    """A change to something that was changed by another meanwhile; it has to be loaded again."""


class ProviderError(OpenMomentError):
    """A generator of texts or pictures that gave nothing usable for one label."""


class TrainingError(OpenMomentError):
    """Training that cannot begin, or whose loss is no number any more."""
