"""starter jobs: takes over what docker/postgres/seed.sql left in an empty database"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    if sa.inspect(op.get_bind()).has_table("starter_jobs"):
        op.execute(
            "INSERT INTO jobs (name, description) SELECT name, description FROM starter_jobs ORDER BY name"
        )
        op.drop_table("starter_jobs")


def downgrade() -> None:
    """Nothing: the jobs may have been changed since."""
