"""Every table. Moments are integers: microseconds since 1970, UTC. Uniqueness is always a constraint."""

from tidings.store.schema.base import EPOCH as EPOCH
from tidings.store.schema.base import Moment as Moment
from tidings.store.schema.base import RowId as RowId
from tidings.store.schema.base import metadata as metadata
from tidings.store.schema.base import to_microseconds as to_microseconds
from tidings.store.schema.content import *  # noqa: F403
from tidings.store.schema.delivery import *  # noqa: F403
from tidings.store.schema.people import *  # noqa: F403
from tidings.store.schema.team import *  # noqa: F403
