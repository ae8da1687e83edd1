"""The one error family. Each message says what was given, what was wanted and what to do next."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class FlawsmithError(Exception):
    """Any failure that is not a bug of ours. `exit_code` is what the CLI ends with."""

    exit_code = 2


class ConfigError(FlawsmithError):
    """A wrong option, key or value in what the user wrote."""


class DataError(FlawsmithError):
    """A file or data set that cannot be used as it is."""


class ImageError(DataError):
    """An image that cannot be trusted; the base of the three below."""


class ImageFormatError(ImageError):
    """Not one of the image formats that are read, or a variant that is not."""


class ImageCorruptError(ImageError):
    """Truncated, damaged or undecodable."""


class ImageTooLargeError(ImageError):
    """The header announces more pixels than the cap."""


class GateError(FlawsmithError):
    """A check or gate that did its job and said no."""

    exit_code = 1


class EnvironmentFault(FlawsmithError):
    """The machine stands in the way: a missing package, a full disk, a folder that cannot be written."""

    exit_code = 3


_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space and run the same command again",
    errno.EROFS: "the file system is read-only: choose another output folder",
    errno.EACCES: "permission denied: choose another folder or change its permissions",
    errno.EPERM: "permission denied: choose another folder or change its permissions",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` raised while writing `path` into an `EnvironmentFault` that names it and the remedy."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, error.strerror or str(error))
        raise EnvironmentFault(f"cannot write {path}: {remedy}") from error


def nearest(word: str, known: list[str]) -> str:
    """A ' Did you mean …?' suffix, or the list of what is known."""
    close = get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(sorted(known))}."


def missing_package(package: str, extra: str) -> EnvironmentFault:
    """The error for an optional package that is not installed."""
    return EnvironmentFault(f"{package} is not installed: pip install 'flawsmith[{extra}]'")
