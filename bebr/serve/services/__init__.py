"""The services of bebr.v1: each RPC checks its request, hands the work to a thread and answers. Thin on purpose."""

from bebr.serve.services.admin import Admin
from bebr.serve.services.collections import Collections
from bebr.serve.services.models import Models
from bebr.serve.services.points import Points

__all__ = ["Admin", "Collections", "Models", "Points"]
