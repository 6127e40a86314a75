"""What a pooler promises, each with the failure elsewhere that taught it.

Which tests show a promise is not written here: a test says so itself, by `@pytest.mark.promise(NUMBER)`. A promise that
nothing keeps yet names the area of work that it comes with.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise. `planned`: what it comes with, while it is not kept yet; None: it is kept, and tests show it."""

    number: int
    sentence: str
    source: str
    planned: str | None = None


PROMISES = (
    # The cap
    Promise(
        1,
        "The backend never sees more connections than the cap, the starting and the dying ones included, however slowly"
        " it dies and however its callers vanish.",
        "PgBouncer 1.18 showed its backend 12 connections at a pool_size of 5 (pgbouncer#1285, #497, #63);"
        " HikariCP#1635; pgx PR#2425",
    ),
    Promise(
        2,
        "The cap holds while it is changed, and through reload, drain and a change of credentials.",
        "SQLAlchemy's `dispose()` left 6 connections open at a cap of 3",
    ),
    Promise(
        3,
        "The cap holds over several poolers, some of them killed, frozen or cut off, and over a store that forgets.",
        "pgbouncer#103, #1070; Hyperdrive calls its limit a soft one",
        planned="cluster",
    ),
    Promise(
        4,
        "Whatever uses a connection counts: checks, cancels over a side channel, what an administrator is killing.",
        "Vitess keeps reserved connections outside of its pools",
    ),
    # Hand-over
    Promise(
        5,
        "A caller who leaves at the very instant of the hand-over loses no slot: the whole cap can still be taken.",
        "psycopg#509, #1208, #1275, #1345, #1401",
    ),
    Promise(
        6,
        "A cancel is never swallowed, and what was cancelled does no work afterwards.",
        "psycopg_pool 3.3 on Python 3.11 swallowed 7.1 % of cancels, by way of `asyncio.wait_for`",
    ),
    Promise(
        7,
        "A call whose deadline has passed gets no connection and begins no work.",
        "Vitess#20310; vitess-gh#238, where 11 of 900 connections were in use while 127,834 requests a minute failed",
    ),
    Promise(
        8,
        "No wake-up is lost: looking, queueing and granting are one step, and no sweeper is needed.",
        "Vitess#17662",
    ),
    # Slow starts
    Promise(
        9,
        "A thousand waiters on slow starts are served as fast as the parallel starts and the cap allow, and nobody"
        " fails whose deadline is later.",
        "HikariCP#934, #1445, #1896: clients of 30 to 40 s filled a pool in 25 to 30 minutes; PgDog#1488",
    ),
    Promise(
        10,
        "Who waits while a client starts takes whatever comes first, the new connection or a returned one.",
        "No pool that was studied hands over to whichever comes first",
    ),
    Promise(
        11,
        "Nothing is started whose demand has gone, nor more than a backlog pays for.",
        "A spike of short calls makes most pools start up to their cap",
    ),
    Promise(
        12,
        "A start outlives the caller that caused it and serves the next one, also where every caller is less patient"
        " than a start takes.",
        "puddle, which learned it from pgx#1287",
    ),
    Promise(
        13,
        "A failed start frees its slot, and those who wait hear at once what the backend itself said.",
        "pgbouncer#585",
    ),
    Promise(
        14,
        "A backend that is down sees few attempts, one at a time; one that is back sees 1 start, then 2, then 4.",
        "porsager/postgres#1179: 12,500 connects a second",
    ),
    Promise(
        15,
        "It recovers by itself from an outage of any length.",
        "psycopg#370; Vitess#15745",
    ),
    # Health
    Promise(
        16,
        "Where connections have gone into a black hole, one validation time-out is all that a caller pays: one proven"
        " failure retires the generation.",
        "fecfile-web-api PR#2208; WebSphere's PurgePolicy",
    ),
    Promise(
        17,
        "A poisoned connection serves nobody again: after a failed reset, an abandoned request, or its own refusal.",
        "Pools that trust a driver's closed flag hand the same dead connection out again",
    ),
    Promise(
        18,
        "Nothing passes from one user of a connection to the next, and a reset is paid only where something was left.",
        "Session state leaks through every pool that resets optimistically",
    ),
    Promise(
        19,
        "A cancel that comes late never hits the next user of its connection.",
        "pgbouncer#245, #717",
    ),
    # Sessions
    Promise(
        20,
        "A session that idles is rolled back and freed; whatever is asked of it afterwards fails for certain, and is"
        " never run outside of its transaction.",
        "Vitess's StatefulConnectionPool; the RDS Data API",
    ),
    # Fairness and overload
    Promise(
        21,
        "First come, first served within a class: at full load nobody waits much longer than half of the others do.",
        "asyncpg#1247",
    ),
    Promise(
        22,
        "A tenant within its share hardly notices another one who asks for ten times as much; one who is alone may use"
        " everything.",
        "pgbouncer#131, #103",
    ),
    Promise(
        23,
        "The queue is bounded: one caller too many is refused at once, hears when to come again, and costs no memory.",
        "Queues without a bound end in the memory of the pooler",
    ),
    Promise(
        24,
        "Offered several times what the backend can do, it goes on answering nine tenths of what the backend can do in"
        " time, and recovers within seconds.",
        "pgdog#1361",
    ),
    # One flight, cache
    Promise(
        25,
        "Identical reads under way together are one backend call, whoever of them leaves.",
        "Vitess#17243 (out of memory), #18783 (wrong, empty results)",
    ),
    Promise(
        26,
        "Nothing is shared across tenants, roles or arguments, and no write, no volatile call is ever shared.",
        "Shared results that belonged to somebody else",
    ),
    Promise(
        27,
        "Nothing from the cache is older than its time, and an invalidation beats a fill that began before it.",
        "Caches that are filled with what was invalidated meanwhile",
    ),
    # Upkeep
    Promise(
        28,
        "Connections that were born together do not die together.",
        "PostHog#49745",
    ),
    Promise(
        29,
        "Upkeep makes nobody wait while a slot is free.",
        "Vitess#20080, #18967",
    ),
    Promise(
        30,
        "Giving a connection back never waits for a start, a close or a reset.",
        "Pools that reset or close in their `release`",
    ),
    # Operating it
    Promise(
        31,
        "A graceful stop answers what runs and who waits, refuses who comes, ends within its grace even with a"
        " connection that is stuck, and leaves the backend with none.",
        "Rollouts that cut calls off, and drains that never end",
    ),
    Promise(
        32,
        "A rolling restart, old and new together, keeps to the cap and fails no idempotent call.",
        "Two generations of poolers that each open up to the cap",
        planned="cluster",
    ),
    Promise(
        33,
        "A pause holds those who wait, a resume serves them in order, and whoever is paused, killed or drained is told"
        " which of these it was.",
        "A pause that its callers see as an outage, and errors that all look alike",
    ),
    Promise(
        34,
        "Once the backend has moved, no connection from before serves anybody, nor one whose start had begun before.",
        "pgdog#1494",
    ),
    Promise(
        35,
        "What it tells of itself is what the backend counts, and waits are told of however they ended.",
        "vitess-gh#238: waits were recorded only on success, which hid the incident",
    ),
    Promise(
        36,
        "A wall clock that jumps by an hour changes nothing.",
        "Time-outs that were reckoned on the wall clock",
    ),
    Promise(
        37,
        "A slow reader holds a connection no longer and buffers no more than it is allowed.",
        "Cursors that were kept open for readers that had gone",
    ),
    Promise(
        38,
        "Callers who vanish while they wait free their places, with a farewell or without: no ghosts fill the queue.",
        "20 live clients of a PgBouncer used up 500 places",
    ),
    Promise(
        39,
        "Health checks and administrators are answered while everything is taken and the queue is full.",
        "Probes that queue behind the load, and so restart what is merely busy",
    ),
    Promise(
        40,
        "It starts while a backend is down, and says NOT_SERVING for that one only.",
        "pgcat#823",
    ),
)
