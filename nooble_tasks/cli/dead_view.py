"""How `nooble dead` shows letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .console import out

if TYPE_CHECKING:
    from rich.text import Text

    from nooble_tasks._engine import DeadLetter, OpenedLetter


def show_list(found: Sequence[tuple[str, DeadLetter]]) -> None:
    """Letters, two lines each: what it was, so that ids can be copied whole; when and why it died."""
    from rich.text import Text

    from .figures import moment

    names = [letter.action_id or letter.letter_id for _, letter in found]
    first = max(map(len, names))
    second = max(len(letter.tenant_id) for _, letter in found)
    for name, (domain, letter) in zip(names, found, strict=True):
        kind = letter.action_type or f"something in {domain}"
        _line(Text(f"{name:<{first}}  {letter.tenant_id:<{second}}  {kind}"))
        attempts = "1 attempt " if letter.attempt == 1 else f"{letter.attempt} attempts"
        reason = letter.reason.splitlines()[0] if letter.reason else ""
        _line(Text(f"  {moment(letter.died_ms)}  {attempts}  {reason}", style="dim"))


def _line(text: Text) -> None:
    text.truncate(out().width, overflow="ellipsis")
    out().print(text, no_wrap=True)


def show_letter(domain: str, opened: OpenedLetter) -> None:
    """Everything about one letter."""
    import json

    from .figures import duration, moment

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
    out().print(f"data      {letter.size:,} bytes")
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
