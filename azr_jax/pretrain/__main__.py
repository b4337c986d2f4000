"""Makes the embedded model and its problem sets: `python -m azr_jax.pretrain --config=configs/tiny.py`.

Writes a Hugging Face directory (azr-tiny), heldout_LANGUAGE.jsonl and validation_LANGUAGE.jsonl, and pretrain.json with
the settings, the losses and the time, into `config.pretrain.output`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import tokenizers
from absl import app, logging
from ml_collections import config_flags

from azr_jax.config import Config, PretrainSettings, from_mapping
from azr_jax.pretrain import corpus, train, transcripts, vocabulary
from azr_jax.pretrain.transcripts import Transcript

_CONFIG = config_flags.DEFINE_config_file("config", "configs/tiny.py", "Configuration file; its pretrain.* keys count.")
MODEL_NAME = "azr-tiny"
HELD_BACK = 1000


def build_corpus(config: Config) -> tuple[list[Transcript], dict[str, list[str]]]:
    """All transcripts, shuffled, and the lines of each problem file by its name."""
    settings, selfplay = config.pretrain, config.selfplay
    inputs, shown = selfplay.induction_inputs, selfplay.induction_shown
    counts = dict(zip(settings.languages, settings.programs, strict=True))
    parts = corpus.splits(config.seed, inputs, settings.heldout, counts)
    workers = config.executor.workers or os.cpu_count() or 1
    written: list[Transcript] = []
    files: dict[str, list[str]] = {}
    for language, count in zip(settings.languages, settings.transcripts, strict=True):
        examples = corpus.run(language, parts[language], workers)
        written += corpus.write(examples, count, shown, selfplay.references, f"{config.seed}/{language}/transcripts")
        for split in ("heldout", "validation"):
            problems = corpus.run(language, parts[split], workers)
            files[f"{split}_{language}.jsonl"] = corpus.problem_lines(problems, shown, f"{config.seed}/{split}")
    random.Random(f"{config.seed}/order").shuffle(written)
    return written, files


def encode(tokenizer: tokenizers.Tokenizer, written: Sequence[Transcript]) -> list[tuple[list[int], list[int]]]:
    """(prompt ids, response ids with the end token) of each; apart, as the sampler will see them."""
    end = tokenizer.token_to_id(vocabulary.END_OF_TEXT)
    prompts = tokenizer.encode_batch([transcript.prompt for transcript in written], add_special_tokens=False)
    responses = tokenizer.encode_batch([transcript.response for transcript in written], add_special_tokens=False)
    return [(prompt.ids, [*response.ids, end]) for prompt, response in zip(prompts, responses, strict=True)]


def main(argv: Sequence[str]) -> None:
    """Corpus, tokenizer, training, export."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: settings are --config.KEY=VALUE")
    started = time.monotonic()
    config = from_mapping(_CONFIG.value.to_dict())
    output = Path(config.pretrain.output)
    output.mkdir(parents=True, exist_ok=True)
    written, files = build_corpus(config)
    logging.info("%d transcripts after %.0f s", len(written), time.monotonic() - started)
    for name, lines in files.items():
        (output / name).write_text("\n".join(lines) + "\n")
    result = fit_and_save(config, written, output / MODEL_NAME)
    record = {
        "settings": dataclasses.asdict(config.pretrain),
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


def fit_and_save(config: Config, written: Sequence[Transcript], directory: Path) -> train.Result:
    """Trains the tokenizer and the model on the transcripts and writes the Hugging Face directory."""
    from azr_jax.model import weights
    from azr_jax.model.configuration import ModelConfig

    settings: PretrainSettings = config.pretrain
    texts = [transcript.prompt + transcript.response for transcript in written] + vocabulary.general_text()
    tokenizer = vocabulary.train(texts, settings.vocab_size)
    positions = config.sampler.max_prompt_tokens + config.sampler.max_response_tokens
    encoded = encode(tokenizer, written)
    documents = [(prompt, response) for prompt, response in encoded if len(prompt + response) <= settings.row_tokens]
    logging.info("%d of %d transcripts are longer than a row: left out", len(encoded) - len(documents), len(encoded))
    held, trained = documents[:HELD_BACK], documents[HELD_BACK:]
    model_config = ModelConfig(
        vocab_size=settings.vocab_size,
        embed_dim=settings.embed_dim,
        ffn_dim=settings.ffn_dim,
        layers=settings.layers,
        heads=settings.heads,
        kv_heads=settings.kv_heads,
        head_dim=settings.embed_dim // settings.heads,
        rope_theta=10000.0,
        max_positions=positions,
        eos_ids=(tokenizer.token_to_id(vocabulary.END_OF_TEXT),),
    )
    rows, held_rows = (train.pack(part, settings.row_tokens, settings.prompt_weight) for part in (trained, held))
    result = train.fit(model_config, settings, rows, held_rows, config.seed)
    with tempfile.TemporaryDirectory() as files:
        vocabulary.save(tokenizer, Path(files), positions)
        weights.save(directory, model_config, result.params, tokenizer_source=files)
    return result


if __name__ == "__main__":
    app.run(main)
