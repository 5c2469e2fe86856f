"""A bounded map over threads. It stops on the first error."""

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
    """The answers to `questions`, asked a few at a time. Raises the first error and asks no more.

    At its end a program waits for the threads of an executor, however long a registry does not answer. It does not
    wait for these threads, so that Ctrl-C works at once.
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
