"""What can be wrong with a CAD file. All are `DataError`: the CLI ends with 2."""

from flawsmith.core.errors import DataError


class PartError(DataError):
    """A part that cannot be used; the base of the three below."""


class PartFormatError(PartError):
    """Not one of the formats that are read, or a variant that is not."""


class PartCorruptError(PartError):
    """Damaged, truncated or made to harm: the reader failed or crashed on it."""


class PartTooLargeError(PartError):
    """More bytes, triangles, memory or seconds than the limits allow."""
