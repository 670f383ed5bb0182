"""What is said: one small class a message. Data only; how it becomes bytes is :mod:`.codec`'s business.

Each docstring says who sends it, when, and what must follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from lbnet.types import Batch, Group, JobId, JobOptions, PeerId, RunId, Span

PROTOCOL_VERSION = 1

# --- joining --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Any peer, first on every link. WELCOME or REFUSED must follow.

    ``role`` is ``worker`` or ``client`` towards the controller and ``peer`` between workers, where
    ``peer`` is the sender's id. One that comes back to its controller says which id it had (``peer``) and in which
    ``cluster``; one that is new says 0 and nothing.
    """

    magic: str
    version: int
    role: str
    name: str
    host: str
    pid: int
    slots: int
    port: int
    peer: int
    cluster: bytes = b""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The listening side, in answer to HELLO: the link is open, and ``peer`` is your id.

    If it is the id that you had before, all that you hold counts; if not, nothing does. ``cluster`` is the pass for
    this id: nobody else is told, and it is good for as long as the controller's journal lives. ``deadline_s`` is how
    long any link of the cluster may be silent; 0: for ever.
    """

    magic: str
    version: int
    peer: PeerId
    address: str
    cluster: bytes = b""
    deadline_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """The listening side, instead of WELCOME; the link is closed after it. ``final``: to try again is of no use."""

    reason: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Renew:
    """Worker or client → controller: issue a new certificate to me, for this public key. RENEWED follows."""

    public_key: bytes


@dataclass(frozen=True, slots=True)
class Renewed:
    """Controller → worker or client, in answer to RENEW: the certificate, for links that are opened from now on."""

    certificate: bytes


@dataclass(frozen=True, slots=True)
class Revoked:
    """Controller → worker, when it joins, and when a token is revoked: who came in with these is let in no more."""

    tokens: tuple[str, ...]


# --- jobs, client and controller ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenJob:
    """Client → controller: a job begins. FUNCTION and SUBMIT follow, then CLOSE_JOB.

    Controller → worker, before the first work of a job on that link.
    """

    job: JobId
    options: JobOptions


@dataclass(frozen=True, slots=True)
class Function:
    """Anyone → anyone, before the first work on a link that needs this function."""

    job: JobId
    digest: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Submit:
    """Client → controller: more items of the job, in the order of the input."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class CloseJob:
    """Client → controller: the input ends; ``total`` items were submitted. JOB_DONE will follow."""

    job: JobId
    total: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Client → controller: drop items ``[lo, hi)``, also those that run. CANCELLED follows for those not settled."""

    job: JobId
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Controller → worker: nobody wants items ``[lo, hi)``, or what they spawned: drop them, and end what runs."""

    job: JobId
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Controller → client: nothing more will be said of these items. If they spawned, values may have come before."""

    job: JobId
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """Controller → client: the items below ``upto`` are safe; you may forget them.

    ``closed``: and so is the word that there are no more, which is told of jobs that are detached.
    """

    job: JobId
    upto: int
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Attach:
    """Client → controller: I am back, or new, and want what comes of this job; I have ``seen`` so many outcomes of it.

    Outcomes are all of CANCELLED, VALUES, PARTIAL, FAILED, SETTLED and JOB_DONE, counted from the beginning of the
    job. ATTACHED follows, and then what was not seen; or JOB_REFUSED.
    """

    job: JobId
    seen: int


@dataclass(frozen=True, slots=True)
class Attached:
    """Controller → client, in answer to ATTACH: the outcomes from number ``taken`` on follow, again.

    ``submitted`` items need not be submitted again, nor CLOSE_JOB if it is ``closed``; SUBMITTED says what is safe.
    """

    job: JobId
    submitted: int
    closed: bool
    taken: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Client → controller: the first ``upto`` outcomes of the job have been taken, and need not be kept."""

    job: JobId
    upto: int


@dataclass(frozen=True, slots=True)
class Read:
    """Client → controller: the reader has got at the first ``upto`` outcomes of a detached job.

    More follow, if the controller has set them aside: it is never far ahead of a slow reader with those.
    """

    job: JobId
    upto: int


@dataclass(frozen=True, slots=True)
class Values:
    """Controller → client: items ``[lo, hi)`` are done; ``data`` holds a value for each from ``base``.

    ``open`` is set when the one item still has living descendants: SETTLED will follow.
    """

    job: JobId
    lo: int
    hi: int
    base: int
    data: bytes
    open: bool


@dataclass(frozen=True, slots=True)
class Partial:
    """Controller → client: a combined value that belongs to item ``root``. SETTLED will follow."""

    job: JobId
    root: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """Controller → client: item ``index`` failed, by itself or by what it spawned; nothing follows for it."""

    job: JobId
    index: int
    spawned: bool
    kind: str
    message: str
    traceback: str
    where: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """Controller → client: item ``root`` and all that it spawned are done."""

    job: JobId
    root: int


@dataclass(frozen=True, slots=True)
class JobDone:
    """Controller → client: the ledger of the job is empty and its input closed."""

    job: JobId


@dataclass(frozen=True, slots=True)
class JobRefused:
    """Controller → client, in answer to OPEN_JOB: the job cannot be run; nothing follows."""

    job: JobId
    reason: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """Controller → worker: forget the job, and drop what you still hold of it."""

    job: JobId


@dataclass(frozen=True, slots=True)
class Ask:
    """Client → controller: ``what`` is one of the following. ANSWER follows.

    ``status``; ``report`` of a job; ``balance``, the same with where the time of all slots went, which workers are
    asked for; ``cancel``, which ends a job; ``logs``, what its tasks have printed, or only item
    ``index``; ``explain``, where item ``index`` of it is. After the answer to ``flush``, all has been said that tasks
    of the job had printed before. ``index`` is -1 where it means nothing.
    """

    request: int
    what: str
    job: JobId
    index: int = -1


@dataclass(frozen=True, slots=True)
class Drain:
    """Client → controller: let a worker leave, by its name or number. ANSWER follows: who was meant, and who is there.

    Its running tasks get ``grace_s`` seconds to finish; what still runs then is handed to others.
    """

    request: int
    worker: str
    grace_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Controller → client: plain facts, as one JSON text."""

    request: int
    facts: str


# --- what tasks print, and where they are ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Enquire:
    """Controller → worker: a client's question, ``logs``, ``explain``, ``flush`` or ``balance``. ENQUIRED follows."""

    enquiry: int
    what: str
    job: JobId
    index: int


@dataclass(frozen=True, slots=True)
class Enquired:
    """Worker → controller, in answer to ENQUIRE: one JSON object."""

    enquiry: int
    facts: str


@dataclass(frozen=True, slots=True)
class Follow:
    """Client → controller → worker: tell what tasks of this job print, or no more. PRINTED follows.

    The reader says it again now and then, with the bytes of text that it has ``heard`` since it began. More than
    ``limits.FOLLOW_AHEAD_BYTES`` beyond that is not said, but left out.
    """

    job: JobId
    follow: bool
    heard: int


@dataclass(frozen=True, slots=True)
class Printed:
    """Worker → controller → client: a task has printed this. ``dropped`` bytes before it were left out."""

    job: JobId
    worker: str
    slot: int
    origin: RunId
    index: int
    text: bytes
    dropped: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Controller → client: something that people should know, such as that the journal cannot be written."""

    text: str


# --- balancing ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NonIdle:
    """Worker → controller: I have surplus, in so many tasks. At most one a completed unit of work. MATCH may follow."""

    surplus_s: float
    tasks: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Idle:
    """Worker → controller: I am out of work, or soon will be. SEND_WORK or NO_WORK from anyone follows."""

    queued_s: float


@dataclass(frozen=True, slots=True)
class Match:
    """Controller → donor: ``requester`` is idle, give it part of your surplus. SEND_WORK or NO_WORK to it follows."""

    requester: PeerId
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Hungry:
    """Controller → worker: somebody is idle and nobody offers. Tasks that can split should. NONIDLE may follow."""

    idle: int


@dataclass(frozen=True, slots=True)
class SendWork:
    """Any → worker: here is work. ACK must follow; until then the sender keeps what it sent.

    ``donor`` is the worker that gave it, also when it came through the controller. What the controller itself gives is
    not acknowledged: its ledger has it in any case.
    """

    transfer: int
    donor: PeerId
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Ack:
    """Receiver of work → its sender: I hold it now."""

    transfer: int


@dataclass(frozen=True, slots=True)
class Relay:
    """Donor → controller, when the direct link cannot be opened: pass this on to ``requester``. ACK follows.

    With the controller's own id it is handed back, to be placed anew.
    """

    requester: PeerId
    transfer: int
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Controller → worker: leave the cluster; running tasks get ``grace_s`` seconds. LEAVING follows."""

    grace_s: float


@dataclass(frozen=True, slots=True)
class Leaving:
    """Worker → controller: I take no more work, and hand back what I have. RELEASED follows.

    GOODBYE follows when nothing is held any more: RELEASED has come, and all work and results are in other hands.
    """


@dataclass(frozen=True, slots=True)
class Released:
    """Controller → worker, in answer to LEAVING: no work will be sent to you after this."""


@dataclass(frozen=True, slots=True)
class NoWork:
    """Donor → requester (through the controller if need be): asked, nothing to give. The requester says IDLE again.

    Requester → donor, in answer to OFFER: not wanted.
    """

    donor: PeerId
    requester: PeerId


@dataclass(frozen=True, slots=True)
class Moved:
    """Batches that came to this worker from ``donor`` since it last said so."""

    donor: PeerId
    batches: int


@dataclass(frozen=True, slots=True)
class Result:
    """Worker → controller: these tasks are done, with their values or errors and the tasks that they spawned."""

    job: JobId
    groups: tuple[Group, ...]
    moved: tuple[Moved, ...]


# --- balancing by other strategies ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Balance:
    """Controller → worker, first on its link and on every change: this strategy is in force.

    ``work`` is whether the cluster has unfinished tasks. It is told where workers ask by themselves, and else False.
    """

    strategy: str
    work: bool


@dataclass(frozen=True, slots=True)
class Introduction:
    """A worker, and where it listens."""

    peer: PeerId
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Peers:
    """Controller → worker: these workers joined and left since it was last told; all of them the first time."""

    joined: tuple[Introduction, ...]
    left: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class IdleNews:
    """Controller → worker: these became idle and ceased to be since it was last told; all idle ones the first time."""

    idle: tuple[PeerId, ...]
    busy: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class AskWork:
    """Requester → donor: give me work, I have ``stock_s`` left. SEND_WORK or NO_WORK follows.

    With ``wait`` no NO_WORK follows: a donor that has nothing remembers it, and makes an OFFER as soon as it can.
    """

    stock_s: float
    wait: bool


@dataclass(frozen=True, slots=True)
class AskThrough:
    """Requester → controller, when the direct link cannot be opened: ask ``donor`` for me. MATCH to it follows."""

    donor: PeerId


@dataclass(frozen=True, slots=True)
class AskTarget:
    """Worker → controller: whom shall I ask for work? TARGET follows."""

    stock_s: float


@dataclass(frozen=True, slots=True)
class Target:
    """Controller → worker, in answer to ASK_TARGET: ask ``peer``, or nobody if it is 0."""

    peer: PeerId
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Offer:
    """Donor → worker that it believes to be idle, or that waits for it: ask me. ASK_WORK or NO_WORK follows."""

    surplus_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """Worker → controller, after JOB_ENDED: how often it asked for work during that job, and was refused."""

    job: JobId
    asks: int
    refusals: int


# --- recovery -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskInventory:
    """Controller → worker: list what you hold. INVENTORY with the same ``round`` follows."""

    round: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """Worker → controller: all that I hold: queued, running, or sent and not yet acknowledged."""

    round: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Rejoined:
    """Worker → controller, first when it comes back: I know these jobs. JOB_ENDED follows for those that are over."""

    jobs: tuple[JobId, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """Controller → worker: the first ``results`` RESULTs that came by this link are safe; you may forget them."""

    results: int


@dataclass(frozen=True, slots=True)
class Beat:
    """Any peer, on a link where it has said nothing else for a third of the deadline: I live. Nothing follows."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Any peer: I leave on purpose; the end of the link is not a failure."""

    reason: str


Message = (
    Hello | Welcome | Refused
    | OpenJob | Function | Submit | CloseJob | Cancel | Cancelled
    | Values | Partial | Failed | Settled | JobDone | JobEnded | Ask | Answer
    | NonIdle | Idle | Match | Hungry | SendWork | Ack | Relay | NoWork | Result
    | AskInventory | Inventory | Goodbye | JobRefused
    | Balance | Peers | IdleNews | AskWork | AskThrough | AskTarget | Target | Offer | Asked
    | Submitted | Attach | Attached | Taken | Rejoined | Kept | Beat
    | Drain | Leave | Leaving | Released | Withdraw
    | Enquire | Enquired | Follow | Printed | Notice | Read
    | Renew | Renewed | Revoked
)  # fmt: skip

KINDS: tuple[type[Message], ...] = (
    Hello, Welcome, Refused,
    OpenJob, Function, Submit, CloseJob, Cancel, Cancelled,
    Values, Partial, Failed, Settled, JobDone, JobEnded, Ask, Answer,
    NonIdle, Idle, Match, Hungry, SendWork, Ack, Relay, NoWork, Result,
    AskInventory, Inventory, Goodbye, JobRefused,
    Balance, Peers, IdleNews, AskWork, AskThrough, AskTarget, Target, Offer, Asked,
    Submitted, Attach, Attached, Taken, Rejoined, Kept, Beat,
    Drain, Leave, Leaving, Released, Withdraw,
    Enquire, Enquired, Follow, Printed, Notice, Read,
    Renew, Renewed, Revoked,
)  # fmt: skip
"""The kind of a message on the wire is its place here: new ones are added at the end."""

# --- roles ----------------------------------------------------------------------------------------

SAID_BY: dict[str, frozenset[type[Message]]] = {
    "client": frozenset(
        {OpenJob, Function, Submit, CloseJob, Cancel, Ask, Attach, Taken, Read, Drain, Follow, Beat, Goodbye} | {Renew}
    ),
    "worker": frozenset(
        {Function, NonIdle, Idle, Relay, Ack, NoWork, Result, Inventory, Goodbye, AskThrough, AskTarget, Asked}
        | {Rejoined, Leaving, Enquired, Printed, Beat, Renew}
    ),
    "controller-to-client": frozenset(
        {Cancelled, Values, Partial, Failed, Settled, JobDone, JobRefused, Answer, Submitted, Attached, Beat, Goodbye}
        | {Printed, Notice, Renewed}
    ),
    "controller-to-worker": frozenset(
        {OpenJob, Function, JobEnded, Match, Hungry, SendWork, Ack, NoWork, AskInventory, Goodbye}
        | {Balance, Peers, IdleNews, Target, Kept, Leave, Released, Withdraw, Enquire, Follow, Beat}
        | {Renewed, Revoked}
    ),
    "peer": frozenset({Function, OpenJob, SendWork, Ack, NoWork, Goodbye, AskWork, Offer, Beat}),
}
"""What a peer of each role may say after the greeting; anything else closes its link."""
