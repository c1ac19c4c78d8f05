"""The closed loop, many lanes at once and many steps ahead.

A decision depends on what is seen now and on what was asked for last. So each lane runs ahead for
a block of steps as if nothing were decided, asks the controller about all of them in one call, and
goes back to the first step at which it would act. The result is that of deciding step by step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from signalstudy.policy.state import Observation, Reading, State, moves_of
from signalstudy.replay.controller import LANE
from signalstudy.replay.draws import lags, noise
from signalstudy.replay.fluid import flow, handed_on
from signalstudy.replay.latencies import typical_latency
from signalstudy.replay.paths import Journey, PoolPath
from signalstudy.replay.placement import Placed, settle
from signalstudy.replay.relations import Relation, find_series, seen_relation
from signalstudy.replay.stands import Block, PoolStand, SignalStand
from signalstudy.replay.watching import keep_steps, spared_steps, watched
from signalstudy.vocabulary.errors import ConfigurationError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from signalstudy.replay.controller import Controller, Reads
    from signalstudy.replay.draws import Draws
    from signalstudy.replay.grounds import Grounds

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Booleans = NDArray[np.bool_]

CELLS_A_ROUND = 6400
SHORTEST_BLOCK, LONGEST_BLOCK = 32, 256
LONGEST_WAIT_SECONDS = 3600.0
LEAST_KNOWN_SHARE = 0.5
"""A window of which less is known gives no reading."""
NOTHING_BUT_A_QUEUE = Relation(np.zeros(1), np.zeros(1), 0.0, 0.0)


def run_lanes(
    controller: Controller, grounds: Grounds, draws: Draws, start: dict[str, float]
) -> Journey:
    """Run a controller through the span and give each pool's path, (lanes, n), and what it saw.

    `start`: replicas at the beginning, by pool, already serving.
    """
    loop = _Loop(controller, grounds, draws, start)
    while True:
        lanes = np.flatnonzero(loop.at < loop.steps)
        if not lanes.size:
            return Journey(
                {name: pool.path.until(loop.steps) for name, pool in loop.pools.items()},
                {key: values[: loop.steps] for key, values in loop.witnessed.items()},
                loop.placed,
                {name: pool.keep for name, pool in loop.pools.items()},
            )
        loop.advance(lanes)


class _Loop:
    """One controller on its way through the span."""

    def __init__(
        self, controller: Controller, grounds: Grounds, draws: Draws, start: dict[str, float]
    ) -> None:
        self.controller, self.grounds = controller, grounds
        self.steps, self.step_seconds = grounds.time_seconds.size, grounds.step_seconds
        self.block = int(np.clip(CELLS_A_ROUND // draws.lanes, SHORTEST_BLOCK, LONGEST_BLOCK))
        self.width = self.steps + self.block
        self.at = np.zeros(draws.lanes, dtype=np.int64)
        self.startup_steps = np.ceil(draws.startup_seconds / self.step_seconds - 1e-9).astype(int)
        self.every = max(int(controller.evaluation_seconds / self.step_seconds), 1)
        padding = np.zeros(self.block)
        self.known = np.concatenate([grounds.known.astype(float), padding])
        self.is_all_known = bool(grounds.known.all())
        self.known_total = _cumulated(self.known)[None, :]
        self.arrivals = {
            name: np.concatenate([pool.work, padding]) for name, pool in grounds.pools.items()
        }
        self.totals = {name: _cumulated(work) for name, work in self.arrivals.items()}
        self.handed_before = np.zeros(draws.lanes)
        site = grounds.site
        self.first_lane = draws.first_lane
        self.fleets = [] if site is None else [settle(site, start) for _ in range(draws.lanes)]
        self.placed = Placed.empty(draws.lanes) if self.fleets else None
        self.pools = {name: self._pool(draws, name, float(start[name])) for name in grounds.pools}
        self.seen = [self._seen(reads, draws) for reads in controller.reads]
        keys = [*(reads.key for reads in controller.reads), *controller.latencies]
        self.witnessed = {key: np.full(self.width, np.nan) for key in keys}

    def _pool(self, draws: Draws, name: str, replicas: float) -> PoolStand:
        shape = (draws.lanes, self.steps + self.block)
        never = np.full(draws.lanes, -np.inf)
        path = PoolPath(*(np.zeros(shape) for _ in range(4)))
        path.spared_seconds = np.zeros((draws.lanes, 1))
        observed = self.controller.observation_seconds.get(name, 0.0)
        strength = np.full(draws.lanes, replicas)
        if self.fleets:
            path.strength, path.unplaced = np.zeros(shape), np.zeros(shape)
            strength[:] = self.fleets[0].strength(name, np.zeros(1, dtype=np.int64))
        return PoolStand(
            path=path,
            capacity=draws.saturation[name] * self.step_seconds,
            asked=np.full(draws.lanes, replicas),
            settled_at=np.zeros(draws.lanes, dtype=np.int64),
            waiting=np.zeros(draws.lanes),
            out_at=never,
            in_at=never.copy(),
            strength=strength,
            refused=np.full(draws.lanes, np.nan),
            # With an inventory what is removed leaves its place at once.
            keep=0 if self.fleets else keep_steps(observed, self.step_seconds),
            drain_seconds=self.controller.drain_seconds(self.grounds)[name],
        )

    def _seen(self, reads: Reads, draws: Draws) -> SignalStand:
        pool = self.grounds.pools[reads.pool]
        relation = None
        if reads.signal != pool.capacity.signal:
            relation = self._relation(reads)
        drawn = noise(self.grounds, reads.pool, reads.signal, draws)
        if drawn.size > 1:
            drawn = np.concatenate([drawn, np.ones((draws.lanes, self.block))], axis=1)
        lag = lags(self.grounds, reads.pool, reads.signal, draws.z) / self.step_seconds
        total = np.zeros((draws.lanes, self.steps + self.block + 1))
        return SignalStand(reads, relation, drawn, lag, total, *self._queueing(reads))

    def _queueing(self, reads: Reads) -> tuple[float, float]:
        """Say what a queue adds to a signal that speaks of waiting."""
        latency = reads.signal.split("_", 1)[0]
        for one in self.grounds.objectives:
            if one.objective.signal == latency and reads.signal.endswith("_seconds"):
                return 1.0 / one.tokens, 0.0
        requests, work = self.grounds.requests, float(self.grounds.pools[reads.pool].work.sum())
        if reads.signal == "inflight_tokens":
            return 0.0, 1.0
        if reads.signal == "waiting_requests" and requests and work:
            return 0.0, requests / work
        return 0.0, 0.0

    def _relation(self, reads: Reads) -> Relation:
        whole = self.grounds.whole
        relation = seen_relation(whole, reads.pool, reads.signal)
        if relation is None and reads.is_own_queue:
            relation = NOTHING_BUT_A_QUEUE
        if relation is not None:
            return relation
        if find_series(whole, reads.pool, reads.signal) is None:
            known = {name for pool in (reads.pool, "gateway") if pool in whole.pools
                     for name in whole.pools[pool].signals}  # fmt: skip
            raise unknown_name(self.controller.name, "signal", reads.signal, known)
        raise ConfigurationError(
            f"{self.controller.name}: how {reads.key} answers to work per replica is not in the "
            "recording, so a replay cannot say what the policy would see."
        )

    def advance(self, lanes: Integers) -> None:
        """Run a block ahead, keep it up to the first step at which a lane acts."""
        steps = self.at[lanes, None] + np.arange(self.block)
        block = Block(lanes, steps, lanes[:, None] * self.width + steps)
        for name in self.pools:
            self._run_pool(name, block)
        state, observation = self._state(block), self._observation(block)
        asked = self.controller.decide(state, observation)
        is_time = ((steps + 1) % self.every == 0) & (steps < self.steps)
        acts = np.zeros(steps.shape, dtype=bool)
        for name, replicas in asked.items():
            acts |= replicas != self.pools[name].asked[lanes, None]
        acts &= is_time
        if self.fleets:
            acts &= ~self._is_refused(asked, block)
        does_act = acts.any(axis=1)
        last = np.where(does_act, acts.argmax(axis=1), self.block - 1)
        self._keep(block, last)
        rows = np.flatnonzero(does_act)
        if rows.size:
            at = last[rows]
            wanted = {
                name: np.broadcast_to(replicas, steps.shape)[rows, at]
                for name, replicas in asked.items()
            }
            if self.fleets:
                self._place(lanes[rows], steps[rows, at], wanted)
            else:
                for name, replicas in wanted.items():
                    self._act(name, lanes[rows], steps[rows, at], replicas)
        self.at[lanes] += last + 1

    def _run_pool(self, name: str, block: Block) -> None:
        pool, rows = self.pools[name], block.lanes[:, None]
        planned = pool.path.ready.reshape(-1)[block.cells]
        ready = np.where(block.steps >= pool.settled_at[rows], pool.asked[rows], planned)
        offered = self.arrivals[name][block.steps]
        if name == "decode" and "prefill" in self.pools:
            waiting = block.flows["prefill"].waiting
            handed = handed_on(waiting, block.steps, self.totals["prefill"], self.totals["decode"])
            before = np.concatenate([self.handed_before[rows], handed[:, :-1]], axis=1)
            offered, block.handed = np.maximum(handed - before, 0.0), handed
        path, bears = pool.path, ready
        if path.strength is not None:
            bears = path.strength.reshape(-1)[block.cells]
            bears = np.where(block.steps >= pool.settled_at[rows], pool.strength[rows], bears)
            path.strength.reshape(-1)[block.cells] = bears
        found = flow(
            offered, bears * pool.capacity[rows], pool.waiting[block.lanes], self.step_seconds
        )
        block.ready[name], block.bears[name], block.flows[name] = ready, bears, found
        path.asked.reshape(-1)[block.cells] = pool.asked[rows]
        path.ready.reshape(-1)[block.cells] = ready
        path.offered.reshape(-1)[block.cells] = offered
        path.wait_seconds.reshape(-1)[block.cells] = found.wait_seconds

    def _state(self, block: Block) -> State:
        rows = block.lanes[:, None]
        now = self.grounds.time_seconds[0] + self.step_seconds * block.steps
        return State(
            # Every moment of the block is asked about at once.
            cast("float", now),
            {name: pool.asked[rows] for name, pool in self.pools.items()},
            {name: pool.out_at[rows] for name, pool in self.pools.items()},
            {name: pool.in_at[rows] for name, pool in self.pools.items()},
            watched={
                name: watched(pool.path.ready, block.lanes, block.steps, pool.keep)
                for name, pool in self.pools.items()
                # Where nothing was removed of late there is nothing to look for.
                if (now[:, 0] - pool.in_at[block.lanes] < pool.keep * self.step_seconds).any()
            },
        )

    def _observation(self, block: Block) -> Observation:
        readings = {seen.reads.key: Reading(self._read(seen, block)) for seen in self.seen}
        for key, latency in self.controller.latencies.items():
            readings[key] = Reading(self._latency(latency, block))
        if block.lanes[0] == 0:
            for key, reading in readings.items():
                value = np.broadcast_to(reading.value, block.steps.shape)[0]
                self.witnessed[key][block.steps[0]] = value
        for name, ready in block.ready.items():  # who waits for its own start-ups sees them
            readings[f"{name}.ready_replicas"] = Reading(ready)
        readings[LANE] = Reading(self.first_lane + block.lanes[:, None])
        return Observation(readings)

    def _read(self, seen: SignalStand, block: Block) -> Floats:
        """Average a signal over its window, as it was a lag ago; NaN where too little is known."""
        reads, rows = seen.reads, block.lanes[:, None]
        ready, served = block.ready[reads.pool], block.flows[reads.pool].served / self.step_seconds
        value = served
        if not reads.is_total:
            value = np.divide(served, ready, out=np.zeros(served.shape), where=ready > 0)
        bears = block.bears[reads.pool]
        per_replica = np.divide(served, bears, out=np.zeros(served.shape), where=bears > 0)
        if seen.relation is not None:
            value = seen.relation.at(per_replica) * (ready if reads.is_total else 1.0)
        if seen.per_wait:
            waited = np.minimum(block.flows[reads.pool].wait_seconds, LONGEST_WAIT_SECONDS)
            value = value + seen.per_wait * waited
        if seen.per_work:
            value = value + seen.per_work * block.flows[reads.pool].waiting
        if seen.noise.size > 1:
            value = value * seen.noise.reshape(-1)[block.cells]
        if not self.is_all_known:
            value = value * self.known[block.steps]
        before = seen.total[rows, block.steps[:, :1]]
        # A lane of the total is one longer than one of a path.
        seen.total.reshape(-1)[block.cells + rows + 1] = before + np.cumsum(value, axis=1)
        end = block.steps + 1.0 - seen.lag_steps[rows]
        begin = end - max(reads.window_seconds / self.step_seconds, 1.0)
        amount = _between(seen.total, rows, end) - _between(seen.total, rows, begin)
        known = end - begin
        if not self.is_all_known:
            none = np.zeros(1, dtype=np.int64)
            known = _between(self.known_total, none, end) - _between(self.known_total, none, begin)
        is_seen = (begin >= 0.0) & (known >= LEAST_KNOWN_SHARE * (end - begin))
        mean = np.divide(amount, known, out=np.full(known.shape, np.nan), where=is_seen)
        if reads.starting_is_idle:
            asked = self.pools[reads.pool].asked[rows]
            mean = mean * np.divide(ready, asked, out=np.ones(ready.shape), where=asked > 0)
        return np.asarray(mean)

    def _latency(self, latency: str, block: Block) -> Floats:
        """Give a latency where work waits; NaN, not late, where none does."""
        for one in self.grounds.objectives:
            if one.objective.signal != latency:
                continue
            found, bears = block.flows[one.pool], block.bears[one.pool]
            if not found.wait_seconds.any():
                break
            per_replica = np.divide(
                found.served / self.step_seconds, bears, out=np.zeros(bears.shape), where=bears > 0
            )
            seconds = typical_latency(one, per_replica, found.wait_seconds)
            return np.where(found.wait_seconds > 0.0, seconds, np.nan)
        return np.asarray(np.nan)

    def _keep(self, block: Block, last: Integers) -> None:
        row = np.arange(block.lanes.size)
        for name, pool in self.pools.items():
            pool.waiting[block.lanes] = block.flows[name].waiting[row, last]
        if block.handed is not None:
            self.handed_before[block.lanes] = block.handed[row, last]

    def _act(self, name: str, lanes: Integers, steps: Integers, wanted: Floats) -> None:
        """Ask for other replicas: more are ready after the start-up, fewer at once.

        Those that are still watched come back first, and at once. Replicas that are still starting
        go first, the youngest ahead: what is ready later is never more than what is asked for now.
        """
        pool = self.pools[name]
        changed = np.flatnonzero(wanted != pool.asked[lanes])
        lanes, steps, wanted = lanes[changed], steps[changed], wanted[changed]
        if not lanes.size:
            return
        before, startup = pool.asked[lanes], self.startup_steps[lanes]
        ahead = steps[:, None] + 1 + np.arange(max(int(startup.max()), 1))
        ahead = np.minimum(ahead, pool.path.ready.shape[1] - 1)
        rows = lanes[:, None]
        planned = np.where(
            ahead >= pool.settled_at[rows], before[:, None], pool.path.ready[rows, ahead]
        )
        back = watched(pool.path.ready, lanes, steps[:, None], pool.keep)[:, 0]
        back = np.clip(wanted - before, 0.0, back)
        self._spare(pool, lanes, steps, back)
        pool.path.ready[rows, ahead] = np.minimum(planned + back[:, None], wanted[:, None])
        pool.settled_at[lanes] = steps + 1 + startup
        pool.asked[lanes] = wanted
        now = self.grounds.time_seconds[0] + self.step_seconds * steps
        is_out, is_in = moves_of(before, wanted, back)
        pool.out_at[lanes] = np.where(is_out, now, pool.out_at[lanes])
        pool.in_at[lanes] = np.where(is_in, now, pool.in_at[lanes])

    def _spare(self, pool: PoolStand, lanes: Integers, steps: Integers, back: Floats) -> None:
        """Note what those that come back need no longer be drained."""
        spared = spared_steps(pool.path.ready, lanes, steps, pool.keep, back) * self.step_seconds
        spared += back * (pool.drain_seconds - pool.keep * self.step_seconds)
        assert pool.path.spared_seconds is not None  # noqa: S101 - made above; for the type checker
        pool.path.spared_seconds[lanes, 0] += spared

    def _is_refused(self, asked: Mapping[str, Floats], block: Block) -> Booleans:
        """Say where the controller asks for what has found no place; and count what is missing."""
        rows = block.lanes[:, None]
        refused = np.ones(block.steps.shape, dtype=bool)
        for name, replicas in asked.items():
            refused &= replicas == self.pools[name].refused[rows]
        for name, replicas in asked.items():
            pool = self.pools[name]
            missing = np.where(refused, np.maximum(replicas - pool.asked[rows], 0.0), 0.0)
            if pool.path.unplaced is not None:
                pool.path.unplaced.reshape(-1)[block.cells] = missing
        return refused

    def _place(self, lanes: Integers, steps: Integers, wanted: Mapping[str, Floats]) -> None:
        """Do what finds a place, lane by lane; remember what does not."""
        assert self.placed is not None  # noqa: S101 - there are fleets; for the type checker
        for row, (lane, step) in enumerate(zip(lanes.tolist(), steps.tolist(), strict=True)):
            fleet = self.fleets[lane]
            asks = {name: int(replicas[row]) for name, replicas in wanted.items()}
            settled = step + 1 + int(self.startup_steps[lane])
            is_done = fleet.move(asks, settled)
            self.placed.note(lane, step, fleet, is_done=is_done)
            ahead = np.arange(step + 1, min(settled + 1, self.width))
            for name in self.pools:
                pool, count = self.pools[name], len(fleet.replicas[name])
                pool.refused[lane] = np.nan if is_done else asks.get(name, count)
                if count == pool.asked[lane]:
                    continue
                pool.path.ready[lane, ahead] = fleet.count(name, ahead)
                if pool.path.strength is not None:
                    pool.path.strength[lane, ahead] = fleet.strength(name, ahead)
                pool.strength[lane] = fleet.strength(name, np.array([settled]))[0]
                way = pool.out_at if count > pool.asked[lane] else pool.in_at
                way[lane] = self.grounds.time_seconds[0] + self.step_seconds * step
                pool.settled_at[lane], pool.asked[lane] = settled, count


def _cumulated(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def _between(total: Floats, rows: Integers, position: Floats) -> Floats:
    """Read a cumulated signal at a fraction of a step (lanes, block)."""
    width = total.shape[1]
    at = np.clip(position, 0.0, width - 1.000001)
    below = at.astype(np.int64)
    share = at - below
    cells, flat = rows * width + below, total.reshape(-1)
    return np.asarray(flat[cells] * (1.0 - share) + flat[cells + 1] * share)
