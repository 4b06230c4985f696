"""The settings of a service: one frozen object, the same merge order everywhere, a typo never passes.

    defaults < config/settings.toml (or the file NOOBLE_CONFIG names) < environment < arguments

Environment variables begin with the class's own `env_prefix`; the common settings are also read with
`NOOBLE_`, so one `NOOBLE_REDIS_URL` serves every service. The TOML file holds common settings at its top
and a service's own in a table `[service.<domain>]`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from .errors import ConfigurationError
from .ids import ID_BODY, ServiceRegistry, service_to_domain
from .logs import LogFormat
from .payload import DEFAULT_MAX_BYTES, DEFAULT_MAX_DEPTH, HARD_MAX_DEPTH, PayloadLimits
from .redis_url import parse_redis_url, redact_url
from .settings_sources import (
    SHARED_PREFIX,
    SharedEnvironment,
    TomlFile,
    origin_of,
    refuse_unknown_variables,
    unknown_name,
)

Durability = Literal["memory", "aof", "replicated"]
ServerCheck = Literal["warn", "refuse", "off"]

_ID_PATTERN = rf"^{ID_BODY}$"


class CommonAppSettings(BaseSettings):
    """What every service needs to know; a service subclasses it with an `env_prefix` of its own."""

    model_config = SettingsConfigDict(
        env_prefix=SHARED_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # an input may be a URL with a password
    )

    service_name: str = Field("", description="name of this service; default: <domain>_service")
    domain_name: str = Field("", description="domain whose actions it serves; default: from the name")
    environment: str = Field("development", pattern=_ID_PATTERN, description="part of the keys of states")

    redis_url: str | None = Field(None, description="None: the embedded server, see embedded.py")
    redis_socket_keepalive: bool = Field(True, description="let the kernel probe idle connections")
    redis_socket_keepalive_options: dict[int, int] | None = Field(
        None, description='options of the probes by name or number, {"TCP_KEEPIDLE": 15}; None: a good choice'
    )
    redis_socket_timeout_s: float = Field(5.0, gt=0, le=300, description="longest wait for a command's reply")
    redis_connect_timeout_s: float = Field(5.0, gt=0, le=300, description="longest wait for a connection")
    redis_health_check_interval_s: int = Field(15, ge=0, description="PING first after so much idleness")
    redis_max_connections: int = Field(64, ge=1, description="connections for commands; more callers wait")

    key_prefix: str = Field("nooble", pattern=_ID_PATTERN, description="begin of the engine's own keys")
    tiers_file: Path | None = Field(None, description="policy of the tiers; None: the one shipped")
    strict_domains: Annotated[list[str] | None, NoDecode] = Field(
        None, description="the only domains that exist; None: any well-formed one"
    )
    payload_max_bytes: int = Field(DEFAULT_MAX_BYTES, ge=1_024, description="bytes of one action's JSON")
    payload_max_depth: int = Field(DEFAULT_MAX_DEPTH, ge=1, le=HARD_MAX_DEPTH, description="nesting levels")
    result_ttl_s: float = Field(600.0, gt=0, description="how long a response can be read")
    dedupe_window_s: float = Field(
        300.0, ge=1, description="how long at least the id of a finished action is still known"
    )

    durability: Durability = Field(
        "aof", description="what an enqueue promises: memory, aof, replicated (waits for replicas)"
    )
    min_replicas: int = Field(1, ge=1, le=100, description="replicas that confirm an enqueue when replicated")
    replication_timeout_s: float = Field(1.0, gt=0, le=60, description="longest wait for the replicas")
    server_check: ServerCheck = Field(
        "warn", description="what a worker does at its start about an unfit server: warn, refuse, off"
    )
    dead_letters_kept: int = Field(10_000, ge=0, le=200_000, description="dead letters kept per tenant")
    dead_letters_ttl_s: float = Field(14 * 86_400.0, gt=0, description="how long a dead letter is kept")
    poison_deaths: int = Field(
        5, ge=1, le=1_000, description="so many workers may die with an action before it is a dead letter"
    )

    lease_s: float = Field(15.0, ge=1, le=3_600, description="a worker silent for so long loses its actions")
    concurrency: int = Field(100, ge=1, le=10_000, description="slots: actions that run at once")
    handler_threads: int = Field(16, ge=1, le=1_000, description="threads for handlers that are a plain def")
    handler_processes: int = Field(
        0, ge=0, le=256, description="processes for handlers with run_in='process'; 0: one per core"
    )
    blocked_loop_s: float = Field(
        2.0, ge=0.05, le=600, description="a worker reports an event loop blocked for so long"
    )
    stuck_s: float = Field(
        60.0, gt=0, description="not ready when work waits and nothing starts or ends for so long"
    )
    drain_timeout_s: float = Field(25.0, ge=0, description="grace for running actions when stopping")

    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING, ERROR")
    log_format: LogFormat = Field("auto", description="text, json; auto: text on a terminal")

    if not TYPE_CHECKING:  # type checkers see the fields as parameters

        def __init__(self, **values: Any) -> None:
            cls = type(self)
            for name in values:
                if not name.startswith("_") and name not in cls.model_fields:
                    raise unknown_name("argument", name, cls.model_fields)
            common = CommonAppSettings.model_fields
            refuse_unknown_variables(cls.env_prefix(), cls.model_fields, common, _prefixes())
            try:
                super().__init__(**values)
            except ValidationError as error:
                cls._refuse(error, values)
            except SettingsError as error:
                raise ConfigurationError(f"a setting cannot be read: {error}; write lists as JSON") from None

    @classmethod
    def env_prefix(cls) -> str:
        """What this class's environment variables begin with."""
        return cls.model_config.get("env_prefix", "").upper()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The merge order, strongest first."""
        shared = SharedEnvironment(settings_cls, CommonAppSettings.model_fields)
        return init_settings, env_settings, dotenv_settings, shared, TomlFile(settings_cls)

    @classmethod
    def _refuse(cls, error: ValidationError, arguments: Iterable[str]) -> NoReturn:
        found = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, found["loc"]))
        reason = found["msg"].removeprefix("Value error, ")
        if not name:
            raise ConfigurationError(f"the settings contradict each other: {reason}") from None
        origin = origin_of(str(found["loc"][0]), arguments, cls.env_prefix())
        raise ConfigurationError(f"the setting {name} ({origin}) is wrong: {reason}") from None

    @model_validator(mode="before")
    @classmethod
    def _complete_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        service = values.get("service_name") or cls.model_fields["service_name"].default
        domain = values.get("domain_name") or cls.model_fields["domain_name"].default
        domain = domain or service_to_domain(service or "app")
        return {**values, "service_name": service or f"{domain}_service", "domain_name": domain}

    @model_validator(mode="after")
    def _replicas_can_be_waited_for(self) -> Self:
        if self.durability == "replicated":
            if self.redis_cluster:
                raise ValueError("durability='replicated' needs one master (or Sentinel), not a cluster")
            if self.replication_timeout_s >= self.redis_socket_timeout_s:
                raise ValueError(
                    f"replication_timeout_s={self.replication_timeout_s:g} must be less than "
                    f"redis_socket_timeout_s={self.redis_socket_timeout_s:g}"
                )
        return self

    @field_validator("redis_url")
    @classmethod
    def _known_url(cls, url: str | None) -> str | None:
        if url is not None:
            parse_redis_url(url)
        return url

    @field_validator("strict_domains", mode="before")
    @classmethod
    def _split_domains(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [name.strip() for name in value.strip("[] ").replace('"', "").split(",") if name.strip()]
        return value

    @field_validator("strict_domains")
    @classmethod
    def _known_form(cls, value: list[str] | None) -> list[str] | None:
        ServiceRegistry(strict_domains=value)
        return value

    @field_validator("redis_socket_keepalive_options", mode="before")
    @classmethod
    def _numbers_for_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {_socket_option(key): setting for key, setting in value.items()}

    @property
    def redis_cluster(self) -> bool:
        """Whether the URL names a cluster: keys of one script then share a hash tag."""
        return self.redis_url is not None and parse_redis_url(self.redis_url).kind == "cluster"

    @property
    def payload_limits(self) -> PayloadLimits:
        """What an action may weigh."""
        return PayloadLimits(self.payload_max_bytes, self.payload_max_depth)

    def service_registry(self) -> ServiceRegistry:
        """A registry of services, strict when `strict_domains` is set."""
        return ServiceRegistry(strict_domains=self.strict_domains)

    def replace(self, **changes: Any) -> Self:
        """The same settings with some changed, checked like the original."""
        return type(self)(**{**self.model_dump(), **changes})

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, redact_url(value) if name == "redis_url" and value else value


Settings = CommonAppSettings


def _prefixes() -> set[str]:
    """The prefixes of all settings classes of this process: what begins with one is that class's affair."""
    found: set[str] = set()
    waiting: list[type[CommonAppSettings]] = [CommonAppSettings]
    while waiting:
        cls = waiting.pop()
        found.add(cls.env_prefix())
        waiting.extend(cls.__subclasses__())
    return found


def _socket_option(key: object) -> object:
    if not isinstance(key, str) or key.isdigit():
        return key
    number = getattr(socket, key, None) if key.startswith("TCP_") else None
    if number is None:
        raise ValueError(f"{key!r} is no socket option of this machine; use names like TCP_KEEPIDLE")
    return number
