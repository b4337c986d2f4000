"""`make_learner`: the PPO update as three small jitted programs and the host's loop over epochs and microbatches.

Only one microbatch shape is compiled, [rows_per_microbatch, row_tokens]; the number of microbatches changes with the
responses' lengths. The loop dispatches one program after another without waiting, and reads the results at its end.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from azr_jax.config import LearnerSettings
from azr_jax.devices import compiler_options
from azr_jax.learner import objective
from azr_jax.learner.adamw import adamw_step, learning_rate
from azr_jax.learner.experience import with_gae, with_kl_penalty
from azr_jax.learner.metrics import update_metrics
from azr_jax.learner.objective import Experience
from azr_jax.learner.packing import Batch, empty_rows, take_rows
from azr_jax.learner.state import TrainState, decay_mask, init_state, state_shardings
from azr_jax.model import attention_check
from azr_jax.model.sharding import HOST_MEMORY, batch_sharding, check_batch, replicated, row_parts


def make_learner(
    graphdef: Any, abstract_params: Any, settings: LearnerSettings, mesh: Mesh, temperature: float = 1.0
) -> Learner:
    """A learner for a Transformer split into (graphdef, parameters); `abstract_params` may be arrays or shapes.

    Compute dtype, remat policy and attention kernel are the model's own. `temperature` is the sampler's: logits are
    divided by it, so that the trained distribution is the sampled one.

    Raises:
      ValueError: rows_per_microbatch that does not split over the mesh, temperature 0 or below, sizes that the mesh
        does not divide.
    """
    if temperature <= 0:
        raise ValueError(
            f"sampler.temperature={temperature}: greedy samples have no distribution to train; set it above 0"
        )
    return Learner(graphdef, abstract_params, settings, mesh, temperature)


class Learner:
    """The jitted programs of an update over one mesh; made by `make_learner`.

    Attributes:
      rows_per_microbatch: rows of one program call, for `pack`'s rows_multiple.
      abstract_state, shardings: shapes and NamedShardings of the TrainState, for checkpoints.
    """

    def __init__(
        self, graphdef: Any, abstract_params: Any, settings: LearnerSettings, mesh: Mesh, temperature: float
    ) -> None:
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), abstract_params)
        model = nnx.merge(graphdef, shapes)
        self.settings, self.mesh = settings, mesh
        if model.attention_kernel == "cudnn" and jax.default_backend() != "cpu":  # not if it is only lowered
            attention_check.errors(model.config, model.compute_dtype, model.attention_kernel)
        # With remat="none" there is memory for a second gradient. Layer by layer, every layer's cast copy would stay.
        self._adds_in_place = model.remat != "none"
        self.rows_per_microbatch = settings.rows_per_microbatch or row_parts(mesh)
        check_batch(self.rows_per_microbatch, mesh, "learner.rows_per_microbatch")
        initialise = functools.partial(init_state, config=model.config, settings=settings, dtype=model.compute_dtype)
        self.abstract_state: TrainState = jax.eval_shape(initialise, shapes)
        self.shardings = state_shardings(self.abstract_state, model.config, mesh)
        self._score = functools.partial(
            objective.score, graphdef, logit_chunk=settings.logit_chunk, temperature=temperature
        )
        self._init = jax.jit(initialise, out_shardings=self.shardings)
        self._compile_programs()

    def _compile_programs(self) -> None:
        """Wraps the programs in jit with their shardings; each compiles at its first call."""
        rows, everywhere = batch_sharding(self.mesh), replicated(self.mesh)
        gradients = self.shardings.trainable
        abstract = self.abstract_state.trainable
        microbatch = self.abstract_experience()
        scalar, flag = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((), jnp.bool_)
        _, self._abstract_statistics = jax.eval_shape(self._loss, abstract, microbatch, flag, scalar)
        self._zeros = jax.jit(
            lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (abstract, self._abstract_statistics)),
            out_shardings=(gradients, everywhere),
        )
        policy, head = self.shardings.params, self.shardings.value_head
        options = compiler_options(self.mesh)
        self.score_program = jax.jit(
            self._old_policy, in_shardings=(policy, head, rows), out_shardings=everywhere, compiler_options=options
        )
        self.reference_program = jax.jit(
            lambda params, batch: self._old_policy(params, None, batch),
            in_shardings=(policy, rows),
            out_shardings=everywhere,
            compiler_options=options,
        )
        self.accumulate_program = jax.jit(
            self._accumulate,
            in_shardings=(gradients, gradients, everywhere, rows, everywhere, everywhere),
            out_shardings=(gradients, everywhere),
            donate_argnums=(1, 2),
            compiler_options=options,
        )
        self.apply_program = jax.jit(
            self._apply,
            in_shardings=(self.shardings, gradients, everywhere),
            out_shardings=(self.shardings, everywhere),
            donate_argnums=(0,),
            compiler_options=options,
        )

    def init(self, params: Any) -> TrainState:
        """A fresh state; `params` (any float dtype) are copied, and stay valid."""
        return self._init(params)

    def rest(self, state: TrainState) -> TrainState:
        """Moves the state to host memory, so that device memory is free for sampling; donates `state`.

        `update` and `wake` take it back; the sampler can read its params from host memory.
        """
        if _rests(state):
            return state
        return _moved(state, jax.tree.map(lambda sharding: sharding.with_memory_kind(HOST_MEMORY), self.shardings))

    def wake(self, state: TrainState) -> TrainState:
        """Moves a state in host memory back to the devices; returns any other unchanged."""
        return _moved(state, self.shardings) if _rests(state) else state

    def update(
        self, state: TrainState, *batches: Batch, denominators: Sequence[float] = ()
    ) -> tuple[TrainState, dict[str, float]]:
        """One optimizer step for each batch in order, `epochs` times; metrics as in learner/metrics.py.

        Old log-probabilities are those before the first step. From the second epoch on the batches are
        shuffled. `state` is donated: its arrays, `state.params` among them, are deleted; use the returned
        state's. A step whose loss or gradient is not finite leaves params and moments as they were and is counted in
        `ppo/skipped_updates`, for the caller to compare with `max_nonfinite_updates`. Rows without a response are
        not computed.

        Args:
          state: of the steps before.
          batches: packed rows with the weights of their tokens.
          denominators: what each batch's weighted sum of losses is divided by (aggregation.py); none: the sum of its
            weights.

        Raises:
          ValueError: no batch, one without any response, another number of denominators.
        """
        denominators = denominators or [float(batch.weights_RT.sum(dtype=np.float64)) for batch in batches]
        if len(denominators) != len(batches):
            raise ValueError(f"{len(denominators)} denominators for {len(batches)} batches: give one for each")
        used = [np.flatnonzero(batch.loss_mask_RT.any(axis=1)) for batch in batches]
        if not batches or not all(map(len, used)):
            raise ValueError("batch has no response token: pack at least one response")
        settings, state = self.settings, self.wake(state)
        seed = [int(state.step), int(state.skipped_updates)]
        chosen = [take_rows(batch, rows, len(rows)) for batch, rows in zip(batches, used, strict=True)]
        experience, measured = self._experience(state, chosen)
        results: list[dict[str, Any]] = []
        for epoch in range(settings.epochs):
            order = list(range(len(batches)))
            if epoch > 0:
                order = np.random.default_rng([*seed, epoch]).permutation(len(batches)).tolist()
            for number in order:
                denominator = np.float32(denominators[number])
                state, result = self._step(state, experience[number], denominator, first=not results)
                results.append(result)
        metrics = update_metrics(jax.device_get(results), [part.batch for part in experience], measured)
        if not self.scores_old_policy(len(batches)):
            del metrics["ppo/recompute_gap_max"]
        return state, metrics

    def abstract_experience(self) -> Experience:
        """Shapes of one microbatch."""
        shape = (self.rows_per_microbatch, self.settings.row_tokens)
        batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct(shape, x.dtype), empty_rows(1, 1, 0))
        floats_RT = jax.ShapeDtypeStruct(shape, jnp.float32)
        return Experience(batch, floats_RT, floats_RT, floats_RT)

    def lower(self) -> dict[str, jax.stages.Lowered]:
        """The update's programs lowered at full shape, for compiling ahead of time.

        "accumulate" runs once a microbatch, while the optimizer's moments (not among its arguments) are in
        memory too; "apply" runs once a minibatch.
        """
        scalar, flag = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((), jnp.bool_)
        abstract, gradients = self.abstract_state, self.abstract_state.trainable
        statistics = self._abstract_statistics
        return {
            "accumulate": self.accumulate_program.lower(
                gradients, gradients, statistics, self.abstract_experience(), flag, scalar
            ),
            "apply": self.apply_program.lower(abstract, gradients, statistics),
        }

    def _loss(
        self, tree: Any, experience: Experience, first: jax.Array, denominator: jax.Array, sums: Any = None
    ) -> Any:
        scores = self._score(tree["policy"], tree["value_head"], experience.batch, sums=sums)
        return objective.objective(scores, experience, first, denominator, self.settings)

    def _old_policy(self, params: Any, value_head: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
        scores = self._score(params, value_head, batch)
        return scores.logprobs_RT, scores.values_RT

    def _accumulate(
        self,
        tree: Any,
        gradients: Any,
        statistics: Any,
        experience: Experience,
        first: jax.Array,
        denominator: jax.Array,
    ) -> tuple[Any, Any]:
        """Adds one microbatch's gradient and statistics."""
        sums = gradients["policy"] if self._adds_in_place else None
        more, new = jax.grad(self._loss, has_aux=True)(tree, experience, first, denominator, sums)
        added = jax.tree.map(jnp.add, gradients, more)
        if sums is not None:
            added["policy"]["layers"] = more["policy"]["layers"]
        return added, objective.add_statistics(statistics, new)

    def _apply(self, state: TrainState, gradients: Any, statistics: Any) -> tuple[TrainState, dict[str, Any]]:
        """One optimizer step, or none when loss or gradient is not finite."""
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(norm) & jnp.isfinite(statistics["sum"]["loss"])
        tree, opt_state = adamw_step(
            state.trainable,
            gradients,
            state.opt_state,
            state.step,
            norm,
            finite,
            decay_mask(state.trainable, self.settings.decay),
            self.settings,
        )
        new_state = TrainState(
            params=tree["policy"],
            value_head=tree["value_head"],
            reference=state.reference,
            opt_state=opt_state,
            step=state.step + finite.astype(jnp.int32),
            skipped_updates=state.skipped_updates + (~finite).astype(jnp.int32),
        )
        result = {
            "statistics": statistics,
            "gradient_norm": norm,
            "finite": finite,
            "learning_rate": learning_rate(self.settings, state.step),
            "skipped_updates": new_state.skipped_updates,
        }
        return new_state, result

    def _step(
        self, state: TrainState, experience: Experience, denominator: np.float32, first: bool
    ) -> tuple[TrainState, dict[str, Any]]:
        """One minibatch: every microbatch's gradient, then the optimizer."""
        gradients, statistics = self._zeros()
        for microbatch in self._microbatches(experience):
            gradients, statistics = self.accumulate_program(
                state.trainable, gradients, statistics, microbatch, np.bool_(first), denominator
            )
        return self.apply_program(state, gradients, statistics)

    def _microbatches(self, arrays: Any) -> Iterator[Any]:
        """A tree of [R, T] arrays, some rows at a time, on the mesh; the last microbatch is padded."""
        sharding = batch_sharding(self.mesh)
        count = len(jax.tree.leaves(arrays)[0])
        for start in range(0, count, self.rows_per_microbatch):
            rows = np.arange(start, min(start + self.rows_per_microbatch, count))
            chosen = take_rows(arrays, rows, self.rows_per_microbatch)
            yield jax.tree.map(lambda array_RT: _place(array_RT, sharding), chosen)

    def _experience(self, state: TrainState, batches: Sequence[Batch]) -> tuple[list[Experience], dict[str, float]]:
        """The scores of the policy before the update's first step, as far as the settings need them."""
        settings = self.settings
        zeros = [np.zeros(batch.tokens_RT.shape, np.float32) for batch in batches]
        experience = [Experience(batch, none, none, none) for batch, none in zip(batches, zeros, strict=True)]
        if settings.kl_coef > 0:
            program = functools.partial(self.reference_program, state.reference)
            experience = [part._replace(ref_logprobs_RT=self._scored(program, part.batch)[0]) for part in experience]
        if not self.scores_old_policy(len(batches)):
            return experience, {}
        program = functools.partial(self.score_program, state.params, state.value_head)
        scored = [self._scored(program, part.batch) for part in experience]
        experience = [
            part._replace(old_logprobs_RT=old_RT) for part, (old_RT, _) in zip(experience, scored, strict=True)
        ]
        if settings.kl_coef > 0 and settings.kl_in == "reward":
            experience = [with_kl_penalty(part, settings) for part in experience]
        if settings.estimator == "gae":
            return with_gae(experience, [values_RT for _, values_RT in scored], settings)
        return experience, {}

    def scores_old_policy(self, minibatches: int) -> bool:
        """Whether old log-probabilities or values are needed that the first optimizer step does not compute itself."""
        settings = self.settings
        several_steps = settings.epochs * minibatches > 1
        before = settings.estimator == "gae" or (settings.kl_coef > 0 and settings.kl_in == "reward")
        return before or (several_steps and settings.recompute_old_logprobs)

    def _scored(self, program: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        outputs = jax.device_get([program(microbatch) for microbatch in self._microbatches(batch)])
        logprobs_RT, values_RT = (np.concatenate(parts)[: len(batch.tokens_RT)] for parts in zip(*outputs, strict=True))
        return logprobs_RT, values_RT


def _rests(state: TrainState) -> bool:
    return state.step.sharding.memory_kind == HOST_MEMORY


def _moved(state: TrainState, shardings: TrainState) -> TrainState:
    """Moves one array after the other, so that no device holds two states."""

    def move(leaf: jax.Array, sharding: NamedSharding) -> jax.Array:
        moved = jax.block_until_ready(jax.device_put(leaf, sharding))
        leaf.delete()
        return moved

    return jax.tree.map(move, state, shardings)


def _place(array_RT: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """Host array to mesh; each process gives the rows of its own devices."""
    return jax.make_array_from_callback(array_RT.shape, sharding, lambda index: array_RT[index])
