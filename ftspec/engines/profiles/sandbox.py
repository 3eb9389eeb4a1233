"""The sandbox: a small learner in numpy behind ftspec's own server, in process.

It needs no key and no network and trains in seconds. Losses and answers are real, but they
are those of a toy: its models are never compared with other engines' models.
"""

from ftspec.profile import BaseModel, MethodProfile, Profile, Range

_COMMON = {
    "n_epochs": Range(low=1, high=50, integer=True),
    "batch_size": Range(low=1, high=256, integer=True),
    "learning_rate_multiplier": Range(above=0),
}

profile = Profile(
    name="sandbox",
    title="Sandbox (a toy learner on this machine)",
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
    base_models=(BaseModel(name="sandbox-nano"), BaseModel(name="sandbox-mini"), BaseModel(name="sandbox-small")),
    closed_models=True,
    unique_keys=True,
    idempotency_key=True,
    graders=("string_check", "text_similarity", "multi"),
    defaults={"n_epochs": 3, "tokenizer": "words"},
    simulated=True,
    free=True,
    notes=("Its figures are real, but about a toy learner; do not read them as a forecast for another engine.",),
)
