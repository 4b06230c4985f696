"""A policy is published, raised and taken back while real worker processes of an old and a new deploy run."""

from __future__ import annotations

from pathlib import Path

from nooble_tasks import DomainAction
from tests.e2e.processes import run, until
from tests.e2e.test_workers import Shop, shop

__all__ = ["shop"]

OLD = 'default_tier = "enterprise"\n[tiers.enterprise]\npriority = 1\n'
NEW = OLD + "timeout = 120\n"
LIMITED = OLD + 'limits = ["4/minute"]\n'


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def _order(number: int) -> DomainAction:
    return DomainAction(action_type="shop.order.place", tenant_id="acme", data={"number": number})


async def test_live_without_a_restart(shop: Shop, redis_url: str, tmp_path: Path) -> None:
    def policy(*arguments: str) -> str:
        done = run("policy", *arguments, settings={"NOOBLE_REDIS_URL": redis_url})
        assert done.returncode == 0, done.stderr
        return done.stdout

    old, new, limited = (_write(tmp_path / f"{n}.toml", text) for n, text in enumerate((OLD, NEW, LIMITED)))
    workers = [await shop.worker(NOOBLE_TIERS_FILE=old), await shop.worker(NOOBLE_TIERS_FILE=new)]
    assert policy("show") == OLD, "the second deploy changed nothing"
    assert f"nooble policy publish {new}" in workers[1].output
    assert "is not the policy in force" not in workers[0].output

    assert "version 2 is in force in shop" in policy("publish", limited, "--why", "calm down", "--force")
    await shop.client.enqueue_actions([_order(number) for number in range(10)])
    await shop.until_completed(4)

    async def held() -> bool:
        return await shop.client.redis_client.zcard("nooble:shop:held") == 1

    await until(held, "the fifth start is held")
    assert await shop.completed() == 4, "both workers go by it from their next claim on"

    assert "version 3 is in force in shop" in policy("rollback", "1", "--expect", "2")
    await shop.until_completed(10)
    assert [worker.process.poll() for worker in workers] == [None, None]
    assert len(policy("history").splitlines()) == 2 + 3
