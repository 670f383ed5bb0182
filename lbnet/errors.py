"""What can go wrong, as one tree. It must not know how anything works.

    LbnetError
    ├── UsageError                  the caller asked for something impossible; the sentence says what to change
    ├── ConnectError                no controller could be reached, or it refused us
    │   └── AccessError             it is not ours, or does not let us in: to try again is of no use
    ├── ConnectionLostError         a controller was reached, and the link to it broke
    ├── ProtocolError               a peer or we broke the protocol
    │   ├── LocalProtocolError      our own fault: a bug in lbnet
    │   └── RemoteProtocolError     the peer's fault: its link is closed, nothing else is harmed
    ├── SerializeError              something of the user's could not be pickled or unpickled
    │   ├── FunctionSerializeError
    │   ├── ItemSerializeError
    │   ├── ResultSerializeError
    │   └── ExceptionSerializeError a task raised, and its exception could not travel; carries its text
    ├── JournalError                the controller's journal cannot be read or written
    └── TaskError                   a task failed in a way that is not an exception of its own
        ├── TaskCrashedError        it killed its process, several times
        ├── TaskTimeoutError        it ran longer than ``task_timeout_s``
        ├── SpawnedValueError       a spawned task returned a value and the job has no ``reduce=``
        ├── SpawnedTaskError        a task that this item spawned failed
        ├── SpawnLimitError         a job's tasks spawned more than may wait at once
        ├── InputError              the iterable of items raised midway
        └── NoWorkersError          nobody was left who could run it

A task that raised an ordinary exception fails with **that** exception, as in
:mod:`concurrent.futures`; its notes name the item, worker, host and process.
"""

from __future__ import annotations


class LbnetError(Exception):
    """The root of everything that lbnet raises by itself."""


class UsageError(LbnetError, ValueError):
    """The caller asked for something impossible."""


class ConnectError(LbnetError, ConnectionError):
    """No controller could be reached, or it refused us."""


class AccessError(ConnectError):
    """The controller is of another cluster, or does not let us in; the sentence says why, and what to do."""


class ConnectionLostError(LbnetError, ConnectionError):
    """The link to the controller broke while it was needed."""


class ProtocolError(LbnetError):
    """A message broke the protocol."""


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol: a bug in lbnet."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; its link must be closed."""


class SerializeError(LbnetError, TypeError):
    """Something of the user's could not be pickled or unpickled."""


class FunctionSerializeError(SerializeError):
    """The function could not be pickled, or a worker could not unpickle it."""


class ItemSerializeError(SerializeError):
    """An item could not be pickled, or a worker could not unpickle it."""


class ResultSerializeError(SerializeError):
    """A task's result could not be pickled, or the client could not unpickle it."""


class ExceptionSerializeError(SerializeError):
    """A task raised an exception that could not travel; the text of it and its traceback are kept."""


class JournalError(LbnetError):
    """The controller's journal cannot be read or written. What was acknowledged is in it."""


class TaskError(LbnetError):
    """A task failed in a way that is not an exception of its own."""


class TaskCrashedError(TaskError):
    """A task killed the process that ran it."""


class TaskTimeoutError(TaskError, TimeoutError):
    """A task ran longer than ``task_timeout_s``."""


class SpawnedValueError(TaskError):
    """A spawned task returned a value, and the job has no ``reduce=`` that says what to do with it."""


class SpawnedTaskError(TaskError):
    """A task that this item spawned failed; ``__cause__`` is its error."""


class SpawnLimitError(TaskError):
    """The tasks of a job have spawned more than may wait at once; the sentence says where the limit is."""


class InputError(TaskError):
    """The iterable of items raised; ``__cause__`` is its exception."""


class NoWorkersError(TaskError):
    """The job could not go on because no worker was left."""
