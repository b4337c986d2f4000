"""`python -m azr_jax.evaluation --model=PATH --language=racket --benchmark=humaneval`: sample, judge, score."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from azr_jax.evaluation.commands import arguments as flags
from azr_jax.evaluation.commands.progress import progress
from azr_jax.evaluation.judging.judge import MULTIPL_E, SOUND, CompletionJudge, open_judges
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import files, records
from azr_jax.evaluation.problems.records import AnyProblem
from azr_jax.evaluation.scoring import answers, results, summary
from azr_jax.evaluation.scoring.results import Results, result_of
from azr_jax.model.hub import check_path

if TYPE_CHECKING:  # imports jax: flags and data are checked before
    from azr_jax.evaluation.scoring.model import EvaluatedModel
    from azr_jax.evaluation.scoring.sampling import Asked

_UNSATISFIABLE = "unsatisfiable.json"
# Samples and temperature of the published scores; other benchmarks have one greedy sample.
_PUBLISHED = {files.AG_LCB_X: (20, 0.2)}
_PROMPT_HELP = (
    "completion: MultiPL-E's beginning of a program | chat: Listing 1, in plain text and not in the model's own chat"
    " template | instruct: a user's message in the model's own chat template"
)


def add_parser(commands: Any) -> None:
    """The command's flags."""
    parser = commands.add_parser("run", help="sample a model on a benchmark and score it (the default command)")
    parser.add_argument(
        "--model",
        required=True,
        metavar="PATH",
        help="a Hugging Face directory or hub id, a run's workdir, or a save in it",
    )
    parser.add_argument("--step", type=int, default=None, help="which save of a run (default: the newest)")
    parser.add_argument("--base_model", default="", metavar="DIR", help="where a run's starting model is, if it moved")
    flags.add_language(parser)
    parser.add_argument("--benchmark", default="humaneval", help=flags.BENCHMARKS)
    parser.add_argument(
        "--problems",
        default="",
        metavar="FILE",
        help="problems of a file, or a folder of files, instead of a benchmark",
    )
    parser.add_argument("--data_dir", default="", metavar="DIR", help="local benchmark data (default: AZR_JAX_DATA)")
    parser.add_argument("--prompt", choices=answers.MODES, default=answers.COMPLETION, help=_PROMPT_HELP)
    parser.add_argument(
        "--stop",
        choices=answers.STOPS,
        default=answers.MENDED,
        help="stop tokens of Lua, Julia and OCaml: without the empty line, as MultiPL-E published them, or both scores",
    )
    parser.add_argument("--n", type=int, help="samples per problem (default: 1; for ag-lcb-x 20, as published)")
    flags.add_ks(parser, "1, 10 and 100 up to n; 1 and n if n is below 10")
    parser.add_argument("--temperature", type=float, help="0 is greedy (default: 0; for ag-lcb-x 0.2, as published)")
    parser.add_argument("--top_p", type=float, default=1.0)
    parser.add_argument("--max_tokens", type=int, default=1024, help="tokens of a response")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N problems")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, metavar="DIR", help="results; the same command again continues")
    parser.add_argument(
        "--compat", choices=["both"], help="MultiPL-E's own status and score in addition to the sound ones"
    )
    parser.add_argument("--compute_dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--slots", type=int, default=0, help="samples decoded together (default: from memory)")
    parser.add_argument(
        "--workers", type=int, default=None, metavar="N", help="programs at once (default: one per core)"
    )
    parser.add_argument(
        "--timeout", type=float, default=0.0, metavar="S", help="seconds for a program (default: its benchmark's)"
    )
    parser.set_defaults(command_function=main)


def _check(arguments: argparse.Namespace) -> None:
    """Raises ValueError for numbers that are out of range."""
    for name, least in (("n", 1), ("max_tokens", 1), ("limit", 0), ("slots", 0)):
        if getattr(arguments, name) < least:
            raise ValueError(f"--{name}={getattr(arguments, name)}: use at least {least}")
    flags.check_ks(arguments.k, f"--n={arguments.n}", arguments.n)
    if not 0 <= arguments.temperature < math.inf:
        raise ValueError(f"--temperature={arguments.temperature}: use at least 0, which is greedy")
    if not 0 < arguments.top_p <= 1:
        raise ValueError(f"--top_p={arguments.top_p}: use a number above 0 and at most 1")
    flags.check_judging(arguments.workers, arguments.timeout)
    if arguments.n > 1 and arguments.temperature == 0:
        raise ValueError(f"--n={arguments.n} greedy samples are all the same: give --temperature, such as 0.2")


def _digest(problems: Sequence[AnyProblem]) -> str:
    """16 hexadecimal digits over the problems."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(repr(problem).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def main(arguments: argparse.Namespace) -> int:
    """Samples and judges the missing samples, then prints the score; 1 when the executors failed on a program."""
    output: TextIO = sys.stdout
    published = _PUBLISHED.get("" if arguments.problems else arguments.benchmark, (1, 0.0))
    arguments.n = published[0] if arguments.n is None else arguments.n
    arguments.temperature = published[1] if arguments.temperature is None else arguments.temperature
    _check(arguments)
    check_path(arguments.model)  # before data is looked for on the hub
    language = known_language(arguments.language, arguments.language_directory)
    suffix = language.suffix
    policies = [SOUND, MULTIPL_E] if arguments.compat else [SOUND]
    benchmark = arguments.benchmark
    source = Path(arguments.problems) if arguments.problems else files.locate(benchmark, language, arguments.data_dir)
    every = files.load(source, suffix)
    problems = every[: arguments.limit or None]
    answers.check_mode(problems, arguments.prompt)
    unsatisfiable = _unsatisfiable(arguments, suffix)
    from azr_jax.evaluation.scoring import sampling
    from azr_jax.evaluation.scoring.model import open_model

    model = open_model(arguments.model, arguments.step, arguments.base_model, arguments.compute_dtype)
    settings = {
        "model": model.identity,
        "language": suffix,
        "benchmark": arguments.problems or benchmark,
        "problems_digest": _digest(every),
        "prompt": arguments.prompt,
        "stop": arguments.stop,
        "n": arguments.n,
        "policies": policies,
        **{name: getattr(arguments, name) for name in ("temperature", "top_p", "max_tokens", "seed", "compute_dtype")},
        "timeout": arguments.timeout,
    }
    store = Results(arguments.out, settings)
    store.check_names(problems)
    todo = [problem for problem in problems if not store.is_done(problem)]
    # A chat template that is missing or refuses the message ends the command before an interpreter starts.
    prompts = sampling.asked(todo, language.language, model.engine.tokenizer, arguments.prompt)
    with open_judges(language, policies, workers=arguments.workers, timeout_s=arguments.timeout) as judges:
        facts = {
            "started": _now(),
            "interpreter": judges[0].interpreter_version,
            "data": files.data_version(source),
            "problems": len(problems),
        }
        # With nothing to do too: the manifest would name an interpreter that judged none of the results.
        store.check_interpreter(judges[0].interpreter_version)
        store.write_manifest(facts)
        if todo:
            _sample(arguments, model, judges, store, prompts)
    names = {problem.name for problem in problems}
    done = {name: samples for name, samples in results.read(store.folder).items() if name in names}
    scored = [*policies, summary.PUBLISHED_STOP] if arguments.stop == answers.BOTH else policies
    scores = summary.summarise(done, scored, arguments.k or summary.default_ks(arguments.n), unsatisfiable)
    facts["finished"] = _now()
    store.write_manifest({**facts, **scores})
    output.write(summary.report(settings, facts, scores))
    return 1 if scores["infrastructure"] else 0


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _sample(
    arguments: argparse.Namespace,
    model: EvaluatedModel,
    judges: Sequence[CompletionJudge],
    store: Results,
    prompts: Asked,
) -> None:
    """Samples and judges; keeps each sample as it is judged, and writes a problem's file with its last one."""
    from azr_jax.config import SamplerSettings
    from azr_jax.evaluation.scoring import sampling

    todo = [problem for problem, _ in prompts]
    engine = model.engine
    # A small model may not have room for both: then a response gets at most half of its positions.
    response = min(arguments.max_tokens, engine.model_config.max_positions // 2)
    sampler_settings = SamplerSettings(
        max_prompt_tokens=engine.model_config.max_positions - response,
        max_response_tokens=response,
        temperature=arguments.temperature,
        eval_temperature=arguments.temperature,
        top_p=arguments.top_p,
        top_k=0,
        slots=arguments.slots,
        chunk=32,
        prefill_tokens=16384,
        draft_rows=0,
        draft_tokens=3,
        stop=(),
    )
    longest = max(len(prompt_ids) for _, prompt_ids in prompts)
    prompt_tokens = max(1, min(longest, sampler_settings.max_prompt_tokens))
    sampler = engine.sampler(dataclasses.replace(sampler_settings, max_prompt_tokens=prompt_tokens))
    how = sampling.Sampling(
        arguments.prompt, arguments.n, arguments.temperature, arguments.max_tokens, arguments.seed, arguments.stop
    )
    kept = store.kept_samples(todo, arguments.n)
    missing = sum(arguments.n - len(kept[problem.name]) for problem in todo)
    with progress(missing, len(todo)) as (on_response, on_problem):

        def write_if_complete(problem: AnyProblem) -> None:
            samples = kept[problem.name]
            if len(samples) == arguments.n:
                in_order = [samples[number] for number in range(arguments.n)]
                store.write(problem, [result for result, _ in in_order], [completion for _, completion in in_order])
                on_problem()

        for problem in todo:
            write_if_complete(problem)
        judged = sampling.judged_samples(
            sampler, model.params, judges, prompts, how, on_response, done={name: set(kept[name]) for name in kept}
        )
        for problem, number, sample in judged:
            result = result_of(sample.judgements[0], _more(problem, sample))
            store.keep_sample(problem, number, result, sample.completion)
            kept[problem.name][number] = result, sample.completion
            write_if_complete(problem)
    store.forget_samples()


def _more(problem: AnyProblem, sample: Any) -> dict[str, Any]:
    """The fields of a result's line besides MultiPL-E's."""
    fields = dict(sample.more)
    if isinstance(problem, records.EvalPlusProblem):
        judgement = sample.judgements[0]  # without statuses of its halves if nothing was run
        fields |= {"base_status": judgement.base or "fail", "plus_status": judgement.plus or "fail"}
    if len(sample.judgements) == 2:
        fields[summary.STATUS_KEYS[MULTIPL_E]] = sample.judgements[1].status
    if sample.published is not None:
        fields[summary.STATUS_KEYS[summary.PUBLISHED_STOP]] = sample.published.status
    judgements = [*sample.judgements, *([sample.published] if sample.published else [])]
    if any(judgement.infrastructure for judgement in judgements):
        fields["infrastructure"] = True
    if sample.judgements[0].own_way:
        fields["judged"] = MULTIPL_E
    return fields


def _unsatisfiable(arguments: argparse.Namespace, suffix: str) -> frozenset[str]:
    """Names of problems that no completion can pass as MultiPL-E assembles them, if the data lists them.

    Raises ValueError for a file of another form.
    """
    folder = Path(arguments.data_dir or os.environ.get(files.DATA_VARIABLE, "") or ".")
    for path in (folder / _UNSATISFIABLE, folder / "multipl-e" / _UNSATISFIABLE):
        if path.is_file():
            try:
                names = dict(json.loads(path.read_text(encoding="utf-8"))).get(suffix, [])
                if not isinstance(names, list):
                    raise ValueError(f"{suffix!r} has {names!r:.60}")
                return frozenset(names)
            except (ValueError, TypeError) as error:
                raise ValueError(f'{path}: {error}; it is JSON {{"SUFFIX": ["NAME", ...]}}: fix or remove it') from None
    return frozenset()
