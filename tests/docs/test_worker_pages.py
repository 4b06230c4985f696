"""What docs/workers.md and docs/testing-your-handlers.md show is run."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from nooble_tasks import BaseService, DomainAction, Reject, handles
from nooble_tasks.settings import CommonAppSettings
from nooble_tasks.testing import RecordingClient, run_handler, working_on

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


def module_of(page: str, number: int, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A block of a page as a module; handlers for processes need to be importable."""
    name = f"documented_{page.removesuffix('.md').replace('-', '_')}_{number}"
    module = types.ModuleType(name)
    patch.setitem(sys.modules, name, module)
    exec(compile(blocks(page)[number], name, "exec"), module.__dict__)
    return module.__dict__


async def test_where_handlers_run(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = module_of("workers.md", 0, monkeypatch)["ShopService"]
    service = shop(app_settings=CommonAppSettings(service_name="shop_service"))
    assert await run_handler(service, "shop.order.place", {"number": 1}) == "order 1"
    for number in (1, 2):
        said = await run_handler(service, "shop.order.print", {"number": number})
        assert said == f"printed {number}"
    assert shop.compute([1, 2, 3]) == 14


async def test_parameters_by_type(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cart = module_of("workers.md", 1, monkeypatch)["CartService"]
    async with working_on(redis_url, cart) as client:
        handle = await client.enqueue_action("cart.show", {}, tenant_id="acme", tier="enterprise")
        assert await handle.result(10) == "acme cart.show Database"


async def test_middleware(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown = module_of("workers.md", 2, monkeypatch)
    with caplog.at_level("INFO", "shop"):
        async with working_on(redis_url, shown["TimedService"]) as client:
            own = shown["ShopClient"]("shop", client.redis_client, client.settings)
            asked = DomainAction(action_type="timed.echo", tenant_id="acme", tenant_tier="enterprise", data=1)
            assert (await own.request(asked, 10)).data == [1, {"traceparent": "00-…-01"}]
    assert "timed.echo took" in caplog.text


async def test_the_tests_of_the_page(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await module_of("testing-your-handlers.md", 0, monkeypatch)["test_greeting"]()
    await module_of("testing-your-handlers.md", 1, monkeypatch)["test_counting"](redis_url)


class Refusing(BaseService):
    @handles("refusing.all")
    def all(self) -> None:
        raise Reject("no")


async def test_what_a_handler_raises_comes_out() -> None:
    service = Refusing(app_settings=CommonAppSettings(service_name="refusing_service"))
    with pytest.raises(Reject, match="no"):
        await run_handler(service, "refusing.all")


async def test_a_recording_client_answers_as_told() -> None:
    answers = {"a.data": 1, "a.error": Reject("no"), "a.echo": lambda action: action.data}
    client = RecordingClient(answers=answers)

    def asked(verb: str, data: Any = None) -> DomainAction:
        return DomainAction(action_type=f"a.{verb}", tenant_id="acme", data=data)

    assert (await client.request(asked("data"))).data == 1
    assert (await client.request(asked("echo", 5))).data == 5
    with pytest.raises(Reject):
        await client.request(asked("error"))
    failed = await client.send_action_pseudo_sync(asked("error"))
    assert failed is not None
    assert failed.error is not None
    handle = await client.enqueue_action("a.echo", 7, tenant_id="acme")
    assert await handle.result() == 7
    await client.send_action_async(asked("quiet"))
    await client.send_action_async_with_callback(asked("call"), "a.done")
    assert client.sent[-1].callback_action_type == "a.done"
    assert client.sent_types()[-3:] == ["a.echo", "a.quiet", "a.call"]
