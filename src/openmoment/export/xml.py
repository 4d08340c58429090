"""XML of strangers as a tree: without document types, so that no entity can be made to expand."""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from openmoment.errors import FormatError
from openmoment.storage.reading import read_text

MAX_DEPTH = 50
"""Elements inside elements; annotation tools need a handful."""


def read_xml(path: Path) -> Element:
    """The root of an XML file. Raises FormatError, also for one that declares a document type."""

    def refuse(*_: object) -> None:
        raise FormatError(f"{path}: declares a document type (DOCTYPE), which is not read.")

    tree, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise FormatError(
                f"{path}, line {parser.CurrentLineNumber}: elements lie more than {MAX_DEPTH} deep."
            )
        tree.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        tree.end(tag)

    parser = expat.ParserCreate("UTF-8")  # which `read_text` saw, whatever the file declares
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = tree.data
    try:
        parser.Parse(read_text(path).encode(), True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise FormatError(f"{path}, line {error.lineno}: is not XML: {reason}.") from error
    return tree.close()
