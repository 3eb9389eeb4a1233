"""Nebius Token Factory: open models, the same protocol.

Facts as of 2026-11-20, from its reference and its cookbook (commit of 2026-08-20). The rate is
absolute (`learning_rate`, 1e-5); full training unless `lora` is true (`lora_r` 8,
`lora_alpha` 8); no job metadata; events and checkpoints oldest first; a file's `status` is
null. DPO was not verified and is left out. Training and serving names of a base differ.
"""

from ftspec.profile import MethodProfile, Profile, Range

profile = Profile(
    name="nebius",
    title="Nebius Token Factory",
    base_url="https://api.tokenfactory.nebius.com/v1",
    origins=("https://api.tokenfactory.nebius.com",),
    api_key_env="NEBIUS_API_KEY",
    methods={
        "supervised": MethodProfile(
            hyperparameters={
                "n_epochs": Range(low=1, integer=True, auto=False),
                "batch_size": Range(low=1, high=32, integer=True, auto=False),
                "learning_rate": Range(above=0, high=1, auto=False),
            },
            dataset_format="chat",
        )
    },
    metadata=False,
    list_filter=False,
    lora=True,
    full=True,
    pause=False,
    integrations=("wandb",),
    max_file_bytes=50 * 10**9,
    defaults={"n_epochs": 3, "batch_size": 8, "tokenizer": "estimate"},  # each base model has its own
    engine_options={
        "packing": "pack several rows into one sequence",
        "context_length": "tokens a row may have",
        "warmup_ratio": "share of the steps in which the rate rises",
        "weight_decay": "weight decay of the optimizer",
        "max_grad_norm": "gradients are clipped to this norm",
        "from_checkpoint": "train on from a Hugging Face checkpoint: {type: hf, repo, revision}",
    },
    option_placement={
        "hyperparameters": "hyperparameters",
        "lora": "hyperparameters.lora",
        "lora.rank": "hyperparameters.lora_r",
        "lora.alpha": "hyperparameters.lora_alpha",
        "lora.dropout": "hyperparameters.lora_dropout",
        "engine_options.packing": "hyperparameters.packing",
        "engine_options.context_length": "hyperparameters.context_length",
        "engine_options.warmup_ratio": "hyperparameters.warmup_ratio",
        "engine_options.weight_decay": "hyperparameters.weight_decay",
        "engine_options.max_grad_norm": "hyperparameters.max_grad_norm",
    },
    deployment="create a served model from the job's checkpoint (`POST /v0/models`) before it answers",
    notes=("Base model names differ between training and serving.",),
)
