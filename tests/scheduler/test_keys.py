"""Names of keys: one list, injective, its page current."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.keys import CATALOGUE, Keys, lua_key, markdown

IDS = st.text(st.characters(blacklist_characters=":{}*?[]^\\ ", min_codepoint=33), min_size=1, max_size=12)


@given(first=st.tuples(IDS, IDS, IDS), second=st.tuples(IDS, IDS, IDS), cluster=st.booleans())
def test_streams_are_injective(
    first: tuple[str, str, str], second: tuple[str, str, str], cluster: bool
) -> None:
    keys = Keys(cluster=cluster)
    assert keys.parse_stream(keys.stream(*first)) == first
    assert (keys.stream(*first) == keys.stream(*second)) == (first == second)


@given(
    domain=IDS.filter(lambda text: text != "nooble"),
    other=IDS,
    parts=st.tuples(IDS, IDS),
    cluster=st.booleans(),
)
def test_every_key_of_a_domain_is_its_own(
    domain: str, other: str, parts: tuple[str, str], cluster: bool
) -> None:
    keys = Keys(cluster=cluster)
    tenant, tier = parts
    named = [
        keys.stream(domain, tenant, tier),
        keys.response(domain, tenant),
        keys.notify(domain, tenant),
        keys.mailbox(domain, tenant),
        keys.callback(domain, tenant, tier),
        keys.callback(domain, tenant, tier, other),
        *(keys.of(spec.name, domain) for spec in CATALOGUE if "<" not in spec.suffix),
        keys.of("returned", domain, tenant, tier),
        keys.of("owned", domain, tenant),
        keys.of("cancelling", domain, tenant),
    ]
    assert len(set(named)) == len(named)
    if cluster:
        assert all("{" + domain + "}" in name for name in named)


@pytest.mark.parametrize("name", ["", "a", "a:b", "a:b:c:d", "a::c", ":b:c", "a:b:"])
def test_what_is_not_a_stream(name: str) -> None:
    with pytest.raises(ValueError, match="is not <domain>:<tenant_id>:<tier>"):
        Keys().parse_stream(name)


def test_formats() -> None:
    keys, cluster = Keys(), Keys("q", cluster=True)
    assert keys.stream("embedding", "acme", "free") == "embedding:acme:free"
    assert cluster.stream("embedding", "acme", "free") == "{embedding}:acme:free"
    assert keys.of("ready", "embedding", "free") == "nooble:embedding:ready:free"
    assert cluster.of("waiting", "embedding") == "q:{embedding}:waiting"
    assert keys.callback("embedding", "query", "done") == "nooble:embedding:callback:query:done"


def test_the_methods_agree_with_the_catalogue() -> None:
    keys = Keys()
    assert keys.response("d", "x") == keys.of("response", "d", "x")
    assert keys.notify("d", "x") == keys.of("notify", "d", "x")
    assert keys.mailbox("d", "x") == keys.of("mailbox", "d", "x")
    assert keys.callback("d", "o", "e", "c") == keys.of("callback", "d", "o", "e", "c")


def test_lua_lines() -> None:
    assert lua_key("waiting") == "local waiting_key = KEYS[1] .. ':waiting'"
    assert lua_key("returned") == "local returned_prefix = KEYS[1] .. ':returned:'"


def test_the_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "keys.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run: python -m scheduler.keys > docs/keys.md"
