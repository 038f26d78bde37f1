"""Unicode text: finds values that are not text, or that Python holds as text and no file or tokenizer takes. No torch."""

from __future__ import annotations

from typing import Any


def text_fault(value: Any) -> str | None:
    """Why `value` is not Unicode text, as the end of a sentence such as "is null"; None if it is."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"is not Unicode: it holds half of a character, {printable(value[error.start])}"
        return None
    if value is None:
        return "is null"
    if isinstance(value, bool):
        return f"is {str(value).lower()}, not text"
    if isinstance(value, int | float):
        return "is a number, not text"
    kind = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else type(value).__name__
    return f"is {kind}, not text"


def printable(text: str) -> str:
    """The text with each half of a character as an escape such as `\\ud83d`, so that it can be printed and stored."""
    return text.encode(errors="backslashreplace").decode()


def shown(text: str, longest: int = 160) -> str:
    """The text for a message: printable, and cut where it is very long."""
    text = printable(text)
    return text if len(text) <= longest else f"{text[:longest]}..."
