"""`frontend.entry.asgi:app` for any ASGI host: uvicorn, granian, hypercorn, Vercel, the Lambda Web Adapter.

Configured by the same environment variables as `python -m frontend`. No logic here.
"""

from frontend.app import Frontend
from frontend.config import load
from frontend.logs import configure

settings = load()
configure(settings.log_level, settings.log_format)
app = Frontend(settings)
