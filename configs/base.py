"""Every configuration key, once, with what we recommend. Other files override; no key is added elsewhere.

Command: none. `paper.py` turns this into the paper's recipe, from which the languages' files start (docs/recipe.md
compares both, row by row), and `tiny.py` into the demo. Any key can be set on the command line:
`--config.learner.lr=2e-6`.
"""

import ml_collections


def _selfplay() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            # valid triplets to grow from the identity program before step 1; fewer for a weak model or a short run
            "seed_triplets": 256,
            "seed_problems": 256,  # induction problems likewise; 0: none before step 1
            # proposal rounds after which seeding gives up with an error; raise it if few proposals are valid
            "seed_rounds": 64,
            "references": 6,  # K, triplets shown to a deduction or abduction proposer; fewer for short prompts
            # prompts for each task type and role, each step; fewer for less memory and time, at more noise
            "batch_per_task": 64,
            "estimate_samples": 8,  # m, solver samples for each valid proposal: acc has m + 1 possible values
            # 0 makes every acc 0 or 1, so that Eq. 3 punishes every valid proposal; leave it at 1
            "estimate_temperature": 1.0,
            # how often a proposal that all or none of its samples solve is drawn again, at most (DAPO); costs time
            "redraws": 0,
            # run each step's valid programs on this many shared inputs, such as 8, to find equal behaviour, and those
            # that ignore their input; 0: off
            "probes": 0,
            # also learn from the estimation samples, weighted to keep Eq. 1's balance; grpo needs it
            "train_on_estimates": False,
            # this share of deduction and abduction proposals is given the function of an earlier program, as g, to call
            # (AZR's composite functions); 0: none
            "composite_share": 0.0,
            "composite_from": 0,  # the share rises linearly from 0 at this step
            "composite_to": 0,  # to composite_share at this step
            "induction_inputs": 10,  # n, inputs an induction proposer writes
            "induction_shown": 5,  # of which the solver sees this many; the rest is held out
            "buffer_capacity": 16384,  # programs kept in each buffer of each language; the oldest is dropped first
            "buffers": "shared",  # shared: one of triplets for deduction and abduction | apart: one each, as AZR has it
            # a proposal the buffer has: -1: invalid, reward -1 | 0: not kept, reward 0 | allow: valid, kept twice (AZR)
            "duplicates": "-1",
            # a program that gives its output for selfplay.probes other inputs of the buffer too: allow: valid | -1: it
            # ignores its input, invalid, reward -1
            "constant_programs": "allow",
            # When a step's solver tasks are drawn. before: ahead of its proposals, so that all responses share a queue,
            # and new tasks wait for the next step, as in AZR | after: after them, and new tasks are solved at once.
            "solver_tasks": "before",
            "shuffle_new": False,  # new entries reach solvers oldest first, or in random order (AZR)
            # draw those first that are not tried yet or were solved in at least this share of tries, as 0.3; 0: off.
            # With solver_tasks=after a step's new tasks are not tried yet: it chooses among older ones.
            "band_low": 0.0,
            "band_high": 1.0,  # and in at most this share, such as 0.8; 1: off
            "max_program_chars": 8192,  # characters of any one block of an answer; longer is invalid
            # azr: answers as models write them, graded as AZR does | strict: exactly the format asked for
            "format": "azr",
            "drop_comments": True,  # show solvers programs without comments, which may give the answer away
            # any: the last definition of f counts | one: a program with several is refused (AZR)
            "entry_functions": "any",
            "program_tags": "own",  # own: a program's block has the language's tag | any: for a language never seen
            # paper: in prose, for pretrained models | brief: the bare sections, for small models
            "prompt_template": "paper",
            # a problems file, of which `references` solved tasks come before each prompt (few-shot), for a model that
            # does not follow the format when told; "": none, so that a run has no data from outside
            "worked_examples": "",
        }
    )


def _sampler() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            "max_prompt_tokens": 6144,  # a longer prompt loses references, or its task is dropped (Table 3)
            "max_response_tokens": 8096,  # the paper's Table 3 (not 8192); less saves most of a step if few need it
            "temperature": 1.0,  # of training responses; the update divides logits by it as well
            "eval_temperature": 0.0,  # of evaluations; 0: greedy, as in the paper
            "top_p": 1.0,  # below 1 trains a distribution that was not sampled; leave it at 1
            "top_k": 0,  # above 0 too trains a distribution that was not sampled; leave it at 0: off
            "slots": 0,  # rows decoded together; 0: as many as the device's memory holds
            # tokens decoded before the host reads them; fewer: verdicts sooner, more waiting for the host
            "chunk": 32,
            "prefill_tokens": 16384,  # prompt tokens in one prefill call; fewer takes less memory
            # Speculation without a draft model: with at most this many slots alive, each step also verifies tokens
            # looked up in the response's own text. The same tokens are sampled, in fewer steps; 0: never.
            "draft_rows": 0,
            "draft_tokens": 3,  # tokens looked up for each row
            # Texts that end a training response, kept in it: a base model writes on after its answer, up to the length
            # limit. (): only an end token ends it.
            "stop": ("</answer>",),
        }
    )


def _learner() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            # trrpp_tokens (AZR) | trrpp: over responses | role | grpo | dr_grpo | rloo | gae; grpo and dr_grpo need
            # selfplay.train_on_estimates
            "estimator": "trrpp_tokens",
            "lr": 1e-6,  # highest learning rate; 1e-6 for 3 B parameters, more for small models
            "lr_schedule": "constant",  # constant | linear | cosine: from the end of warm-up to lr_decay_steps
            # optimizer step at which lr_end is reached; a run has steps * epochs * minibatches of them (3 minibatches
            # if they are by task_type, 4 with problems)
            "lr_decay_steps": 0,
            "lr_end": 0.0,  # share of lr that is left at the end of linear or cosine
            "warmup_steps": 0,  # optimizer steps in which the rate rises from 0
            "beta1": 0.9,  # AdamW: decay rate of the first moment
            "beta2": 0.999,  # AdamW: decay rate of the second moment
            "epsilon": 1e-8,  # AdamW: added to the root of the second moment
            "weight_decay": 0.01,  # AdamW: weights shrink by lr times this each step
            "decay": "matrices",  # matrices | all: also norm scales and biases, as torch's AdamW (AZR)
            # of the first moment; bfloat16 saves 2 bytes a parameter, its steps are off by up to 0.4%
            "moment_dtype": "float32",
            "gradient_clip": 1.0,  # largest global norm of a gradient
            # ppo: clipped surrogate | cispo: clipped weights, no token loses its gradient (MiniMax-M1)
            "policy_loss": "ppo",
            # of policy to old policy: token | sequence: geometric mean over a response (GSPO; clip_epsilon near 3e-4)
            "ratio": "token",
            "clip_epsilon": 0.2,  # ratios below 1 minus this are clipped
            "clip_epsilon_high": 0.0,  # ratios above 1 plus this are clipped, such as 0.28 (DAPO); 0: clip_epsilon
            "dual_clip": 0.0,  # bound, in advantages, on the loss of a bad token with a large ratio; 3 is usual, 0: off
            "entropy_coef": 0.001,  # bonus for entropy; raise it if ppo/entropy falls to 0
            "kl_coef": 0.0,  # above 0 keeps the starting weights as a reference policy, at 2 bytes a parameter
            "kl_estimator": "k3",  # k1, k2, k3+: gradient of the KL to the reference | k3: as in GRPO
            "kl_in": "loss",  # loss | reward: k1 is taken off the advantages token by token, as in RLHF
            "gamma": 1.0,  # gae: discount a token
            "gae_lambda": 1.0,  # gae: 1: returns minus values, 0: one-step errors
            "value_coef": 0.5,  # gae: weight of the critic's error
            "epochs": 1,  # passes over a step's responses; more is further off policy
            # optimizer steps per pass: a number, responses shuffled | task_type: one each (AZR); "1" is on policy
            "minibatches": "1",
            "microbatch_responses": 16,  # loss_aggregation=microbatch: responses in each mean of tokens
            "propose_every": 1,  # proposers learn once in this many steps, solvers at every step; 1: both always
            "row_tokens": 14336,  # packed row length; must hold a prompt and its response
            "rows_per_microbatch": 0,  # rows in one program call; 0: one for each data-parallel device
            "logit_chunk": 512,  # tokens whose logits exist at a time; fewer takes less memory
            "recompute_old_logprobs": True,  # False: the sampler's logprobs are the old policy's (bypass)
            # sampler mismatch: truncate ratios | token_mask | sequence_mask: leave out what is off (bounds near 1)
            "importance": "truncate",
            "importance_low": 0.5,  # the masks: lower bound of ratios
            "importance_cap": 2.0,  # upper bound of ratios; 0 turns the correction off
            # token | sequence | task: groups alike | microbatch: as AZR | constant: over a fixed length (Dr. GRPO)
            "loss_aggregation": "token",
            "max_nonfinite_updates": 3,  # skipped updates after which the run stops
        }
    )


def _pretrain() -> ml_collections.ConfigDict:
    """The embedded model, made from nothing by `python -m azr_jax.pretrain --config=configs/tiny.py`."""
    return ml_collections.ConfigDict(
        {
            "output": "azr_jax/embedded",  # folder of the model and of its problem files
            "languages": ("racket", "julia", "javascript", "python"),  # of the corpus
            "programs": (20000, 6000, 6000, 6000),  # different programs in each language
            "transcripts": (27000, 6000, 6000, 6000),  # training texts of each language
            "heldout": 360,  # programs in the held-out split, and as many for validation
            "vocab_size": 2048,  # tokens of the tokenizer
            "embed_dim": 128,  # width
            "ffn_dim": 384,  # width of the feed-forward part
            "layers": 4,  # depth
            "heads": 4,  # and as many kv_heads
            "row_tokens": 288,  # packed row length
            "copying_steps": 250,  # batches of repeated random text, from which copying is learned
            "clean_share": 0.8,  # of the transcripts: right, reasoned and formatted, before the mixture
            "batch_rows": 8,  # rows of a training batch
            "learning_rate": 2e-3,  # peak of the schedule
            "prompt_weight": 0.05,  # loss weight of prompt tokens, 1 for response tokens
        }
    )


def get_config() -> ml_collections.ConfigDict:
    """Table 3's sizes with what we recommend around them; no language chosen."""
    config = ml_collections.ConfigDict()
    config.languages = ("racket",)  # one or several; several need language_weights of as many
    config.language_weights = (1.0,)  # how often each language is drawn; one positive number a language
    config.language_directory = ""  # a folder of extra language files
    config.seed = 0  # of all random numbers; change it for another run with the same settings
    config.steps = 500  # updates; 256 for the paper's reward study
    config.model = ml_collections.ConfigDict(
        {
            "path": "weights/Qwen2.5-Coder-3B",  # a Hugging Face directory or hub id; azr-tiny is the embedded model
            "compute_dtype": "bfloat16",  # float32 on a CPU, or to debug numerical differences
            # what the backward pass recomputes, from full (all) to none (nothing); auto: as little as fits, all on TPUs
            "remat": "auto",
            "attention": "auto",  # the attention kernel; auto: by device
            # none | model: training prompts unchanged, or as a user's message in the model's own chat template
            # (instruct models; a base model has seen none).
            "chat_template": "none",
            # Added tokens the model never trained on, as ("<think>", "</think>") of a base Qwen3: never sampled, no
            # part of any distribution, spelt out in prompts.
            "masked_tokens": (),
        }
    )
    config.mesh = ml_collections.ConfigDict(
        {
            "data": 1,  # copies of the parameters; raise it if they fit a device many times over
            "fsdp": -1,  # parts of the parameters, gradients and moments; -1: all devices left
            "tensor": 0,  # 0: what `plan` ranks first: 2 on several TPU chips that it divides, 1 elsewhere
            # The sampler's, on the same devices; above the number of key heads it copies them. 0: what `plan` ranks
            # first: 4 on TPUs where it divides, 2 on four chips (below 2 B parameters on eight), else as `tensor`.
            "sampler_tensor": 0,
            # Where parameters and moments are while sampling: device | host (more slots, a copy each way a step) | auto
            # (host if the slots asked for, or 64, do not fit with them).
            "resting_state": "auto",
        }
    )
    config.selfplay = _selfplay()
    config.problems = ml_collections.ConfigDict(
        {
            # A JSON-lines file of statements with tests of standard input and output, such as problems.jsonl (50 of
            # ours), solved beside self-play; "": none, as in the paper.
            "path": "",
            "share": 0.25,  # of a step's solver tasks; they come in addition: 0.25 is selfplay.batch_per_task of them
            "reward": "all",  # all: reward.solver, all tests passed or not | share: rises with the tests passed, to 1
        }
    )
    config.sampler = _sampler()
    config.pipeline = ml_collections.ConfigDict(
        {
            # 1: the next step's proposals begin in slots that a step's last responses leave empty, with its weights;
            # the loss corrects for that by learner.importance | 0: every response is of the newest weights
            "lag": 0,
            # lag=1: of sampler.max_response_tokens, how much of a response is sampled before its step; the rest is
            # sampled in it. More lengthens the step before, less the step itself.
            "early_share": 0.5,
        }
    )
    config.reward = ml_collections.ConfigDict(
        {
            # eq3 | eq4 | switch | linear | adaptive | learnability: acc (1 - acc) | uncertainty: min(acc, 1 - acc)
            "proposer": "switch",
            "switch_step": 64,  # switch: Eq. 3 up to and including this step, Eq. 4 after it
            "linear_from": 32,  # linear: Eq. 3 up to this step
            "linear_to": 96,  # linear: Eq. 4 from this step on
            "adaptive_low": 0.3,  # adaptive: Eq. 3 up to this running solver accuracy
            "adaptive_high": 0.6,  # adaptive: Eq. 4 from this running solver accuracy on
            "smoothing": 0.1,  # weight of the newest step in the running means of solver accuracy and syntax errors
            # plain: Eq. 2 | graded: its -0.5 by kind of error | graded_shift: by kind, as syntax errors become rare
            "solver": "plain",
            "graded_syntax": -0.9,  # graded: of a syntax error, instead of Eq. 2's -0.5
            "graded_runtime": -0.7,  # graded: of a program that gives no value
            "graded_wrong": -0.5,  # graded: of a wrong value
            "graded_shift_share": 0.2,  # graded_shift: at this share of syntax errors, form alone counts
            # a proposal's reward is lowered by this times the share of near copies among the step's programs; 0.5 to 1
            # against repetition, 0: off
            "novelty": 0.0,
            # near copies, tokens: by their text | bleu: by their text as in R-Zero | behaviour: same values on
            # selfplay.probes
            "novelty_by": "tokens",
            "novelty_recent": 0,  # also compare with this many of the buffer's newest programs, such as 64
            # responses at the length limit: keep | mask: not learned from | penalty: reward falls near the limit (DAPO)
            "overlong": "keep",
            "overlong_tokens": 1024,  # penalty: over the last this many tokens before the limit the reward falls by 1
            "lambda_solve": 1.0,  # weight of the solver in Eq. 1; below 1 favours the proposer
            "permute": False,  # control experiment: rewards shuffled among the responses of a task
        }
    )
    config.learner = _learner()
    config.executor = ml_collections.ConfigDict(
        {
            "workers": 0,  # 0: one for each core
            "wall_s": 5.0,  # wall time of a program; raise it if exec/timeouts is not near 0
            "cpu_s": 5.0,  # processor time of a program
            "memory_mib": 512,  # memory of a program beyond what its interpreter has at its start
            "value_chars": 8192,  # characters of one value; a longer one is `output_limit`
            "allow_tier": "namespaces",  # the least containment accepted: namespaces | landlock | limits
            "max_infrastructure_share": 0.2,  # share of a step's infrastructure verdicts that ends the run
        }
    )
    config.evaluation = ml_collections.ConfigDict(
        {
            "every": 64,  # steps between two scorings; 0: only before and after the run
            "heldout": "",  # a problems file (JSON lines) scored before and after the run, and every `every` steps
            "heldout_limit": 0,  # 0: all
            "temperature_samples": 0,  # answers sampled at temperature 1 for each held-out problem, besides greedy
            "benchmarks": (),  # of humaneval, mbpp: scored in each language every `every` steps and at the end
            "benchmark_data": "",  # a folder of benchmark files; empty: AZR_JAX_DATA, else the Hugging Face hub
            # chat: the paper's Listing 1 | completion: MultiPL-E's | instruct: a message in the model's chat template
            "benchmark_prompt": "chat",
            "benchmark_base_prompt": "completion",  # of the starting model, as in the paper; none: it is not scored
            "benchmark_limit": 0,  # score only this many problems of each; 0: all
            # pass@k for these k, such as 1,8,64, before and after the run, from max(k) samples of each benchmark
            # problem: does training add solutions, or make known ones likelier?
            "pass_at_k": (),
            "pass_at_k_temperature": 0.8,  # of those samples
            "benchmark_missing": "error",  # if data is missing: error | skip: warn at the start and leave it out
        }
    )
    config.checkpoint = ml_collections.ConfigDict(
        {
            "every": 16,  # steps between two saves; a kill loses at most these
            "keep": 3,  # the newest saves
            "keep_every": 0,  # also saves, and keeps, every step that is a multiple of this; 0: none
            "best_metric": "",  # also the save with the highest value of this metric; "": none
            "export_at_end": True,  # writes WORKDIR/export, a Hugging Face directory
            "cut_steps": True,  # SIGTERM abandons the step in progress and saves the one before; False: ends it first
        }
    )
    config.metrics = ml_collections.ConfigDict(
        {
            "tensorboard": True,  # writes WORKDIR/tensorboard
            "wandb": False,  # sends metrics to Weights & Biases; needs the package wandb and a login
            "wandb_project": "azr_jax",  # its project
            "transcripts_per_step": 12,  # prompts and responses of each step kept in transcripts.jsonl
        }
    )
    config.monitoring = ml_collections.ConfigDict(
        {
            "profile_steps": (),  # steps that the profiler traces, under WORKDIR/profile
            # Seconds without progress (nothing sampled, run or written) after which the run saves and ends; 0: never.
            "stall_s": 1800.0,
            # Limits of the alerts on a step's metrics (azr_jax/monitor/alerts.py says what each means and what to try).
            "alert_valid_below": 0.05,  # share of valid proposals
            "alert_acc_zero_above": 0.95,  # P(acc=0)
            "alert_acc_one_above": 0.95,  # P(acc=1)
            "alert_distinct_outputs_below": 0.34,  # share of different values among those of a step's valid programs
            "alert_mismatch_above": 0.1,  # nats a token between sampler and trainer
            "alert_prob_error_above": 1.05,  # factor by which sampled probabilities are off on average
            "alert_entropy_below": 0.01,  # nats
        }
    )
    config.pretrain = _pretrain()
    config.lock()
    return config
