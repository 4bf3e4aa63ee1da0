"""The services of bebr.v1 as a root answers them. A collection that is not split goes to a leaf as it is; of one that
is, each shard is asked for its part."""

from bebr.cluster.services.admin import Admin
from bebr.cluster.services.collections import Collections
from bebr.cluster.services.elsewhere import Models, Producer, Snapshots
from bebr.cluster.services.points import Points

__all__ = ["Admin", "Collections", "Models", "Points", "Producer", "Snapshots"]
