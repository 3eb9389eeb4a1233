"""The local engine: real training (LoRA or full) on the user's machines behind ftspec's own server.

The multiplier scales the engine's own base rate; `learning_rate` is absolute. LoRA settings
travel as extra hyperparameters, which the official clients pass through.
"""

from ftspec.profile import MethodProfile, Profile, Range

_COMMON = {
    "n_epochs": Range(low=1, high=1000, integer=True),
    "batch_size": Range(low=1, high=4096, integer=True),
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
        "dpo": MethodProfile(hyperparameters={**_COMMON, "beta": Range(above=0)}, dataset_format="preference"),
        "reinforcement": MethodProfile(
            hyperparameters={
                **_COMMON,
                "compute_multiplier": Range(above=0, high=10),
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
    },
    graders=("string_check", "text_similarity", "python", "multi"),
    defaults={"n_epochs": 3, "tokenizer": "estimate"},  # each base model has its own
    free=True,
)
