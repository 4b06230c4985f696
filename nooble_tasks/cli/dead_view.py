"""How `nooble dead` shows letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .console import out

if TYPE_CHECKING:
    from nooble_tasks._engine import DeadLetter, OpenedLetter


def show_table(found: Sequence[tuple[str, DeadLetter]]) -> None:
    """Letters with their domains, a line each."""
    from .figures import moment
    from .tables import table, wide

    texts = ["died", *(["domain"] if wide() else []), "tenant", "type", "id"]
    made = table(texts, ["tries"], ["reason"])
    for domain, letter in found:
        cells = [moment(letter.died_ms), *([domain] if wide() else [])]
        name = letter.action_id or letter.letter_id
        made.add_row(
            *cells,
            letter.tenant_id,
            letter.action_type or "–",
            name,
            str(letter.attempt),
            letter.reason.splitlines()[0] if letter.reason else "",
        )
    out().print(made)


def show_letter(domain: str, opened: OpenedLetter) -> None:
    """Everything about one letter."""
    import json

    from .figures import bytes_of, duration, moment

    letter = opened.letter
    facts = {
        "action": f"{letter.action_id or '–'}  {letter.action_type}",
        "letter": letter.letter_id,
        "tenant": f"{letter.tenant_id}, tier {letter.tier}, domain {domain}",
        "died": f"{moment(letter.died_ms)}, attempt {letter.attempt}",
        "ready": moment(letter.enqueued_ms) if letter.enqueued_ms else "–",
        "deadline": moment(letter.deadline_ms) if letter.deadline_ms else "none",
        "reason": letter.reason,
    }
    for name, value in facts.items():
        out().print(f"{name:<9} {value}")
    if opened.attempts:
        out().print("attempts")
    for each in opened.attempts:
        took = "" if each.died else f" after {duration(each.run_time_us / 1000)}"
        out().print(f"  {each.attempt:>3}  {moment(each.ended_ms)}  {each.worker}{took}: {each.error}")
    out().print(f"data      {bytes_of(letter.size)}")
    try:
        text = json.dumps(json.loads(opened.payload), indent=2, ensure_ascii=False)
    except ValueError:
        text = repr(opened.payload)
    out().print("\n".join(f"  {line}" for line in text.splitlines()))


def to_dict(opened: OpenedLetter) -> dict[str, Any]:
    """The same for programs; `action` is the JSON that was sent."""
    import json

    try:
        action = json.loads(opened.payload)
    except ValueError:
        action = repr(opened.payload)
    attempts = [each._asdict() for each in opened.attempts]
    return {**opened.letter._asdict(), "attempts": attempts, "action": action}
