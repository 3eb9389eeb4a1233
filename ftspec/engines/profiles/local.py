"""The local engine: real training (LoRA or full) on the user's machines behind ftspec's own server.

The multiplier scales the engine's own base rate; `learning_rate` is absolute. LoRA settings
travel as extra hyperparameters, which the official clients pass through.
"""

from ftspec.profile import MethodProfile, Profile, Range

_COMMON = {
    "n_epochs": Range(low=1, high=50, integer=True),
    "batch_size": Range(low=1, high=256, integer=True),
    "learning_rate_multiplier": Range(above=0),
    "learning_rate": Range(above=0, high=1),
}

profile = Profile(
    name="local",
    title="Local (this machine or your cluster)",
    in_process=True,
    needs_key=False,
    methods={
        "supervised": MethodProfile(hyperparameters=_COMMON, dataset_format="chat"),
        "dpo": MethodProfile(hyperparameters={**_COMMON, "beta": Range(above=0, high=2)}, dataset_format="preference"),
        "reinforcement": MethodProfile(
            hyperparameters={
                **_COMMON,
                "compute_multiplier": Range(above=1e-5, high=10),
                "eval_interval": Range(low=1, integer=True),
                "eval_samples": Range(low=1, integer=True),
            },
            dataset_format="reinforcement",
            needs_grader=True,
        ),
    },
    unique_keys=True,
    idempotency_key=True,
    lora=True,
    full=True,
    option_placement={
        "lora.rank": "hyperparameters.lora_r",
        "lora.alpha": "hyperparameters.lora_alpha",
        "lora.dropout": "hyperparameters.lora_dropout",
        "lora.targets": "hyperparameters.lora_target_modules",
        "engine_options.full": "hyperparameters.full",
        "engine_options.max_length": "hyperparameters.max_length",
    },
    engine_options={
        "full": "Train all weights instead of LoRA adapters.",
        "max_length": "Most tokens of a row, where that is less than the base's context; a longer one is refused.",
    },
    settings={
        "models": "Base models by name: a folder, or `{repo, revision}` of a hub with a full commit id.",
        "python": "Interpreter of the environment that trains; it has `ftspec[local]`. Default: the one that runs ftspec.",
        "executor": "Where jobs run: `local` (default), `slurm` or `ray`.",
        "slots": "Jobs at once on this machine. Default: one a GPU, else one.",
        "gpus": "GPUs of this machine to use: how many, or a list of numbers. A job trains on one; on a cluster 0 says on none. Default: all.",
        "cpus": "Threads a job may use. Default: the machine's, shared by its slots; 4 on a cluster.",
        "memory_gb": "Memory of a job on a cluster.",
        "time_limit": "Minutes after which a cluster ends a job.",
        "micro_batch": "Rows a step holds in memory at once; batches larger than that are made of several. Default: 8.",
        "precision": "`float32` or `bfloat16`. Default: bfloat16 on a GPU that has it, else float32.",
        "checkpoint_seconds": "Save what a killed job goes on from at least this often. Default: 300.",
        "max_attempts": "Attempts at a job whose workers vanish. Default: 3.",
        "serve_url": "Base URL of a server (vLLM, ...) that answers chats instead.",
        "slurm": "Slurm's own: `{partition, account, qos, constraint, arguments}`.",
        "ray": "Ray's own: `{address, resources}`; the address of an existing cluster's dashboard.",
    },
    graders=("string_check", "text_similarity", "python", "multi"),
    data={"roles": ("system", "developer", "user", "assistant", "tool")},
    defaults={"n_epochs": 3, "tokenizer": "estimate"},  # each base model has its own
    free=True,
)
