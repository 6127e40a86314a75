"""A connection to a simulated system: its opening and closing, as a client library would do them."""

from dataclasses import dataclass, field

from pooler.backends.base import Connection, Tag
from pooler.backends.simulated.system import Session, System


@dataclass(slots=True, eq=False)
class SimulatedConnection(Connection):
    """The client's end of one session."""

    session: Session = field(kw_only=True)


async def open_connection(tag: Tag, system: System) -> SimulatedConnection:
    """Logs in. When that fails or is cancelled, it waits until the system has forgotten the attempt."""
    session = system.arrive(str(tag))
    try:
        await system.login(session)
    except BaseException:
        system.drop(session)
        await session.gone.wait()
        raise
    return SimulatedConnection(tag, session=session)


async def close_connection(connection: SimulatedConnection, system: System) -> bool:
    """Logs out, and waits until the system has dropped the session, where a client can find that out."""
    system.drop(connection.session)
    if not system.manners.confirm_death:
        return False
    await connection.session.gone.wait()
    return True
