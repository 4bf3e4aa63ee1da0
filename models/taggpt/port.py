"""The language model as an interface: a prompt in, texts out. What stands behind it is the caller's choice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

__all__ = ["LanguageModel", "LanguageModelError", "ask"]


class LanguageModel(Protocol):
    """``name`` says which model and settings answer: answers of two names are never mixed in one file."""

    @property
    def name(self) -> str: ...

    def complete(self, prompt: str, n: int = 1) -> list[str]:
        """``n`` answers to one prompt, drawn independently. Called from several threads at once where ``workers`` of
        the taggers is above 1. LanguageModelError where no answer is to be had."""
        ...


class LanguageModelError(OSError):
    """The model gave no usable answer; the message says what was tried and what came back."""


def ask(
    model: LanguageModel,
    prompts: Sequence[str],
    n: int,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[list[str]]:
    """``n`` answers to each prompt, in the order of the prompts; up to ``workers`` are waited for at once."""
    for name, value in (("n", n), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, wanted at least 1")
    for done, replies in enumerate(_answers(model, prompts, n, workers), 1):
        if len(replies) != n or not all(isinstance(reply, str) for reply in replies):
            raise LanguageModelError(f"{model.name}: got {len(replies)} answers, wanted {n} strings")
        yield replies
        if progress is not None:
            progress(done, len(prompts))


def _answers(model: LanguageModel, prompts: Sequence[str], n: int, workers: int) -> Iterator[list[str]]:
    if workers == 1:
        yield from (model.complete(prompt, n) for prompt in prompts)
        return
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[list[str]]] = deque()
    try:
        for prompt in prompts:
            waiting.append(pool.submit(model.complete, prompt, n))
            if len(waiting) == 2 * workers:  # not all at once: after an error nothing more is asked, and paid for
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
