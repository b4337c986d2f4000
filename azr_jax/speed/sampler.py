"""The sampler's workloads: equal lengths with prefill, decoding alone against bandwidth, long tails against static."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from azr_jax.sampler import programs
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request
from azr_jax.sampler.session import SessionMetrics
from azr_jax.speed import counts, machine, requests
from azr_jax.speed.sizes import Size
from azr_jax.speed.subject import Subject, of_size


def run(
    report: machine.Report, size: Size, arguments: argparse.Namespace, peer: dict[str, Any] | None
) -> dict[str, Any]:
    """Measures the workloads that `--only` names, or all; {workload: figures}."""
    workloads = {"prompts": _prompts, "decode": _decode, "tail": _tail}
    chosen = [name for name in arguments.only.split(",") if name] or list(workloads)
    bandwidth = machine.copy_bandwidth(size, arguments.repeats)
    report.add("ceilings", copy_gb_per_s=bandwidth / 1e9, weights_gb=_weight_bytes(size) / 1e9)
    if peer is not None:
        report.add("peer", **peer)
    subject = of_size(size, "auto")
    params = subject.params(size.compute_dtype)
    for name in chosen:
        workloads[name](report, subject, params, bandwidth, arguments.repeats)
    if "prompts" in chosen and peer is not None and peer.get("size") == size.name:
        rate = report.result["prompts"]["tokens_per_s"]
        report.add("over_peer", tokens_per_s=rate / peer["tokens_per_s"])
    return report.result


def _itemsize(size: Size) -> int:
    return np.dtype(jax.numpy.dtype(size.compute_dtype)).itemsize


def _weight_bytes(size: Size) -> int:
    return counts.matmul_parameters(size.model) * _itemsize(size)


def generate(sampler: Sampler, params: Any, given: Sequence[Request], seed: int = 0) -> tuple[float, SessionMetrics]:
    """(seconds, metrics) of sampling all requests; each must have the imposed length."""
    started = time.perf_counter()
    session = sampler.session(params, seed)
    for request in given:
        session.submit(request)
    tokens = 0
    while not session.idle:
        tokens += sum(len(rollout.token_ids) for rollout in session.step())
    taken = time.perf_counter() - started
    wanted = sum(request.max_tokens for request in given)
    if tokens != wanted:
        raise RuntimeError(f"sampler gave {tokens} tokens instead of {wanted}: an end token was drawn")
    return taken, session.metrics


def _prompts(report: machine.Report, subject: Subject, params: Any, bandwidth: float, repeats: int) -> None:
    """Prompts and answers of one length, prefill included."""
    size = subject.size
    given = requests.equal(size.prompts, size.prompt_tokens, size.prompt_tokens, size.model.vocab_size)
    sampler = subject.sampler(size.prompt_tokens, size.prompt_tokens, slots=size.prompts)
    params = sampler.serve(params)
    generate(sampler, params, given)
    runs = [generate(sampler, params, given) for _ in range(repeats)]
    seconds = statistics.median(taken for taken, _ in runs)
    metrics = runs[-1][1]
    lengths = [size.prompt_tokens] * size.prompts
    ceiling_s = counts.roofline_s(size.model, lengths, lengths, bandwidth, _itemsize(size))
    report.add(
        "prompts",
        requests=size.prompts,
        prompt_tokens=size.prompt_tokens,
        new_tokens=size.prompt_tokens,
        tokens_per_s=sum(lengths) / seconds,
        seconds=seconds,
        decode_ms_a_step=1e3 * metrics.decode_s / max(1, metrics.decode_steps),
        prefill_s=metrics.prefill_s,
        decoding_roofline_tokens_per_s=sum(lengths) / ceiling_s,
        share_of_roofline=ceiling_s / seconds,
    )


def _decode(report: machine.Report, subject: Subject, params: Any, bandwidth: float, repeats: int) -> None:
    """Only the decode program, all slots live, at the end of a context: bytes it must read, over time."""
    size = subject.size
    slots, context, chunk = size.decode_slots, size.decode_context, size.chunk
    sampler = subject.sampler(context - chunk, chunk, slots=slots)
    params = sampler.serve(params)
    caches: tuple[Any, ...] = (sampler.new_caches(slots, context),)
    key = jax.random.key(0)

    def rows() -> programs.Rows:
        return sampler.place_rows(
            programs.Rows(
                token_B=np.arange(slots, dtype=np.int32) % size.model.vocab_size,
                position_B=np.full((slots,), context - chunk, np.int32),
                remaining_B=np.full((slots,), 10 * chunk, np.int32),
                live_B=np.ones((slots,), np.bool_),
                temperature_B=np.ones((slots,), np.float32),
                id_words_B2=np.stack((np.arange(slots), np.zeros(slots)), axis=1).astype(np.uint32),
            )
        )

    def chunk_of_steps() -> None:
        nonlocal caches
        caches, *_, steps = sampler.programs.decode(params, key, caches, rows())
        if int(steps) != chunk:
            raise RuntimeError(f"decode made {int(steps)} steps instead of {chunk}")

    seconds = machine.median_s(chunk_of_steps, max(repeats, 5)) / chunk
    contexts = [context - chunk // 2] * slots
    read = counts.decode_bytes(size.model, contexts, _itemsize(size))
    report.add(
        "decode",
        slots=slots,
        context=context,
        ms_a_step=1e3 * seconds,
        tokens_per_s=slots / seconds,
        gb_per_s=read / seconds / 1e9,
        share_of_copy_bandwidth=read / seconds / bandwidth,
    )


def _tail(report: machine.Report, subject: Subject, params: Any, bandwidth: float, repeats: int) -> None:
    """Log-normal lengths, several samples a prompt; the same requests in static batches on the same code."""
    del repeats  # one run is long enough
    size = subject.size
    lengths = size.lengths.draw(size.tail_requests, seed=0)
    given = requests.grouped(lengths, size.samples, size.tail_prompt_tokens, size.model.vocab_size)
    sampler = subject.sampler(size.tail_prompt_tokens, size.lengths.cap)
    params = sampler.serve(params)
    generate(sampler, params, given)
    seconds, metrics = generate(sampler, params, given)
    ceiling_s = counts.roofline_s(
        size.model, [size.tail_prompt_tokens] * len(lengths), lengths, bandwidth, _itemsize(size)
    )
    rate = sum(lengths) / seconds
    report.add(
        "tail",
        requests=len(lengths),
        prompts=len(lengths) // size.samples,
        prompt_tokens=size.tail_prompt_tokens,
        longest=max(lengths),
        useful_tokens_per_s=rate,
        seconds=seconds,
        tiers=[list(tier) for tier in sampler.tiers],
        occupancy=metrics.occupancy,
        roofline_tokens_per_s=sum(lengths) / ceiling_s,
        share_of_roofline=ceiling_s / seconds,
    )
    # Batches of one prompt's samples, and large ones; a few batches give the rate, all of them take minutes.
    for slots, batches in ((size.samples, 6), (size.static_slots, 2)):
        _static(report, subject, params, given, slots, batches, rate)


def _static(
    report: machine.Report,
    subject: Subject,
    params: Any,
    given: Sequence[Request],
    slots: int,
    batches: int,
    continuous_rate: float,
) -> None:
    """The same requests in their order, `slots` at a time, each batch to its longest response before the next."""
    size = subject.size
    sampler = subject.sampler(size.tail_prompt_tokens, size.lengths.cap, slots=slots)
    groups = [given[start : start + slots] for start in range(0, len(given), slots)]
    timed = groups[:batches]
    # With fixed slots, two tokens compile all shapes; with slots that follow the load, only the work itself does.
    short = [Request(f"warm/{i}", request.prompt_ids, 2, 1.0) for i, request in enumerate(timed[0])]
    for group in [short] if size.name == "full" else timed:
        generate(sampler, params, group)
    seconds = sum(generate(sampler, params, group)[0] for group in timed)
    rate = sum(request.max_tokens for group in timed for request in group) / seconds
    rooflines_s = [
        counts.roofline_s(
            size.model,
            [size.tail_prompt_tokens] * len(group),
            [request.max_tokens for request in group],
            1.0,
            _itemsize(size),
        )
        for group in groups
    ]
    whole = [request.max_tokens for request in given]
    together_s = counts.roofline_s(size.model, [size.tail_prompt_tokens] * len(whole), whole, 1.0, _itemsize(size))
    report.add(
        f"static/{slots}",
        requests=sum(len(group) for group in timed),
        slots=slots,
        useful_tokens_per_s=rate,
        continuous_over_static=continuous_rate / rate,
        # The ratio for two equally efficient codes: the rooflines of all requests, static over together.
        rooflines_ratio=sum(rooflines_s) / together_s,
    )
