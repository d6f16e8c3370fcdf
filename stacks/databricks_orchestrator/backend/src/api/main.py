"""The entry point that servers import as `api.main:app`."""

from api.application import create_app
from api.settings import settings_or_exit

app = create_app(settings_or_exit())
