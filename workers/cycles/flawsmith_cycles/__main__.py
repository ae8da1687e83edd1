# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs from standard input, one JSON object a line; one answer a line on standard output.

Blender prints to standard output as it likes, so answers go to a copy of it and the rest to standard error.
"""

import json
import os
import sys
import traceback
from typing import IO

from flawsmith_cycles.job import run

PROTOCOL = 1  # of the job's files; the other side refuses another number


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    say(answers, {"ok": True, "protocol": PROTOCOL})
    for line in sys.stdin:
        try:
            say(answers, {"ok": True, "seconds": run(**json.loads(line))})
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the other side must hear of it
            traceback.print_exc()
            say(answers, {"ok": False, "error": f"{type(error).__name__}: {error}"})


def say(answers: IO[str], answer: dict) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
