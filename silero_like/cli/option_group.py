"""Options that belong together: a command gets them as one argument."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option_group(name: str, make: Callable[..., object], *options: Decorator) -> Callable[[Command], Command]:
    """Return a decorator that adds options to a command.

    Args:
        name: of the command's argument.
        make: makes its value of what the options say; its arguments are called as they are. Often a dataclass.
        options: made by `click.option`, in the order of the help.
    """
    names = tuple(inspect.signature(make).parameters)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def grouped(*args: Any, **values: Any) -> Any:
            value = make(**{each: values.pop(each) for each in names})
            return command(*args, **{name: value}, **values)

        decorated: Any = grouped
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate
