"""A frontend under a host that is not ours: plain uvicorn, as whoever deploys `frontend.entry.asgi` runs it."""

import uvicorn

from frontend.app import Frontend
from frontend.config import Settings
from frontend.server import Server


class ForeignHost(Server):
    """Nothing of ours but the application; it tells where it listens as our own server does."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.frontend = Frontend(settings)
        self.config = uvicorn.Config(
            self.frontend,
            host=settings.host,
            port=settings.port,
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
        )
