from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from nooble_tasks import settings_sources
from nooble_tasks.errors import ConfigurationError, UnknownDomain
from nooble_tasks.payload import PayloadLimits
from nooble_tasks.settings import CommonAppSettings, Settings


class BillingSettings(CommonAppSettings):
    model_config = SettingsConfigDict(env_prefix="BILLING_")

    domain_name: str = "billing"
    currency: str = "EUR"


class NestedPrefixSettings(CommonAppSettings):
    """A prefix inside the library's own, as the shipped services use."""

    model_config = SettingsConfigDict(env_prefix="NOOBLE_LEDGER_")

    service_name: str = "ledger_service"
    domain_name: str = "ledger"
    pages: int = 10


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file and no variable of the machine steers these tests."""
    monkeypatch.chdir(tmp_path)
    settings_sources._mentioned.clear()


def write_toml(text: str) -> None:
    Path("config").mkdir(exist_ok=True)
    Path("config/settings.toml").write_text(text)


class TestMergeOrder:
    def test_defaults_file_environment_arguments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Settings().lease_s == 15.0
        write_toml("lease_s = 20\nresult_ttl_s = 21")
        assert Settings().lease_s == 20.0
        monkeypatch.setenv("NOOBLE_LEASE_S", "30")
        assert Settings().lease_s == 30.0
        assert Settings(lease_s=40).lease_s == 40.0
        assert Settings(lease_s=40).result_ttl_s == 21.0

    def test_the_shared_prefix_serves_every_service_and_its_own_outranks_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NOOBLE_REDIS_URL", "redis://shared:1")
        assert BillingSettings().redis_url == "redis://shared:1"
        assert NestedPrefixSettings().redis_url == "redis://shared:1"
        monkeypatch.setenv("BILLING_REDIS_URL", "redis://own:2")
        assert BillingSettings().redis_url == "redis://own:2"
        assert Settings().redis_url == "redis://shared:1"

    def test_one_services_name_is_not_inherited_by_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NOOBLE_SERVICE_NAME", "gateway")
        monkeypatch.setenv("NOOBLE_DOMAIN_NAME", "gateway")
        assert BillingSettings().domain_name == "billing"
        assert Settings().domain_name == "gateway"

    def test_a_services_own_setting_is_not_read_with_the_shared_prefix(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BILLING_CURRENCY", "CHF")
        assert BillingSettings().currency == "CHF"
        monkeypatch.setenv("NOOBLE_CURRENCY", "USD")
        with pytest.raises(ConfigurationError, match="NOOBLE_CURRENCY"):
            BillingSettings()

    def test_an_empty_variable_is_no_value(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NOOBLE_REDIS_URL", "")
        assert Settings().redis_url is None

    def test_the_old_way_to_name_a_prefix_works(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.warns(DeprecationWarning, match="class-based `config`"):

            class MyServiceSettings(Settings):
                domain_name: str = "myservice"
                custom_setting: str = Field(default="value", description="My setting")

                class Config:
                    env_prefix = "MY_SERVICE_"

        monkeypatch.setenv("MY_SERVICE_CUSTOM_SETTING", "mine")
        monkeypatch.setenv("NOOBLE_ENVIRONMENT", "staging")
        made = MyServiceSettings()
        assert (made.custom_setting, made.environment) == ("mine", "staging")
        assert (made.domain_name, made.service_name) == ("myservice", "myservice_service")


class TestToml:
    def test_a_service_has_a_table_of_its_own(self) -> None:
        write_toml('lease_s = 20\n[service.billing]\nlease_s = 25\ncurrency = "CHF"\n[service.other]\nx = 1')
        assert (BillingSettings().lease_s, BillingSettings().currency) == (25.0, "CHF")
        assert Settings().lease_s == 20.0

    def test_another_file_can_be_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_toml("lease_s = 20")
        other = tmp_path / "other.toml"
        other.write_text("lease_s = 50\n[redis_socket_keepalive_options]\nTCP_KEEPIDLE = 5")
        monkeypatch.setenv("NOOBLE_CONFIG", str(other))
        assert Settings().lease_s == 50.0
        monkeypatch.setenv("NOOBLE_CONFIG", "missing.toml")
        with pytest.raises(
            ConfigurationError, match=r"NOOBLE_CONFIG names 'missing\.toml', which is no file"
        ):
            Settings()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("leese_s = 1", r"no setting 'leese_s' \(key in config.settings\.toml\); did you mean 'lease_s'"),
            (
                "[service.billing]\ncurency = 1",
                r"'curency' .*\[service\.billing\].*; did you mean 'currency'",
            ),
            ("lease_s = ", r"config.settings\.toml is not valid TOML"),
            ("lease_s = 'long'", r"lease_s \(file config.settings\.toml\) is wrong"),
            ("service = 5", "table of settings"),
            ('service_name = "x"', "no setting 'service_name'"),
        ],
    )
    def test_mistakes_are_refused_with_their_place(self, text: str, message: str) -> None:
        write_toml(text)
        with pytest.raises(ConfigurationError, match=message):
            BillingSettings()


class TestUnknownNames:
    def test_an_argument(self) -> None:
        with pytest.raises(ConfigurationError, match=r"'reds_url' \(argument\); did you mean 'redis_url'"):
            Settings(reds_url="redis://x")  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        ("variable", "nearest"),
        [
            ("NOOBLE_REDS_URL", "NOOBLE_REDIS_URL"),
            ("NOOBLE_LEASE", "NOOBLE_LEASE_S"),
            ("nooble_concurency", "NOOBLE_CONCURRENCY"),
            ("NOOBLE_REDIS_SOCKET_KEEP", "NOOBLE_REDIS_SOCKET_KEEPALIVE"),
        ],
    )
    def test_a_variable_that_resembles_a_setting(
        self, variable: str, nearest: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "1")
        for cls in (Settings, BillingSettings):
            with pytest.raises(ConfigurationError, match=f"did you mean '{nearest}'"):
                cls()

    def test_every_unknown_variable_under_a_prefix_of_ones_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BILLING_SOMETHING_ELSE_ENTIRELY", "1")
        with pytest.raises(ConfigurationError, match="BILLING_SOMETHING_ELSE_ENTIRELY"):
            BillingSettings()
        assert Settings()

    def test_another_services_variables_are_left_to_it(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("NOOBLE_LEDGER_PAGES", "3")
        monkeypatch.setenv("NOOBLE_WAREHOUSE_SHELVES", "4")
        with caplog.at_level(logging.INFO, logger="nooble_tasks.settings"):
            assert NestedPrefixSettings().pages == 3
            assert Settings()
            assert BillingSettings()
        assert [record.args for record in caplog.records] == [("NOOBLE_WAREHOUSE_SHELVES",)]

    def test_its_own_typo_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NOOBLE_LEDGER_PAGS", "3")
        with pytest.raises(ConfigurationError, match="did you mean 'NOOBLE_LEDGER_PAGES'"):
            NestedPrefixSettings()


class TestValues:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"lease_s": -1}, r"lease_s \(argument\) is wrong"),
            ({"concurrency": 0}, "concurrency"),
            ({"payload_max_depth": 199}, "payload_max_depth"),
            ({"environment": "a:b"}, "environment"),
            ({"key_prefix": "{a}"}, "key_prefix"),
            ({"log_format": "xml"}, "log_format"),
            ({"strict_domains": ["a b"]}, "strict_domains"),
            ({"service_name": "My Service"}, "service_name|target_service"),
            ({"redis_url": "http://x"}, "scheme 'http'"),
            ({"redis_socket_keepalive_options": {"TCP_NONSENSE": 1}}, "TCP_NONSENSE"),
            ({"redis_socket_keepalive_options": {"socket": 1}}, "no socket option"),
        ],
    )
    def test_what_makes_no_sense_is_refused_by_name(self, values: dict[str, object], message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            Settings(**values)  # type: ignore[arg-type]

    def test_the_message_names_the_variable_a_value_came_from(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NOOBLE_LEASE_S", "long")
        with pytest.raises(ConfigurationError, match="environment variable NOOBLE_LEASE_S"):
            BillingSettings()

    @pytest.mark.parametrize("text", ["embedding,query", " embedding , query ", '["embedding", "query"]'])
    def test_lists_may_be_written_with_commas(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NOOBLE_STRICT_DOMAINS", text)
        assert Settings().strict_domains == ["embedding", "query"]
        with pytest.raises(UnknownDomain):
            Settings().service_registry().check_known("billing")

    def test_keepalive_options_by_name_or_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wanted = {socket.TCP_KEEPINTVL: 5}
        by_name = {"TCP_KEEPINTVL": 5}
        assert Settings(redis_socket_keepalive_options=by_name).redis_socket_keepalive_options == wanted
        assert Settings(redis_socket_keepalive_options=wanted).redis_socket_keepalive_options == wanted
        monkeypatch.setenv("NOOBLE_REDIS_SOCKET_KEEPALIVE_OPTIONS", '{"TCP_KEEPINTVL": 5}')
        assert Settings().redis_socket_keepalive_options == wanted

    @pytest.mark.parametrize(
        ("given", "service", "domain"),
        [
            ({}, "app_service", "app"),
            ({"service_name": "embedding_service"}, "embedding_service", "embedding"),
            ({"service_name": "mi_servicio_example"}, "mi_servicio_example", "mi_servicio_example"),
            ({"domain_name": "query"}, "query_service", "query"),
            ({"service_name": "My Service", "domain_name": "query"}, "My Service", "query"),
        ],
    )
    def test_name_and_domain_complete_each_other(
        self, given: dict[str, str], service: str, domain: str
    ) -> None:
        made = Settings(**given)  # type: ignore[arg-type]
        assert (made.service_name, made.domain_name) == (service, domain)

    def test_they_cannot_be_changed_but_replaced(self) -> None:
        made = BillingSettings(lease_s=20)
        with pytest.raises(ValueError, match="frozen"):
            made.lease_s = 30  # type: ignore[misc]
        other = made.replace(redis_url="redis://x", currency="CHF")
        assert isinstance(other, BillingSettings)
        assert (other.redis_url, other.currency, other.lease_s) == ("redis://x", "CHF", 20.0)
        assert made.redis_url is None
        with pytest.raises(ConfigurationError):
            made.replace(lease_s=-1)

    def test_derived_values(self) -> None:
        assert Settings(redis_url="redis+cluster://a,b").redis_cluster
        assert not Settings(redis_url="redis://a").redis_cluster
        assert Settings(payload_max_bytes=2_000, payload_max_depth=3).payload_limits == PayloadLimits(
            2_000, 3
        )

    def test_a_password_is_never_shown(self) -> None:
        made = Settings(redis_url="redis://user:hunter2@host:6379/0")
        assert "hunter2" not in repr(made)
        assert "hunter2" not in str(made)
        assert "redis://user:***@host:6379/0" in repr(made)
        with pytest.raises(ConfigurationError) as caught:
            Settings(redis_url="http://user:hunter2@host")
        assert "hunter2" not in str(caught.value)
