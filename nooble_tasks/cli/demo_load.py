"""The work of the demo's tenants: they upload, wait for their documents, and ask questions about them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from nooble_tasks.actions import DomainAction
from nooble_tasks.client import BaseRedisClient
from nooble_tasks.errors import ActionError
from nooble_tasks.handle import ActionHandle

from .demo_application import Text
from .demo_ledger import COMPLETED, Answer, Ledger
from .demo_plan import TenantPlan

UPLOAD, QUESTION = "ingestion.document.process", "query.search"
_PROGRESS = "demo.document.progress"
_FOREVER_S = 3_600.0
_BATCH = 500


class Tenant:
    """One tenant at work, with its entries in the ledger."""

    def __init__(self, plan: TenantPlan, client: BaseRedisClient, ledger: Ledger) -> None:
        self.plan = plan
        self._client = client
        self._ledger = ledger
        self._to_ask: list[tuple[Text, str]] = []  # stored documents with questions not asked yet
        self._sent_texts = 0
        self._by_action: dict[str, Text] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def work(self) -> None:
        """Follow the plan until its end or `stop`; what is being sent is always sent to the end."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        if self.plan.callbacks:
            self._listening = asyncio.create_task(self._listen())
        steps = [*self.plan.uploads, *((at, 0) for at in self.plan.questions)]
        for at, many in sorted(steps):
            if await self._stopped_within(started + at - loop.time()):
                return
            if many:
                await self._upload(many)
            elif self._to_ask:
                await self._ask(*self._to_ask.pop(0))
        while self._ledger.open_of(self.plan.tenant_id):
            if await self._stopped_within(0.1):
                return

    def stop(self) -> None:
        """Send nothing more."""
        self._stopping.set()

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), max(seconds, 0))
        except TimeoutError:
            return False
        return True

    async def finish(self) -> None:
        """Nobody waits any more."""
        waiting = [*self._waiting, *([self._listening] if self._listening else [])]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    # -- uploads ----------------------------------------------------------------------------------------

    async def _upload(self, many: int) -> None:
        texts = self.plan.texts[self._sent_texts : self._sent_texts + many]
        self._sent_texts += many
        actions = [self._action(UPLOAD, _document(text)) for text in texts]
        if self.plan.callbacks:
            for action, text in zip(actions, texts, strict=True):
                self._by_action[action.action_id] = text
                # In the ledger first: a callback may be faster than the return of the call that sent it.
                self._ledger.accept(
                    action.action_id, "ingestion", self.plan.tenant_id, self.plan.tier, by_callback=True
                )
                await self._client.send_action_async_with_callback(action, _PROGRESS, self.plan.tenant_id)
            return
        for start in range(0, len(actions), _BATCH):
            batch = actions[start : start + _BATCH]
            handles = await self._client.enqueue_actions(batch)
            for handle, text in zip(handles, texts[start : start + _BATCH], strict=True):
                self._accepted(handle, "ingestion")
                self._spawn(self._follow_upload(handle, text))

    async def _follow_upload(self, handle: ActionHandle, text: Text) -> None:
        if await self._answer(handle) is not None:
            self._stored(text)

    async def _listen(self) -> None:
        """Callbacks of this tenant's uploads: progress, and the end."""
        queue = self._client.bus.keys.callback(
            "ingestion", self._client.service_name, _PROGRESS, self.plan.tenant_id
        )
        async for callback in self._client.listen_callbacks(queue):
            action_id = callback.correlation_id or ""
            if not callback.metadata.get("success"):
                self._ledger.close_by_error(action_id, callback.data["error"])
            elif callback.data["status"] == "processing":
                self._ledger.progress_callbacks += 1
            else:
                self._ledger.close(action_id, COMPLETED)
                self._stored(self._by_action[action_id])

    def _stored(self, text: Text) -> None:
        self._to_ask.extend((text, question) for question in text.questions)

    # -- questions --------------------------------------------------------------------------------------

    async def _ask(self, text: Text, question: str) -> None:
        action = self._action(QUESTION, {"question": question, "top_k": 5})
        (handle,) = await self._client.enqueue_actions([action])
        self._accepted(handle, "query")
        self._spawn(self._follow_question(handle, text, question))

    async def _follow_question(self, handle: ActionHandle, text: Text, question: str) -> None:
        data = await self._answer(handle)
        if data is None:
            return
        passages = data["passages"]
        best: dict[str, Any] = passages[0] if passages else {"title": "", "text": "", "score": 0.0}
        self._ledger.answers.append(
            Answer(
                self.plan.tier,
                question,
                text.document_id,
                text.document_id in {passage["document_id"] for passage in passages},
                best["title"],
                best["text"],
                best["score"],
            )
        )

    # -- both -------------------------------------------------------------------------------------------

    async def _answer(self, handle: ActionHandle) -> Any:
        """The data of a success, None after an error; either closes the entry."""
        try:
            response = await handle.response(_FOREVER_S)
        except ActionError:
            return None  # the entry stays open, and the report says so
        if response.error is not None:
            self._ledger.close_by_error(handle.action_id, response.error.to_dict())
            return None
        self._ledger.close(handle.action_id, COMPLETED)
        return response.data

    def _action(self, action_type: str, data: dict[str, Any]) -> DomainAction:
        return DomainAction(
            action_type=action_type, tenant_id=self.plan.tenant_id, tenant_tier=self.plan.tier, data=data
        )

    def _accepted(self, handle: ActionHandle, domain: str) -> None:
        self._ledger.accept(handle.action_id, domain, self.plan.tenant_id, self.plan.tier)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)


def _document(text: Text) -> dict[str, Any]:
    return {"document_id": text.document_id, "title": text.title, "text": text.text}


async def run_tenants(tenants: Sequence[Tenant], seconds: float) -> None:
    """All of them at once, for at most `seconds`; afterwards nothing is being sent any more."""
    working = [asyncio.create_task(tenant.work()) for tenant in tenants]
    await asyncio.wait(working, timeout=seconds)
    for tenant in tenants:
        tenant.stop()
    await asyncio.gather(*working)
