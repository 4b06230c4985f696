"""The policy store: versions, who may replace what, how a process comes to go by the newest."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import (
    Engine,
    Keys,
    ManualClock,
    Policy,
    PolicyConflictError,
    PolicyError,
    PolicyStore,
    Published,
    UnknownVersionError,
)
from scheduler import policy_store as module
from scheduler.maintenance import Maintenance
from scheduler.pauses import operations
from tests.scheduler.world import NOW, World

FIRST = 'default_tier = "free"\n[tiers.free]\npriority = 1\n'
SECOND = FIRST + "timeout = 20\n"
THIRD = FIRST + "timeout = 30\n"


def store_of(redis: Any, text: str = FIRST, *, cluster: bool = False) -> PolicyStore:
    """The store as a process sees it whose own file says `text`."""
    policy = Policy.parse(text, source="tiers.toml")
    return PolicyStore(Engine(redis, policy=policy, clock=ManualClock(NOW), keys=Keys(cluster=cluster)))


@pytest.fixture
def store(redis: Redis) -> PolicyStore:
    return store_of(redis)


async def publish(store: PolicyStore, text: str, **more: Any) -> Published:
    return await store.publish(text, by="ana", why="a reason", **more)


async def timeout_at_work(store: PolicyStore) -> float:
    """The timeout of the newest version: what tells the texts above apart."""
    current = await store.current()
    assert current is not None
    return current.parse().tier("free").timeout


async def test_empty(store: PolicyStore) -> None:
    assert await store.current() is None
    assert await store.history() == []
    assert not await store.catch_up()
    with pytest.raises(UnknownVersionError, match="no version 1; nothing was published yet"):
        await store.get(1)


async def test_publish(store: PolicyStore) -> None:
    published = await publish(store, FIRST)
    assert published == Published(published.version, True, [])
    assert published.version == (1, FIRST, "ana", NOW, "a reason", {})
    assert await store.current() == await store.get(1) == published.version
    assert (await publish(store, SECOND)).version.version == 2
    assert [each.version for each in await store.history()] == [2, 1]
    assert [each.version for each in await store.history(1)] == [2]


async def test_the_same_text_makes_no_new_version(store: PolicyStore) -> None:
    first = await publish(store, FIRST)
    again = await publish(store, FIRST, expected=99)
    assert (again.version, again.new) == (first.version, False)


async def test_rollback_is_a_new_version(store: PolicyStore) -> None:
    for text in (FIRST, SECOND):
        await publish(store, text)
    back = await store.rollback(1, by="bob")
    assert back.version == (3, FIRST, "bob", NOW, "back to version 1", {})
    assert (await store.rollback(2, by="bob", why="that was it")).version.why == "that was it"
    assert [each.version for each in await store.history()] == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("version", "words"),
    [(9, "did you mean 3? It has 1 to 3"), (0, "did you mean 1"), (-4, "did you mean 1")],
)
async def test_an_unknown_version(store: PolicyStore, version: int, words: str) -> None:
    for text in (FIRST, SECOND, THIRD):
        await publish(store, text)
    with pytest.raises(UnknownVersionError, match=f"no version {version}; {words}".replace("?", r"\?")):
        await store.rollback(version, by="ana")
    assert len(await store.history()) == 3


async def test_a_text_that_cannot_be_used_changes_nothing(store: PolicyStore, redis: Redis) -> None:
    await publish(store, FIRST)
    before = await redis.xrange("nooble::policies")
    for text, words in {
        FIRST + "weight = 0": "tiers.free.weight",
        FIRST + "x = 1\n#" + "é" * module.MAX_TEXT_BYTES: "524,3.. bytes; at most 262,144",
    }.items():
        with pytest.raises(PolicyError, match=words):
            await publish(store, text, force=True)
    for by, why in (("", "y"), ("x", " "), ("x" * 201, "y"), ("x\x1b[1m", "y")):
        with pytest.raises(PolicyError, match="printable characters"):
            await store.publish(SECOND, by=by, why=why)
    assert await redis.xrange("nooble::policies") == before


async def test_history_is_bounded(store: PolicyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERSIONS_KEPT", 3)
    for number in range(5):
        await publish(store, FIRST + f"timeout = {number + 1}\n")
    assert [each.version for each in await store.history()] == [5, 4, 3]
    with pytest.raises(UnknownVersionError, match=r"no version 2; did you mean 3\? It has 3 to 5"):
        await store.get(2)


async def test_who_did_not_see_the_version_in_force_replaces_nothing(store: PolicyStore) -> None:
    await publish(store, FIRST, expected=0)
    await publish(store, SECOND, expected=1)
    with pytest.raises(
        PolicyConflictError, match=r"is version 2 by ana \(a reason\), not the version 1"
    ) as error:
        await publish(store, THIRD, expected=1)
    assert (error.value.expected, error.value.version) == (1, 2)
    assert await timeout_at_work(store) == 20
    assert (await publish(store, THIRD, expected=1, force=True)).version.version == 3


async def test_racing_publishers(redis: Redis) -> None:
    """All meant to replace version 1: one does, the others are told."""
    await publish(store_of(redis), FIRST)
    texts = [FIRST + f"timeout = {number + 5}\n" for number in range(16)]
    results = await asyncio.gather(
        *(publish(store_of(redis), text, expected=1) for text in texts), return_exceptions=True
    )
    won = [result for result in results if isinstance(result, Published)]
    assert len(won) == 1
    assert all(isinstance(result, PolicyConflictError) for result in results if result not in won)
    assert [each.version for each in await store_of(redis).history()] == [2, 1]


async def test_racing_publishers_who_insist(redis: Redis) -> None:
    """Each gets a version of its own, and the newest is at work everywhere."""
    worker = World(redis)
    await store_of(redis).join([worker.domain], by="worker w1")
    await worker.worker("w1")
    texts = [FIRST + f"timeout = {number + 5}\n" for number in range(16)]
    results = await asyncio.gather(*(publish(store_of(redis), text, force=True) for text in texts))
    assert sorted(result.version.version for result in results) == list(range(2, 18))
    assert (await worker.claim()).policy_version == 17


async def test_the_first_of_many_workers_publishes_its_file(redis: Redis) -> None:
    stores = [store_of(redis, FIRST + f"timeout = {number + 5}\n") for number in range(32)]
    for store in stores:
        await store.catch_up()
    await asyncio.gather(*(store.join(["a", "b"], by=f"worker {n}") for n, store in enumerate(stores)))
    [only] = await stores[0].history()
    assert (only.version, only.why) == (1, "first start")
    assert only.by == f"worker {only.parse().tier('free').timeout - 5:g}"
    assert {store._engine.policy_version for store in stores} == {1}
    assert {store._engine.policy.text for store in stores} == {only.text}
    assert await stores[0].domains() == ["a", "b"]


async def test_a_joining_worker_goes_by_the_version_in_force(
    redis: Redis, caplog: Any, tmp_path: Path
) -> None:
    """A rolling deploy: old and new files come and go, the policy stays."""
    await publish(store_of(redis), SECOND)
    file = tmp_path / "tiers.toml"
    for text in (FIRST, THIRD, SECOND, SECOND.replace("20", "20.0") + "# a comment\n"):
        file.write_text(text)
        engine = Engine(redis, policy=Policy.load(file), clock=ManualClock(NOW))
        store = PolicyStore(engine)
        caplog.clear()
        for _ in range(2):
            await store.join(["probe"], by="worker w1")
        assert (engine.policy.text, engine.policy_version) == (SECOND, 1)
        warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        if text in (FIRST, THIRD):
            assert warnings == [
                f"{file} is not the policy in force: this worker goes by version 1. See what differs: "
                f"nooble policy diff {file}; to make it the policy: nooble policy publish {file} --why ..."
            ]
        else:
            assert not warnings, "it says the same"
    assert len(await store_of(redis).history()) == 1


@pytest.mark.parametrize("heals", ["catch_up", "join", "follow"])
async def test_a_publisher_that_dies_before_it_reaches_the_domains(redis: Redis, heals: str) -> None:
    store = store_of(redis)
    world = World(redis)
    world.engine = store._engine
    await store.join([world.domain], by="worker w1")
    await world.worker("w1")
    dying = store_of(redis)

    async def die(*_: Any) -> None:
        raise ConnectionError("gone")

    dying._engine.publish_policy = die  # type: ignore[method-assign, assignment]
    with pytest.raises(ConnectionError):
        await publish(dying, SECOND)
    assert (await world.claim()).policy_version == 1
    if heals == "catch_up":
        assert await store.catch_up()
        await store.bring_up([world.domain])
    elif heals == "join":
        await store_of(redis).join([world.domain], by="worker w2")
    else:
        await store.catch_up()
        await store.follow(world.domain, (await world.claim()).policy_version)
    assert (await world.claim()).policy_version == 2


async def test_publishing_again_reaches_the_domains_that_were_left_behind(redis: Redis) -> None:
    store, world = store_of(redis), World(redis)
    await store.join([world.domain], by="worker w1")
    await world.worker("w1")
    await store._add(1, SECOND, "ana", "died after this")
    again = await publish(store_of(redis), SECOND)
    assert (again.version.version, again.new, again.domains) == (2, False, [world.domain])
    assert (await world.claim()).policy_version == 2


async def test_a_version_that_this_release_cannot_read(redis: Redis, caplog: Any) -> None:
    store = store_of(redis)
    await store.join(["probe"], by="worker w1")
    await store._add(1, FIRST + "telepathy = true\n", "ana", "a newer release")
    assert not await store.catch_up()
    assert not await store.catch_up()
    assert caplog.text.count("cannot be used by this release") == 1
    assert "unknown key 'tiers.free.telepathy'" in caplog.text
    assert store._engine.policy_version == 1
    assert (await store.dry_run(SECOND)).diff.added == ["free"]
    await publish(store_of(redis), SECOND)
    assert await store.catch_up()
    assert store._engine.policy_version == 3


async def test_a_store_that_was_lost_goes_on_with_higher_numbers(redis: Redis) -> None:
    store, world = store_of(redis), World(redis)
    await store.join([world.domain], by="worker w1")
    await world.worker("w1")
    for text in (SECOND, THIRD):
        await publish(store, text)
    await redis.delete("nooble::policies")
    late = store_of(redis, SECOND)
    await late.join([world.domain], by="worker w2")
    assert [each.version for each in await late.history()] == [4]
    assert (await world.claim()).policy_version == 4
    assert await store.catch_up()


async def test_a_version_that_nobody_can_find_is_asked_for_once(redis: Redis) -> None:
    store = store_of(redis)
    await store.join(["probe"], by="worker w1")
    calls: list[int] = []
    inner = store.catch_up

    async def counted() -> bool:
        calls.append(1)
        return await inner()

    store.catch_up = counted  # type: ignore[method-assign]
    for _ in range(3):
        await store.follow("probe", 9)
    assert len(calls) == 1


async def test_on_a_cluster_shared_keys_have_no_tag(redis: Redis) -> None:
    store = store_of(redis, cluster=True)
    await store.join(["probe"], by="worker w1")
    await publish(store, SECOND)
    found = {key.decode() for key in await redis.keys()}
    assert found == {
        "nooble::policies",
        "nooble::domains",
        "nooble:{probe}:policy",
        "nooble:{probe}:operations",
        "nooble:{probe}:registry",
    }


async def test_maintenance_finishes_what_a_publisher_left(redis: Redis) -> None:
    """Also when this process knows the version already: a claim in another of its domains told it."""
    store = store_of(redis)
    await store.join(["a", "b"], by="worker w1")
    maintenance = Maintenance(store._engine, ["a", "b"], policies=store)
    await maintenance.tick()
    await store._add(1, SECOND, "ana", "died after this")
    await store.catch_up()
    await maintenance.tick()
    for domain in ("a", "b"):
        compiled = await redis.get(f"nooble:{domain}:policy")
        assert json.loads(compiled or b"")["version"] == 2


async def test_a_publish_is_among_what_operators_did(redis: Redis) -> None:
    store = store_of(redis)
    await store.join(["a", "b"], by="worker w1")
    await publish(store, SECOND)
    await publish(store, SECOND)
    for domain in ("a", "b"):
        [done] = await operations(store._engine, domain)
        assert (done.by, done.why, done.did) == ("ana", "a reason", "publish policy version 2")


@pytest.mark.parametrize("late", ["join", "publish", "insist"])
async def test_who_found_the_store_empty_and_was_slow(redis: Redis, late: str) -> None:
    """Another worker's first version is not replaced unseen, though its number is known by now."""
    slow, fast = store_of(redis, SECOND), store_of(redis)
    await slow._engine.redis.sadd("nooble::domains", "probe")
    inner, joined = slow.domains, False

    async def domains() -> list[str]:
        nonlocal joined
        if not joined:
            joined = True
            await fast.join(["probe"], by="worker fast")
        return await inner()

    slow.domains = domains  # type: ignore[method-assign]
    if late == "join":
        await slow.join(["probe"], by="worker slow")
    elif late == "publish":
        with pytest.raises(PolicyConflictError):
            await publish(slow, SECOND, expected=0)
    else:
        await publish(slow, SECOND, force=True)
    by = [each.by for each in await slow.history()]
    assert by == (["ana", "worker fast"] if late == "insist" else ["worker fast"])


async def test_a_first_worker_with_a_file_that_is_too_long_says_so(redis: Redis) -> None:
    store = store_of(redis, FIRST + "#" * module.MAX_TEXT_BYTES)
    with pytest.raises(PolicyError, match=r"tiers\.toml: 262,\d+ bytes; at most 262,144"):
        await store.join(["probe"], by="worker w1")
    assert await store.history() == []
