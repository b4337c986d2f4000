"""Every configuration key, once, with the paper's settings (Table 3). Other files override; no key is added elsewhere.

Command: none of its own; `configs/racket.py`, `julia.py`, `javascript.py` and `python.py` choose the language and
`tiny.py` the embedded model. Any key can be set on the command line: `--config.learner.lr=2e-6`.
"""

import ml_collections


def _selfplay() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            "seed_triplets": 256,  # valid triplets to grow from the identity program before step 1
            "seed_problems": 256,  # induction problems likewise
            "seed_rounds": 64,  # proposal rounds after which seeding gives up with an error
            "references": 6,  # K, triplets shown to a deduction or abduction proposer
            "batch_per_task": 64,  # prompts for each task type and role, each step
            "estimate_samples": 8,  # m, solver samples for each valid proposal
            "estimate_temperature": 1.0,  # 0 makes every acc 0 or 1, which Eq. 3 punishes
            "train_on_estimates": False,  # also learn from the estimation samples
            "induction_inputs": 10,  # n, inputs an induction proposer writes
            "induction_shown": 5,  # of which the solver sees this many
            "buffer_capacity": 16384,  # programs kept for each language and kind
            "buffers": "shared",
            "duplicates": "-1",
            "shuffle_new": False,
            "band_low": 0.0,
            "band_high": 1.0,
            "max_program_chars": 8192,
            "format": "azr",
            "drop_comments": True,
            "program_tags": "own",  # own: a program's block has the language's tag | any: for a language never seen
            "prompt_template": "paper",  # paper | brief (the same sections without the prose, for small models)
        }
    )


def _sampler() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            "max_prompt_tokens": 6144,
            "max_response_tokens": 8096,  # sic, Table 3
            "temperature": 1.0,
            "eval_temperature": 0.0,
            "top_p": 1.0,  # anything else trains a distribution that was not sampled
            "top_k": 0,
            "slots": 0,  # rows decoded together; 0: as many as the device's memory holds
            "chunk": 32,  # tokens decoded between two looks of the host
            "prefill_tokens": 16384,  # prompt tokens in one prefill call
            # Texts that end a training response, kept in it: a base model writes on after its answer, up to the length
            # limit. (): only an end token ends it.
            "stop": ("</answer>",),
        }
    )


def _learner() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            "estimator": "trrpp_tokens",  # trrpp | gae | grpo | rloo
            "lr": 1e-6,
            "lr_schedule": "constant",
            "lr_decay_steps": 0,
            "lr_end": 0.0,
            "warmup_steps": 0,
            "beta1": 0.9,
            "beta2": 0.999,
            "epsilon": 1e-8,
            "weight_decay": 0.01,
            "decay": "matrices",
            "moment_dtype": "float32",
            "gradient_clip": 1.0,
            "policy_loss": "ppo",
            "ratio": "token",
            "clip_epsilon": 0.2,
            "clip_epsilon_high": 0.0,
            "dual_clip": 0.0,
            "entropy_coef": 0.001,
            "kl_coef": 0.0,  # above 0 keeps the starting weights as a reference policy
            "kl_estimator": "k3",
            "kl_in": "loss",
            "gamma": 1.0,
            "gae_lambda": 1.0,
            "value_coef": 0.5,
            "epochs": 1,
            "minibatches": "1",
            "microbatch_responses": 16,
            "propose_every": 1,
            "row_tokens": 14336,  # packed row length; must hold a prompt and its response
            "rows_per_microbatch": 0,  # 0: one row for each data-parallel device
            "logit_chunk": 512,  # tokens whose logits exist at a time
            "recompute_old_logprobs": True,  # False uses the sampler's own (bypass)
            "importance": "truncate",
            "importance_low": 0.5,
            "importance_cap": 2.0,  # truncated importance sampling against the sampler; 0 turns it off
            "loss_aggregation": "token",  # token | sequence
            "max_nonfinite_updates": 3,  # skipped updates after which the run stops
        }
    )


def _pretrain() -> ml_collections.ConfigDict:
    """The embedded model, made from nothing by `python -m azr_jax.pretrain --config=configs/tiny.py`."""
    return ml_collections.ConfigDict(
        {
            "output": "azr_jax/embedded",
            "languages": ("racket", "julia", "javascript", "python"),
            "programs": (20000, 6000, 6000, 6000),  # different programs in each language
            "transcripts": (27000, 6000, 6000, 6000),
            "heldout": 360,  # programs in the held-out split, and as many for validation
            "vocab_size": 2048,
            "embed_dim": 128,
            "ffn_dim": 384,
            "layers": 4,
            "heads": 4,  # and as many kv_heads
            "row_tokens": 288,
            "copying_steps": 250,  # batches of repeated random text, from which copying is learned
            "clean_share": 0.8,  # of the transcripts: right, reasoned and formatted, before the mixture
            "batch_rows": 8,
            "learning_rate": 2e-3,
            "prompt_weight": 0.05,  # loss weight of prompt tokens, 1 for response tokens
        }
    )


def get_config() -> ml_collections.ConfigDict:
    """The paper's settings with no language chosen."""
    config = ml_collections.ConfigDict()
    config.languages = ("racket",)
    config.language_weights = (1.0,)
    config.language_directory = ""  # a folder of extra language files
    config.seed = 0
    config.steps = 500
    config.model = ml_collections.ConfigDict(
        {
            "path": "weights/Qwen2.5-Coder-3B",
            "compute_dtype": "bfloat16",
            "remat": "auto",  # auto | full | attention | gate | dots | none: what the backward pass computes again
            "attention": "auto",  # auto | xla | cudnn | splash
            # none | model: training prompts as they are, or as a user's message in the model's own chat template
            # (instruct models; a base model has seen none).
            "chat_template": "none",
            # Added tokens the model never trained on, as ("<think>", "</think>") of a base Qwen3: never sampled, no
            # part of any distribution, spelt out in prompts.
            "masked_tokens": (),
        }
    )
    config.mesh = ml_collections.ConfigDict(
        {
            "data": 1,
            "fsdp": -1,
            "tensor": 1,
            # Where parameters and moments lie while sampling: device | host (more slots, a copy each way a step) | auto
            # (host where the slots asked for, or 64, do not fit beside them).
            "resting_state": "auto",
        }
    )
    config.selfplay = _selfplay()
    config.sampler = _sampler()
    config.reward = ml_collections.ConfigDict(
        {
            "proposer": "switch",  # eq3 | eq4 | switch | linear | adaptive | learnability
            "switch_step": 64,  # Eq. 3 up to and including this step, Eq. 4 after it
            "linear_from": 32,  # linear: Eq. 3 up to this step, Eq. 4 from linear_to on
            "linear_to": 96,
            "adaptive_low": 0.3,  # adaptive: Eq. 3 up to this running solver accuracy, Eq. 4 from adaptive_high on
            "adaptive_high": 0.6,
            "smoothing": 0.1,  # share of the newest step in the running solver accuracy and share of syntax errors
            "solver": "plain",  # plain (Eq. 2) | graded | graded_shift
            "graded_syntax": -0.9,  # of well-formatted answers, instead of Eq. 2's -0.5
            "graded_runtime": -0.7,
            "graded_wrong": -0.5,
            "graded_shift_share": 0.2,  # graded_shift: at this share of syntax errors, form alone counts
            "overlong": "keep",
            "overlong_tokens": 1024,
            "lambda_solve": 1.0,
            "permute": False,  # control experiment: rewards shuffled among the responses of a task
        }
    )
    config.learner = _learner()
    config.executor = ml_collections.ConfigDict(
        {
            "workers": 0,  # 0: one for each core
            "wall_s": 5.0,
            "cpu_s": 5.0,
            "memory_mib": 512,
            "value_chars": 8192,  # characters of one value; what is longer is `output_limit`
            "allow_tier": "namespaces",  # the least containment accepted: namespaces | landlock | limits
            "max_infrastructure_share": 0.2,
        }
    )
    config.evaluation = ml_collections.ConfigDict(
        {
            "every": 64,
            "heldout": "",  # a problems file (JSON lines) scored before and after the run, and every `every` steps
            "heldout_limit": 0,  # 0: all
            "temperature_samples": 0,  # answers sampled at temperature 1 for each held-out problem, besides greedy
            "benchmarks": (),  # of humaneval, mbpp: scored in each language every `every` steps and at the end
            "benchmark_data": "",  # a folder of benchmark files; empty: AZR_JAX_DATA, else the Hugging Face hub
            "benchmark_prompt": "chat",  # chat (Listing 1) | completion (MultiPL-E's)
            "benchmark_base_prompt": "completion",  # of the starting model, as in the paper; none: it is not scored
            "benchmark_limit": 0,  # only the first problems of each; 0: all
            "benchmark_missing": "error",
        }
    )
    config.checkpoint = ml_collections.ConfigDict(
        {
            "every": 16,
            "keep": 3,  # the newest saves
            "keep_every": 0,  # and every save of a multiple of this step; 0: none
            "best_metric": "",  # and the save with the highest value of this metric, one that its step has; "": none
            "export_at_end": True,
            "cut_steps": True,  # SIGTERM abandons the step in progress and saves the one before; False: it ends first
        }
    )
    config.metrics = ml_collections.ConfigDict(
        {"tensorboard": True, "wandb": False, "wandb_project": "azr_jax", "transcripts_per_step": 12}
    )
    config.monitoring = ml_collections.ConfigDict(
        {
            "profile_steps": (),  # steps of which a profiler trace is kept under WORKDIR/profile
            # What a step's metrics are warned about (azr_jax/alerts.py says what each means and what to try).
            "alert_valid_below": 0.05,  # share of valid proposals
            "alert_acc_zero_above": 0.95,  # P(acc=0)
            "alert_mismatch_above": 0.1,  # nats a token between sampler and trainer
            "alert_entropy_below": 0.01,  # nats
        }
    )
    config.pretrain = _pretrain()
    config.lock()
    return config
