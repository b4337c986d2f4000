"""The one place that builds tokenizer, mesh, model, learner and sampler: for runs, evaluation, plan and speed.

    engine = open_engine(config)                                     # a run: the model that its settings name
    engine = open_directory(path, compute_dtype="bfloat16")          # evaluation: a Hugging Face directory
    engine = describe_engine(config, model_config, devices, bytes)   # plan and speed: only sizes, no files

    params = engine.load_params()              # or an array tree of `engine.shapes` with `engine.shardings`
    learner, sampler = engine.learner(config), engine.sampler(config.sampler)

None of the constructors allocates an array: weights are read by `load_params`, memory is taken by the learner's `init`
and the sampler's first session. A save of a run is restored into the engine of the run's starting model: restore
arrays of `shapes` with `shardings`, and sample with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import tokenizers
from jax.sharding import Mesh

from azr_jax.config import Config, SamplerSettings
from azr_jax.devices import check_accelerator
from azr_jax.learner import remat
from azr_jax.learner.update import Learner, make_learner
from azr_jax.model import sharding, weights
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.hub import model_directory
from azr_jax.model.tokenizer import Tokenizer, load_tokenizer
from azr_jax.model.transformer import abstract
from azr_jax.sampler.engine import Sampler


@dataclasses.dataclass(frozen=True, slots=True)
class Engine:
    """A model without weights on a mesh, and what is needed to make its learner and its sampler.

    Attributes:
      source: the Hugging Face directory of the weights; "" if only sizes are known.
      graphdef: of the Transformer with its compute dtype, remat policy and attention kernel.
      served: (graphdef, model_config, mesh) of the sampler, which differ with `mesh.sampler_tensor`.
      shapes: the parameters as ShapeDtypeStructs of float32, layers stacked.
      compute_dtype: of activations, of the weights as served and of the cache.
      remat: the recompute policy, with "auto" resolved for these devices.
    """

    source: str
    model_config: ModelConfig
    tokenizer: Tokenizer
    mesh: Mesh
    graphdef: Any
    served: tuple[Any, ModelConfig, Mesh]
    shapes: Any
    compute_dtype: Any
    remat: str

    @property
    def shardings(self) -> Any:
        """A NamedSharding for each of `shapes`, as the learner has them."""
        return sharding.param_shardings(self.shapes, self.mesh, self.model_config)

    def load_params(self) -> Any:
        """The weights of `source` in float32, placed as `shardings` says.

        Raises:
          FileNotFoundError: no weights there, with the command that downloads them.
          ValueError: a damaged file or a tensor that does not fit, naming it and the fix.
        """
        return weights.load(self.source, self.mesh, jnp.float32)[1]

    def learner(self, config: Config) -> Learner:
        """The programs of an update with `config.learner`; logits are divided by the sampler's temperature.

        Raises:
          ValueError: temperature 0, rows or sizes that the mesh does not divide.
        """
        return make_learner(self.graphdef, self.shapes, config.learner, self.mesh, config.sampler.temperature)

    def sampler(self, settings: SamplerSettings) -> Sampler:
        """The sampler.

        Raises:
          ValueError: lengths beyond the model's positions, or slots that the mesh does not divide.
        """
        graphdef, model_config, mesh = self.served
        return Sampler(graphdef, model_config, self.tokenizer, settings, mesh, self.compute_dtype)


def open_engine(config: Config, devices: Sequence[Any] | None = None) -> Engine:
    """The engine of a run: the model at `config.model.path`, over `config.mesh` of all devices or of those given.

    Raises:
      FileNotFoundError: no model or tokenizer there, with the command that downloads them.
      ValueError: files that do not fit each other, a chat template or masked token that the model does not have, a
        mesh that does not divide the devices or the model's sizes; a large model on the CPU of a machine whose
        accelerator jax does not see.
    """
    source = str(model_directory(config.model.path))
    model_config = weights.load_config(source)
    check_accelerator(model_config.parameters)
    tokenizer = load_tokenizer(source, model_config, config.model.masked_tokens)
    scored = config.evaluation
    benchmark_prompts = (scored.benchmark_prompt, scored.benchmark_base_prompt) if scored.benchmarks else ()
    if config.model.chat_template == "model" or "instruct" in benchmark_prompts:
        tokenizer.encode_chat("")  # fails now if the template can't be used
    model_config = dataclasses.replace(model_config, masked_ids=tokenizer.masked_ids)
    engine = describe_engine(config, model_config, devices, tokenizer=tokenizer)
    return dataclasses.replace(engine, source=source)


def open_directory(path: str, compute_dtype: str, devices: Sequence[Any] | None = None) -> Engine:
    """The engine of an evaluation: a Hugging Face directory, its weights split over all devices (axis fsdp).

    Raises:
      FileNotFoundError, ValueError: as `open_engine`.
    """
    mesh = sharding.make_mesh(1, -1, 1, devices=devices)
    model_config = weights.load_config(path)
    check_accelerator(model_config.parameters)
    tokenizer = load_tokenizer(path, model_config)
    served = _sampler_mesh(model_config, mesh)
    return _engine(path, model_config, tokenizer, mesh, compute_dtype, "full", "auto", served)


def describe_engine(
    config: Config,
    model_config: ModelConfig,
    devices: Sequence[Any] | None = None,
    device_bytes: int = 0,
    tokenizer: Tokenizer | None = None,
) -> Engine:
    """The engine of a model of which only the sizes are known: no file is read.

    `devices` may be those of a topology to compile for; each has `device_bytes` of memory (0: what it reports).
    The default `tokenizer` knows the model's end tokens alone: compiled programs depend on nothing else.

    Raises:
      ValueError: a mesh that does not divide the devices or the model's sizes, an unknown recompute policy.
    """
    tensor = config.mesh.tensor or sharding.quickest_tensor(model_config, devices)
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, tensor, devices=devices)
    policy = remat.choose(model_config, config.learner, config.model, mesh, device_bytes)
    tokenizer = tokenizer or _end_tokens_alone(model_config)
    settings = config.model
    served = _sampler_mesh(model_config, mesh, config.mesh.sampler_tensor)
    return _engine("", model_config, tokenizer, mesh, settings.compute_dtype, policy, settings.attention, served)


def _sampler_mesh(model_config: ModelConfig, mesh: Mesh, tensor: int = 0) -> Mesh:
    """The mesh with the sampler's tensor axis; 0: the quickest."""
    own, devices = mesh.shape["tensor"], mesh.devices.flatten().tolist()
    tensor = tensor or sharding.quickest_sampler_tensor(model_config, own, devices)
    if tensor != own and tensor not in (known := sharding.sampler_tensors(model_config, mesh.size)):
        raise ValueError(
            f"mesh.sampler_tensor={tensor} does not split the model's heads over {mesh.size} devices; choose one of"
            f" {known}, or 0"
        )
    return sharding.with_tensor(mesh, tensor)


def _engine(
    source: str,
    model_config: ModelConfig,
    tokenizer: Tokenizer,
    mesh: Mesh,
    compute_dtype: str,
    remat: str,
    attention: str,
    sampler_mesh: Mesh,
) -> Engine:
    options = {"compute_dtype": jnp.dtype(compute_dtype), "remat": remat, "attention_kernel": attention}
    graphdef, shapes = abstract(model_config, mesh=mesh, **options)
    served = (graphdef, model_config, mesh)
    if sampler_mesh is not mesh:
        config = model_config.with_heads_for(sampler_mesh.shape["tensor"])
        served = (abstract(config, mesh=sampler_mesh, **options)[0], config, sampler_mesh)
    return Engine(source, model_config, tokenizer, mesh, graphdef, served, shapes, options["compute_dtype"], remat)


def _end_tokens_alone(model_config: ModelConfig) -> Tokenizer:
    empty = tokenizers.Tokenizer(tokenizers.models.BPE())
    end_ids = frozenset(model_config.eos_ids or (0,))
    return Tokenizer(backend=empty, eos_ids=end_ids, pad_id=0, vocab_size=model_config.vocab_size)
