"""How alembic reaches the database: by the application's own settings."""

from logging.config import fileConfig

from alembic import context

from api.database import make_engine
from api.models import Base
from api.settings import settings_or_exit

config = context.config
# Set when the application itself upgrades a SQLite file: its logging is already configured.
url = config.attributes.get("url")
if url is None:
    fileConfig(config.config_file_name)
    url = settings_or_exit().database()

engine = make_engine(url)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
