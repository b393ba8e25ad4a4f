"""A server under test: many questions at once, each answer told as it comes.

The shortest question goes first and alone: what is wrong with address, key or model shows there, in one sentence,
before hundreds of requests are under way. The rest goes out in the order of the prompts, so that a server that keeps
the start of a prompt (the schema) can use it again. After three failures in a row nothing more is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

from workbench.endpoint import Endpoint
from workbench.endpoint_errors import Unanswered
from workbench.errors import WorkbenchError
from workbench.model_under_test import Failure, ModelUnderTest, Tell
from workbench.progress import Listener
from workbench.prompt import Prompt
from workbench.runtimes.base import Decoding, Generation

CHAT_MARK = "<|"  # as in <|start_header_id|>
MOST_FAILURES = 3  # one after another


class EndpointUnderTest(ModelUnderTest):
    """One model of an OpenAI-compatible server."""

    def __init__(self, endpoint: Endpoint, prompt: Prompt) -> None:
        self.name = endpoint.model
        self.engine = f"OpenAI-compatible {endpoint.api}"
        self.prompt = prompt
        self._endpoint = endpoint

    def facts(self) -> dict[str, str]:
        """The server's address."""
        return {"endpoint": self._endpoint.base}

    def answer(self, prompts: Sequence[str], decoding: Decoding, tell: Tell, listener: Listener) -> None:
        """Ask them all; see ``ModelUnderTest.answer``."""
        for note in self._endpoint.check(decoding):
            listener.note(note)
        if self._endpoint.options.chat and CHAT_MARK in self.prompt.template:
            listener.note(f"prompt {self.prompt.name} has its own chat marks and --chat adds others; leave one out")
        shortest = min(range(len(prompts)), key=lambda place: len(prompts[place]))
        row = _Row()
        row.hear(first := self._first(prompts[shortest], decoding, listener))
        tell(shortest, first)
        rest = sorted((place for place in range(len(prompts)) if place != shortest), key=prompts.__getitem__)
        with self._pool() as pool:
            asked = {pool.submit(self._ask, prompts[place], decoding): place for place in rest}
            for future in as_completed(asked):
                answer = future.result()
                tell(asked[future], answer)
                row.hear(answer)

    def _first(self, prompt: str, decoding: Decoding, listener: Listener) -> Generation | Failure:
        """The first answer, in the form of request this server takes."""
        while True:
            try:
                return self._endpoint.generate(prompt, decoding)
            except Unanswered as error:
                if not error.refused:
                    raise
                note = self._endpoint.adapt(error)
                if note is None:
                    return Failure(str(error), refused=True)
                listener.note(note)

    def _ask(self, prompt: str, decoding: Decoding) -> Generation | Failure:
        try:
            return self._endpoint.generate(prompt, decoding)
        except Unanswered as error:
            return Failure(str(error), error.refused)

    @contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor]:
        """Threads that stop waiting, and ask nothing more, once the block is left early."""
        pool = ThreadPoolExecutor(self._endpoint.options.concurrency, thread_name_prefix="endpoint")
        whole = False
        try:
            yield pool
            whole = True
        finally:
            if not whole:
                self._endpoint.stopping.set()
            pool.shutdown(wait=whole, cancel_futures=not whole)


class _Row:
    """Failures one after another: a few are bad luck, a row of them is a server that is gone."""

    def __init__(self) -> None:
        self._failures = 0
        self._answered = False

    def hear(self, answer: Generation | Failure) -> None:
        """Count an answer.

        Raises:
            WorkbenchError: it was one failure too many in a row.
        """
        if isinstance(answer, Generation):
            self._failures, self._answered = 0, True
            return
        if answer.refused and self._answered:
            return  # it answers others: this prompt is too long for it
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            raise WorkbenchError(f"{self._failures} questions in a row got no answer, the last: {answer.message}")
