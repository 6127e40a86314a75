"""What carries an exchange: whole messages, in order, both ways; with room that is told, and an end with its cause.

An exchange knows its messages and no transport; a transport knows this contract and no frame. It decides nothing.
"""

from typing import Protocol

from pooler.errors import Fault


class Line(Protocol):
    """The pooler's end of one carrier.

    Its owner gives each message to `Exchange.receive`, calls `Exchange.flush` whenever there is room again,
    `Exchange.half_close` when the client will say nothing more, and `Exchange.close` once, however it all ended.
    """

    @property
    def from_this_machine(self) -> bool:
        """Whether the client is on this machine, and might be served nearer by."""

    @property
    def ready(self) -> bool:
        """Whether it takes a message now. After one it may be full until the next `flush`."""

    def write(self, message: bytes) -> None:
        """Sends a message; only when `ready`."""

    def hold(self, held: bool) -> None:
        """Whether the client's messages are to wait, however they pile up on the client's side."""

    def end(self, fault: Fault | None) -> None:
        """No message follows: the client reads the end, with a fault's status if there is one."""
