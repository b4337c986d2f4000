"""The corpus, the tokenizer, the training and the export of the embedded model; `__main__.py` is the command."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import tokenizers
from absl import logging

from azr_jax.config import Config, PretrainSettings
from azr_jax.model import weights
from azr_jax.model.configuration import ModelConfig
from azr_jax.pretrain import corpus, train, transcripts, vocabulary
from azr_jax.pretrain.corpus import Drawn
from azr_jax.pretrain.transcripts import Transcript

MODEL_NAME = "azr-tiny"
HELD_BACK = 1000


def build_corpus(config: Config) -> tuple[list[Transcript], list[Transcript], dict[str, list[str]]]:
    """Clean transcripts, those of the documented mixture, each shuffled, and problem files' lines by file name."""
    settings, selfplay = config.pretrain, config.selfplay
    inputs, shown = selfplay.induction_inputs, selfplay.induction_shown
    counts = dict(zip(settings.languages, settings.programs, strict=True))
    parts = corpus.splits(config.seed, inputs, settings.heldout, counts)
    workers = config.executor.workers or os.cpu_count() or 1
    clean: list[Transcript] = []
    mixed: list[Transcript] = []
    files: dict[str, list[str]] = {}
    for language, count in zip(settings.languages, settings.transcripts, strict=True):
        examples = corpus.run(language, parts[language], workers)
        first = round(count * settings.clean_share)
        seed = f"{config.seed}/{language}"
        clean += corpus.write(examples, first, shown, selfplay.references, True, f"{seed}/clean")
        mixed += corpus.write(examples[::-1], count - first, shown, selfplay.references, False, f"{seed}/mixed")
        files |= problem_files(config, language, parts)
    for part in (clean, mixed):
        random.Random(f"{config.seed}/order").shuffle(part)
    return clean, mixed, files


def problem_files(config: Config, language: str, parts: Mapping[str, Sequence[Drawn]]) -> dict[str, list[str]]:
    """Lines of a language's held-out and validation problems by file name, from the programs of `corpus.splits`."""
    workers = config.executor.workers or os.cpu_count() or 1
    files = {}
    for split in ("heldout", "validation"):
        problems = corpus.run(language, parts[split], workers)
        lines = corpus.problem_lines(problems, config.selfplay.induction_shown, f"{config.seed}/{split}")
        files[f"{split}_{language}.jsonl"] = lines
    return files


def encode(tokenizer: tokenizers.Tokenizer, written: Sequence[Transcript]) -> list[tuple[list[int], list[int]]]:
    """(prompt ids, response ids with the end token) of each; encoded separately, as the sampler has them."""
    end = vocabulary.end_id(tokenizer)
    prompts = tokenizer.encode_batch([transcript.prompt for transcript in written], add_special_tokens=False)
    responses = tokenizer.encode_batch([transcript.response for transcript in written], add_special_tokens=False)
    return [(prompt.ids, [*response.ids, end]) for prompt, response in zip(prompts, responses, strict=True)]


def make_problems(config: Config, language: str) -> None:
    """Writes only the problem sets of a language that the model is not trained on."""
    output = Path(config.pretrain.output)
    output.mkdir(parents=True, exist_ok=True)
    parts = corpus.splits(config.seed, config.selfplay.induction_inputs, config.pretrain.heldout, {})
    _write_files(output, problem_files(config, language, parts))


def make_model(config: Config) -> None:
    """Corpus, tokenizer, training, export, and the record of it in pretrain.json."""
    started = time.monotonic()
    output = Path(config.pretrain.output)
    output.mkdir(parents=True, exist_ok=True)
    clean, mixed, files = build_corpus(config)
    logging.info("%d transcripts after %.0f s", len(clean) + len(mixed), time.monotonic() - started)
    _write_files(output, files)
    result = fit_and_save(config, clean, mixed, output / MODEL_NAME)
    record = {
        "settings": {key: value for key, value in dataclasses.asdict(config.pretrain).items() if key != "output"},
        "seed": config.seed,
        "solver_styles": transcripts.SOLVER_STYLES,
        "proposer_styles": transcripts.PROPOSER_STYLES,
        "wrong_share": transcripts.WRONG_SHARE,
        "task_shares": {f"{role}/{kind}": share for (role, kind), share in transcripts.TASK_SHARES.items()},
        "training": {field: getattr(result, field) for field in ("final_loss", "heldback_loss", "steps", "tokens")},
        "seconds": {"training": round(result.seconds), "all": round(time.monotonic() - started)},
    }
    (output / "pretrain.json").write_text(json.dumps(record, indent=2) + "\n")
    logging.info("%s: loss %.4f, held back %.4f", output / MODEL_NAME, result.final_loss, result.heldback_loss)


def _write_files(output: Path, files: Mapping[str, Sequence[str]]) -> None:
    for name, lines in files.items():
        (output / name).write_text("\n".join(lines) + "\n")


def fit_and_save(
    config: Config, clean: Sequence[Transcript], mixed: Sequence[Transcript], directory: Path
) -> train.Result:
    """Trains the tokenizer and the model (copying, clean, mixed) and writes the Hugging Face directory."""
    settings: PretrainSettings = config.pretrain
    texts = [transcript.prompt + transcript.response for transcript in (*clean, *mixed)] + vocabulary.general_text()
    tokenizer = vocabulary.train(texts, settings.vocab_size)
    positions = config.sampler.max_prompt_tokens + config.sampler.max_response_tokens
    clean_documents, mixed_documents = (_fitting(encode(tokenizer, part), settings) for part in (clean, mixed))
    held, mixed_documents = mixed_documents[:HELD_BACK], mixed_documents[HELD_BACK:]
    common = sorted({token for prompt, response in clean_documents for token in prompt + response})
    length = settings.row_tokens // 4
    copying = train.copying_documents(common, settings.copying_steps * settings.batch_rows * 4, length, config.seed)
    model_config = ModelConfig(
        vocab_size=settings.vocab_size,
        embed_dim=settings.embed_dim,
        ffn_dim=settings.ffn_dim,
        layers=settings.layers,
        heads=settings.heads,
        kv_heads=settings.heads,
        head_dim=settings.embed_dim // settings.heads,
        rope_theta=10000.0,
        max_positions=positions,
        eos_ids=(vocabulary.end_id(tokenizer),),
    )
    parts = (copying, clean_documents, mixed_documents, held)
    *phases, held_rows = (train.rows_of(part, settings.row_tokens, settings.prompt_weight) for part in parts)
    result = train.fit(model_config, settings, phases, held_rows, config.seed)
    with tempfile.TemporaryDirectory() as files:
        vocabulary.save(tokenizer, Path(files), positions)
        weights.save(directory, model_config, result.params, tokenizer_source=files)
    return result


def _fitting(
    documents: Sequence[tuple[list[int], list[int]]], settings: PretrainSettings
) -> list[tuple[list[int], list[int]]]:
    """The documents that fit a row."""
    kept = [(prompt, response) for prompt, response in documents if len(prompt + response) <= settings.row_tokens]
    logging.info("%d of %d transcripts are longer than a row: left out", len(documents) - len(kept), len(documents))
    return kept
