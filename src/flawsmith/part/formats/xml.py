"""XML without entities: those can blow a few bytes up to gigabytes, or read other files."""

from xml.etree import ElementTree
from xml.parsers import expat

from flawsmith.part.errors import PartCorruptError, PartFormatError


class _Rooted(Exception):
    """The document type is over, the content begins."""


def parse_xml(data: bytes, what: str) -> ElementTree.Element:
    """The root element. Raises `PartFormatError` when the document declares entities, and so may be a bomb."""
    try:
        _refuse_entities(data, what)
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, expat.ExpatError) as error:
        raise PartCorruptError(f"{what}: not well-formed XML ({error}); export it again") from error


def _refuse_entities(data: bytes, what: str) -> None:
    """Entities can be declared before the root element only."""

    def declared(*_: object) -> None:
        raise PartFormatError(f"{what} declares XML entities, which a part does not need: remove them and try again")

    def begun(*_: object) -> None:
        raise _Rooted

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = declared
    parser.StartElementHandler = begun
    try:
        parser.Parse(data, True)
    except _Rooted:
        return


def local_name(element: ElementTree.Element) -> str:
    """The tag without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
