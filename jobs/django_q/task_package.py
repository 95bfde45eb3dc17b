"""Reads the signed packages that carry django-q tasks, even those that name classes this release does not have."""

import hashlib
import io
import pickle
from typing import Any

from django.utils import timezone
from django_q.conf import Conf
from django_q.core_signing import BadSignature, loads

Task = dict[str, Any]
"""django-q's task: id, name, func, args, kwargs, started and options."""


class Forged(Exception):
    """The package was not signed with this project's key."""


class Unreadable(Exception):
    """The package is genuine, but this process cannot load what it contains. task: the parts that could be read."""

    def __init__(self, task: Task, reason: str) -> None:
        super().__init__(reason)
        self.task = task


def unpack(package: str | bytes) -> Task:
    """The task in a signed package; raises Forged or Unreadable."""
    try:
        task: Task = _load(package, _Pickled)
    except (BadSignature, TypeError) as error:
        raise Forged(str(error)) from None
    except Exception as error:  # a pickle may raise anything
        raise Unreadable(_readable_part(package), f"{type(error).__name__}: {error}") from error
    return task


def _load(package: str | bytes, serializer: type[Any]) -> Any:
    return loads(package, key=Conf.SECRET_KEY, salt=Conf.PREFIX, serializer=serializer)


def _readable_part(package: str | bytes) -> Task:
    try:
        task: Task = _load(package, _PickledWithStandIns)
        task["func"] = _name(task["func"])
        task["args"], task["kwargs"] = _storable(task["args"], ()), _storable(task["kwargs"], {})
    except Exception:
        return _anonymous(package)
    return task


def _anonymous(package: str | bytes) -> Task:
    """A record for a task of which nothing can be read. The id depends only on the package, so attempts add up."""
    data = package.encode() if isinstance(package, str) else package
    task_id = hashlib.sha256(data).hexdigest()[:32]
    return {"id": task_id, "name": task_id, "func": "unreadable", "args": (), "kwargs": {}, "started": timezone.now()}


def _name(function: Any) -> str:
    if isinstance(function, str):
        return function
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


def _storable(value: Any, otherwise: Any) -> Any:
    """The value, or otherwise if it cannot be pickled, as when it contains a stand-in."""
    try:
        pickle.dumps(value)
    except Exception:
        return otherwise
    return value


class _Pickled:
    @staticmethod
    def loads(data: bytes) -> Any:
        return pickle.loads(data)  # noqa: S301 its signature was verified


class _PickledWithStandIns:
    @staticmethod
    def loads(data: bytes) -> Any:
        return _Unpickler(io.BytesIO(data)).load()


class _Unpickler(pickle.Unpickler):
    """Substitutes a stand-in for a class or function that cannot be imported."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            return type(name, (_StandIn,), {"__module__": module})


class _StandIn:
    """Accepts whatever a pickle does to an instance of the missing class."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_StandIn":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...
