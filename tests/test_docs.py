"""Documentation: what it names exists, what it shows runs, what is generated is fresh."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from flawsmith.cli import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
COMMAND = re.compile(r"flawsmith ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)((?:[^\n`]|\\\n)*)")


def subcommand(words: list[str]) -> tuple[typer.core.TyperCommand | None, int]:
    """The command that the words name, and how many of them do."""
    command = typer.main.get_command(app)
    for depth, word in enumerate(words):
        children = getattr(command, "commands", None)
        if children is None:
            return command, depth
        if word not in children:
            return None, depth
        command = children[word]
    return command, len(words)


def shown_commands(page: Path) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    inline = re.findall(r"`(flawsmith [a-z][^`]*)`", page.read_text())
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [
        line.split("#")[0].strip() for line in [*lines, *inline] if re.match(r"(\S*/)?flawsmith [a-z]", line.strip())
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_and_option_exists(page: Path) -> None:
    if page.name == "cli.md":
        return
    for line in shown_commands(page):
        words = line.replace(" …", "").split()[1:]
        command, depth = subcommand([w for w in words if re.fullmatch(r"[a-z-]+", w) and not w.startswith("-")][:2])
        assert command is not None or depth == 1, f"{page.name}: {line}"
        if command is None:
            command, _ = subcommand(words[:1])
        assert command is not None, f"{page.name}: {line}"
        known = {
            option
            for parameter in getattr(command, "params", [])
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for option in re.findall(r"(?<=\s)--[a-z-]+", line):
            assert option in known | {"--help"}, f"{page.name}: {line}: {option}"


def test_the_command_check_notices_what_does_not_exist() -> None:
    assert subcommand(["dataset", "importt"])[0] is None


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_setting_named_in_the_docs_exists() -> None:
    from flawsmith.model.classify import ClassifySettings
    from flawsmith.model.segment import SegmentSettings

    defaults = ClassifySettings().model_dump() | SegmentSettings().model_dump()
    groups = "net|train|augment|tune|head|backbone"
    names = re.findall(rf"`((?:{groups})\.(?!py\b)[a-z_0-9]+)", "".join(page.read_text() for page in PAGES))
    assert names
    for name in names:
        group, key = name.split(".")
        assert key in defaults[group], name


def test_generated_pages_and_tables_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_every_example_runs(example: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
