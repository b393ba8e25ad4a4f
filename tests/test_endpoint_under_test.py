"""A server asked many questions at once: what it is asked, how many at a time, and when to give up."""

import pytest
from openai_server import Fault, serving

from workbench.endpoint import Endpoint, EndpointOptions
from workbench.endpoint_under_test import EndpointUnderTest
from workbench.errors import WorkbenchError
from workbench.model_under_test import Failure
from workbench.progress import Listener
from workbench.prompt import NANO, V3_LLAMA3
from workbench.runtimes.base import Decoding, Generation

GREEDY = Decoding(("```",), 300)
PROMPTS = [f"question {chr(122 - n)}" + "!" * (n % 3) for n in range(12)]


class Notes(Listener):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def server():
    with serving() as served:
        yield served


def ask(server, prompts=PROMPTS, told=None, listener=None, prompt=NANO, **options):
    told = {} if told is None else told
    options = EndpointOptions(**{"backoff_s": 0.01, "tries": 2, **options})
    with Endpoint(server.address, "sqlcoder-nano", options) as endpoint:
        EndpointUnderTest(endpoint, prompt).answer(prompts, GREEDY, told.__setitem__, listener or Notes())
    return told


def test_every_prompt_gets_its_own_answer(server):
    told = ask(server)
    assert {place: answer.text for place, answer in told.items()} == {
        place: f"SELECT '{prompt}'\n" for place, prompt in enumerate(PROMPTS)
    }


def test_the_shortest_goes_first_and_alone_then_all_in_the_order_of_their_texts(server):
    ask(server, concurrency=1)
    assert len(server.prompts[0]) == min(map(len, PROMPTS))
    assert server.prompts[1:] == sorted(set(PROMPTS) - {server.prompts[0]})


@pytest.mark.parametrize("concurrency", [1, 3])
def test_as_many_at_once_as_asked_for(server, concurrency):
    server.faults = [Fault(200), *[Fault(200, sleep_s=0.1)] * 11]
    ask(server, concurrency=concurrency)
    assert server.requests[1].under_way == 1
    assert max(request.under_way for request in server.requests) == concurrency


def test_a_question_that_fails_leaves_the_others(server):
    server.faults = [Fault(200), *[Fault(500, "broken")] * 2]
    told = ask(server, concurrency=1)
    failed = [answer for answer in told.values() if isinstance(answer, Failure)]
    assert len(told) == 12
    assert [one.refused for one in failed] == [False]
    assert "HTTP 500: broken" in failed[0].message


def test_a_prompt_that_is_too_long_leaves_the_others(server):
    server.faults = [Fault(200), *[Fault(400, "too long")] * 5]
    told = ask(server, concurrency=1)
    assert sum(isinstance(answer, Failure) and answer.refused for answer in told.values()) == 5
    assert sum(isinstance(answer, Generation) for answer in told.values()) == 7


def test_a_server_that_is_gone_is_left_alone(server):
    server.faults = [Fault(200), *[Fault(500, "gone")] * 99]
    told = {}
    with pytest.raises(WorkbenchError, match=r"3 questions in a row got no answer, the last: .*HTTP 500: gone"):
        ask(server, told=told, concurrency=1)
    assert len(told) == 4
    assert len(server.prompts) <= 1 + 2 * 4  # tries of each; one more may have been under way


def test_a_server_that_refuses_everything_is_left_alone(server):
    server.faults = [Fault(400, "no")] * 99
    with pytest.raises(WorkbenchError, match="3 questions in a row got no answer, the last: HTTP 400: no"):
        ask(server, concurrency=1)


def test_what_is_wrong_with_all_ends_it_at_once(server):
    server.key = "secret"
    with pytest.raises(WorkbenchError, match="wants a key"):
        ask(server)
    assert server.prompts == []


def test_a_first_question_that_fails_ends_it_at_once(server):
    server.faults = [Fault(500, "broken")] * 99
    with pytest.raises(WorkbenchError, match="failed 2 times: HTTP 500: broken"):
        ask(server)
    assert len(server.prompts) == 2


def test_the_form_of_the_request_is_found_with_the_first(server):
    server.faults = [Fault(400, {"error": {"message": "Unsupported parameter: 'max_tokens'"}})]
    notes = Notes()
    assert len(ask(server, listener=notes)) == 12
    assert notes.notes == ["the server takes no max_tokens; max_completion_tokens is sent instead"]
    assert len(server.prompts) == 13


def test_one_question_alone(server):
    assert set(ask(server, ["only"])) == {0}


def test_two_chat_forms_around_one_prompt_are_told(server):
    notes = Notes()
    ask(server, listener=notes, prompt=V3_LLAMA3, chat=True)
    assert ["own chat marks" in note for note in notes.notes] == [True]
