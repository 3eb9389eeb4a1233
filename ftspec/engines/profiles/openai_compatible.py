"""Any other server that speaks OpenAI's fine-tuning protocol.

Nothing is known of it beforehand, so nothing is refused for its sake and little is relied
on: it may drop job metadata (LiteLLM's and Portkey's gateways do), ignore list filters and
know other hyperparameters. Its origin must be loopback or trusted (`ftspec trust ORIGIN`).
"""

from ftspec.profile import MethodProfile, Profile, Range

_COMMON = {
    "n_epochs": Range(low=1, integer=True),
    "batch_size": Range(low=1, integer=True),
    "learning_rate_multiplier": Range(above=0),
    "learning_rate": Range(above=0),
}

profile = Profile(
    name="openai-compatible",
    title="OpenAI-compatible server",
    needs_key=False,
    methods={
        "supervised": MethodProfile(hyperparameters=_COMMON, dataset_format="chat"),
        "dpo": MethodProfile(hyperparameters={**_COMMON, "beta": Range(above=0)}, dataset_format="preference"),
        "reinforcement": MethodProfile(
            hyperparameters={
                **_COMMON,
                "reasoning_effort": Range(auto=False, choices=("default", "low", "medium", "high")),
                "compute_multiplier": Range(above=0),
                "eval_interval": Range(low=1, integer=True),
                "eval_samples": Range(low=1, integer=True),
            },
            dataset_format="reinforcement",
            needs_grader=True,
        ),
    },
    list_filter=False,
    integrations=("wandb",),
    graders=("string_check", "text_similarity", "python", "score_model", "multi"),
    defaults={"tokenizer": "estimate"},
    notes=(
        "Whether job metadata survives is learnt from its answers; until then a lost answer can only be settled by model, files and time.",
    ),
)
