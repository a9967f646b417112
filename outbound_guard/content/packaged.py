"""Which content model is used: the one that ships with the product, or the one that the configuration names."""

from __future__ import annotations

from importlib import resources

from outbound_guard.config import Config, ConfigError
from outbound_guard.content.model import Model, ModelError, load


def packaged_model() -> Model | None:
    """The packaged model; None if this build has none. Raises ModelError if the file is damaged."""
    return load() if resources.files("outbound_guard.content").joinpath("weights.bin").is_file() else None


def model_of(config: Config) -> Model | None:
    """The model that the configuration names, or the packaged one. Raises ConfigError if it cannot be used."""
    try:
        model = load(config.resolve(config.policy.model)) if config.policy.model else packaged_model()
    except ModelError as error:
        raise ConfigError(f"{config.path}: policy.model: {error}") from error
    if model:
        model.texts = config.policy.model_texts
    return model
