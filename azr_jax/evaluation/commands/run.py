"""`python -m azr_jax.evaluation --model=PATH --language=racket --benchmark=humaneval`: sample, judge, score."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from azr_jax.evaluation.commands import arguments as flags
from azr_jax.evaluation.judging.judge import MULTIPL_E, SOUND, open_judges
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import files, records
from azr_jax.evaluation.problems.records import AnyProblem
from azr_jax.evaluation.scoring import answers, pass_at_k, results
from azr_jax.evaluation.scoring.results import Results

_KEYS = {SOUND: "status", MULTIPL_E: "multipl_e_status"}
_UNSATISFIABLE = "unsatisfiable.json"
_LINE_EVERY_S = 20.0


def add_parser(commands: Any) -> None:
    """The command's flags."""
    parser = commands.add_parser("run", help="sample a model on a benchmark and score it (the default command)")
    parser.add_argument(
        "--model", required=True, metavar="PATH", help="a Hugging Face directory, a run's workdir, or a save in it"
    )
    parser.add_argument("--step", type=int, default=None, help="which save of a run (default: the newest)")
    parser.add_argument(
        "--base_model", default="", metavar="DIR", help="where a run's starting model lies, if it moved"
    )
    flags.add_language(parser)
    parser.add_argument("--benchmark", default="humaneval", help="humaneval | mbpp (in Python HumanEval+ and MBPP+)")
    parser.add_argument("--problems", default="", metavar="FILE", help="problems of a file instead of a benchmark")
    parser.add_argument("--data_dir", default="", metavar="DIR", help="local benchmark data (default: AZR_JAX_DATA)")
    parser.add_argument("--prompt", choices=answers.MODES, default=answers.COMPLETION, help="MultiPL-E's or Listing 1")
    parser.add_argument("--n", type=int, default=1, help="samples of each problem")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    parser.add_argument("--top_p", type=float, default=1.0)
    parser.add_argument("--max_tokens", type=int, default=1024, help="of a response")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N problems")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, metavar="DIR", help="results; the same command again goes on")
    parser.add_argument("--compat", choices=["both"], help="MultiPL-E's own word and score beside the sound ones")
    parser.add_argument("--compute_dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--slots", type=int, default=0, help="samples decoded together (default: from memory)")
    parser.add_argument("--workers", type=int, default=None, metavar="N", help="programs at once (default: one a core)")
    parser.add_argument("--timeout", type=float, default=0.0, metavar="S", help="of one program (default: MultiPL-E's)")
    parser.set_defaults(command_function=main)


def _check(arguments: argparse.Namespace) -> None:
    """Raises ValueError for numbers that make no evaluation."""
    for name, least in (("n", 1), ("max_tokens", 1), ("limit", 0), ("slots", 0)):
        if getattr(arguments, name) < least:
            raise ValueError(f"--{name}={getattr(arguments, name)}: use at least {least}")
    if not 0 <= arguments.temperature < math.inf:
        raise ValueError(f"--temperature={arguments.temperature}: use at least 0, which is greedy")
    if not 0 < arguments.top_p <= 1:
        raise ValueError(f"--top_p={arguments.top_p}: use a number above 0 and at most 1")
    if not 0 <= arguments.timeout < math.inf:
        raise ValueError(f"--timeout={arguments.timeout}: use a number above 0, or 0 for MultiPL-E's own limit")
    if arguments.workers is not None and arguments.workers < 1:
        raise ValueError(f"--workers={arguments.workers}: use at least 1, or leave it out")
    if arguments.n > 1 and arguments.temperature == 0:
        raise ValueError(f"--n={arguments.n} greedy samples are all the same: give --temperature, such as 0.2")


def _problems(arguments: argparse.Namespace, suffix: str) -> list[AnyProblem]:
    if arguments.problems:
        return records.load_language(arguments.problems, suffix)
    return files.load(files.locate(arguments.benchmark, suffix, arguments.data_dir), suffix)


def _digest(found: Sequence[AnyProblem]) -> str:
    """16 hexadecimal digits over the problems."""
    digest = hashlib.sha256()
    for problem in found:
        digest.update(repr(problem).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def main(arguments: argparse.Namespace) -> int:
    """Samples and judges what is not there yet, then prints the score; 1 when the executors failed on a program."""
    output: TextIO = sys.stdout
    _check(arguments)
    language = known_language(arguments.language, arguments.language_directory)
    suffix = language.suffix
    policies = [SOUND, MULTIPL_E] if arguments.compat else [SOUND]
    every = _problems(arguments, suffix)
    found = every[: arguments.limit or None]
    unsatisfiable = _unsatisfiable(arguments, suffix)
    from azr_jax.evaluation.scoring import models  # imports jax: mistakes in flags and data come before it

    served = models.load(arguments.model, arguments.step, arguments.base_model)
    settings = {
        "model": served.identity,
        "language": suffix,
        "benchmark": arguments.problems or arguments.benchmark,
        "problems_digest": _digest(every),
        "prompt": arguments.prompt,
        "n": arguments.n,
        "policies": policies,
        **{name: getattr(arguments, name) for name in ("temperature", "top_p", "max_tokens", "seed", "compute_dtype")},
        "timeout": arguments.timeout,
    }
    store = Results(arguments.out, settings)
    store.check_names(found)
    todo = [problem for problem in found if not store.is_done(problem)]
    with open_judges(language, policies, workers=arguments.workers, timeout_s=arguments.timeout) as judges:
        facts = {
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "interpreter": judges[0].interpreter_version,
            "problems": len(found),
        }
        if todo:
            store.check_interpreter(judges[0].interpreter_version)
        store.write_manifest(facts)
        if todo:
            _sample(arguments, served, judges, store, todo)
    done = {name: each for name, each in results.read(store.folder).items() if name in {one.name for one in found}}
    summary = summarise(done, policies, arguments.n, unsatisfiable)
    facts["finished"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    store.write_manifest({**facts, **summary})
    output.write(report(settings, facts, summary))
    return 1 if summary["infrastructure"] else 0


def _sample(arguments: argparse.Namespace, served: Any, judges: Sequence[Any], store: Results, todo: list[Any]) -> None:
    """Samples and judges `todo`, and writes each problem's file as it is complete."""
    from azr_jax.config import SamplerSettings
    from azr_jax.evaluation.scoring import models, sampling

    # A small model may not have room for both: then a response gets at most half of its positions.
    response = min(arguments.max_tokens, served.config.max_positions // 2)
    sampler_settings = SamplerSettings(
        max_prompt_tokens=served.config.max_positions - response,
        max_response_tokens=response,
        temperature=arguments.temperature,
        eval_temperature=arguments.temperature,
        top_p=arguments.top_p,
        top_k=0,
        slots=arguments.slots,
        chunk=32,
        prefill_tokens=16384,
        stop=(),
    )
    longest = max(
        len(served.tokenizer.encode_prompt(answers.prompt_of(problem, judges[0].language, arguments.prompt)))
        for problem in todo
    )
    prompt_tokens = max(1, min(longest, sampler_settings.max_prompt_tokens))
    sampler_settings = dataclasses.replace(sampler_settings, max_prompt_tokens=prompt_tokens)
    sampler = models.make_sampler(served, sampler_settings, arguments.compute_dtype)
    how = sampling.Sampling(arguments.prompt, arguments.n, arguments.temperature, arguments.max_tokens, arguments.seed)
    with _progress(len(todo) * arguments.n, len(todo)) as (on_response, on_problem):
        for problem, samples in sampling.judged_samples(sampler, served.params, judges, todo, how, on_response):
            more = []
            for sample in samples:
                fields = dict(sample.more)
                if len(sample.judgements) == 2:
                    fields[_KEYS[MULTIPL_E]] = sample.judgements[1].status
                if any(judgement.infrastructure for judgement in sample.judgements):
                    fields["infrastructure"] = True
                if sample.judgements[0].own_way:
                    fields["judged"] = MULTIPL_E
                more.append(fields)
            completions = [sample.completion for sample in samples]
            store.write(problem, [sample.judgements[0] for sample in samples], more, completions)
            on_problem()


@contextlib.contextmanager
def _progress(responses: int, found: int) -> Iterator[tuple[Any, Any]]:
    """Two bars on standard error: responses sampled, problems judged; on no terminal a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from _progress_lines(responses, found)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        sampled = bars.add_task("sampled", total=responses)
        judged = bars.add_task("judged", total=found)
        yield lambda: bars.advance(sampled), lambda: bars.advance(judged)


def _progress_lines(responses: int, found: int) -> Iterator[tuple[Any, Any]]:
    done = {"sampled": 0, "judged": 0}
    told = time.monotonic()

    def advance(what: str) -> None:
        nonlocal told
        done[what] += 1
        if done["judged"] == found or time.monotonic() - told > _LINE_EVERY_S:
            told = time.monotonic()
            sys.stderr.write(f"sampled {done['sampled']} of {responses}, judged {done['judged']} of {found}\n")
            sys.stderr.flush()

    yield lambda: advance("sampled"), lambda: advance("judged")


def _unsatisfiable(arguments: argparse.Namespace, suffix: str) -> frozenset[str]:
    """Names of problems that no completion can pass as MultiPL-E assembles them, where the data says so.

    Raises ValueError for a file of another form.
    """
    folder = Path(arguments.data_dir or os.environ.get("AZR_JAX_DATA", "") or ".")
    for path in (folder / _UNSATISFIABLE, folder / "multipl-e" / _UNSATISFIABLE):
        if path.is_file():
            try:
                names = dict(json.loads(path.read_text(encoding="utf-8"))).get(suffix, [])
                if not isinstance(names, list):
                    raise ValueError(f"{suffix!r} has {names!r:.60}")
                return frozenset(names)
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f'{path}: {error}; it is JSON {{"SUFFIX": ["NAME", ...]}}: mend it, or take it away'
                ) from None
    return frozenset()


def summarise(
    done: Mapping[str, Sequence[Mapping[str, Any]]],
    policies: Sequence[str],
    samples: int,
    unsatisfiable: frozenset[str],
) -> dict[str, Any]:
    """Scores under each policy: pass@k as [estimate, low, high], for k of 1, 10 and 100 that the samples allow.

    Of fewer than ten samples the second k is their number.
    """
    ks = sorted({1, min(samples, 10)} | ({100} if samples >= 100 else set()))
    statuses: dict[str, int] = {}
    broken = own_way = 0
    for each in done.values():
        for result in each:
            own_way += "judged" in result
            statuses[result["status"]] = statuses.get(result["status"], 0) + 1
            broken += bool(result.get("infrastructure"))
    summary: dict[str, Any] = {"scored": len(done), "statuses": statuses, "infrastructure": broken}
    summary |= {"own_way": own_way, "scores": {}}
    for policy in policies:
        counts = results.counts(done, _KEYS[policy])
        summary["scores"][policy] = {f"pass@{k}": pass_at_k.interval(counts, k) for k in ks}
    rest = {name: each for name, each in done.items() if name not in unsatisfiable}
    if rest and len(rest) < len(done):
        counts = results.counts(rest)
        summary["satisfiable"] = {"problems": len(rest), "pass@1": pass_at_k.interval(counts, 1)}
    return summary


def report(settings: Mapping[str, Any], facts: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """What a person reads at the end: what the score is of, and the score."""
    model = settings["model"]
    step = "" if model["step"] is None else f" step {model['step']}"
    lines = [
        f"{settings['benchmark']} {settings['language']}, {settings['prompt']} prompt, {summary['scored']} problems",
        f"model {model['path']}{step} ({model['digest']}), {facts['interpreter']}, seed {settings['seed']},"
        f" {facts['finished']}",
    ]
    for policy, found in summary["scores"].items():
        for name, (estimate, low, high) in found.items():
            lines.append(f"{policy}: {name} {estimate:.1%} (95% interval {low:.1%} to {high:.1%})")
    if "satisfiable" in summary:
        estimate, low, high = summary["satisfiable"]["pass@1"]
        count = summary["satisfiable"]["problems"]
        lines.append(f"of the {count} problems that can be passed: pass@1 {estimate:.1%} ({low:.1%} to {high:.1%})")
    lines.append(", ".join(f"{word} {count}" for word, count in sorted(summary["statuses"].items())))
    if summary["own_way"]:
        lines.append(f"{summary['own_way']} were judged by their own tests, which a completion can fool")
    if summary["infrastructure"]:
        lines.append(f"the executors failed on {summary['infrastructure']}: run `python -m executors doctor`")
    return "\n".join(lines) + "\n"
