"""The option that every verb uses: its help always shows the default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.types import OptionHelpExtra

F = TypeVar("F", bound=Callable[..., Any])

_NONE = "none"


class Option(click.Option):
    """An option whose help ends with `[default: …]` or `[required]`.

    `default_text` replaces the value of `default` in the help: what applies without the flag, in a few words.
    """

    def __init__(self, names: Sequence[str], *, default_text: str = "", **attributes: Any) -> None:
        super().__init__(names, **attributes)
        self._default_text = default_text

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        """Return what the help shows in brackets."""
        extra = super().get_help_extra(ctx)
        if not self.required:
            extra["default"] = self._default_text or _shown(self.get_default(ctx, call=False))
        return extra


def option(*names: str, **attributes: Any) -> Callable[[F], F]:
    """Add an `Option` to a command, with the attributes of `click.option` and `default_text`."""
    return click.option(*names, **{"cls": Option, **attributes})


def _shown(default: object) -> str:
    """Return a default as the help shows it. click has a value of its own for a default that was not set."""
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default) or _NONE if isinstance(default, str | int | float | Path) else _NONE
