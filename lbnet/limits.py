"""Every bound in the system, with its reason. Numbers only."""

from __future__ import annotations

# --- frames ---------------------------------------------------------------------------------------

FRAME_BYTES_MAX = 1 << 30
"""One item, function or result must fit a frame; a longer one is refused before it is buffered."""

GREETING_BYTES_MAX = 64 << 10
"""Before a peer said who it is, no frame of its needs to be longer."""

LIST_ITEMS_MAX = 1 << 20
"""Elements of any array in a frame: far above what we send, far below what could hurt."""

TEXT_CHARS_MAX = 64 << 20
"""The longest text is an ANSWER about ``REPORTS_KEPT`` jobs, with every worker of each."""

# --- time -----------------------------------------------------------------------------------------

GREETING_TIMEOUT_S = 5.0
"""A peer that connects and stays silent is dropped after this."""

CONNECT_TIMEOUT_S = 10.0
"""How long a client or worker tries to reach the controller before it says so. Workers may be started first."""

PEER_CONNECT_TIMEOUT_S = 5.0
"""How long a donor tries to reach a requester before the work goes through the controller."""

STOP_TIMEOUT_S = 1.0
"""What a role gives its peers and processes to go by themselves, before it ends them."""

LEAVE_GRACE_S = 0.6
"""What running tasks get to finish when a signal ends their worker; others begin anew elsewhere, without blame."""

LEAVE_GRACE_MAX_S = 1e9
"""The longest time that anybody may give them: they finish, however long it takes."""

LEAVE_TALK_S = 0.4
"""What a worker that was told to leave needs beyond that, to hand over what it holds. Then it goes all the same."""

LEAVE_EARLY_S = 60.0
"""How long before the end of its time a worker begins to leave; or a fifth of that time, if it is short."""

LEAVE_SPARE_S = 5.0
"""What is left of that time when running tasks are handed to others; or a twelfth of it."""


# --- trust ----------------------------------------------------------------------------------------

CERTIFICATE_S = 24 * 3600.0
"""Life of a certificate. Half way through it is renewed, so that a controller may be away for half a day."""

CLOCK_OFF_MAX_S = 1800.0
"""How far two machines may disagree about the time: half of what certificates are issued early."""

RENEW_LOOK_S = 60.0
"""How often a member looks whether its certificate is half way through its life."""

REVOKED_LOOK_S = 0.25
"""How often the controller looks whether a token was revoked, to close links of who came in with it."""

CHATTER_PER_S = 50_000
"""Messages a second of one worker, over a look of a quarter of a second: more than a controller can handle of all."""

HALF_OPEN_MAX = 256
"""Connections that have not been let in yet: one more, and the oldest of them is closed."""

REFUSALS_LOGGED = 20
"""Lines about peers that were not let in, at once; then one a second."""

# --- batches --------------------------------------------------------------------------------------

PAYLOAD_ITEMS = 4_096
"""Items pickled together while nobody knows how fast their tasks are, at most."""

PAYLOAD_ITEMS_MAX = 65_536
"""Items pickled together, at most: every role handles a payload as a whole, which costs it up to a millisecond."""

PAYLOAD_S = 0.030
"""Of the time of a whole cluster: a payload of very short tasks lasts it so long, and is not sent to many workers."""

PAYLOAD_BYTES_SOFT = 256 << 10
"""A payload is closed at about this size, so that a split never sends much that is not run."""

PAYLOAD_FILL_S = 0.002
"""A slow generator's items wait no longer than this for company."""

SLOT_BATCH_S = 0.100
"""Estimated work handed to a slot at once: long enough that its messages do not count; its tail can be taken back."""

SLOT_BATCHES_AHEAD = 2
"""Batches a slot holds: one to run, one so that it never waits for its worker."""

GROUP_S = 0.005
"""A slot claims about this much of its batch at a time; the rest can be taken back. A group costs 25 us, or 100 where
caches are cold."""

RESULT_FLUSH_S = 0.050
"""Results of finished tasks leave a slot after this, even in the middle of a batch: until then nobody idle waits for
them, and each RESULT costs about 1 ms of CPU on its way to the client."""

REPORT_LATEST_S = 2.2 * RESULT_FLUSH_S
"""What is due in the middle of a batch waits for the batch's end, if that is expected before this: one message for two.
"""

RESULT_GAP_S = 0.8 * RESULT_FLUSH_S
"""A worker with more to do says its next RESULT no sooner than this: the flushes of one slot pass, those of many wait
for each other."""

RESULT_GAP_MAX_S = 1.8 * RESULT_FLUSH_S
"""The longest such wait: every second flush of a slot passes."""

RESULT_GAP_SHARE = 0.1
"""The wait grows to this share of the time for which a worker has known the job: who has waited for a second does not
miss a tenth of one."""

RESULT_HELD_BYTES = 1 << 20
"""Of results that wait so, or have been said and are not safe: more are said at once."""

CLAIM_DOUBT_S = 1.1 * REPORT_LATEST_S
"""After this, a slot that has reported nothing sits in a long task, and has let go of all but that one."""

GRANT_S = 0.300
"""Estimated work per slot that the controller places on a worker at once, while there is plenty."""

GRANT_LEAST_S = 0.020
"""A worker is not placed less than this at once while that is no more than its fair share: what is too much of it is
taken back, and a grant costs both ends a millisecond."""

GRANT_FIRST_TASKS = 1
"""Tasks per slot in the first grant of a function whose durations nobody knows yet."""

GRANT_GROWTH = 8
"""A grant is at most this many times what the worker has already finished of that function."""

IDLE_AHEAD_S = 0.050
"""A worker says IDLE when its queue holds less than this per slot: about a busy round trip."""

UNKNOWN_TASK_S = 0.1
"""What a task counts for while its function has never been measured: more than ``IDLE_AHEAD_S``, so
that a worker with one of them in every slot asks for no more."""

PREFETCH_BELOW_S = 0.020
"""A slot gets its next batch ahead of time only where tasks are shorter than this: beside a longer
one, the pipe's latency does not count, and a task that waits in a busy slot may be needed elsewhere."""

SURPLUS_MIN_S = 0.0005
"""Less than this is not worth a transfer, which costs about as much."""

GRANT_BYTES_SOFT = 16 << 20
"""Payload bytes in one SEND_WORK, except that one batch always goes; and of the results that will come of a grant."""

GRANT_BATCHES_MAX = 4_096
"""Batches in one SEND_WORK: a receiver reads a message as a whole."""

POLL_PATIENCE_S = 0.005
"""A worker that is asked for work and has none queued lets its running task split for so long before it refuses."""

POLL_BACKOFF_FIRST_S = 0.0005
"""After a refusal an idle worker waits so long before it asks again; doubled with every further one."""

POLL_BACKOFF_MAX_S = 0.008
"""The longest such wait."""

LOOK_AGAIN_MIN_S = 0.0001
"""A strategy that wants to be called again at once would keep its worker from everything else."""

LOOK_AGAIN_MAX_S = 60.0
"""The longest that a strategy can be put off: an absurd number must not end up in a timer."""

DECISIONS_MAX = 10_000
"""Decisions in one step of a strategy: it may be anybody's code, and never end."""

TIMER_STEP_S = 0.001
"""An event loop counts in milliseconds: a timer that came a fraction of one too early would be set again and again."""

NEWS_PER_WORKER_S = 0.00005
"""What is told to all workers is told at most once in this many seconds for each of them, so that it takes
about a third of the controller's time at most."""

STALL_S = 0.2
"""All workers idle and tasks outstanding for so long: the controller asks who holds what."""

LINK_DEADLINE_S = 10.0
"""A link on which nothing was heard for so long is given up: longer than a busy machine keeps a process waiting."""

LINK_DEADLINE_MIN_S = 0.1
"""The shortest such time: a shorter one is below what a loaded machine lets a process oversleep."""

RECONNECT_FIRST_S = 0.05
"""Wait before a worker looks for its controller again; doubled every time."""

RECONNECT_MAX_S = 0.5
"""The longest such wait: after a restart, everybody is back within a second."""

REJOIN_TIMEOUT_S = 300.0
"""How long a worker goes on without its controller."""

REJOIN_GRACE_S = 2.0
"""A controller that was started again gives workers so long to come back before it asks who holds what.

If all that it knows of are back before, it asks at once.
"""

CLIENT_GRACE_S = 30.0
"""A client whose link broke gets this long to come back before its jobs are cancelled."""

NO_WORKERS_TIMEOUT_S = 30.0
"""After the last worker was lost, jobs wait this long for another before they fail."""

# --- promises -------------------------------------------------------------------------------------

KEPT_EVERY = 32
"""A worker is told after so many of its RESULTs that are safe that it may forget them: until then it keeps them, which
costs memory only, and a message costs both ends half a millisecond."""

TAKEN_EVERY = 64
"""A client tells the controller after so many outcomes that it may forget them: one small message for many."""

UNKEPT_BYTES_MAX = 256 << 20
"""RESULTs that a worker holds because no controller has them yet: past it, its slots get no more tasks."""

JOURNAL_PENDING_BYTES = 32 << 20
"""Records that wait for the disk: past it, clients are not read."""

JOURNAL_PENDING_BYTES_MAX = 64 << 20
"""Past this, workers are not read, either: they hold what they have finished, and at last start nothing more."""

JOURNAL_GROUP_S = 0.1
"""Records that nobody waits for are written together after this: a commit costs as much for one as for many."""

JOURNAL_GROUP_BYTES = 1 << 20
"""Or when there are so many bytes of them."""

PARTIAL_BYTES = 8 << 10
"""Of parts of combined values, with some for each: a client is told so many at once, or with what completes them."""

PATIENT_TASKS = 8
"""A job with so many outstanding tasks a slot, and"""

PATIENT_S = 2 * JOURNAL_GROUP_S
"""so much work a slot, does not miss what its client hears by ``JOURNAL_GROUP_S`` later: a new task would wait longer.
"""

SNAPSHOT_MIN_BYTES = 1 << 20
"""A job's records are replaced by its books when they are longer than twice those, and than this."""

# --- memory ---------------------------------------------------------------------------------------

CLIENT_TASKS_WINDOW = 400_000
"""Items of one ``map`` that are submitted and not yet consumed."""

CLIENT_BYTES_WINDOW = 64 << 20
"""Bytes of inputs and of unread results of one ``map``: past it the generator waits."""

LINK_BUFFER_HIGH_BYTES = 4 << 20
"""Unsent bytes on one link above which its sender stops reading what would make it send more."""

INPUTS_BYTES_MAX = 1 << 30
"""Of the inputs of unfinished tasks at the controller: past it, a client that submits more is not read for a while."""

INPUTS_LOOK_BYTES = 1 << 20
"""After so many bytes of inputs the controller looks how many there are in all."""

SPAWN_BYTES_MAX = 256 << 20
"""Of the arguments of what one task spawns: its RESULT names all of that, in one frame. More is the task's error."""

QUEUE_BYTES_MAX = 256 << 20
"""Of the tasks that wait at one worker: past it, half goes to the controller.

A running task cannot wait for room in its own queue, which may drain only when it ends.
"""

STORE_BYTES_MAX = 4 << 30
"""Of the inputs of unfinished tasks at the controller, with what tasks have spawned: past it, a job that spawns ends.

Nothing else would make room: what waits can run only if what has run is taken.
"""

UNTAKEN_BYTES_MAX = 32 << 20
"""Of results that a client has not taken, with those that are to be expected of tasks that are under way: past it, no
more of the job's tasks are placed."""

OUTCOMES_BYTES_MAX = 32 << 20
"""Results of a detached job that wait in the controller's memory for somebody to take them: a journal takes more."""

FETCH_BYTES = 4 << 20
"""Of results that are brought back from the journal at once."""

REPORTS_KEPT = 1_000
"""Reports of ended jobs that the controller remembers."""

STAYS_KEPT = 10_000
"""Workers that have left, of which the controller remembers when they were there: balance reports count their slots."""

DURATION_FUNCTIONS_MAX = 1_000
"""Functions whose measured durations are remembered, the latest used."""

EARLY_RESULTS_MAX = 1_000_000
"""Results of children whose parent's result has not come yet, per job. More are dropped, and their tasks run again."""

EARLY_BYTES_MAX = 256 << 20
"""Bytes of those."""

TRACEBACK_CHARS_MAX = 20_000
"""Of a task's traceback: the two ends are kept."""

OUTPUT_NAME_CHARS_MAX = 200
"""Names of workers and jobs."""

JOBS_PER_CLIENT_MAX = 1 << 24
"""Keeps job ids within 64 bits."""

CLAIM_ENTRIES = 4
"""Batches whose claim words fit the memory that a worker shares with one slot."""

SPAWN_BUFFER_TASKS = 1_024
"""Spawned tasks that wait in a slot for company, at most."""

SPAWN_FLUSH_S = 0.010
"""Spawned tasks leave their slot after this, although their parent still runs."""

SPAWN_FUNCTIONS_MAX = 256
"""Spawned functions whose pickles a slot remembers."""

SLOT_GROUP_GROWTH = 16
"""A slot claims at most this many times as many tasks as the time before: one fast task proves little."""

SLOT_RESPAWN_FIRST_S = 0.1
"""Wait before a slot that died before it was ready is started again; doubled every time."""

SLOT_RESPAWN_MAX_S = 10.0
"""The longest such wait."""

SLOT_EOF_GRACE_S = 0.5
"""A slot process that closed its pipe gets this long to end by itself, so that its exit code is seen."""

SLOT_SOCKET_BYTES = 1 << 20
"""Kernel buffer between a worker and a slot: a batch ahead, and the results of one flush."""

SLOTS_MAX = 4_096
"""Compute processes of one worker."""

PEERS_MAX = 1 << 19
"""Joins of one controller's life: an id must fit the upper bits of a run."""

SUBMIT_TASKS_MAX = 100_000
"""Calls of ``submit`` that share a job: what its ledger and report remember is then let go."""

SUBMIT_FUNCTIONS_MAX = 256
"""Different functions in such a job: each is kept by every role until the job ends."""

CLUSTER_START_TIMEOUT_S = 30.0
"""What the processes of an embedded cluster get to start, on a machine that is busy."""

WORKERS_HINT_S = 10.0
"""A client that waits so long for its first result looks whether there is any worker at all, and says so if not."""

SUBMIT_OPEN_JOBS_MAX = 64
"""Options that calls were made with lately: each has a job that stays open for the next call."""

TRIES_MAX = 1_000_000_000
"""More than any task is ever tried, and still a number that a message can carry."""

TASK_TIMEOUT_MAX_S = 1e9
"""Thirty years, and still a time that an event loop can wait for."""

# --- tasks that misbehave -------------------------------------------------------------------------

RETRY_DELAY_MAX_S = 3_600.0
"""The longest wait before a task is tried again, however often it was doubled."""

PRIORITY_MAX = 1_000
"""Of jobs; as much below 0."""

RETRY_ON_MAX = 100
"""Exceptions that a job can name as worth a retry: every one is compared when a task fails."""

TERMINATE_GRACE_S = 1.0
"""From SIGTERM to SIGKILL: what a task over its time gets to leave its files in order."""

CANCEL_GRACE_S = 1.0
"""A cancelled task that still runs after this is ended with its slot: most are shorter, and a new process is dear."""

MEMORY_LOOK_S = 0.1
"""How often the memory of slots is looked at: it can grow by gigabytes a second, and a look takes milliseconds."""

MEMORY_LIMIT_MIN_BYTES = 64_000_000
"""A slot that runs nothing uses half of this: with less, none would ever be ready."""

SLOT_OOM_SCORE = 300
"""Added to a slot's ``oom_score_adj``: when memory runs out, the system ends slots and not their worker."""

OUTPUT_HEAD_BYTES = 16 << 10
"""Kept of the beginning of what one task prints."""

OUTPUT_TAIL_BYTES = 16 << 10
"""Kept of its end."""

OUTPUT_JOB_BYTES = 4 << 20
"""Kept at one worker of what a job's tasks print, the latest tasks."""

OUTPUT_WORKER_BYTES = 64 << 20
"""Kept at one worker of what all tasks print, the latest jobs."""

OUTPUT_LAST_LINES = 20
"""Lines of its output in the error of a task that killed its slot."""

OUTPUT_LAST_CHARS = 4_000
"""Characters in those lines: an error must fit a screen."""

OUTPUT_ECHO_BYTES = 1 << 20
"""Output that waits for a worker's own terminal or log: more is left out there, as nobody may wait for a terminal."""

OUTPUT_READ_BYTES = 256 << 10
"""Read of one slot's output in one turn of the loop, so that a task that prints for ever delays nobody."""

ENQUIRY_S = 2.0
"""A worker that has not answered a client's question by then is left out of the answer."""

ENQUIRIES_MAX = 1_000
"""Questions of clients that workers are asked at once; what is more is answered without them."""

ENQUIRY_CHARS_MAX = 32 << 20
"""Of the answers of all workers to one question."""

FOLLOW_AHEAD_BYTES = 1 << 20
"""How far what is told of a job's output may be ahead of its reader: what comes too fast for it is left out."""

FOLLOW_LOOK_S = 0.5
"""A reader that has heard nothing for so long looks whether its job has ended."""

OUTPUT_LINE_CHARS_MAX = 64 << 10
"""Of one line that a client shows as it comes: a longer one is cut."""

OUTPUT_LINES_OPEN_MAX = 10_000
"""Tasks whose last line has not ended, of which a client remembers it."""

ECHO_JOBS_MAX = 64
"""Jobs of a client whose tasks' output it shows: the latest."""

OUTPUT_TICKETS_REMEMBERED = 8
"""Tickets of a slot that are over and may still have output on its way."""
