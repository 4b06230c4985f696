"""Each service brings its settings, and the command line can build them."""

from __future__ import annotations

import importlib

import pytest

from nooble_tasks import BaseService, CommonAppSettings, ConfigurationError

SERVICES = {
    "embedding": "services.embedding.service:EmbeddingService",
    "ingestion": "services.ingestion.service:IngestionService",
    "query": "services.query.service:QueryService",
}


@pytest.fixture(params=SERVICES)
def domain(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def service_class(domain: str) -> type[BaseService]:
    module, _, name = SERVICES[domain].partition(":")
    found = getattr(importlib.import_module(module), name)
    assert getattr(importlib.import_module(f"services.{domain}"), name) is found
    assert issubclass(found, BaseService)
    return found


def settings_class(domain: str) -> type[CommonAppSettings]:
    found = service_class(domain).settings_class
    assert issubclass(found, CommonAppSettings)
    return found


def test_a_service_knows_its_name_and_domain(domain: str) -> None:
    settings = settings_class(domain)()
    assert (settings.service_name, settings.domain_name) == (f"{domain}_service", domain)


def test_settings_come_from_the_services_own_variables(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOOBLE_REDIS_URL", "redis://shared:6379/0")
    monkeypatch.setenv(f"NOOBLE_{domain.upper()}_CONCURRENCY", "7")
    settings = settings_class(domain)()
    assert (settings.redis_url, settings.concurrency) == ("redis://shared:6379/0", 7)


def test_a_misspelt_variable_is_refused(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"NOOBLE_{domain.upper()}_CONCURENCY", "7")
    with pytest.raises(ConfigurationError, match="CONCURRENCY"):
        settings_class(domain)()
