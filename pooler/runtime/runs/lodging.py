"""A run's place in a conversation: its short name there, and that it ends when the conversation does."""

from collections.abc import Awaitable, Callable

from pooler.runtime.conversations.room import Conversations


class Lodging:
    """One run's. Made before the run is, `over` when that has ended, `gone` when it is forgotten."""

    def __init__(
        self, conversations: Conversations, key: str, request_key: str, end: Callable[[str], Awaitable[None]]
    ) -> None:
        """`key`: the conversation's. `end` cancels and forgets the run of an id. Raises Fault when it has ended."""
        self._conversations = conversations
        self._key = key
        self._request_key = request_key
        self._end = end
        self._under_way = True
        self.name = conversations.begin_run(key, request_key)

    async def end(self) -> None:
        """The conversation has ended."""
        await self._end(self.name.id)

    def stay(self) -> None:
        """From now on it ends with the conversation. Raises Fault when that has ended meanwhile."""
        self._conversations.attach(self._key, self)

    def over(self) -> None:
        """The run is under way no more. Harmless when repeated."""
        if self._under_way:
            self._under_way = False
            self._conversations.end_run(self._key, self.name, self._request_key)

    def gone(self) -> None:
        """The run is not kept any more."""
        self.over()
        self._conversations.detach(self._key, self)
