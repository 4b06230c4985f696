from __future__ import annotations

import fnmatch
import os
import string
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nooble_tasks import ids
from nooble_tasks.errors import InvalidAction, InvalidId, UnknownDomain

FIRST = string.ascii_letters + string.digits
LATER = FIRST + "_.-"
valid_ids = st.builds(
    lambda first, rest: first + rest, st.sampled_from(FIRST), st.text(LATER, max_size=ids.ID_MAX_LENGTH - 1)
)
segments = st.from_regex(r"\A[a-z][a-z0-9_\-]{0,20}\Z")
domains = segments.filter(lambda name: name != ids.RESERVED_DOMAIN)


class TestId:
    @given(valid_ids)
    def test_every_well_formed_id_is_returned_unchanged(self, value: str) -> None:
        assert ids.check_id("tenant_id", value) == value
        assert ids.is_id(value)

    @given(st.text(max_size=200))
    @example("acme\n")
    @example("a" * 129)
    @example("acmé")
    @example("٣")  # a digit, but not ASCII
    def test_the_check_agrees_with_a_plain_reading_of_the_rule(self, value: str) -> None:
        well_formed = (
            0 < len(value) <= 128 and value[0] in FIRST and all(character in LATER for character in value)
        )
        assert ids.is_id(value) is well_formed
        if not well_formed:
            with pytest.raises(InvalidId):
                ids.check_id("tenant_id", value)

    @pytest.mark.parametrize(
        "value",
        [
            *("", " ", "a b", "a:b", ":", "a{b}", "{a}", "a*", "a?", "a[b]", "a|b", "a/b", "a\\b"),
            *("a\n", "\na", "a\x00", "a\x1b[2J", "a\u202e", "ä", "_a", ".a", "-a", "a" * 129, "\ud800"),
        ],
    )
    def test_what_could_change_a_key_is_refused(self, value: str) -> None:
        with pytest.raises(InvalidId) as caught:
            ids.check_id("tenant_id", value)
        assert str(caught.value).isprintable(), "a message must not carry what it complains about raw"
        assert "tenant_id" in str(caught.value)

    @pytest.mark.parametrize("value", [None, 5, b"acme", ["acme"], 1.0, True])
    def test_only_text_is_an_id(self, value: object) -> None:
        assert not ids.is_id(value)
        with pytest.raises(InvalidId, match=type(value).__name__):
            ids.check_id("tenant_id", value)

    def test_the_message_names_field_value_rule_and_remedy(self) -> None:
        with pytest.raises(InvalidId) as caught:
            ids.check_id("session_id", "a:b")
        assert str(caught.value) == (
            "session_id 'a:b' is not valid: ':' at position 1 is not allowed; "
            "use 1 to 128 of A-Z a-z 0-9 _ . - beginning with a letter or digit"
        )
        assert caught.value.details["field"] == "session_id"
        assert isinstance(caught.value, InvalidAction)
        assert isinstance(caught.value, ValueError)

    def test_a_huge_value_is_cut_in_the_message(self) -> None:
        with pytest.raises(InvalidId) as caught:
            ids.check_id("tenant_id", "x" * 1_000_000)
        assert len(str(caught.value)) < 300
        assert "1000000 characters" in str(caught.value)

    def test_named_checks_name_their_field(self) -> None:
        for check, field in [
            (ids.check_tenant_id, "tenant_id"),
            (ids.check_action_id, "action_id"),
            (ids.check_session_id, "session_id"),
            (ids.check_tier, "tier"),
            (ids.check_domain, "domain"),
            (ids.check_action_type, "action_type"),
        ]:
            with pytest.raises(InvalidId) as caught:
                check("a b")
            assert caught.value.details["field"] == field

    def test_new_ids_are_valid_and_do_not_repeat(self) -> None:
        made = {ids.new_id() for _ in range(10_000)}
        assert len(made) == 10_000
        assert all(ids.is_id(value) and len(value) == 32 for value in made)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    def test_a_forked_process_makes_others(self) -> None:
        text = """
import os
from nooble_tasks.ids import new_id
new_id()
if child := os.fork():
    os.waitpid(child, 0)
print(*(new_id() for _ in range(300)), flush=True)
"""
        said = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        assert len(set(said.stdout.split())) == 600

    def test_threads_never_get_the_same(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: [ids.new_id() for _ in range(2_000)], range(8)))
        assert len({value for each in made for value in each}) == 16_000


class TestInjective:
    """Joined ids can be taken apart again, so no two triples share a key."""

    @given(domains, valid_ids, valid_ids)
    def test_a_stream_name_gives_back_its_triple(self, domain: str, tenant: str, tier: str) -> None:
        name = f"{ids.check_domain(domain)}:{ids.check_tenant_id(tenant)}:{ids.check_tier(tier)}"
        assert name.split(":") == [domain, tenant, tier]

    @given(st.tuples(domains, valid_ids, valid_ids), st.tuples(domains, valid_ids, valid_ids))
    def test_different_triples_have_different_names(
        self, one: tuple[str, str, str], other: tuple[str, str, str]
    ) -> None:
        assume(one != other)
        assert ":".join(one) != ":".join(other)

    @given(domains, valid_ids, valid_ids)
    def test_a_name_used_as_a_pattern_matches_only_itself(self, domain: str, tenant: str, tier: str) -> None:
        name = f"{domain}:{tenant}:{tier}"
        assert fnmatch.fnmatchcase(name, name)
        assert not fnmatch.fnmatchcase(name + "x", name)
        assert not set("*?[]{}\\") & set(name)


class TestActionType:
    @given(st.lists(segments, min_size=2, max_size=5))
    def test_two_to_five_segments_pass_and_the_first_is_the_domain(self, parts: list[str]) -> None:
        action_type = ".".join(parts)
        assume(len(action_type) <= 128 and parts[0] != "nooble")
        assert ids.check_action_type(action_type) == action_type
        assert ids.domain_of(action_type) == parts[0]

    @pytest.mark.parametrize(
        "value",
        [
            *("embedding", "a.b.c.d.e.f", "Embedding.generate", "embedding.", ".generate", "a..b", "a b.c"),
            *("1a.b", "a.1b", "a.b\n", "a:b.c", "embedding.generaté", "", "a." + "b" * 127),
        ],
    )
    def test_other_shapes_are_refused(self, value: str) -> None:
        with pytest.raises(InvalidId, match="action_type"):
            ids.check_action_type(value)

    @pytest.mark.parametrize("value", ["nooble.wake", "nooble.a.b"])
    def test_the_engines_own_domain_is_reserved(self, value: str) -> None:
        with pytest.raises(InvalidId, match="reserved for the engine"):
            ids.check_action_type(value)
        with pytest.raises(InvalidId, match="reserved"):
            ids.check_domain("nooble")
        assert ids.check_action_type("nooble_tools.run") == "nooble_tools.run"


class TestRedisKey:
    def test_a_list_name_may_hold_colons_but_nothing_invisible(self) -> None:
        assert ids.check_redis_key("callback_queue_name", "nooble:{query}:callback:x")
        for bad in ("", "a b", "a\n", "ä", "x" * 513, 5):
            with pytest.raises(InvalidId, match="callback_queue_name"):
                ids.check_redis_key("callback_queue_name", bad)


class TestServiceRegistry:
    @pytest.mark.parametrize(
        ("service", "domain"),
        [
            ("embedding_service", "embedding"),
            ("embedding", "embedding"),
            ("agent_management_service", "agent_management"),
            ("downstream_processing_service", "downstream_processing"),
            ("_service_desk".lstrip("_"), "service_desk"),
        ],
    )
    def test_by_default_the_ending_is_stripped(self, service: str, domain: str) -> None:
        assert ids.service_to_domain(service) == domain

    @pytest.mark.parametrize("service", ["Embedding-Service", "a:b", "_service", "nooble_service", ""])
    def test_a_name_that_gives_no_domain_is_refused(self, service: str) -> None:
        with pytest.raises(InvalidId, match="target_service"):
            ids.service_to_domain(service)

    def test_a_registered_service_has_its_own_domain(self) -> None:
        registry = ids.ServiceRegistry({"llm_gateway": "agent"})
        assert registry.domain_of_service("llm_gateway") == "agent"
        assert ids.service_to_domain("llm_gateway", registry) == "agent"
        assert ids.service_to_domain("llm_gateway") == "llm_gateway"

    def test_strict_refuses_with_the_nearest_name(self) -> None:
        registry = ids.ServiceRegistry(strict_domains=["embedding", "query"])
        assert registry.domain_for("query.search") == "query"
        with pytest.raises(UnknownDomain, match="did you mean 'embedding'"):
            registry.domain_for("embeding.generate")
        with pytest.raises(UnknownDomain, match="known are embedding, query"):
            registry.domain_of_service("billing_service")
        registry.register("billing_service", "billing")
        assert registry.domain_of_service("billing_service") == "billing"

    def test_the_target_service_outranks_the_action_type(self) -> None:
        registry = ids.ServiceRegistry()
        assert registry.domain_for("management.agent.get_config", "agent_management_service") == (
            "agent_management"
        )
        assert registry.domain_for("management.agent.get_config") == "management"

    def test_a_malformed_strict_domain_is_refused(self) -> None:
        with pytest.raises(InvalidId):
            ids.ServiceRegistry(strict_domains=["not a domain"])
