"""The fixture's tools and its prompt that have to ask before they are done, in one round or in several."""

from forms import (
    Handler,
    Notify,
    Params,
    Result,
    answers,
    asked,
    content,
    filled,
    form,
    messages,
    meta,
    roots,
    sample,
    state,
    text,
)


def test_input_required_result_elicitation(params: Params, note: Notify) -> Result:
    if (name := filled(params, "user_name")) is None:
        return asked(user_name=form("What is your name?", name="string"))
    return content(text(f"Hello, {name.get('name', 'stranger')}!"))


def test_input_required_result_sampling(params: Params, note: Notify) -> Result:
    if (answer := answers(params).get("capital_question")) is None:
        return asked(capital_question=sample("What is the capital of France?", 100))
    return content(text(answer["content"]["text"]))


def test_input_required_result_list_roots(params: Params, note: Notify) -> Result:
    if (answer := answers(params).get("client_roots")) is None:
        return asked(client_roots=roots())
    return content(text(", ".join(root["uri"] for root in answer["roots"])))


def test_input_required_result_request_state(params: Params, note: Notify) -> Result:
    if state(params) != "asked for ok" or filled(params, "confirm") is None:
        return asked("asked for ok", confirm=form("Please confirm", ok="boolean"))
    return content(text("state-ok"))


def test_input_required_result_tampered_state(params: Params, note: Notify) -> Result:
    return test_input_required_result_request_state(params, note)


def test_input_required_result_multiple_inputs(params: Params, note: Notify) -> Result:
    wanted = {
        "user_name": form("What is your name?", name="string"),
        "greeting": sample("Generate a greeting", 50),
        "client_roots": roots(),
    }
    missing = {key: request for key, request in wanted.items() if key not in answers(params)}
    return asked("waiting for three", **missing) if missing else content(text("All three have been answered."))


def test_input_required_result_multi_round(params: Params, note: Notify) -> Result:
    name, color = filled(params, "step1"), filled(params, "step2")
    if state(params).startswith("name: ") and color is not None:
        return content(text(f"{state(params)}, color: {color.get('color')}"))
    if name is not None:
        return asked(f"name: {name.get('name')}", step2=form("Step 2: What is your favorite color?", color="string"))
    return asked("asked for a name", step1=form("Step 1: What is your name?", name="string"))


def test_input_required_result_capabilities(params: Params, note: Notify) -> Result:
    """Asks for what the client can be asked for, and for nothing else."""
    possible = {
        "elicitation": ("user_name", form("What is your name?", name="string")),
        "sampling": ("capital_question", sample("What is the capital of France?", 100)),
    }
    declared = meta(params).get("clientCapabilities", {})
    wanted = dict(question for capability, question in possible.items() if capability in declared)
    missing = {key: request for key, request in wanted.items() if key not in answers(params)}
    return asked(**missing) if missing else content(text("There is nothing more to ask."))


def test_streaming_elicitation(params: Params, note: Notify) -> Result:
    if filled(params, "color") is None:
        return asked(color=form("What is your favorite color?", color="string"))
    return content(text("Thank you."))


def input_required_prompt(params: Params, note: Notify) -> Result:
    if (given := filled(params, "user_context")) is None:
        return asked(user_context=form("What context should the prompt use?", context="string"))
    return messages(text(f"The context is {given.get('context')}."))


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        test_input_required_result_elicitation,
        test_input_required_result_sampling,
        test_input_required_result_list_roots,
        test_input_required_result_request_state,
        test_input_required_result_tampered_state,
        test_input_required_result_multiple_inputs,
        test_input_required_result_multi_round,
        test_input_required_result_capabilities,
        test_streaming_elicitation,
        input_required_prompt,
    )
}
