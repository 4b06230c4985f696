"""A service: which method handles what, and what it is called with."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import BaseModel

from nooble_tasks import (
    BaseService,
    CommonAppSettings,
    ConfigurationError,
    DomainAction,
    ExecutionContext,
    InvalidAction,
    RetryPolicy,
    UnknownAction,
    handles,
    use_context,
)
from tests.nooble_tasks.support import settings_for


class Line(BaseModel):
    sku: str
    amount: int


class Order(BaseModel):
    number: int
    lines: list[Line] = []


class ShopService(BaseService):
    @handles("shop.order.place", timeout=5, retry=RetryPolicy(max_attempts=7))
    async def place(self, data: Order) -> Any:
        return data

    @handles("shop.all")
    async def everything(
        self, action: DomainAction, payload: dict[str, int], context: ExecutionContext | None
    ) -> Any:
        return action, payload, context

    @handles("shop.raw")
    async def raw(self, data: Any) -> Any:
        return data

    @handles("shop.untyped")
    async def untyped(self, data, action):  # type: ignore[no-untyped-def]
        return data, action

    @handles("shop.nothing")
    async def nothing(self) -> str:
        return "done"

    @handles("shop.extra")
    async def extra(self, data: Any, more: int = 5) -> int:
        return more


def asked(verb: str, data: Any = None) -> DomainAction:
    return DomainAction(action_type=f"shop.{verb}", tenant_id="acme", data=data)


@pytest.fixture
def shop() -> ShopService:
    return ShopService(app_settings=settings_for("shop"))


async def test_data_arrives_as_its_model(shop: ShopService) -> None:
    order = await shop.process_action(asked("order.place", {"number": 3}))
    assert order == Order(number=3)


async def test_everything_a_handler_can_ask_for(shop: ShopService) -> None:
    action = asked("all", {"a": 1})
    context = ExecutionContext(tenant_id="acme", attempt=4)
    with use_context(context):
        seen = await shop.process_action(action)
    assert seen[0] is action
    assert seen[1:] == ({"a": 1}, context)
    assert (await shop.process_action(action))[2] is None


async def test_handlers_with_fewer_and_other_parameters(shop: ShopService) -> None:
    assert await shop.process_action(asked("raw", [1, "x"])) == [1, "x"]
    action = asked("untyped", {"a": 1})
    assert await shop.process_action(action) == ({"a": 1}, action)
    assert await shop.process_action(asked("nothing", {"a": 1})) == "done"
    assert await shop.process_action(asked("extra")) == 5


async def test_data_that_does_not_fit_is_refused_with_its_place(shop: ShopService) -> None:
    data = {"number": "x", "lines": [{"sku": "a", "amount": 1}, {"sku": "b", "amount": "many"}]}
    with pytest.raises(InvalidAction, match=r"shop\.order\.place .*data\.number: .*") as refused:
        await shop.process_action(asked("order.place", data))
    assert "data.lines.1.amount: " in str(refused.value)
    assert "many" not in str(refused.value), "the payload itself is not told around"


async def test_what_nothing_handles_is_named_with_the_nearest(shop: ShopService) -> None:
    with pytest.raises(UnknownAction, match=r"did you mean 'shop\.order\.place'"):
        await shop.process_action(asked("order.plaze"))


async def test_process_action_can_be_overridden() -> None:
    class Plain(BaseService):
        async def process_action(self, action: DomainAction) -> Any:
            return action.action_type.upper()

    plain = Plain(app_settings=settings_for("shop"))
    assert await plain.process_action(asked("whatever")) == "SHOP.WHATEVER"
    assert plain.options_of("shop.whatever").timeout_s is None


async def test_a_subclass_inherits_replaces_and_adds() -> None:
    class Better(ShopService):
        async def nothing(self) -> str:
            return "overridden"

        @handles("shop.raw")
        async def other_raw(self, data: Any) -> Any:
            return "replaced"

        @handles("shop.new")
        async def new(self) -> str:
            return "new"

    better = Better(app_settings=settings_for("shop"))
    assert await better.process_action(asked("order.place", {"number": 1})) == Order(number=1)
    said = [await better.process_action(asked(verb)) for verb in ("nothing", "raw", "new")]
    assert said == ["overridden", "replaced", "new"]
    with pytest.raises(UnknownAction):
        await ShopService(app_settings=settings_for("shop")).process_action(asked("new"))


def test_options_are_the_handlers() -> None:
    options = ShopService.options_of("shop.order.place")
    assert options.timeout_s == 5
    assert options.retry is not None
    assert options.retry.max_attempts == 7
    assert ShopService.options_of("shop.unknown").retry is None


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_timeout_must_be_positive(timeout: float) -> None:
    with pytest.raises(ConfigurationError, match=r"timeout of shop\.x"):
        handles("shop.x", timeout=timeout)


def test_a_malformed_action_type_is_refused() -> None:
    with pytest.raises(InvalidAction, match="shop x"):
        handles("shop x")


def test_two_handlers_of_one_type_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Twice has two handlers of shop\.x"):

        class Twice(BaseService):
            @handles("shop.x")
            async def one(self) -> None: ...

            @handles("shop.x")
            async def two(self) -> None: ...


def test_a_parameter_nothing_can_fill_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Strange\.x: .*'session'"):

        class Strange(BaseService):
            @handles("shop.x")
            async def x(self, data: Order, session: int) -> None: ...


def test_an_annotation_that_cannot_be_found_is_refused() -> None:
    class Local(BaseModel):
        pass

    with pytest.raises(ConfigurationError, match="'Local' cannot be found"):

        class Strange(BaseService):
            @handles("shop.x")
            async def x(self, data: Local) -> None: ...


def test_settings_get_the_domain_of_the_handlers() -> None:
    settings = ShopService.make_settings()
    assert (settings.domain_name, settings.service_name) == ("shop", "shop_service")
    assert ShopService.make_settings(domain_name="store").domain_name == "store"


def test_a_settings_class_with_a_domain_of_its_own_keeps_it() -> None:
    class OwnSettings(CommonAppSettings):
        domain_name: str = "own"

    class Own(ShopService):
        settings_class = OwnSettings

    assert Own.make_settings().domain_name == "own"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": 0}, "more than zero and finite, not 0"),
        ({"timeout": math.nan}, "not nan"),
        ({"timeout": math.inf}, "not inf"),
        ({"timeout": "5"}, "not '5'"),
        ({"retry": 3}, "a RetryPolicy"),
        ({"concurrency": 0}, "at least 1"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused_where_they_stand(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"probe.x .*{said}"):
        handles("probe.x", **options)
