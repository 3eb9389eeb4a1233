"""Amazon Bedrock's OpenAI-compatible address ("mantle"): reinforcement only.

Facts as of 2026-11-20 from its documents: `https://bedrock-mantle.<region>.api.aws/v1`, a Bedrock
API key as bearer, models gpt-oss-20b and Qwen3-32B, a grader that is a Lambda function
(`{"type": "lambda", "lambda": {"function": ARN}}`), no suffix. Seed, metadata and validation were
not verified and are not relied on. It takes 100 to 20,000 rows. The model answers at once, without a deployment.
"""

from ftspec.profile import MethodProfile, Profile, Range

profile = Profile(
    name="bedrock",
    title="Amazon Bedrock",
    origins=("https://bedrock-mantle.*.api.aws",),
    api_key_env="AWS_BEARER_TOKEN_BEDROCK",
    methods={
        "reinforcement": MethodProfile(
            hyperparameters={
                "n_epochs": Range(low=1, integer=True),
                "batch_size": Range(low=1, integer=True),
                "learning_rate_multiplier": Range(above=0),
            },
            dataset_format="reinforcement",
            needs_grader=True,
            base_models=("*gpt-oss-20b*", "*qwen3-32b*", "*Qwen3-32B*"),
        )
    },
    min_rows=100,
    data={"max_rows": 20_000},
    defaults={"tokenizer": "estimate"},
    seed=False,
    suffix_max=0,
    metadata=False,
    list_filter=False,
    validation=False,
    pause=False,
    graders=("lambda",),
)
