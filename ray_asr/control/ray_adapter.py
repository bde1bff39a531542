"""A scaling policy's hand on one pool of Ray Data: what it is told, and what becomes of its word.

The one place that touches Ray Data's autoscaling seam, which is internal to Ray (read and tried in
2.60): `contract_problems` says what is no longer as it was, and then Ray's own scaling between
least and most goes on. Must not know the engine, or how a policy decides.

How it works: a callback that Ray runs before an execution starts puts our autoscaler in place of
Ray's; ours asks the policy about our operator and leaves every other one to Ray. A pool gives up
idle actors only, so a backpressure policy keeps chunks from it while it has to shrink.
"""

from __future__ import annotations

import inspect
import logging
import math
import threading
import time
import weakref
from collections import deque
from typing import Any

import ray
from ray.data import DataContext
from ray.data._internal.actor_autoscaler import (
    ActorPoolScalingRequest,
    BacklogAwareActorAutoscaler,
)
from ray.data._internal.cluster_autoscaler import RateBasedClusterAutoscaler
from ray.data._internal.execution.backpressure_policy import (
    ENABLED_BACKPRESSURE_POLICIES,
    ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
    BackpressurePolicy,
)
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.utils.cached_ray_internals import get_draining_nodes

from ray_asr.control.announcing import any_announced, any_reading, forget_announced
from ray_asr.control.cluster_nodes import ClusterNodes
from ray_asr.control.ledger import Told, forget_attempts
from ray_asr.control.pool_control import Moment, PoolControl
from ray_asr.control.signals import Decision, Signals
from ray_asr.control.starvation import Starvation
from ray_asr.errors import PlanError

_KEY = "ray_asr.pool_control"

logger = logging.getLogger(__name__)


_lock = threading.Lock()
# A context is copied for each execution and sent to every worker: it holds a name only.
_controls: dict[str, PoolControl] = {}
# Every actor that a pool had, by the control's name, for as long as anything holds its handle.
_actors: dict[str, weakref.WeakSet[Any]] = {}


def contract_problems() -> list[str]:
    """What of Ray's internals is not as this module was written for; nothing in 2.60."""
    wanted = [
        (BacklogAwareActorAutoscaler, "_derive_target_scaling_config", ["actor_pool", "op"]),
        (BacklogAwareActorAutoscaler, "__init__", ["topology", "resource_manager", "config"]),
        (ExecutionCallback, "before_execution_starts", ["executor"]),
        (ExecutionCallback, "on_execution_step", ["executor"]),
        (BackpressurePolicy, "can_add_input", ["op"]),
        (ActorPoolScalingRequest, "upscale", ["delta"]),
        (ActorPoolScalingRequest, "downscale", ["delta", "force"]),
        (ActorPoolScalingRequest, "no_op", []),
        (RateBasedClusterAutoscaler, "_send_resource_request", ["resource_request"]),
        (RateBasedClusterAutoscaler, "__init__", ["cluster_scaling_up_util_threshold"]),
    ]
    problems: list[str] = []
    for owner, name, parameters in wanted:
        method = getattr(owner, name, None)
        if method is None:
            problems.append(f"{owner.__name__} has no {name}")
            continue
        known = inspect.signature(method).parameters
        problems += [f"{owner.__name__}.{name} has no {p}" for p in parameters if p not in known]
    fields = getattr(DataContext, "__dataclass_fields__", {})
    if "custom_execution_callback_classes" not in fields:
        problems.append("DataContext has no custom_execution_callback_classes")
    return problems


def install(context: DataContext, control: PoolControl) -> bool:
    """Have `control` steer its pool in executions with `context`; False where Ray has changed.

    The pool must have been made with its least and most size. Call `remove` afterwards.
    """
    if problems := contract_problems():
        logger.warning(
            "this Ray (%s) scales otherwise than ray_asr knows (%s): its own rule sets the number "
            "of actors between least and most; install ray 2.60 for ray_asr's.",
            ray.__version__, "; ".join(problems),
        )  # fmt: skip
        return False
    with _lock:
        _controls[control.name] = control
        _actors[control.name] = weakref.WeakSet()
    context.set_config(_KEY, control.name)
    enabled = context.get_config(
        ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, ENABLED_BACKPRESSURE_POLICIES
    )
    if _HoldWhileShrinking not in enabled:
        context.set_config(
            ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, [*enabled, _HoldWhileShrinking]
        )
    if _TakeOver not in context.custom_execution_callback_classes:
        context.custom_execution_callback_classes.append(_TakeOver)
    return True


def remove(context: DataContext, control: PoolControl) -> None:
    """Undo `install`, and end what is left of the pool's actors.

    Ray Data lets an actor go by dropping its handle; the traceback of a failed run holds on to
    handles, and whatever ran next in this process would wait for those actors' cores.
    """
    with _lock:
        _controls.pop(control.name, None)
        left = list(_actors.pop(control.name, ()))
    context.set_config(_KEY, None)
    if _TakeOver in context.custom_execution_callback_classes:
        context.custom_execution_callback_classes.remove(_TakeOver)
    if ray.is_initialized():
        for actor in left:
            ray.kill(actor)
        Told(control.name).log()
        forget_announced(control.name)
        forget_attempts(control.name)


def _control_of(context: DataContext) -> PoolControl | None:
    with _lock:
        return _controls.get(context.get_config(_KEY) or "")


def _is_ours(op: Any, control: PoolControl) -> bool:
    return control.operator in op.name and bool(op.get_autoscaling_actor_pools())


class _HoldWhileShrinking(BackpressurePolicy):
    def can_add_input(self, op: Any) -> bool:
        return not getattr(op, "_ray_asr_shrinking", False)


class _TakeOver(ExecutionCallback):
    def before_execution_starts(self, executor: Any) -> None:
        control = _control_of(executor._data_context)
        if control is not None and any(_is_ours(op, control) for op in executor._topology):
            executor._actor_autoscaler = _PolicyAutoscaler(
                executor._topology,
                executor._resource_manager,
                config=executor._data_context.autoscaling_config,
                control=control,
                nodes=ClusterNodes(
                    control.num_cpus, control.num_gpus, executor._cluster_autoscaler
                ),
            )


class _PolicyAutoscaler(BacklogAwareActorAutoscaler):
    """Ray's autoscaler for all operators but ours."""

    def __init__(
        self,
        topology: Any,
        resource_manager: Any,
        *,
        config: Any,
        control: PoolControl,
        nodes: ClusterNodes,
    ) -> None:
        super().__init__(topology, resource_manager, config=config)
        self._asked = _Asked(control, nodes)
        self._places: dict[Any, set[str]] = {}

    def _derive_target_scaling_config(self, actor_pool: Any, op: Any, op_state: Any) -> Any:
        running = getattr(actor_pool, "_running_actors", {})
        self._places[actor_pool] = {state.actor_location for state in running.values()}
        self._asked.control.nodes = frozenset().union(*self._places.values())
        if not _is_ours(op, self._asked.control):
            return super()._derive_target_scaling_config(actor_pool, op, op_state)
        op._ray_asr_shrinking = False
        self._asked.look(actor_pool)
        if op.has_completed() or (
            op._inputs_complete and op_state.total_enqueued_input_blocks() == 0
        ):
            return ActorPoolScalingRequest.downscale(delta=-1, force=True, reason="no work is left")
        # Ray gives no work to actors on a node that was told to go: others come in their place
        # before it has gone.
        doomed = _on_draining_nodes(running)
        size = self._asked.size(actor_pool, op, op_state, doomed)
        delta = size - (actor_pool.current_size() - doomed)
        if delta > 0:
            return ActorPoolScalingRequest.upscale(delta=delta, reason="the policy's")
        if delta < 0:
            op._ray_asr_shrinking = True
            return ActorPoolScalingRequest.downscale(delta=delta, force=True, reason="the policy's")
        return ActorPoolScalingRequest.no_op()


def _on_draining_nodes(running: dict[Any, Any]) -> int:
    """How many running actors are on nodes that are to go, at an idle or a spot node's notice."""
    draining = get_draining_nodes()
    return sum(
        state.actor_location in draining and not state.is_restarting for state in running.values()
    )


class _Asked:
    """The policy's answers for one pool, asked for now and then.

    Args:
        control: whose policy.
        nodes: where the pool's actors are.
    """

    def __init__(self, control: PoolControl, nodes: ClusterNodes) -> None:
        self.control = control
        self._nodes = nodes
        self._policy = control.make_policy()
        self._started = time.monotonic()
        self._next_s = 0.0
        self._target = 0
        self._last_running = self._last_restarting = self._lost = 0
        self._starting: deque[tuple[float, int]] = deque()  # since when, and beside how many
        self._load_s: float | None = None
        self._none_since: float | None = None
        self._starvation = Starvation()
        self._told = Told(control.name)

    def look(self, pool: Any) -> None:
        """Keep count of the actors that there were at the same time."""
        info = pool.get_actor_info()
        control = self.control
        control.most_running = max(control.most_running, info.running - info.restarting)
        with _lock:
            if control.name in _actors:
                _actors[control.name].update(getattr(pool, "_actor_to_logical_id", ()))

    def size(self, pool: Any, op: Any, state: Any, doomed: int) -> int:
        """How many actors there are to be: what the policy wants, as far as there is room.

        Beside these there are `doomed` ones, which run and get no work any more.

        Raises:
            PlanError: there has been no actor, or no CPU for reading, for too long; Ray Data hands
                it to who reads the dataset.
        """
        now_s = time.monotonic() - self._started
        info = pool.get_actor_info()
        pending = info.pending + info.restarting
        running = info.running - info.restarting - doomed
        self._watch_loads(now_s, running, pending, info.restarting)
        self._refuse_to_wait(now_s, running, pending)
        if now_s >= self._next_s or not self._target:
            self._next_s = now_s + self.control.period_s
            self._told.log()
            self._nodes.look(now_s)
            node_s = self._nodes.node_s(pool.max_size())
            signals = self._signals(now_s, running, pending, node_s, info, op, state)
            self.control.tell(signals)
            decision = self._fed(self._policy.decide(signals), signals, pool)
            self._note(now_s, decision, running, pending)
            self._target = min(max(decision.target, pool.min_size()), pool.max_size())
        return self._nodes.want(self._target, now_s)

    def _signals(
        self,
        now_s: float,
        running: int,
        pending: int,
        node_s: float,
        info: Any,
        op: Any,
        state: Any,
    ) -> Signals:
        control, seen, metrics = self.control, self.control.look(), op.metrics
        granted = 100 * running * control.num_cpus / control.cores if control.cores else None
        return Signals(
            time_s=now_s,
            running=running,
            pending=pending,
            lost=max(0, self._lost - self._told.renewed),
            audio_done_s=seen.audio_done_s,
            audio_left_s=seen.audio_left_s,
            queued=state.total_enqueued_input_blocks(),
            in_flight=info.tasks_in_flight,
            load_s=self._load_s,
            node_s=node_s,
            room=self._nodes.room,
            nodes=self._nodes.count,
            cpu_percent=seen.cpu_percent,
            reserve_percent=control.reserve_percent,
            granted_percent=granted,
            gpu_percent=seen.gpu_percent,
            gpu_memory_share=seen.gpu_memory_share,
            memory_share=seen.memory_share,
            chunks_done=metrics.num_tasks_finished,
            busy_s=metrics.block_generation_time or 0.0,
            idle=max(0, running - info.active),
            all_read=bool(op._inputs_complete),
        )

    def _watch_loads(self, now_s: float, running: int, pending: int, restarting: int) -> None:
        """How long actors take to load, and how many were lost."""
        self._lost += max(0, restarting - self._last_restarting)
        come = max(0, running - self._last_running)
        for _ in range(min(come, len(self._starting))):
            since_s, beside = self._starting.popleft()
            # Those that load at once share the cores; one that is started later does not.
            cores = self.control.cores or math.inf
            self._load_s = (now_s - since_s) * min(1.0, cores / (beside * self.control.num_cpus))
        while len(self._starting) < pending:
            self._starting.append((now_s, pending))
        while len(self._starting) > pending:
            self._starting.pop()
        self._last_running, self._last_restarting = running, restarting

    def _refuse_to_wait(self, now_s: float, running: int, pending: int) -> None:
        if running or not pending:
            self._none_since = None
            return
        if self._none_since is None:
            self._none_since = now_s
        waited_s = now_s - self._none_since
        if waited_s < self.control.actor_timeout_s:
            return
        if any_announced(self.control.name):
            self._none_since = now_s  # one has a place, and loads
            return
        raise PlanError(no_actor_sentence(self.control, waited_s))

    def _fed(self, decision: Decision, signals: Signals, pool: Any) -> Decision:
        """The decision, or fewer actors where they have the CPU that reading waits for."""
        control, now_s = self.control, signals.time_s
        dry = bool(
            control.readers_announce
            and signals.running
            and not (signals.queued or signals.in_flight or signals.all_read)
            and not any_reading(control.name)
        )
        cap = self._starvation.cap(now_s, pool.current_size(), dry, signals.room)
        waited_s = self._starvation.waited_s(now_s)
        if waited_s >= control.actor_timeout_s and pool.current_size() <= max(1, pool.min_size()):
            raise PlanError(no_reader_sentence(control, signals.running, waited_s))
        if cap is None or cap >= decision.target:
            return decision
        return Decision(cap, "reading has no CPU: an actor gives it one")

    def _note(self, now_s: float, decision: Decision, running: int, pending: int) -> None:
        moments = self.control.moments
        moment = Moment(now_s, decision.target, running, pending, decision.reason)
        last = moments[-1] if moments else None
        if last is None or decision.target != last.target:
            logger.info(
                "%d actor(s) from here on: %s (%d running, %d loading).",
                decision.target, decision.reason, running, pending,
            )  # fmt: skip
        if last is None or (moment.target, moment.running, moment.pending) != (
            last.target, last.running, last.pending,
        ):  # fmt: skip
            moments.append(moment)


def no_actor_sentence(control: PoolControl, waited_s: float) -> str:
    """Why there is no actor, by what Ray has free."""
    free, total = ray.available_resources(), ray.cluster_resources()
    wanted = {"CPU": control.num_cpus, "GPU": control.num_gpus}
    short = [
        f"{amount:g} {kind} (of {total.get(kind, 0.0):g} in the cluster {free.get(kind, 0.0):g} "
        "are free)"
        for kind, amount in wanted.items()
        if amount and free.get(kind, 0.0) < amount
    ]
    why = " and ".join(short) or "a node with room for all of it at once"
    return (
        f"no actor has had a place for {waited_s:.0f} s: each needs {why}. End what else runs "
        "there, add nodes, lower engine.ncpu, or raise control.actor_timeout_s."
    )


def no_reader_sentence(control: PoolControl, actors: int, waited_s: float) -> str:
    """Why nothing is read, by what Ray has free."""
    free, total = (
        of.get("CPU", 0.0) for of in (ray.available_resources(), ray.cluster_resources())
    )
    return (
        f"reading has had no CPU for {waited_s:.0f} s beside {actors} actor(s) of "
        f"{control.num_cpus:g} CPU (of {total:g} in the cluster {free:g} are free). End what else "
        "runs there, add nodes, lower engine.ncpu or control.min_actors, or raise "
        "control.actor_timeout_s."
    )
