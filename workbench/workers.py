"""Threads for heavy arithmetic whose results do not depend on how many there are.

torch splits one product among its own threads, and the split decides in which order numbers are added: a Cholesky
factor on one thread differs from the same on two in its last bits, and a quantizer turns last bits into other
integers. Here work is cut into pieces of fixed size instead, each piece is done by one thread on which torch
stays single-threaded, and results come back in order. It is also faster on a machine that others use: the
threads of OpenMP spin while they wait for one another.

Example::

    with Workers(threads=4) as workers:
        products = list(workers.map(lambda rows: matrix[rows] @ other, pieces))
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A pool of threads; use as a context manager, inside which torch is single-threaded in the caller too.

    Args:
        threads: how many pieces are worked on at a time, at least 1.
    """

    def __init__(self, threads: int) -> None:
        self.threads = max(1, threads)

    def __enter__(self) -> Self:
        import torch

        self._before = torch.get_num_threads()
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,))
        self._reader = ThreadPoolExecutor(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import torch

        self._reader.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._before)

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item], ahead: int | None = None
    ) -> Iterator[Result]:
        """Results in the order of the items, computed at most ``ahead`` (by default ``threads``) before their use.

        The function must not use the workers itself: it would wait for a thread that waits for it.
        """
        left = iter(items)
        first = islice(left, ahead or self.threads)
        waiting: deque[Future[Result]] = deque(self._pool.submit(function, item) for item in first)
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(self._pool.submit(function, item) for item in islice(left, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()

    def run(self, function: Callable[[Item], object], items: Iterable[Item]) -> None:
        """The same for functions that are called for what they do."""
        for _ in self.map(function, items):
            pass

    def beside(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Future[Result]]:
        """Have a thread of its own do what mostly waits (reading), piece by piece in order, while others compute.

        What is not begun when the context ends is never done; an error is raised by the future's ``result``.
        """
        return [self._reader.submit(function, item) for item in items]
