"""The problems of `problems.path`, read and checked before a run begins."""

from __future__ import annotations

from pathlib import Path

from azr_jax.config import Config, located
from azr_jax.evaluation.languages.known import known_languages
from azr_jax.evaluation.problems import records
from azr_jax.loop.play import Player
from azr_jax.selfplay.problems import ProblemSet
from azr_jax.types import VerifiedProblem


def load_problems(config: Config) -> ProblemSet:
    """The problems of the run; none if it names no file.

    Raises:
      FileNotFoundError, ValueError: no such file, or a line that is no problem with tests, with its number.
    """
    if not config.problems.path:
        return ProblemSet()
    path = Path(located(config.problems.path))
    if not path.is_file():
        raise FileNotFoundError(f"problems.path={str(path)!r}: no such file; name a problems file or set it to ''")
    problems = records.load_stdin(path)
    languages = known_languages(config.language_directory)
    return ProblemSet(
        tuple(VerifiedProblem(problem.name, problem.prompt, *zip(*problem.pairs, strict=True)) for problem in problems),
        {name: languages[name].loadable for name in config.languages},
    )


def check_problems(player: Player) -> None:
    """Raises ValueError when the prompts of all problems exceed `sampler.max_prompt_tokens`, so that none is drawn."""
    problems, languages = player.problems.problems, player.config.languages
    tasks = (player.problem_task("", language, problem) for problem in problems for language in languages)
    if problems and not any(player.fits(task.prompt_ids) for task in tasks):
        raise ValueError(
            f"problems.path={player.config.problems.path!r}: the prompt of every problem exceeds"
            f" sampler.max_prompt_tokens={player.config.sampler.max_prompt_tokens}; raise it"
        )
