"""One target under atheris, in a process of its own: `python -m tests.fuzz.guided TARGET [OPTION OF LIBFUZZER ...]`.

Only the product is instrumented. Its modules must be imported by the target, not before.
"""

from __future__ import annotations

import importlib
import sys

import atheris

with atheris.instrument_imports(include=["outbound_guard"]):
    _target = importlib.import_module(f"tests.fuzz.fuzz_{sys.argv[1]}").TARGET

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], _target.attempt)
    atheris.Fuzz()
