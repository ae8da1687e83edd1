"""Writing: a reader sees the old file or the new one, whatever happens in between."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from flawsmith.core import files
from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault
from flawsmith.core.files import cache_folder, read_json, sha256_of, staged_folder, write_atomic, write_json


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_whole_into_a_new_folder(tmp_path):
    path = tmp_path / "a" / "b.bin"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["b.bin"]


def test_json_round_trip_and_no_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"Größe": [1, 2.5, None]})
    assert read_json(path) == {"Größe": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert read_json(path) == {"Größe": [1, 2.5, None]}


def test_json_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.json does not exist"):
        read_json(tmp_path / "none.json")
    for content in (b"{", b"\xff\xfe", b""):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(DataError, match=r"bad\.json cannot be read as JSON"):
            read_json(tmp_path / "bad.json")


def test_sha256_of_bytes_and_of_a_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert (
        sha256_of(tmp_path / "abc")
        == sha256_of(b"abc")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def filled(out: Path, text: str, overwrite: bool = False) -> None:
    with staged_folder(out, overwrite) as stage:
        (stage / "a.txt").write_text(text)
        assert not (out / "a.txt").exists() or (out / "a.txt").read_text() != text


def test_a_staged_folder_appears_at_once(tmp_path):
    filled(tmp_path / "out", "new")
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "new"


def test_an_empty_folder_is_filled_and_a_full_one_refused(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    filled(out, "old")
    with pytest.raises(ConfigError, match="exists and is not empty: choose another folder or add --overwrite"):
        filled(out, "new")
    filled(out, "new", overwrite=True)
    assert (out / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_a_file_or_a_strangers_folder_is_never_replaced(tmp_path):
    (tmp_path / "out").write_text("a file")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letters.txt").write_text("dear")
    for place in ("out", "home"):
        with pytest.raises(ConfigError, match="exists and is not empty"):
            filled(tmp_path / place, "new")
        with pytest.raises(ConfigError, match="was not written by flawsmith"):
            filled(tmp_path / place, "new", overwrite=True)
    assert (tmp_path / "home" / "letters.txt").read_text() == "dear"
    assert names(tmp_path) == ["home", "out"]


def fails_half_way(stage: Path) -> None:
    (stage / "a.txt").write_text("half")
    raise DataError("the second image is damaged")


@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path, existing):
    out = tmp_path / "out"
    if existing:
        filled(out, "old")
    with pytest.raises(DataError), staged_folder(out, overwrite=True) as stage:
        fails_half_way(stage)
    assert names(tmp_path) == (["out"] if existing else [])
    assert not existing or (out / "a.txt").read_text() == "old"


def test_a_failed_swap_puts_the_old_folder_back(tmp_path, monkeypatch):
    out = tmp_path / "out"
    filled(out, "old")
    rename = Path.rename

    def refuses_the_new(path: Path, target: Path) -> Path:
        if target == out and "partial-old" not in path.name:
            raise OSError(errno.EACCES, "denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuses_the_new)
    with pytest.raises(EnvironmentFault, match="permission denied"):
        filled(out, "new", overwrite=True)
    assert (out / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["out"]


KILLED_FOLDER = """
import sys, time
from pathlib import Path
from flawsmith.core.files import staged_folder
with staged_folder(Path(sys.argv[1]), overwrite=True) as stage:
    (stage / "a.txt").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
KILLED_FILE = """
import sys
from pathlib import Path
from flawsmith.core.files import write_atomic
print("ready", flush=True)
for turn in range(10**9):
    write_atomic(Path(sys.argv[1]), bytes([65 + turn % 2]) * 3_000_000)
"""


def killed(script: str, path: Path, after_s: float) -> None:
    """Run the script until it is ready, then a little longer, then kill -9."""
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def test_kill_9_in_the_middle_of_a_folder_leaves_the_old_one(tmp_path):
    filled(tmp_path / "out", "old")
    killed(KILLED_FOLDER, tmp_path / "out", 0)
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    filled(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "a.txt").read_text() == "new"


@pytest.mark.parametrize("after_s", [0.01, 0.1, 0.17])
def test_kill_9_in_the_middle_of_a_file_leaves_a_whole_one(tmp_path, after_s):
    path = tmp_path / "a.bin"
    write_atomic(path, b"B" * 3_000_000)
    killed(KILLED_FILE, path, after_s)
    content = path.read_bytes()
    assert content in (b"A" * 3_000_000, b"B" * 3_000_000)


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """A folder on a disk of 256 kB: a real one for root, else one whose fsync says so."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:

        def fsync(handle: int) -> None:
            if os.fstat(handle).st_size > 256_000:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", fsync)
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_keeps_the_old_file(full_disk):
    path = full_disk / "a.bin"
    write_atomic(path, b"old" * 1000)  # the control: what fits is written
    with pytest.raises(EnvironmentFault, match=r"cannot write .*a\.bin: the disk is full: free some space") as raised:
        write_atomic(path, bytes(400_000))
    assert raised.value.exit_code == 3
    assert path.read_bytes() == b"old" * 1000
    assert names(full_disk) == ["a.bin"]


AS_NOBODY = """
import os, sys
from pathlib import Path
from flawsmith.core.errors import EnvironmentFault
from flawsmith.core.files import staged_folder, write_json
if os.geteuid() == 0:
    os.seteuid(65534)
folder = Path(sys.argv[1])
try:
    write_json(folder / "a.json", 1)
    sys.exit("the control: written")
except EnvironmentFault as error:
    print(error)
try:
    with staged_folder(folder / "out"):
        pass
except EnvironmentFault as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def public_folder():
    """One that other users can reach, unlike tmp_path: root ignores permissions, so the test runs as nobody."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_read_only_folder_is_an_environment_fault(public_folder):
    folder = public_folder / "closed"
    folder.mkdir(mode=0o555)
    run = [sys.executable, "-c", AS_NOBODY, str(folder)]
    closed = subprocess.run(run, capture_output=True, text=True, check=False)
    assert closed.returncode == 3, closed.stderr
    assert f"cannot write {folder}/a.json: permission denied: choose another folder" in closed.stdout
    assert f"cannot write {folder}/out: permission denied: choose another folder" in closed.stdout
    folder.chmod(0o777)
    opened = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (opened.returncode, opened.stderr.strip()) == (1, "the control: written")
    assert json.loads((folder / "a.json").read_text()) == 1


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "flawsmith"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "flawsmith"
