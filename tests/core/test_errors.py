"""The error family: exit codes, remedies, nearest names."""

import errno
import os
from pathlib import Path

import pytest

from flawsmith.core import errors
from flawsmith.core.errors import EnvironmentFault, missing_package, nearest, writing


def test_exit_codes_are_as_designed():
    codes = {"ConfigError": 2, "DataError": 2, "ImageError": 2, "GateError": 1, "EnvironmentFault": 3}
    assert {name: getattr(errors, name).exit_code for name in codes} == codes
    assert issubclass(errors.ImageCorruptError, errors.DataError)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "the disk is full: free some space and run the same command again"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only: choose another output folder"),
        (errno.EACCES, "permission denied: choose another folder or change its permissions"),
        (errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)),
    ],
)
def test_a_failed_write_names_the_file_and_the_remedy(number, remedy):
    with pytest.raises(EnvironmentFault, match=f"cannot write out/a.png: {remedy}"), writing(Path("out/a.png")):
        raise OSError(number, os.strerror(number))


def test_only_writing_errors_are_translated():
    with pytest.raises(ValueError, match="a bug"), writing(Path("x")):
        raise ValueError("a bug")


def test_the_nearest_name_or_all_names():
    assert nearest("scrach", ["scratch", "dent"]) == " Did you mean 'scratch'?"
    assert nearest("zzz", ["scratch", "dent"]) == " Known: dent, scratch."


def test_a_missing_package_is_an_environment_fault():
    fault = missing_package("pyarrow", "train")
    assert str(fault) == "pyarrow is not installed: pip install 'flawsmith[train]'"
    assert fault.exit_code == 3
