from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nooble_tasks.context import ExecutionContext, use_context
from nooble_tasks.errors import ConfigurationError
from nooble_tasks.logs import escape, get_logger, init_logging

CONTEXT = ExecutionContext(tenant_id="acme", tier="free", action_id="a1", action_type="embedding.generate")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def json_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestJson:
    def test_a_line_carries_the_running_actions_ids_and_extra_fields(self) -> None:
        stream = io.StringIO()
        init_logging("DEBUG", format="json", service_name="billing", stream=stream)
        with use_context(CONTEXT):
            get_logger("x.y").info("took %d ms", 5, extra={"rows": 3})
        get_logger("x.y").debug("alone")
        inside, outside = json_lines(stream)
        assert inside["message"] == "took 5 ms"
        assert (inside["level"], inside["logger"], inside["service"]) == ("INFO", "x.y", "billing")
        assert (inside["tenant_id"], inside["action_id"], inside["tier"]) == ("acme", "a1", "free")
        assert inside["rows"] == 3
        assert str(inside["time"]).endswith("+00:00")
        assert "tenant_id" not in outside

    def test_an_exception_is_one_line_too(self) -> None:
        stream = io.StringIO()
        init_logging(format="json", stream=stream)
        try:
            raise KeyError("multi\nline")
        except KeyError:
            get_logger("x").exception("failed", stack_info=True)
        (line,) = json_lines(stream)
        assert line["error_type"] == "KeyError"
        assert "Traceback" in str(line["traceback"])
        assert "stack" in line

    def test_what_json_cannot_carry_is_written_as_text(self) -> None:
        stream = io.StringIO()
        init_logging(format="json", stream=stream)
        get_logger("x").info("hello", extra={"thing": {1, 2}})
        assert json_lines(stream)[0]["thing"] == "{1, 2}"


class TestText:
    def test_colours_only_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        for stream, coloured in ((Terminal(), True), (io.StringIO(), False)):
            init_logging(format="text", stream=stream)
            get_logger("x").warning("careful")
            assert ("\x1b[33m" in stream.getvalue()) is coloured
        monkeypatch.setenv("NO_COLOR", "1")
        init_logging(format="text", stream=(stream := Terminal()))
        get_logger("x").warning("careful")
        assert "\x1b" not in stream.getvalue()

    def test_auto_is_text_for_people_and_json_for_machines(self) -> None:
        people, machine = Terminal(), io.StringIO()
        init_logging(stream=people)
        get_logger("x").info("hello")
        assert "INFO     x: hello" in people.getvalue()
        init_logging(stream=machine)
        get_logger("x").info("hello")
        assert json_lines(machine)[0]["message"] == "hello"
        assert people.getvalue().count("hello") == 1, "the second call replaces the first"

    def test_the_ids_stand_behind_the_message(self) -> None:
        init_logging(format="text", stream=(stream := io.StringIO()))
        with use_context(CONTEXT):
            get_logger("x").info("hello")
        assert stream.getvalue().endswith("x: hello [tenant=acme action=a1 type=embedding.generate]\n")

    def test_nobody_can_forge_a_line_or_paint_the_terminal(self) -> None:
        init_logging(format="text", stream=(stream := io.StringIO()))
        evil = "ok\n12:00:00.000 CRITICAL root: pwned\x1b[2J\r\u2028\u202egnp"
        try:
            raise ValueError(evil)
        except ValueError:
            get_logger("x").exception("it said %s", evil)
        first, *rest = stream.getvalue().splitlines()
        assert "\\n12:00:00.000 CRITICAL" in first
        assert rest
        assert all(line.startswith("  | ") for line in rest)
        assert not set("\x1b\r\u2028\u202e") & set(stream.getvalue())

    @given(st.text())
    def test_an_escaped_text_is_one_harmless_line(self, text: str) -> None:
        escaped = escape(text)
        assert len(escaped.splitlines()) <= 1
        escaped.encode()
        assert all(ord(character) >= 32 and not 127 <= ord(character) < 160 for character in escaped)

    @given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
    def test_ordinary_text_in_any_language_is_left_alone(self, text: str) -> None:
        assert escape(text) == text


class TestSettings:
    def test_mistakes_are_named(self) -> None:
        with pytest.raises(ConfigurationError, match="'LOUD' is unknown"):
            init_logging("LOUD")
        with pytest.raises(ConfigurationError, match="none of auto, text, json"):
            init_logging(format="xml")  # type: ignore[arg-type]

    def test_a_level_hides_what_is_below(self) -> None:
        init_logging("warning", format="json", stream=(stream := io.StringIO()))
        get_logger("x").info("no")
        get_logger("x").warning("yes")
        assert [line["message"] for line in json_lines(stream)] == ["yes"]
