"""The same request twice is one action: an idempotency key decides the action's id."""

from __future__ import annotations

import hashlib


def action_id_for(domain: str, tenant_id: str, idempotency_key: str) -> str:
    """The action id that stands for a tenant's idempotency key in a domain (128 bits of SHA-256)."""
    text = f"{domain}:{tenant_id}:{idempotency_key}"  # ids hold no colon, so the text is unambiguous
    return "k" + hashlib.sha256(text.encode()).hexdigest()[:32]
