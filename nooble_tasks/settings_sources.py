"""Where settings come from besides arguments: the environment and a TOML file; neither lets a typo pass."""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from .errors import ConfigurationError, closest

SHARED_PREFIX = "NOOBLE_"
CONFIG_VARIABLE = "NOOBLE_CONFIG"
DEFAULT_FILE = Path("config/settings.toml")
SERVICE_TABLE = "service"

# Read by other parts than the settings.
_OTHER_VARIABLES = frozenset({CONFIG_VARIABLE})
_OTHER_PREFIXES = ("NOOBLE_TEST_", "NOOBLE_EMBEDDED_")
# What one service is called must not be inherited by all of them.
_OWN_NAMES = frozenset({"service_name", "domain_name"})

_log = logging.getLogger("nooble_tasks.settings")
_mentioned: set[str] = set()


def unknown_name(
    kind: str, name: str, known: Iterable[str], place: str = "", prefix: str = ""
) -> ConfigurationError:
    """The error for a setting that does not exist, with the nearest that does."""
    names = {known_name.upper() if prefix else known_name: known_name for known_name in known}
    near = closest(name.removeprefix(prefix), names)
    hint = f"did you mean {prefix + near!r}?" if near else f"the settings are {', '.join(names.values())}"
    return ConfigurationError(f"there is no setting {name!r} ({kind}{place}); {hint}", details={"name": name})


class SharedEnvironment(EnvSettingsSource):
    """The common settings from `NOOBLE_…` variables, for classes with a prefix of their own."""

    def __init__(self, settings_cls: type[BaseSettings], common: Mapping[str, FieldInfo]) -> None:
        super().__init__(settings_cls, env_prefix=SHARED_PREFIX)
        own = settings_cls.model_config.get("env_prefix", "").upper() == SHARED_PREFIX
        self._names: Collection[str] = () if own else common.keys() - _OWN_NAMES

    def __call__(self) -> dict[str, Any]:
        """The values found."""
        return {name: value for name, value in super().__call__().items() if name in self._names}


class TomlFile(PydanticBaseSettingsSource):
    """Common settings at the top of the file, those of one service in `[service.<domain>]`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Unused: the file is read as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The values of the file for this class."""
        path = config_file()
        if path is None:
            return {}
        content = _read(path)
        tables = content.pop(SERVICE_TABLE, {})
        common = [name for name in self.settings_cls.model_fields if name not in _OWN_NAMES]
        _check_names(content, common, f" in {path}")
        own = tables.get(self._domain(), {}) if isinstance(tables, dict) else tables
        _check_names(own, self.settings_cls.model_fields, f" in [{SERVICE_TABLE}.{self._domain()}] of {path}")
        return {**content, **own}

    def _domain(self) -> str:
        fields = self.settings_cls.model_fields
        for name in ("domain_name", "service_name"):
            value = self.current_state.get(name) or (fields[name].default if name in fields else None)
            if value:
                return str(value).removesuffix("_service")
        return ""


def config_file() -> Path | None:
    """The TOML file to read: the one named by NOOBLE_CONFIG, else config/settings.toml where it exists."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        path = Path(named)
        if not path.is_file():
            raise ConfigurationError(f"{CONFIG_VARIABLE} names {named!r}, which is no file; correct it")
        return path
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def refuse_unknown_variables(
    prefix: str, fields: Collection[str], common: Collection[str], known_prefixes: Iterable[str]
) -> None:
    """ConfigurationError for an environment variable that looks like a setting and is none.

    Under the class's own prefix every unknown name is refused. Under the shared one a name that resembles a
    setting is refused; any other may belong to a service that this process does not know, and is mentioned
    in the log once.
    """
    others = [p for p in known_prefixes if p not in (prefix, SHARED_PREFIX, "")]
    for variable in sorted(os.environ):
        upper = variable.upper()
        if upper in _OTHER_VARIABLES or upper.startswith(_OTHER_PREFIXES):
            continue
        if any(upper.startswith(other) and len(other) > len(prefix) for other in others):
            continue
        if prefix not in ("", SHARED_PREFIX) and upper.startswith(prefix):
            _refuse_unless(upper.removeprefix(prefix).lower() in fields, variable, prefix, fields)
        elif upper.startswith(SHARED_PREFIX) and not any(upper.startswith(other) for other in others):
            _check_shared(variable, upper.removeprefix(SHARED_PREFIX).lower(), common)


def origin_of(name: str, arguments: Iterable[str], prefix: str) -> str:
    """Where the value of a setting came from, for messages."""
    if name in set(arguments):
        return "argument"
    present = {variable.upper(): variable for variable in os.environ}
    for candidate in (prefix, SHARED_PREFIX):
        if candidate + name.upper() in present:
            return f"environment variable {present[candidate + name.upper()]}"
    path = config_file()
    return f"file {path}" if path is not None else "default"


def _check_shared(variable: str, name: str, common: Collection[str]) -> None:
    if name in common:
        return
    first = name.partition("_")[0]
    of_ours = first == name or first in {known.partition("_")[0] for known in common}
    _refuse_unless(not of_ours and closest(name, common) is None, variable, SHARED_PREFIX, common)
    if variable not in _mentioned:
        _mentioned.add(variable)
        _log.info("environment variable %s is none of the common settings; a service may read it", variable)


def _refuse_unless(fine: bool, variable: str, prefix: str, known: Iterable[str]) -> None:
    if not fine:
        raise unknown_name("environment variable", variable.upper(), known, prefix=prefix)


def _check_names(content: Any, known: Iterable[str], place: str) -> None:
    if not isinstance(content, dict):
        raise ConfigurationError(f"a table of settings is expected{place}")
    names = list(known)
    for name in content:
        if name not in names:
            raise unknown_name("key", name, names, place)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
