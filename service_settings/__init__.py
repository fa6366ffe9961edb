"""How a service gets its settings: one TOML file, overridden by environment variables.

Nothing else in the project reads the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from service_settings.drivers import find_driver
from service_settings.errors import SettingsError

__all__ = ["ServiceSettings", "SettingsError", "find_driver"]


class ServiceSettings(BaseSettings):
    """Base of each service's settings; a subclass sets `env_prefix` to `QNFV_<SERVICE>_`.

    Nested tables are overridden with two underscores: `QNFV_SLAVE_VIM__DRIVER=emulated`.
    """

    model_config = SettingsConfigDict(env_nested_delimiter="__", extra="forbid")
    _file: ClassVar[Path | None] = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = (init_settings, env_settings)
        if cls._file is None:
            return sources
        return (*sources, TomlConfigSettingsSource(settings_cls, toml_file=cls._file))

    @classmethod
    def load(cls, file: Path, **overrides: Any) -> Self:
        """The settings in `file`, with the environment's variables over them."""
        if not file.is_file():
            raise SettingsError(
                f"There is no settings file {file}.",
                next_step="Name an existing file; docs/settings.md lists what goes into it.",
            )
        from_file: type[Self] = type(cls.__name__, (cls,), {"_file": file})
        try:
            return from_file(**overrides)
        except (ValidationError, ValueError) as error:
            raise SettingsError(
                f"{file}: {error}", next_step="Correct the named settings."
            ) from error
