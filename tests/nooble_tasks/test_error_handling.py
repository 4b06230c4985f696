from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from nooble_tasks.error_handling import setup_error_handling


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    former = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    restore = setup_error_handling(logging.getLogger("test.errors"))
    yield caplog
    restore()
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == former


def boom() -> None:
    raise ValueError("boom")


class TestUncaught:
    def test_in_the_main_program(self, log: pytest.LogCaptureFixture) -> None:
        try:
            boom()
        except ValueError as error:
            sys.excepthook(ValueError, error, error.__traceback__)
        (record,) = log.records
        assert (record.levelname, record.getMessage()) == (
            "CRITICAL",
            "uncaught ValueError: the process ends",
        )
        assert record.exc_info

    def test_ctrl_c_is_left_to_python(
        self, log: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
        assert not log.records
        assert "KeyboardInterrupt" in capsys.readouterr().err

    def test_in_a_thread(self, log: pytest.LogCaptureFixture) -> None:
        thread = threading.Thread(target=boom, name="heartbeat")
        thread.start()
        thread.join()
        assert [record.getMessage() for record in log.records] == ["uncaught ValueError in thread heartbeat"]

    def test_in_a_finaliser(self, log: pytest.LogCaptureFixture) -> None:
        class Dying:
            def __del__(self) -> None:
                boom()

        Dying()
        gc.collect()
        assert [record.getMessage() for record in log.records] == ["ValueError in a finaliser"]

    async def test_in_a_task_nobody_awaits(self, caplog: pytest.LogCaptureFixture) -> None:
        loop = asyncio.get_running_loop()
        restore = setup_error_handling(logging.getLogger("test.errors"))
        try:

            async def fail() -> None:
                boom()

            task = asyncio.create_task(fail(), name="forgotten")
            await asyncio.wait([task])
            del task
            gc.collect()
        finally:
            restore()
        (record,) = caplog.records
        assert record.getMessage() == "Task exception was never retrieved in forgotten"
        assert record.exc_info
        assert record.exc_info[0] is ValueError
        assert loop.get_exception_handler() is None
