"""torchvision from PyPI beside a torch built for the processor: let it be imported.

Its compiled operators are built for another torch, do not load, and then importing it fails,
because it describes two of them that are not there. open_clip and transformers import it for its
picture transforms, which need none of the operators. Declaring the two by name is enough; calling
one still fails, as it would have.
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

_MISSING = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def declare_missing() -> tuple[Any, ...]:
    """Declare the operators that the installed torchvision cannot; does nothing where it can.

    Returns what has to stay alive.
    """
    if find_spec("torchvision") is None:
        return ()
    try:
        import torchvision  # noqa: F401  # pyright: ignore
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    else:
        return ()
    import sys

    import torch

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # what a failed import leaves
    library = torch.library.Library("torchvision", "DEF")
    for name in _MISSING:
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SIGNATURE)
    return (library,)
