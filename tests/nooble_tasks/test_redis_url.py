from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nooble_tasks.errors import ConfigurationError
from nooble_tasks.redis_url import RedisTarget, parse_redis_url, redact_url

SECRET = "hunter2-hunter2"


def target(**changes: object) -> RedisTarget:
    plain = RedisTarget("standalone", (("localhost", 6379),), False, None, None, 0, "", "", {})
    return plain._replace(**changes)  # type: ignore[arg-type]


class TestParse:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("redis://", target()),
            ("redis://h:1/2", target(hosts=(("h", 1),), db=2)),
            ("redis://h?db=3", target(hosts=(("h", 6379),), db=3)),
            ("rediss://h", target(hosts=(("h", 6379),), tls=True)),
            ("redis://u:p%40ss@h", target(hosts=(("h", 6379),), username="u", password="p@ss")),
            ("redis://:p@[::1]:7", target(hosts=(("::1", 7),), password="p")),
            ("unix:///tmp/a%20b.sock?db=1", target(kind="unix", hosts=(), path="/tmp/a b.sock", db=1)),
            (
                "redis+sentinel://a:1,b/main/4",
                target(kind="sentinel", hosts=(("a", 1), ("b", 26379)), service="main", db=4),
            ),
            (
                "rediss+cluster://a:1,b:2?ssl_ca_certs=/ca.pem",
                target(
                    kind="cluster", hosts=(("a", 1), ("b", 2)), tls=True, options={"ssl_ca_certs": "/ca.pem"}
                ),
            ),
        ],
    )
    def test_every_kind_of_installation(self, url: str, expected: RedisTarget) -> None:
        assert tuple(parse_redis_url(url)) == tuple(expected)

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("localhost:6379", "scheme"),
            ("http://h", "scheme 'http' is none of redis"),
            ("redis://h:port", "port is not a number"),
            ("redis://h:99999", "port is not a number"),
            ("redis://:6379", "host is missing"),
            ("redis://a,,b", "host is missing"),
            ("redis://h/x", "database is not a number"),
            ("redis://h/1/2", "too many parts"),
            ("redis://h?socket_timeout=1", "option 'socket_timeout' is unknown"),
            ("redis+sentinel://h", "needs the service name"),
            ("redis+cluster://h/1", "only database 0"),
            ("unix://", "path of the socket"),
            ("redis://[::1", "Invalid IPv6"),
        ],
    )
    def test_what_is_wrong_is_said(self, url: str, reason: str) -> None:
        with pytest.raises(ConfigurationError, match=reason) as caught:
            parse_redis_url(url)
        assert "redis+sentinel://" in str(caught.value), "the message shows how to write one"

    @pytest.mark.parametrize("special", ["@", "/", "#", "?", "?hunter2=", ":", "[", "%", "&", "="])
    def test_no_message_repeats_a_part_of_the_password(self, special: str) -> None:
        url = f"redis://user:{SECRET}{special}{SECRET}@host:6379/0"
        try:
            shown = repr(parse_redis_url(url))
        except ConfigurationError as error:
            shown = str(error)
        assert "hunter2" not in shown


class TestRedact:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("redis://h:1/2", "redis://h:1/2"),
            ("redis://user@h", "redis://user@h"),
            (f"redis://user:{SECRET}@h:1/2", "redis://user:***@h:1/2"),
            (f"redis://:{SECRET}@h", "redis://:***@h"),
            (
                f"redis+sentinel://u:{SECRET}@a:1,b:2/main?sentinel_password={SECRET}&db=1",
                "redis+sentinel://u:***@a:1,b:2/main?sentinel_password=***&db=1",
            ),
            (f"redis://u:{SECRET}@{SECRET}/{SECRET}@h", "redis://u:***@h"),
            (f"{SECRET}@host", "***@host"),
        ],
    )
    def test_passwords_are_hidden_and_the_rest_stays(self, url: str, shown: str) -> None:
        assert redact_url(url) == shown

    @given(
        st.sampled_from(["redis", "rediss", "redis+sentinel", "unix", "http"]),
        st.text(string.ascii_letters, max_size=8),
        st.text(string.printable, min_size=1, max_size=30),
        st.sampled_from(["host", "h:1,h2:2/main", "host:6379/0?db=1"]),
    )
    def test_whatever_the_password_is(self, scheme: str, user: str, noise: str, rest: str) -> None:
        assume("@" not in rest)
        assert "s3cr3t" not in redact_url(f"{scheme}://{user}:s3cr3t{noise}s3cr3t@{rest}")
