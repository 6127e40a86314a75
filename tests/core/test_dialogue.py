"""Calls that ask their user, by plain calls: what is asked of whom, what a sealed state is good for, and how often."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.backends.base import Answer, Caller, Input
from pooler.errors import Fault, Reason
from pooler.runtime.dialogue import ROUNDS_MAX, STATE_SECONDS, Dialogue, fingerprint
from pooler.runtime.handles import Sealer
from pooler.runtime.questions import VALUE_CHARACTERS_MAX, check_client, needs, worded
from pooler.runtime.turns import Extras, Outcome, Timing, Turn

FORM = b'{"elicitation":{}}'
YES = b'{"confirm":{"action":"accept","content":{}}}'
CONFIRM = "Erase {value}?"


class Wall:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Talk:
    """A dialogue, and calls of one operation in it."""

    def __init__(self, confirm: str = CONFIRM, read: bool = False) -> None:
        self.wall = Wall()
        self.sealer = Sealer("a1", [bytes(32)], self.wall)
        self.dialogue = Dialogue(self.sealer, self.wall)
        self.confirm = confirm
        self.read = read

    def turn(self, arguments: Mapping[str, Any] | None = None, principal: str = "me", seconds: float = 30) -> Turn:
        return Turn(
            asked_at=5,
            give_up_at=5 + seconds,
            deadline=5 + seconds,
            operation="erase",
            read=self.read,
            arguments=arguments if arguments is not None else {"value": "all"},
            caller=Caller("acme", principal, "r"),
        )

    def begin(self, responses: bytes = b"", state: str = "", **of: Any) -> Input | Answer:
        turn = of.pop("turn", None) or self.turn(**of)
        return self.dialogue.begin(turn, self.confirm, Input(FORM, responses, state))

    def asked(self, **of: Any) -> str:
        """The state of a call that was answered with a question."""
        answer = self.begin(**of)
        assert isinstance(answer, Answer)
        assert answer.asks
        state: str = orjson.loads(answer.body)["requestState"]
        return state

    def refused(self, *given: Any, **of: Any) -> Reason:
        with pytest.raises(Fault) as caught:
            self.begin(*given, **of)
        return caught.value.reason

    def worker_asks(self, worker_state: str, responses: bytes = b"", state: str = "") -> Answer | Fault:
        """What becomes of a worker's own question, which it asks in a call with this input."""
        turn = self.turn()
        given = self.begin(responses, state, turn=turn)
        assert isinstance(given, Input)
        turn.extras = Extras(input=given)
        turn.granted_at = 6
        body = {"inputRequests": {"who": {"method": "elicitation/create"}}, "requestState": worker_state}
        return self.dialogue.ended(turn, Outcome(Answer(orjson.dumps(body), asks=True), Timing())).result


def test_a_confirmation_names_what_will_be_done_and_asks_for_a_yes_or_no() -> None:
    answer = Talk().begin()
    assert isinstance(answer, Answer)
    (asked,) = orjson.loads(answer.body)["inputRequests"].items()
    assert asked == (
        "confirm",
        {
            "method": "elicitation/create",
            "params": {
                "mode": "form",
                "message": "Erase all?",
                "requestedSchema": {"type": "object", "properties": {}},
            },
        },
    )


def test_a_confirmed_call_goes_on_and_its_worker_sees_nothing_of_the_confirmation() -> None:
    talk = Talk()
    given = talk.begin(b'{"confirm":{"action":"accept"},"other":{"a":1}}', talk.asked())
    assert given == Input(FORM, b'{"other":{"a":1}}', "")


def test_a_yes_without_the_question_that_it_answers_is_no_consent() -> None:
    assert Talk().asked(responses=YES)


def test_a_question_that_was_left_out_is_asked_again() -> None:
    talk = Talk()
    assert talk.asked(responses=b'{"wrong key":{"action":"accept"}}', state=talk.asked())


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_a_no_ends_the_call(action: str) -> None:
    talk = Talk()
    said = orjson.dumps({"confirm": {"action": action}})
    assert talk.refused(said, talk.asked()) is Reason.INPUT_DECLINED


@pytest.mark.parametrize(
    "said", [b"{", b"[]", b'"yes"', b'{"confirm":1}', b'{"confirm":{}}', b'{"confirm":{"action":"perhaps"}}']
)
def test_what_is_no_answer_is_refused(said: bytes) -> None:
    talk = Talk()
    assert talk.refused(said, talk.asked()) is Reason.INVALID_ARGUMENTS


def test_consent_is_bound_to_its_arguments_however_they_are_ordered() -> None:
    talk = Talk()
    state = talk.asked(arguments={"value": "one", "n": 1})
    assert talk.refused(YES, state, arguments={"value": "all", "n": 1}) is Reason.INVALID_ARGUMENTS
    assert isinstance(talk.begin(YES, state, arguments={"n": 1, "value": "one"}), Input)


def test_consent_is_bound_to_its_user_and_cannot_be_made_up() -> None:
    talk = Talk()
    state = talk.asked()
    assert talk.refused(YES, state, principal="somebody else") is Reason.HANDLE_UNKNOWN
    assert talk.refused(YES, state[:-1] + ("A" if state[-1] != "A" else "B")) is Reason.HANDLE_UNKNOWN
    assert talk.refused(YES, "state-TAMPERED") is Reason.HANDLE_UNKNOWN
    assert talk.refused(YES, state + "-TAMPERED") is Reason.HANDLE_UNKNOWN


def test_consent_is_good_for_a_while_and_longer_for_a_call_that_may_last_longer() -> None:
    talk = Talk()
    brief, lasting = talk.asked(), talk.asked(seconds=7200)
    talk.wall.now += STATE_SECONDS + 1
    assert talk.refused(YES, brief) is Reason.HANDLE_EXPIRED
    assert isinstance(talk.begin(YES, lasting), Input)


def test_a_write_is_begun_with_a_consent_once() -> None:
    talk = Talk()
    state = talk.asked()
    talk.begin(YES, state)
    assert talk.refused(YES, state) is Reason.HANDLE_EXPIRED
    for _ in range(3000):  # so many others that the used ones are looked through
        talk.begin(YES, talk.asked())
    assert talk.refused(YES, state) is Reason.HANDLE_EXPIRED


def test_a_read_may_be_repeated_with_the_consent_that_it_had() -> None:
    talk = Talk(read=True)
    state = talk.asked()
    assert isinstance(talk.begin(YES, state), Input)
    assert isinstance(talk.begin(YES, state), Input)


@pytest.mark.parametrize(("granted_at", "again"), [(0.0, True), (6.0, False)])
def test_a_consent_is_used_up_only_by_work_that_was_begun(granted_at: float, again: bool) -> None:
    talk = Talk()
    state, turn = talk.asked(), talk.turn()
    talk.begin(YES, state, turn=turn)
    turn.granted_at = granted_at
    talk.dialogue.ended(turn, Outcome(Fault(Reason.QUEUE_FULL, "full"), Timing()))
    if again:
        assert isinstance(talk.begin(YES, state), Input)
    else:
        assert talk.refused(YES, state) is Reason.HANDLE_EXPIRED


def test_a_later_process_begins_no_write_with_a_consent_of_an_earlier_one() -> None:
    talk = Talk()
    state = talk.asked()
    talk.dialogue = Dialogue(talk.sealer, talk.wall)
    assert talk.refused(YES, state) is Reason.HANDLE_EXPIRED


def test_what_a_worker_wants_to_remember_comes_back_to_it_and_nobody_else_can_read_it() -> None:
    talk = Talk(confirm="")
    asked = talk.worker_asks("the worker's own secret")
    assert isinstance(asked, Answer)
    body = orjson.loads(asked.body)
    assert body["inputRequests"] == {"who": {"method": "elicitation/create"}}
    assert "secret" not in body["requestState"]
    assert talk.begin(b'{"who":{"action":"accept"}}', body["requestState"]) == Input(
        FORM, b'{"who":{"action":"accept"}}', "the worker's own secret"
    )


def test_a_confirmed_call_whose_worker_asks_as_well_is_not_confirmed_twice() -> None:
    talk = Talk()
    asked = talk.worker_asks("s", YES, talk.asked())
    assert isinstance(asked, Answer)
    given = talk.begin(b'{"confirm":{"mine":"too"}}', orjson.loads(asked.body)["requestState"])
    assert given == Input(FORM, b'{"confirm":{"mine":"too"}}', "s")


def test_a_worker_that_asks_without_end_is_ended() -> None:
    talk = Talk(confirm="", read=True)
    state = ""
    for _ in range(ROUNDS_MAX):
        asked = talk.worker_asks("again", state=state)
        assert isinstance(asked, Answer)
        state = orjson.loads(asked.body)["requestState"]
    last = talk.worker_asks("again", state=state)
    assert isinstance(last, Fault)
    assert last.reason is Reason.INTERNAL


ELICIT, SAMPLE = "elicitation/create", "sampling/createMessage"


@pytest.mark.parametrize(
    ("request_", "enough", "too_little"),
    [
        ({"method": ELICIT}, '{"elicitation":{}}', "{}"),
        ({"method": ELICIT, "params": {"mode": "form"}}, '{"elicitation":{"form":{}}}', '{"elicitation":{"url":{}}}'),
        ({"method": ELICIT, "params": {"mode": "url"}}, '{"elicitation":{"url":{}}}', '{"elicitation":{}}'),
        ({"method": SAMPLE, "params": {}}, '{"sampling":{}}', '{"elicitation":{}}'),
        ({"method": SAMPLE, "params": {"tools": []}}, '{"sampling":{"tools":{}}}', '{"sampling":{}}'),
        ({"method": "roots/list"}, '{"roots":{}}', ""),
    ],
)
def test_a_client_is_asked_only_what_it_says_it_can_be_asked(request_: Any, enough: str, too_little: str) -> None:
    check_client("erase", {"key": request_}, enough.encode())
    with pytest.raises(Fault) as caught:
        check_client("erase", {"key": request_}, too_little.encode())
    assert caught.value.reason is Reason.INPUT_UNAVAILABLE
    assert caught.value.metadata["capability"] in caught.value.message
    assert orjson.loads(caught.value.metadata["required_capabilities"]) == needs(request_)


def test_a_client_that_cannot_be_asked_is_told_so_before_any_work() -> None:
    talk = Talk()
    with pytest.raises(Fault, match=r"elicitation\.form"):
        talk.dialogue.begin(talk.turn(), CONFIRM, Input())


@given(st.dictionaries(st.sampled_from(["value", "n"]), st.text() | st.integers() | st.lists(st.text())))
def test_an_argument_cannot_write_a_paragraph_of_its_own_into_a_confirmation(arguments: dict[str, Any]) -> None:
    text = worded("Erase {value} {n} times?", arguments)
    assert len(text.splitlines()) == 1
    assert text.startswith("Erase ")
    assert text.endswith(" times?")
    assert len(text) < 2 * (VALUE_CHARACTERS_MAX + 20)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), JSON), st.randoms())
def test_the_order_of_arguments_makes_no_difference_to_their_fingerprint(
    arguments: dict[str, Any], chance: Any
) -> None:
    shuffled = list(arguments.items())
    chance.shuffle(shuffled)
    assert fingerprint(dict(shuffled)) == fingerprint(arguments)
    assert fingerprint({**arguments, "one more": 1}) != fingerprint(arguments)
