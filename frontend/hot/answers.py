"""What a plain call is answered with, as bytes: a result with the pooler's own JSON in it, or a failure in words.

The two revisions differ in what a result is stamped with, and in whether it stands alone or on an event stream.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from frontend.errors import INTERNAL_ERROR, REQUEST_CANCELLED, PoolerError, ProtocolError, as_tool_result
from frontend.events import Reply
from frontend.hot.heads import Form
from frontend.splicing import spliced

COMPLETE = b'"resultType":"complete",'

_STATUS: Mapping[int, int] = {-32700: 400, -32600: 400, -32602: 400, -32020: 400, -32021: 400, -32022: 400, -32601: 404}
"""HTTP status by JSON-RPC code, in the revision that has such a table; any other is 200."""


class Answer(NamedTuple):
    """A JSON-RPC response. `status`: of the HTTP response, where that has not begun yet."""

    message: bytes
    status: int = 200


class Answers:
    """`name` and `version`: what the server calls itself."""

    def __init__(self, name: str, version: str) -> None:
        self._server_info = {"io.modelcontextprotocol/serverInfo": {"name": name, "version": version}}
        self._stamp = b"," + orjson.dumps(self._server_info)[1:-1]

    def result(self, form: Form, id_: bytes, reply: Reply) -> Answer:
        """A value. What is MCP's own form, or a question, is none of this file's."""
        modern = form is Form.MODERN
        result = spliced(reply, self._stamp, COMPLETE) if modern else spliced(reply)
        return Answer(b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id_, result))

    def rendered(self, id_: bytes, result: bytes) -> Answer:
        """A result that somebody else has made. `result`: a JSON object."""
        return Answer(b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id_, result))

    def failure(self, form: Form, id_: bytes, error: PoolerError) -> Answer:
        """A failure as a tool's result; as an error where a program has to read it."""
        try:
            return self.told(form, id_, as_tool_result(error))
        except ProtocolError as refused:
            return self.error(form, id_, refused)

    def told(self, form: Form, id_: bytes, result: dict[str, Any]) -> Answer:
        """A result of our own handlers, in the order in which the SDK writes its members."""
        modern = form is Form.MODERN
        told = {
            "_meta": {**result["_meta"], **(self._server_info if modern else {})},
            "content": [{"text": each["text"], "type": "text"} for each in result["content"]],
            "isError": True,
            **({"resultType": "complete"} if modern else {}),
        }
        return Answer(b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id_, orjson.dumps(told)))

    def taken_back(self, form: Form, id_: bytes) -> Answer:
        """What the revision that has conversations says of a request that its client has cancelled."""
        return self.error(form, id_, ProtocolError(REQUEST_CANCELLED, "Request cancelled"))

    def broken(self, form: Form, id_: bytes) -> Answer:
        """Instead of an answer that could not be made; what is wrong with it is the log's."""
        return self.error(form, id_, ProtocolError(INTERNAL_ERROR, "Internal server error"))

    def error(self, form: Form, id_: bytes, error: ProtocolError) -> Answer:
        status = _STATUS.get(error.code, 200) if form is Form.MODERN else 200
        return Answer(b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (id_, orjson.dumps(error.error)), status)


def event(message: bytes) -> bytes:
    """A message on an event stream, where it has to stand on one line."""
    if b"\n" in message or b"\r" in message:
        message = orjson.dumps(orjson.loads(message))
    return b"event: message\r\ndata: %b\r\n\r\n" % message


def ping(form: Form) -> bytes:
    """What keeps a silent stream alive, as the SDK says it in each revision."""
    if form is Form.MODERN:
        return b": ping\r\n\r\n"
    return b": ping - %b\r\n\r\n" % str(datetime.now(UTC)).encode()
