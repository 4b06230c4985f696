"""docs/policy.md: its commands, run one after the other, say what the page shows; its Python runs.

`NOOBLE_TEST_WRITE_DOCS=1 pytest tests/docs/test_policy_page.py` writes the outputs into the page.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import DomainAction
from tests.docs.test_operations import plain
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import make_client

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "policy.md"
TEXT = PAGE.read_text(encoding="utf-8")
WRITE = bool(os.environ.get("NOOBLE_TEST_WRITE_DOCS"))
DOMAIN = "embedding"
_CONSOLE = re.compile(r"```console\n\$ nooble ([^\n]+)\n(.*?)```", re.DOTALL)


def example(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


@pytest.fixture
async def store(redis: Redis) -> Any:
    """A server on which a worker of the domain `embedding` was the first, and `acme` waits for its limit."""
    client = make_client(redis, "api_service")
    await client.bus.ready()
    await client.bus.policies.join([DOMAIN], by="worker embedding_service")
    sent = [
        DomainAction(action_type=f"{DOMAIN}.make", tenant_id="acme", tenant_tier="free") for _ in range(15)
    ]
    await client.enqueue_actions(sent)
    engine = client.bus.engine
    await engine.extend(DOMAIN, "w1", register=True)
    assert len((await engine.claim(DOMAIN, "w1", 20)).actions) == 10
    yield client.bus.policies
    await client.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped policy with the page's change, as `tiers.toml` in the current folder."""
    shipped = Path(os.environ["NOOBLE_TIERS_FILE"]).read_text(encoding="utf-8")
    old = 'limits = ["10/minute", "100/day"]\n'
    assert old in shipped
    (tmp_path / "tiers.toml").write_text(shipped.replace(old, example("toml")), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_the_commands_in_their_order(store: Any, folder: Path, nooble: Nooble) -> None:
    blocks = _CONSOLE.findall(TEXT)
    assert len(blocks) >= 6
    page, different, at = TEXT, [], 0
    for command, shown in blocks:
        done = await nooble(*shlex.split(command), columns=88)
        assert done.code == 0, done.err
        said = "\n".join(line.rstrip() for line in done.out.splitlines()) + "\n"
        said = said.replace(f" {getpass.getuser()} ", " root ")
        old = f"$ nooble {command}\n{shown}```"
        if WRITE:
            at = page.index(old, at)
            page = page[:at] + f"$ nooble {command}\n{said}```" + page[at + len(old) :]
        elif plain(said) != plain(shown):
            different.append(f"nooble {command}:\n{said}")
    if WRITE:
        PAGE.write_text(page, encoding="utf-8")
    assert not different, "NOOBLE_TEST_WRITE_DOCS=1 writes the page anew; it differs in " + "\n".join(
        different
    )


async def test_the_python(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(example("python"), names)
    assert await names["double_free"](store) == 2
    told = capsys.readouterr().out
    assert told == "free limits ['10/minute', '100/day'] → ['20/minute', '100/day']\n"
