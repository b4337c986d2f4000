import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from tiny_learner import CONFIG, batch, batches, learner, leaves, sequences, settings, transformer

from azr_jax.learner.adamw import adamw_step, init_moments, learning_rate
from azr_jax.learner.experience import with_kl_penalty
from azr_jax.learner.objective import Experience
from azr_jax.learner.packing import pack
from azr_jax.learner.state import decay_mask, trainable
from azr_jax.learner.update import make_learner
from azr_jax.model.sharding import leaf_name, make_mesh

# With epsilon 1 an AdamW step is smooth in the gradient; with 1e-8 it is lr * sign(gradient), rounding noise included.
SMOOTH = {"lr": 1.0, "epsilon": 1.0, "gradient_clip": 1e9, "weight_decay": 0.0}


def largest_difference(left, right) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(leaves(left), leaves(right), strict=True))


def reference_loss(params, responses, aggregation: str, entropy_coef: float, cap: float):
    """The loss of each response alone, unpacked, from whole logits. On policy, so the surrogate is -ratio * A."""
    graphdef, _ = transformer()
    model = nnx.merge(graphdef, params)
    token_losses, weights = [], []
    for response in responses:
        ids = jnp.asarray([[*response.prompt_ids, *response.response_ids]])
        hidden = model.hidden(ids, jnp.arange(ids.shape[1])[None], jnp.ones_like(ids))
        count = len(response.response_ids)
        all_logprobs = jax.nn.log_softmax(model.logits(hidden)[0, -count - 1 : -1])
        logprobs = all_logprobs[jnp.arange(count), jnp.asarray(response.response_ids)]
        entropy = -(jnp.exp(all_logprobs) * all_logprobs).sum(axis=-1)
        fixed = jax.lax.stop_gradient(logprobs)
        importance = jnp.minimum(jnp.exp(fixed - jnp.asarray(response.sampler_logprobs)), cap) if cap else 1.0
        token_losses.append(-importance * jnp.exp(logprobs - fixed) * response.advantage - entropy_coef * entropy)
        weights.append(jnp.full(count, 1.0 if aggregation == "token" else 1.0 / count))
    weights = jnp.concatenate(weights)
    return (jnp.concatenate(token_losses) * weights).sum() / weights.sum()


@pytest.mark.parametrize(
    ("aggregation", "cap"), [pytest.param("token", 1.05, marks=pytest.mark.slow), ("sequence", 0.0)]
)
def test_loss_and_step_match_unpacked_responses(aggregation, cap):
    trainer, state = learner(settings(**SMOOTH, importance_cap=cap, entropy_coef=0.1))
    params = transformer()[1]
    loss, gradient = jax.jit(
        jax.value_and_grad(lambda params: reference_loss(params, sequences(4), aggregation, 0.1, cap))
    )(params)
    weights = {"token": lambda response: 1.0, "sequence": lambda response: 1 / len(response.response_ids)}[aggregation]
    weighted = [dataclasses.replace(response, weight=weights(response)) for response in sequences(4)]
    state, metrics = trainer.update(state, pack(weighted, 24, 2, 0))
    np.testing.assert_allclose(metrics["ppo/loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["ppo/grad_norm"], optax.tree.norm(gradient), rtol=1e-4)
    # Adam's first step from zero moments is lr * g / (|g| + epsilon).
    expected = jax.tree.map(lambda p, g: p - g / (jnp.abs(g) + 1.0), params, gradient)
    assert largest_difference(state.params, expected) < 2e-6


@pytest.mark.parametrize("compute_dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_first_minibatch_has_ratio_exactly_one(compute_dtype):
    trainer, state = learner(settings(epochs=2), compute_dtype=compute_dtype)
    _, metrics = trainer.update(state, *batches(12, 2))
    assert metrics["ppo/steps"] == 4.0
    assert metrics["ppo/first_ratio_mean"] == 1.0
    assert metrics["ppo/first_ratio_max"] == 1.0
    assert metrics["ppo/ratio_max"] > 1.0
    # What the pass before the update gave for the same policy: bfloat16 has 8 bits, a logit's rounding is some 1e-2.
    assert metrics["ppo/recompute_gap_max"] < (1e-5 if compute_dtype == jnp.float32 else 3e-2)


def test_one_step_is_wholly_on_policy():
    trainer, state = learner(settings())
    _, metrics = trainer.update(state, batch())
    assert metrics["ppo/ratio_mean"] == metrics["ppo/ratio_max"] == 1.0
    assert metrics["ppo/clip_fraction"] == metrics["ppo/approx_kl"] == 0.0
    assert "ppo/recompute_gap_max" not in metrics
    assert all(isinstance(value, float) for value in metrics.values())


@pytest.mark.parametrize("rows_per_microbatch", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_microbatch_split_does_not_matter(rows_per_microbatch):
    packed = batch(20)
    trainer, state = learner(settings(**SMOOTH))
    whole, metrics = trainer.update(state, packed)
    split_learner, state = learner(settings(**SMOOTH, rows_per_microbatch=rows_per_microbatch))
    split, split_metrics = split_learner.update(state, packed)
    assert largest_difference(whole.params, split.params) < 1e-6
    assert largest_difference(transformer()[1], split.params) > 1e-2
    assert set(metrics) == set(split_metrics)
    for name, value in metrics.items():
        np.testing.assert_allclose(split_metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_packing_order_and_padding_do_not_matter():
    trainer, state = learner(settings(**SMOOTH))
    plain, metrics = trainer.update(state, batch(20))
    shuffled = [sequences(20)[i] for i in np.random.default_rng(3).permutation(20)]
    for packed in (pack(shuffled, 24, 2, 0), pack(sequences(20), 24, 8, 17)):
        other, other_metrics = trainer.update(trainer.init(transformer()[1]), packed)
        assert largest_difference(plain.params, other.params) < 1e-6
        np.testing.assert_allclose(other_metrics["ppo/loss"], metrics["ppo/loss"], rtol=1e-5)


def test_statistics_by_hand():
    trainer, state = learner(settings())
    packed = batch()
    model = nnx.merge(*transformer())

    @jax.jit
    def scored(packed):
        hidden = model.hidden(packed.tokens_RT, packed.positions_RT, packed.segment_ids_RT)
        return model.token_logprobs(hidden, packed.targets_RT)

    logprobs_RT, entropy_RT = (np.asarray(x) for x in scored(packed))
    mask = packed.loss_mask_RT == 1
    _, metrics = trainer.update(state, packed)
    difference = (logprobs_RT - packed.sampler_logprobs_RT)[mask]
    np.testing.assert_allclose(metrics["ppo/mismatch_mean"], np.abs(difference).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["ppo/mismatch_max"], np.abs(difference).max(), rtol=1e-5)
    np.testing.assert_allclose(metrics["ppo/mismatch_kl"], (np.exp(difference) - 1 - difference).mean(), rtol=1e-4)
    np.testing.assert_allclose(
        metrics["ppo/importance_weight_mean"], np.minimum(np.exp(difference), 2).mean(), rtol=1e-5
    )
    np.testing.assert_allclose(metrics["ppo/entropy"], entropy_RT[mask].mean(), rtol=1e-5)
    solvers = mask & (packed.group_RT == 5)
    np.testing.assert_allclose(metrics["ppo/solve_induction/entropy"], entropy_RT[solvers].mean(), rtol=1e-5)
    assert metrics["ppo/solve_induction/tokens"] == solvers.sum()
    assert metrics["ppo/response_tokens"] == mask.sum()


@pytest.mark.ci
def test_bypass_uses_the_samplers_logprobs():
    trainer, state = learner(settings(recompute_old_logprobs=False))
    packed = batch()
    _, metrics = trainer.update(state, packed)
    _, recomputed = learner(settings())[0].update(learner(settings())[1], packed)
    assert metrics["ppo/first_ratio_mean"] != 1.0
    assert metrics["ppo/importance_weight_mean"] == 1.0
    np.testing.assert_allclose(metrics["ppo/mismatch_mean"], recomputed["ppo/mismatch_mean"], rtol=1e-5)
    np.testing.assert_allclose(metrics["ppo/approx_kl"], recomputed["ppo/mismatch_kl"], rtol=1e-4)


def test_nonfinite_step_is_skipped_and_counted():
    trainer, state = learner(settings())
    poisoned = batch()
    poisoned.advantages_RT[np.nonzero(poisoned.loss_mask_RT)] = np.nan
    before = leaves((state.params, state.opt_state))
    state, metrics = trainer.update(state, poisoned)
    for old, new in zip(before, leaves((state.params, state.opt_state)), strict=True):
        np.testing.assert_array_equal(new, old)
    assert (int(state.step), int(state.skipped_updates)) == (0, 1)
    assert metrics["ppo/nonfinite"] == metrics["ppo/skipped_updates"] == 1.0
    assert np.isnan(metrics["ppo/loss"])
    # The next one goes on as if nothing had been.
    state, metrics = trainer.update(state, batch())
    clean, _ = trainer.update(trainer.init(transformer()[1]), batch())
    assert largest_difference(state.params, clean.params) == 0.0
    assert (metrics["ppo/nonfinite"], metrics["ppo/skipped_updates"]) == (0.0, 1.0)


def test_one_bad_minibatch_does_not_stop_the_others():
    trainer, state = learner(settings(epochs=2))
    poisoned, sound = batches(12, 2)
    poisoned.advantages_RT[0] = np.where(poisoned.loss_mask_RT[0] == 1, np.inf, 0.0)
    state, metrics = trainer.update(state, poisoned, sound)
    assert (int(state.step), int(state.skipped_updates)) == (2, 2)
    assert np.isfinite(metrics["ppo/loss"])
    assert np.isfinite(np.concatenate([leaf.ravel() for leaf in leaves(state.params)])).all()


@pytest.mark.ci
def test_reference_policy_is_kept_and_pulls():
    trainer, state = learner(settings(kl_coef=5.0, entropy_coef=0.0))
    assert largest_difference(state.reference, transformer()[1]) == 0.0
    packed = batch()
    packed.advantages_RT[:] = 0.0
    state, metrics = trainer.update(state, packed)
    assert metrics["ppo/kl_ref"] < 1e-9
    # With nothing to gain, a policy that starts elsewhere comes towards the reference.
    elsewhere = trainer.init(transformer(seed=1)[1])
    state = elsewhere.replace(reference=trainer.init(transformer()[1]).reference)
    divergences = []
    for _ in range(5):
        state, metrics = trainer.update(state, packed)
        divergences.append(metrics["ppo/kl_ref"])
    assert divergences[0] > 0.01
    assert divergences[-1] < 0.5 * divergences[0]
    assert largest_difference(state.reference, transformer()[1]) == 0.0


@pytest.mark.ci
def test_the_kl_to_an_untouched_reference_is_0_in_bfloat16():
    """Norm scales are no sums of powers of two, as after training: cast, they are others."""
    trainer, _ = learner(settings(kl_coef=1.0), compute_dtype=jnp.bfloat16)
    rng = np.random.default_rng(0)

    def trained(path, leaf):
        return (
            jnp.asarray(1 + 0.3 * rng.standard_normal(leaf.shape), jnp.float32) if "norm" in leaf_name(path) else leaf
        )

    params = jax.tree_util.tree_map_with_path(trained, transformer()[1])
    _, metrics = trainer.update(trainer.init(params), batch())
    assert metrics["ppo/kl_ref"] == 0.0


@pytest.mark.ci
def test_temperature_divides_the_logits():
    cold, _ = learner(settings(), temperature=0.5)
    warm, _ = learner(settings())
    _, cold_metrics = cold.update(cold.init(transformer()[1]), batch())
    _, warm_metrics = warm.update(warm.init(transformer()[1]), batch())
    assert cold_metrics["ppo/entropy"] < warm_metrics["ppo/entropy"]
    graphdef, params = transformer()
    with pytest.raises(ValueError, match=r"sampler.temperature=0.0"):
        make_learner(graphdef, params, settings(), make_mesh(devices=jax.devices()[:1]), 0.0)


def test_state_is_donated_and_parameters_given_to_init_are_not():
    trainer, _ = learner(settings())
    params = transformer()[1]
    state = trainer.init(params)
    new_state, _ = trainer.update(state, batch())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((params, new_state)))
    # init takes what a checkpoint in bfloat16 gives, and makes float32 masters of it.
    halves = trainer.init(jax.tree.map(lambda x: x.astype(jnp.bfloat16), params))
    assert {leaf.dtype for leaf in jax.tree.leaves(halves.params)} == {jnp.dtype(jnp.float32)}


@pytest.mark.ci
def test_programs_work_in_place():
    """The optimizer step makes no copy of params or moments; accumulation holds one gradient besides its arguments."""
    trainer, _ = learner(settings())
    lowered = trainer.lower()
    parameter_bytes = 4 * CONFIG.parameters
    apply = lowered["apply"].compile().memory_analysis()
    assert apply.alias_size_in_bytes >= 3 * parameter_bytes
    assert apply.temp_size_in_bytes < 0.2 * parameter_bytes
    accumulate = lowered["accumulate"].compile().memory_analysis()
    assert accumulate.alias_size_in_bytes >= parameter_bytes


def test_adamw_is_optaxs():
    chosen = settings(lr=0.05, gradient_clip=0.7, weight_decay=0.1, warmup_steps=3)
    rng = np.random.default_rng(0)
    params = {"kernel": rng.standard_normal((3, 4)).astype(np.float32), "bias": np.ones(4, np.float32)}
    decayed = {"kernel": True, "bias": False}
    optimizer = optax.chain(
        optax.clip_by_global_norm(0.7),
        optax.adamw(lambda n: learning_rate(chosen, n), b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.1, mask=decayed),
    )
    theirs, their_state = params, optimizer.init(params)
    ours, moments = params, init_moments(params)
    for step in range(6):
        # Above and below the clip.
        size = np.float32(10.0 ** (step - 4))
        gradients = {name: size * rng.standard_normal(x.shape).astype(np.float32) for name, x in params.items()}
        updates, their_state = optimizer.update(gradients, their_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
        norm = optax.tree.norm(gradients)
        ours, moments = adamw_step(ours, gradients, moments, jnp.int32(step), norm, jnp.bool_(True), decayed, chosen)
        assert largest_difference(ours, theirs) < 1e-6
    assert largest_difference(ours, params) > 0.05


def test_decay_falls_on_matrices_alone():
    params = transformer()[1]
    mask = decay_mask(trainable(params, {"kernel_D": jnp.zeros(16), "bias": jnp.zeros(())}))
    named = {str(path): decayed for path, decayed in jax.tree_util.tree_leaves_with_path(mask["policy"], is_leaf=None)}
    assert len(named) == len(jax.tree.leaves(params))
    for path, decayed in named.items():
        assert decayed == ("norm" not in path and "bias" not in path), path
    assert mask["value_head"] == {"kernel_D": True, "bias": False}


def test_warm_up_is_linear():
    chosen = settings(lr=0.8, warmup_steps=4)
    np.testing.assert_allclose([learning_rate(chosen, n) for n in range(6)], [0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rtol=1e-6)
    assert learning_rate(settings(lr=0.8), 0) == np.float32(0.8)


def test_empty_batch_is_an_error():
    trainer, state = learner(settings())
    packed = batch()
    with pytest.raises(ValueError, match="no response token"):
        trainer.update(state, packed._replace(loss_mask_RT=np.zeros_like(packed.loss_mask_RT)))


def test_a_state_that_rests_on_the_host_trains_on_as_if_it_had_not():
    trainer, state = learner(settings(lr=1e-2))
    _, other = learner(settings(lr=1e-2))
    other = trainer.rest(other)
    assert {leaf.sharding.memory_kind for leaf in jax.tree.leaves(other)} == {"pinned_host"}
    assert trainer.rest(other) is other
    state, expected = trainer.update(state, batch())
    other, measured = trainer.update(other, batch())
    assert measured == expected
    assert {leaf.sharding.memory_kind for leaf in jax.tree.leaves(other)} == {"device"}
    for a, b in zip(leaves(other), leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_several_batches_are_several_steps_with_the_old_policy_from_before_the_first():
    trainer, state = learner(settings(lr=1e-2))
    parts = batches(12, 3)
    state, metrics = trainer.update(state, *parts)
    assert int(state.step) == metrics["ppo/steps"] == 3
    assert metrics["ppo/first_ratio_max"] == 1.0 and metrics["ppo/ratio_max"] != 1.0
    # One after the other, each with an old policy of its own, is another update.
    apart = learner(settings(lr=1e-2))[1]
    for part in parts:
        apart, own = trainer.update(apart, part)
        assert own["ppo/ratio_max"] == 1.0
    assert 1e-4 < largest_difference(state.params, apart.params) < 0.1


def test_a_denominator_divides_the_loss():
    trainer, state = learner(settings())
    packed = batch()
    _, metrics = trainer.update(state, packed)
    total = float(packed.weights_RT.sum())
    _, halved = trainer.update(learner(settings())[1], packed, denominators=[2 * total])
    np.testing.assert_allclose(halved["ppo/loss"], metrics["ppo/loss"] / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="2 denominators for 1 batches"):
        trainer.update(learner(settings())[1], packed, denominators=[1.0, 2.0])


def test_schedules_by_hand():
    linear = settings(lr=0.8, warmup_steps=2, lr_schedule="linear", lr_decay_steps=6, lr_end=0.5)
    rates = [learning_rate(linear, n) for n in range(8)]
    np.testing.assert_allclose(rates, [0.4, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4], rtol=1e-6)
    cosine = settings(lr=0.8, lr_schedule="cosine", lr_decay_steps=4, lr_end=0.0)
    expected = [0.4 * (1 + np.cos(np.pi * min(n, 4) / 4)) for n in range(6)]
    np.testing.assert_allclose([learning_rate(cosine, n) for n in range(6)], expected, atol=1e-7)


@pytest.mark.ci
def test_a_first_moment_in_bfloat16_takes_half_and_stays_near():
    chosen = settings(lr=1e-2)
    trainer, state = learner(chosen)
    short, short_state = learner(settings(lr=1e-2, moment_dtype="bfloat16"))
    sizes = [sum(leaf.nbytes for leaf in jax.tree.leaves(s.opt_state.mu)) for s in (state, short_state)]
    assert sizes[0] == 2 * sizes[1]
    assert {leaf.dtype for leaf in jax.tree.leaves(short_state.opt_state.nu)} == {jnp.dtype(jnp.float32)}
    started = transformer()[1]
    for _ in range(4):
        state, _ = trainer.update(state, batch())
        short_state, _ = short.update(short_state, batch())
    moved = largest_difference(state.params, started)
    assert 0.0 < largest_difference(state.params, short_state.params) < 0.02 * moved


def test_decay_everywhere_is_torchs():
    params = transformer()[1]
    assert all(jax.tree.leaves(decay_mask(trainable(params, None), "all")))


@pytest.mark.parametrize("estimator", ["trrpp", pytest.param("gae", marks=pytest.mark.slow)])
@pytest.mark.ci
def test_a_kl_penalty_in_the_reward_pulls_to_the_reference(estimator):
    trainer, _ = learner(settings(kl_coef=1.0, kl_in="reward", entropy_coef=0.0, estimator=estimator))
    packed = batch()
    packed.advantages_RT[:] = 0.0
    packed.rewards_RT[:] = 0.0
    state = trainer.init(transformer(seed=1)[1])
    state = state.replace(reference=trainer.init(transformer()[1]).reference)
    _, metrics = trainer.update(state, packed)
    assert metrics["ppo/kl_ref"] > 0.0 and metrics["ppo/grad_norm"] > 0.0
    assert "ppo/kl_loss" not in metrics
    # At the reference there is no penalty.
    at_reference = trainer.init(transformer()[1])
    _, metrics = trainer.update(at_reference, packed)
    assert metrics["ppo/grad_norm"] < 1e-3


def test_the_kl_penalty_of_a_token_is_that_of_the_rest_of_its_response():
    packed = pack([dataclasses.replace(sequences(1)[0], advantage=0.5)], 24, 1, 0)
    span = np.flatnonzero(packed.loss_mask_RT[0])
    old, ref = (np.random.default_rng(seed).standard_normal((1, 24)).astype(np.float32) for seed in (0, 1))
    part = with_kl_penalty(Experience(packed, old, ref, np.zeros_like(old)), settings(kl_coef=0.1, kl_in="reward"))
    expected = 0.5 - 0.1 * np.cumsum((old - ref)[0, span][::-1])[::-1]
    np.testing.assert_allclose(part.batch.advantages_RT[0, span], expected, rtol=1e-5)
    assert not part.batch.advantages_RT[0, span[-1] + 1 :].any()
