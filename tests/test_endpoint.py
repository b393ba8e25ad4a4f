"""One question to a server over real HTTP: how it is asked, what is tried again, and the sentence for each failure."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
from openai_server import Fault, serving

from workbench.endpoint import Endpoint, EndpointOptions
from workbench.endpoint_address import base_address, key_from_environment
from workbench.endpoint_errors import Unanswered, retry_after
from workbench.errors import WorkbenchError
from workbench.runtimes.base import Decoding, Generation

KEY = "sk-very-secret-0123456789"
GREEDY = Decoding(("```",), 300)


@pytest.fixture
def server():
    with serving() as served:
        yield served


def endpoint(server, model="sqlcoder-nano", key=None, **options):
    return Endpoint(server.address, model, EndpointOptions(**{"backoff_s": 0.01, "tries": 3, **options}), key)


def ask(server, decoding=GREEDY, **options):
    with endpoint(server, **options) as one:
        return one.generate("how many?", decoding)


def refusal(server, **options):
    with pytest.raises(WorkbenchError) as caught:
        ask(server, **options)
    return str(caught.value)


def test_a_completion_is_asked_raw_greedy_and_with_stops(server):
    assert ask(server) == Generation("SELECT 'how many?'\n", 3, 2, True)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v1/completions")
    assert request.body == {
        "model": "sqlcoder-nano", "prompt": "how many?", "max_tokens": 300, "temperature": 0, "seed": 0,
        "stop": ["```"],
    }  # fmt: skip
    assert "Authorization" not in request.headers


def test_a_chat_is_asked_with_one_message_and_no_stops(server):
    server.answer = lambda prompt: "```sql\nSELECT 1\n```"
    assert ask(server, chat=True).text == "```sql\nSELECT 1\n```"
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.body["messages"] == [{"role": "user", "content": "how many?"}]
    assert "stop" not in request.body


def test_an_answer_is_cut_at_a_stop_that_the_server_ignored(server):
    server.answer = lambda prompt: "SELECT 1\n```\nand more"
    assert ask(server).text == "SELECT 1\n"


def test_an_answer_cut_by_the_limit_is_unfinished(server):
    server.faults = [Fault(200, {"choices": [{"text": "SELECT", "finish_reason": "length"}]})]
    assert not ask(server).finished


def test_the_key_goes_into_one_header(server):
    server.key = KEY
    assert ask(server, key=KEY).finished
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_failure_that_passes_is_tried_again(server, status):
    server.faults = [Fault(status, {"error": "busy"}), Fault(status, "<html>")]
    assert ask(server).finished
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "fault",
    [Fault(cut=0), Fault(200, {"choices": "x" * 99}, cut=20), Fault(200, '{"choices": [{"text"'), Fault(200, [])],
)
def test_a_broken_reply_is_asked_for_again(server, fault):
    server.faults = [fault]
    assert ask(server).finished
    assert len(server.requests) == 2


def test_the_server_says_how_long_to_wait(server):
    server.faults = [Fault(429, {}, {"Retry-After": "1"})]
    started = time.monotonic()
    assert ask(server, tries=2).finished
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    ("said", "waited"),
    [("7", 7.0), ("3600", 60.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), ("", None), (None, None)],
)
def test_waits_are_understood_and_bounded(said, waited):
    reply = requests.Response()
    if said is not None:
        reply.headers["Retry-After"] = said
    assert retry_after(reply) == waited


def test_leaving_ends_the_waiting(server):
    server.faults = [Fault(503, {}, {"Retry-After": "60"})]
    one = endpoint(server)
    threading.Timer(0.2, one.__exit__).start()
    with pytest.raises(Unanswered, match="interrupted"):
        one.generate("how many?", GREEDY)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(500, {"error": {"message": "out of memory"}}), "failed 3 times: HTTP 500: out of memory"),
        (Fault(429, {"error": {"message": "quota"}}), "failed 3 times: HTTP 429: quota"),
        (Fault(cut=0), "failed 3 times: .* broke the connection off"),
        (Fault(200, "<html>hello</html>"), "is no JSON: <html>hello</html>; is this the address of an API"),
        (Fault(200, {"choices": []}), "holds no answer"),
        (Fault(200, {"choices": [{"text": 7}]}), "an answer that is no text"),
    ],
)
def test_what_does_not_pass_leaves_a_question_unanswered(server, fault, words):
    server.faults = [fault] * 3
    with pytest.raises(Unanswered, match=words) as caught:
        ask(server)
    assert not caught.value.refused


@pytest.mark.parametrize("body", [{"error": {"message": "too long"}}, {"error": "too long"}, {"detail": "too long"},
                                  {"object": "error", "message": "too long"}, "too long"])  # fmt: skip
def test_a_refused_prompt_is_not_asked_again(server, body):
    server.faults = [Fault(400, body)]
    with pytest.raises(Unanswered, match="HTTP 400: too long") as caught:
        ask(server)
    assert caught.value.refused
    assert len(server.requests) == 1


def test_a_slow_answer_is_not_asked_for_again(server):
    server.faults = [Fault(200, sleep_s=1)]
    with pytest.raises(Unanswered, match=r"no answer within 0.2 s; allow more with --timeout"):
        ask(server, timeout_s=0.2)
    assert len(server.requests) == 1


def test_a_missing_key_is_named(server):
    server.key = KEY
    assert "wants a key (HTTP 401" in (text := refusal(server))
    assert "set it in WORKBENCH_API_KEY or OPENAI_API_KEY" in text


def test_a_wrong_key_is_named_but_not_told(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.key = "another"
    text = refusal(server, key=KEY)  # this server repeats the key in its reply
    assert "refuses the key in OPENAI_API_KEY for 'sqlcoder-nano' (HTTP 401: no such key: Bearer ***)" in text
    assert KEY not in text


def test_a_mistyped_model_is_answered_with_the_nearest(server):
    server.models = {"defog/sqlcoder-7b-2": "vllm", "other": "vllm"}
    text = refusal(server, model="sqlcoder-7b2")
    assert "has no model 'sqlcoder-7b2', did you mean 'defog/sqlcoder-7b-2'?" in text
    assert "there is --model defog/sqlcoder-7b-2, other" in text


def test_an_api_that_is_not_there(server):
    server.faults = [Fault(404, "no such page")]
    assert "/v1/completions is not there (HTTP 404: no such page); correct --endpoint, or ask with --chat" in refusal(
        server
    )


def test_a_redirect_is_named_and_never_followed(server):
    seen = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(dict(self.headers))

        do_GET = do_POST

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}).start()
        place = f"http://127.0.0.1:{other.server_address[1]}/v1?token=abc"
        server.faults = [Fault(307, {}, {"Location": place})]
        text = refusal(server, key=KEY)
        other.shutdown()
    assert f"sends on to {place.partition('?')[0]}; give that address" in text
    assert not seen


def test_nothing_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        Endpoint(f"http://127.0.0.1:{port}", "m", EndpointOptions()) as one,
        pytest.raises(WorkbenchError, match=f"nothing listens at http://127.0.0.1:{port}/v1; start the server"),
    ):
        one.check(GREEDY)


def test_an_unknown_host():
    with (
        Endpoint("http://no-such-host.invalid", "m", EndpointOptions()) as one,
        pytest.raises(WorkbenchError, match=r"there is no host no-such-host.invalid; correct --endpoint"),
    ):
        one.check(GREEDY)


def test_a_server_without_encryption_asked_with_it(server):
    with (
        Endpoint(server.address.replace("http", "https"), "m", EndpointOptions()) as one,
        pytest.raises(WorkbenchError, match="does not speak https"),
    ):
        one.check(GREEDY)


@pytest.mark.parametrize(
    ("owner", "model", "key", "words"),
    [
        ("me", "sqlcoder-nano", None, []),
        ("me", "sqlcoder", None, ["the server does not list 'sqlcoder', did you mean 'sqlcoder-nano'?"]),
        ("library", "sqlcoder-nano", None, ["looks like Ollama"]),
    ],
)
def test_what_a_user_should_know_before_it_starts(server, owner, model, key, words):
    server.models = {"sqlcoder-nano": owner}
    with endpoint(server, model=model, key=key) as one:
        notes = one.check(GREEDY)
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


def test_beams_are_for_vllm_alone(server):
    with endpoint(server) as one, pytest.raises(WorkbenchError, match="leave --beams out"):
        one.check(Decoding(beams=4))


def test_vllm_searches_and_tells_its_tokens(server):
    server.models = {"sqlcoder-nano": "vllm"}
    with endpoint(server) as one:
        (note,) = one.check(Decoding(("```",), beams=4))
        answer = one.generate("how many?", Decoding(("```",), beams=4))
    assert "no stop texts" in note
    assert answer.tokens == (7, 8)
    body = server.requests[-1].body
    assert (body["use_beam_search"], body["n"], body["best_of"]) == (True, 4, 4)


def test_a_server_that_ignores_beams_is_found_out(server):
    server.faults = [Fault(200, {"choices": [{"text": "SELECT 1"}]})]
    assert "tells 1 of 4 beams" in refusal(server, decoding=Decoding(beams=4))


@pytest.mark.parametrize(
    ("message", "gone", "added"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
         "max_tokens", {"max_completion_tokens": 300}),
        ("Unsupported value: 'temperature' does not support 0 with this model.", "temperature", {}),
        ("`temperature` must be strictly positive", "temperature", {}),
        ("[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted'}]", "seed", {}),
    ],
)  # fmt: skip
def test_fields_a_model_does_not_take_are_left_out(server, message, gone, added):
    server.faults = [Fault(400, {"error": {"message": message}})]
    with endpoint(server, chat=True) as one:
        with pytest.raises(Unanswered) as caught:
            one.generate("how many?", GREEDY)
        assert gone in one.adapt(caught.value)
        assert one.adapt(caught.value) is None  # once
        assert one.generate("how many?", GREEDY).finished
    body = server.requests[-1].body
    assert gone not in body
    assert added.items() <= body.items()


def test_a_prompt_that_is_too_long_changes_nothing(server):
    message = "'max_tokens' is too large: 300. This model's maximum context length is 512 tokens."
    with endpoint(server) as one:
        assert one.adapt(Unanswered(message, refused=True)) is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("https://host/v1", "https://host/v1"),
        ("https://host/v1/", "https://host/v1"),
        ("https://host/llm", "https://host/llm/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("https://host/v1/completions/", "https://host/v1"),
        ("https://host/v1beta/openai/", "https://host/v1beta/openai"),
        (" http://[::1]:8000 ", "http://[::1]:8000/v1"),
    ],
)
def test_addresses_with_and_without_their_version(typed, meant):
    assert base_address(typed) == meant


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("localhost:8000", "did you mean http://localhost:8000?"),
        ("ftp://host", "is no address"),
        ("", "is no address"),
        ("http://", "is no address"),
        ("http://host:port", "is no address"),
        ("http://me:secret@host", "put the key in WORKBENCH_API_KEY"),
        ("http://host?api_key=secret", "put the key in WORKBENCH_API_KEY"),
    ],
)
def test_what_is_no_address(typed, words):
    with pytest.raises(WorkbenchError) as caught:
        base_address(typed)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_our_own_key_goes_before_openais(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    assert key_from_environment() == "theirs"
    monkeypatch.setenv("WORKBENCH_API_KEY", "ours\n")
    assert key_from_environment() == "ours"
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("WORKBENCH_API_KEY", "  ")
    assert key_from_environment() is None


@pytest.mark.parametrize("key", ["se cret", "secr\net", "sécret"])
def test_a_broken_key_is_not_told(monkeypatch, key):
    monkeypatch.setenv("WORKBENCH_API_KEY", key)
    with pytest.raises(WorkbenchError, match="the key in WORKBENCH_API_KEY") as caught:
        key_from_environment()
    assert key not in str(caught.value)


def test_passwords_of_netrc_and_proxies_stay_out_of_it(server, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert ask(server).finished
    assert "Authorization" not in server.requests[0].headers
