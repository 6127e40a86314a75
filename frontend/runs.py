"""Requests that are carried out as runs, so that their clients hear what happens meanwhile.

A run lasts as long as its request: when the client leaves, nobody follows any more, and the pooler cancels it.
"""

import math
from contextlib import aclosing

import mcp_types as types

from frontend.asking import answers_of
from frontend.errors import PoolerError
from frontend.events import Accepted, Done, InputRequired, Page, Reply, RunEvent
from frontend.pooler_client import Call, Runs, Terms
from frontend.rendering import Note, line_of, step_of
from frontend.requests import Context, can_be_asked


class Teller:
    """Tells the client of one request what happens to its run, as far as it wants to hear."""

    def __init__(self, ctx: Context, note: Note) -> None:
        self._ctx = ctx
        self._note = note
        self._progress = -math.inf

    async def tell(self, event: RunEvent) -> None:
        """Sends what there is to say. The first word turns the response into an event stream."""
        if self._note.progress_token is not None and (step := step_of(event)) is not None:
            # A worker may stand still, or go back; the protocol may not.
            if step.progress > self._progress:
                self._progress = step.progress
                await self._ctx.session.report_progress(*step)
        elif (line := line_of(event, self._note)) is not None:
            params = types.LoggingMessageNotificationParams.model_validate(line)
            message = types.LoggingMessageNotification(params=params)
            await self._ctx.session.send_notification(message, related_request_id=self._ctx.request_id)


async def reply_of(runs: Runs, ctx: Context, call: Call, note: Note) -> Reply:
    """Carries out a call as a run, tells its client of it, and asks it where it can be asked. Raises PoolerError."""
    teller = Teller(ctx, note)
    terms = Terms(await_input=can_be_asked(ctx), note=note.pack())
    reply: Reply | None = None
    run = ""
    async with aclosing(runs.run(call, terms)) as events:
        async for event in events:
            match event.what:
                case Accepted(handle):
                    run = handle
                case InputRequired(requests):
                    await runs.answer(call.caller, run, await answers_of(ctx, requests))
                case Page(page):
                    reply = page
                case Done(PoolerError() as error):
                    raise error
                case _:
                    await teller.tell(event)
    if reply is None:
        raise PoolerError("INTERNAL", f"{call.operation.name!r} ended without a result; the pooler's log has more.")
    return reply
