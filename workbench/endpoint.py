"""One question to any OpenAI-compatible server: vLLM, TGI, llama-server, Ollama, or OpenAI itself.

Such a server takes ``POST /v1/completions`` with a prompt as it is, which is what a model trained on its own prompt
needs (SQLCoder), and ``POST /v1/chat/completions`` with messages, which it puts into the model's chat form (GPT-4).
Decoding is greedy: temperature 0 and a fixed seed, so that the same weights answer the same, as far as the server can.

Servers fail in ways that pass: too busy (429), restarting (503), a connection lost in the middle. Those are asked again
after a wait that doubles, or as long as the server says (``Retry-After``). What does not pass ends in one sentence.
The key travels in one header to one address: a redirect is never followed, and no message, file or log holds the key.

    export WORKBENCH_API_KEY=...          # or OPENAI_API_KEY; not needed for most servers of one's own
    python -m workbench evaluate --endpoint http://127.0.0.1:8000 --model defog/sqlcoder-7b-2

Ollama puts the TEMPLATE of its Modelfile around every prompt and cuts, without a word, what exceeds its ``num_ctx``:
give a SQLCoder there ``TEMPLATE {{ .Prompt }}`` and room enough.

Source: platform.openai.com/docs/api-reference/completions; docs.vllm.ai, "OpenAI-Compatible Server", extra parameters;
beams without stop texts: vllm-project/vllm issue 9253; templates: ollama/ollama issues 5544 and 12636.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from workbench.addresses import bare_address
from workbench.endpoint_address import KEYS, base_address, is_local, key_name, open_session
from workbench.endpoint_errors import (
    CONNECT_S,
    LONGEST_WAIT_S,
    PASSING,
    REFUSED,
    Passing,
    Unanswered,
    nearest,
    retry_after,
    said,
    short,
    unreachable,
)
from workbench.errors import WorkbenchError
from workbench.runtimes.base import Decoding, Generation

if TYPE_CHECKING:
    import requests

SHOWN_MODELS = 10
# Fields that not every server takes, with what takes their place. OpenAI's reasoning models, older vLLMs.
CHANGES = {
    "max_tokens": "max_completion_tokens",
    "temperature": None,
    "seed": None,
    "stop": None,
    "best_of": None,
    "return_token_ids": None,
}

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class EndpointOptions:
    """How to ask.

    Attributes:
        chat: the prompt as one user's message, without stop texts, instead of a raw completion.
        concurrency: questions under way at once.
        timeout_s: seconds to wait for one answer.
        tries: of a request that fails in a way that may pass.
        backoff_s: half the wait before the third try, which doubles from then on; the second comes at once.
    """

    chat: bool = False
    concurrency: int = 4
    timeout_s: float = 300.0
    tries: int = 6
    backoff_s: float = 1.0


class Endpoint:
    """One model at one address; use as a context manager.

    Args:
        url: of the server, with ``/v1`` or without.
        model: as the server names it.
        options: how to ask.
        key: sent as bearer token; ``None`` sends none.

    Attributes:
        base: address that ``/completions`` is put behind, without anything secret.

    Raises:
        WorkbenchError: the address or the key cannot be used.
    """

    def __init__(self, url: str, model: str, options: EndpointOptions, key: str | None = None) -> None:
        self.base = base_address(url)
        self.model = model
        self.options = options
        self.stopping = threading.Event()
        self._key = key
        self._owner = ""
        self._changes: dict[str, str | None] = {}
        self._session = open_session(self.base, key, options.concurrency)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        self._session.close()

    @property
    def api(self) -> str:
        """Which of the two APIs is asked."""
        return "chat/completions" if self.options.chat else "completions"

    def check(self, decoding: Decoding) -> list[str]:
        """See that the server is there, before anything is asked.

        Returns:
            Notes for the user.

        Raises:
            WorkbenchError: it cannot be reached, wants another key, or cannot search with several beams.
        """
        listed = self._models()
        self._owner = next(iter(listed.values()), "")
        notes = []
        if listed and self.model not in listed:
            notes.append(f"the server does not list {self.model!r}{nearest(self.model, listed)}")
        if decoding.beams > 1 and self._owner != "vllm":
            raise WorkbenchError(
                f"{self.base} does not say that it is vLLM, the only server known to search with several beams; "
                "leave --beams out for greedy answers"
            )
        if decoding.beams > 1 and decoding.stop and not self.options.chat:
            notes.append("vLLM's beam search knows no stop texts: each answer is cut at the first one here")
        if self._owner == "library":
            notes.append("this looks like Ollama: see that TEMPLATE is {{ .Prompt }} and num_ctx holds the prompts")
        if self._key and self.base.startswith("http://") and not is_local(self.base):
            notes.append("the key is sent without encryption: prefer an https address")
        return notes

    def _models(self) -> dict[str, str]:
        """Names the server lists and who owns them; empty where it lists none."""
        import requests

        try:
            reply = self._session.get(f"{self.base}/models", timeout=CONNECT_S, allow_redirects=False)
        except requests.RequestException as error:
            raise WorkbenchError(unreachable(error, self.base)) from error
        if reply.is_redirect or reply.status_code in (401, 403):
            raise self._fatal(reply)
        try:
            return {str(one["id"]): str(one.get("owned_by") or "") for one in reply.json()["data"]}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}  # no part of answering: some servers have no list

    def generate(self, prompt: str, decoding: Decoding) -> Generation:
        """The answer to one prompt; may be called from several threads.

        Raises:
            Unanswered: not to this prompt.
            WorkbenchError: to none.
        """
        from urllib3.exceptions import MaxRetryError
        from urllib3.util.retry import Retry

        options = self.options
        policy = Retry(options.tries - 1, backoff_factor=options.backoff_s, backoff_max=LONGEST_WAIT_S)
        while True:
            try:
                return self._generation(self._post(self._body(prompt, decoding)), decoding)
            except Passing as fault:
                try:
                    policy = policy.increment("POST", error=fault)
                except MaxRetryError as error:
                    raise Unanswered(f"{self.base} failed {options.tries} times: {fault}") from error
                wait_s = policy.get_backoff_time() if fault.wait_s is None else fault.wait_s
                if self.stopping.wait(wait_s):
                    raise Unanswered("interrupted") from fault

    def adapt(self, refusal: Unanswered) -> str | None:
        """Leave out or rename what the server does not take; tells what was done, or ``None``."""
        if not re.search("support|unrecognized|unknown|permitted|strictly", str(refusal), re.IGNORECASE):
            return None
        for field, other in CHANGES.items():
            if field not in self._changes and re.search(rf"['\"`]{field}['\"`]", str(refusal)):
                self._changes[field] = other
                return f"the server takes no {field}" + (f"; {other} is sent instead" if other else ": left out")
        return None

    def _body(self, prompt: str, decoding: Decoding) -> Json:
        shown: Json = {"messages": [{"role": "user", "content": prompt}]} if self.options.chat else {"prompt": prompt}
        body = {"model": self.model, **shown, "max_tokens": decoding.max_new_tokens, "temperature": 0, "seed": 0}
        if decoding.stop and not self.options.chat:
            body["stop"] = list(decoding.stop)
        if decoding.beams > 1:  # vLLM of 2024 on counts beams by n, older ones by best_of
            body |= {"use_beam_search": True, "n": decoding.beams, "best_of": decoding.beams}
        if self._owner == "vllm":
            body["return_token_ids"] = True
        return {name: value for field, value in body.items() if (name := self._changes.get(field, field))}

    def _post(self, body: Json) -> Json:
        """The server's JSON."""
        import requests

        try:
            reply = self._session.post(
                f"{self.base}/{self.api}", json=body, timeout=(CONNECT_S, self.options.timeout_s), allow_redirects=False
            )
        except requests.ReadTimeout as error:  # it still computes: asking again would only add to its work
            raise Unanswered(f"no answer within {self.options.timeout_s:g} s; allow more with --timeout") from error
        except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
            raise WorkbenchError(unreachable(error, self.base)) from error
        except requests.RequestException as error:  # refused, broken off, cut in the middle
            raise Passing(unreachable(error, self.base)) from error
        if reply.status_code in PASSING:
            raise Passing(f"HTTP {reply.status_code}{said(reply, self._key)}", retry_after(reply))
        if reply.status_code in REFUSED:
            raise Unanswered(f"HTTP {reply.status_code}{said(reply, self._key)}", refused=True)
        if not reply.ok or reply.is_redirect:
            raise self._fatal(reply)
        try:
            value = reply.json()
        except ValueError as error:
            raise Passing(f"its reply is no JSON{said(reply, self._key)}; is this the address of an API?") from error
        if not isinstance(value, dict):
            raise Passing(f"its reply is no JSON object{said(reply, self._key)}")
        return value

    def _generation(self, reply: Json, decoding: Decoding) -> Generation:
        try:
            choices = reply["choices"]
            first = choices[0]
            text = first["message"]["content"] or "" if self.options.chat else first["text"]
            usage = reply.get("usage") or {}
            counts = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
            finished = first.get("finish_reason") != "length"
            tokens = tuple(int(token) for token in first.get("token_ids") or ())
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise Passing(f"its reply holds no answer ({short(str(reply), self._key)})") from error
        if not isinstance(text, str):
            raise Passing("its reply holds an answer that is no text")
        if len(choices) < decoding.beams:
            raise WorkbenchError(
                f"{self.base} tells {len(choices)} of {decoding.beams} beams, so it does not search; leave --beams out"
            )
        return Generation(_before(text, () if self.options.chat else decoding.stop), *counts, finished, tokens)

    def _fatal(self, reply: requests.Response) -> WorkbenchError:
        """The sentence for a status that no waiting mends."""
        status, told = reply.status_code, said(reply, self._key)
        if reply.is_redirect:
            place = bare_address(reply.headers.get("Location", ""))
            return WorkbenchError(f"{self.base} sends on to {place}; give that address to --endpoint if you trust it")
        if status in (401, 403):
            if self._key is None:
                return WorkbenchError(f"{self.base} wants a key (HTTP {status}{told}); set it in {' or '.join(KEYS)}")
            return WorkbenchError(
                f"{self.base} refuses the key in {key_name()} for {self.model!r} (HTTP {status}{told}); correct the key"
            )
        if status == 404:
            listed = self._models()
            if self.model in listed or not listed:
                return WorkbenchError(
                    f"{self.base}/{self.api} is not there (HTTP 404{told}); correct --endpoint"
                    f"{'' if self.options.chat else ', or ask with --chat'}"
                )
            names = ", ".join(sorted(listed)[:SHOWN_MODELS]) + (" ..." if len(listed) > SHOWN_MODELS else "")
            return WorkbenchError(
                f"{self.base} has no model {self.model!r}{nearest(self.model, listed)}; there is --model {names}"
            )
        return WorkbenchError(f"{self.base} answers with HTTP {status}{told}; correct --endpoint or the server")


def _before(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop: some servers tell it, some ignore the stops."""
    places = [place for one in stop if one and (place := text.find(one)) >= 0]
    return text[: min(places)] if places else text
