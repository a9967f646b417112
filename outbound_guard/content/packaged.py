"""The content model that ships with the product."""

from __future__ import annotations

from importlib import resources

from outbound_guard.content.model import Model, load


def packaged_model() -> Model | None:
    """The packaged model; None if this build has none. Raises ModelError if the file is damaged."""
    return load() if resources.files("outbound_guard.content").joinpath("weights.bin").is_file() else None
