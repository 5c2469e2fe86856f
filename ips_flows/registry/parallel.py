"""A few threads that ask questions side by side, and keep nobody waiting who has had enough."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 8


def map_bounded(ask: Callable[[T], R], questions: Sequence[T]) -> list[R]:
    """The answers to questions that are asked a few at a time; the first error is raised, and nothing more asked.

    The threads of an executor are waited for when the program ends, however long a registry stays silent; these are
    not, so that Ctrl-C works at once.
    """
    futures: list[Future[R]] = [Future() for _ in questions]
    waiting: queue.SimpleQueue[tuple[Future[R], T]] = queue.SimpleQueue()
    for one in zip(futures, questions, strict=True):
        waiting.put(one)

    def work() -> None:
        while True:
            try:
                future, question = waiting.get_nowait()
            except queue.Empty:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(ask(question))
            except BaseException as error:  # noqa: BLE001  (raised where the answer is wanted)
                future.set_exception(error)

    for _ in range(min(_AT_ONCE, len(questions))):
        threading.Thread(target=work, name="survey", daemon=True).start()
    try:
        for future in as_completed(futures):
            future.result()
    finally:
        for future in futures:
            future.cancel()
    return [future.result() for future in futures]
