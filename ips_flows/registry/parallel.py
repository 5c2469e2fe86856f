"""Map a function over values in a bounded number of threads; stop on the first error."""

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
    """Return the results of `ask` for all `questions`, at most eight at a time. Raises the first error and stops.

    The threads are daemons, so Ctrl-C works immediately. An executor's threads would delay the process's exit until a
    slow registry responds.
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
            except BaseException as error:  # noqa: BLE001  (raised by future.result below)
                future.set_exception(error)

    for _ in range(min(_AT_ONCE, len(questions))):
        threading.Thread(target=work, name="map_bounded", daemon=True).start()
    try:
        for future in as_completed(futures):
            future.result()
    finally:
        for future in futures:
            future.cancel()
    return [future.result() for future in futures]
