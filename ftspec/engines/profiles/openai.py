"""OpenAI's own fine-tuning service.

Facts as of 2026-11-20. Request fields and ranges: OpenAPI document of 2026-08-21. Dates:
OpenAI's deprecations page (shutdown of the four base families and all their fine-tunes on
2027-01-14) and several notices that quote it (last day to create a job: 2027-01-06).
`o4-mini`, the only model with reinforcement fine-tuning, `gpt-4.1-nano` and `gpt-3.5-turbo`
went on 2026-10-23. Error codes: johny-b/llmcomp#58 (daily limit), langchainjs#1929 (quota).
"""

from ftspec.profile import BaseModel, MethodProfile, Profile, Range

_LAST_DAY = "2027-01-06"
_SHUTDOWN = "2027-01-14"
_REPLACEMENT = "gpt-6-luna"
_GONE = "2026-10-23"

_EPOCHS = Range(low=1, high=50, integer=True)
_BATCH = Range(low=1, high=256, integer=True)
_MULTIPLIER = Range(above=0)
_COMMON = {"n_epochs": _EPOCHS, "batch_size": _BATCH, "learning_rate_multiplier": _MULTIPLIER}

profile = Profile(
    name="openai",
    title="OpenAI",
    base_url="https://api.openai.com/v1",
    origins=("https://api.openai.com", "https://*.api.openai.com"),  # the regions: openai 3.51.0, `_data_residency.py`
    api_key_env="OPENAI_API_KEY",
    methods={
        "supervised": MethodProfile(hyperparameters=_COMMON, dataset_format="chat"),
        "dpo": MethodProfile(
            hyperparameters={**_COMMON, "beta": Range(above=0, high=2)},
            dataset_format="preference",
            base_models=("gpt-4.1*", "gpt-4o*", "ft:gpt-4.1*", "ft:gpt-4o*"),
        ),
        "reinforcement": MethodProfile(
            hyperparameters={
                **_COMMON,
                "reasoning_effort": Range(auto=False, choices=("default", "low", "medium", "high")),
                "compute_multiplier": Range(above=1e-5, high=10),
                "eval_interval": Range(low=1, integer=True),
                "eval_samples": Range(low=1, integer=True),
            },
            dataset_format="reinforcement",
            needs_validation=True,
            needs_grader=True,
            base_models=("o4-mini*", "ft:o4-mini*"),
        ),
    },
    base_models=(
        *(
            BaseModel(name=name, until=_LAST_DAY, shutdown=_SHUTDOWN, replacement=_REPLACEMENT)
            for name in (
                "gpt-4.1-2025-04-14",
                "gpt-4.1",
                "gpt-4.1-mini-2025-04-14",
                "gpt-4.1-mini",
                "gpt-4o-2024-11-20",
                "gpt-4o-2024-08-06",
                "gpt-4o",
                "gpt-4o-mini-2024-07-18",
                "gpt-4o-mini",
            )
        ),
        *(
            BaseModel(name=name, until=_GONE, shutdown=_GONE)
            for name in (
                "gpt-4.1-nano-2025-04-14",
                "gpt-4.1-nano",
                "o4-mini-2025-04-16",
                "o4-mini",
                "gpt-3.5-turbo-0125",
                "gpt-3.5-turbo-1106",
                "gpt-3.5-turbo",
                "babbage-002",
                "davinci-002",
            )
        ),
    ),
    ends=_LAST_DAY,
    suffix_max=64,
    integrations=("wandb",),
    graders=("string_check", "text_similarity", "python", "score_model", "multi"),
    min_rows=10,
    data={"strict_tools": True},
    max_file_bytes=8 * 10**9,  # through /uploads; 512 MB in one request
    defaults={"n_epochs": 3},  # not promised: `auto` depends on the data, three is what small sets got
    quota_codes={"daily_rate_limit_exceeded": "daily"},
    notes=(
        "Only organizations with inference on a fine-tuned model in the last 60 days can still create jobs (since 2026-07-02).",
        "The daily limit is per organization and model, and jobs of other projects are invisible to a key.",
        "Pausing is not documented for every method.",
    ),
)
