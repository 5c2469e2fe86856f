"""A few threads that ask questions side by side, and keep nobody waiting who has had enough."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 8


def side_by_side(ask: Callable[[T], R], questions: Sequence[T]) -> list[R]:
    """The answers to questions that are asked a few at a time; the first error is raised, and nothing more asked.

    The threads of an executor are waited for when the program ends, however long a registry stays silent; these are
    not, so that Ctrl-C works at once.
    """
    waiting: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[int, Callable[[], R]]] = queue.SimpleQueue()
    for one in enumerate(questions):
        waiting.put(one)
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                number, question = waiting.get_nowait()
            except queue.Empty:
                return
            answers.put((number, _outcome(ask, question)))

    for _ in range(min(_AT_ONCE, len(questions))):
        threading.Thread(target=work, name="survey", daemon=True).start()
    found: dict[int, R] = {}
    try:
        while len(found) < len(questions):
            number, answer = answers.get()
            found[number] = answer()
    finally:
        over.set()
    return [found[number] for number in range(len(questions))]


def _outcome(ask: Callable[[T], R], question: T) -> Callable[[], R]:
    """What gives the answer, or raises what came in its place, in the thread that wants it."""
    try:
        answer = ask(question)
    except BaseException as error:  # noqa: BLE001  (raised where the answer is wanted)
        failure = error

        def fail() -> R:
            raise failure

        return fail
    return lambda: answer
