"""Microsoft Foundry (Azure OpenAI), through its `/openai/v1/` address.

Facts as of 2026-11-20: the schedule of 2026-07-07 (4.1 family trains until at least
2027-04-14, 4o until 2027-04-01, for existing customers), the overview of 2026-10-06 and
microsoft/azure-skills (`platform-gotchas`). Whether job metadata is echoed was not verified,
so it is not relied on. Open models have supervised training only and need
`engine_options: {trainingType: globalStandard}`.
"""

from ftspec.profile import BaseModel, MethodProfile, Profile, Range

_COMMON = {
    "n_epochs": Range(low=1, high=50, integer=True),
    "batch_size": Range(low=1, high=256, integer=True),
    "learning_rate_multiplier": Range(above=0),
}

profile = Profile(
    name="azure",
    title="Microsoft Foundry (Azure OpenAI)",
    origins=("https://*.openai.azure.com", "https://*.services.ai.azure.com"),
    api_key_env="AZURE_OPENAI_API_KEY",
    key_header="api-key",
    methods={
        "supervised": MethodProfile(hyperparameters=_COMMON, dataset_format="chat"),
        "dpo": MethodProfile(
            hyperparameters={**_COMMON, "beta": Range(above=0, high=2)}, dataset_format="preference", base_models=("gpt-4.1*", "gpt-4o*")
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
            base_models=("o4-mini*",),
        ),
    },
    base_models=(
        *(
            BaseModel(name=name, until="2027-04-14")
            for name in ("gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14", "gpt-4.1-nano-2025-04-14")
        ),
        *(BaseModel(name=name, until="2027-04-01") for name in ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18")),
        BaseModel(name="o4-mini-2025-04-16"),
    ),
    metadata=False,
    list_filter=False,
    suffix_max=40,
    suffix_pattern="[A-Za-z0-9_-]*",
    graders=("string_check", "text_similarity", "python", "score_model", "multi"),
    min_rows=10,
    data={"max_images": 64, "strict_tools": True},
    max_file_bytes=512 * 10**6,
    engine_options={
        "trainingType": "`standard`, `globalStandard` (open models need it) or `developerTier` (about half price)",
        "prompt_loss_weight": "weight of the prompt's tokens in the loss",
    },
    option_placement={"engine_options.prompt_loss_weight": "hyperparameters.prompt_loss_weight"},
    deployment="deploy the model (Standard, GlobalStandard or Developer) before it answers; hosting is billed by the hour",
    notes=(
        "Three jobs run at once (five in the developer tier), 20 wait, 100 per resource; all files together at most 1 GB.",
        "A reinforcement job pauses by itself at 5,000 dollars.",
    ),
)
