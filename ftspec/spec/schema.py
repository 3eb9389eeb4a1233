"""What a spec file may say, before anything is expanded.

These models are the authoring interface: their fields, types and descriptions are the JSON
Schema that editors show, and they refuse unknown keys. They check one file as written, so a
typed setting also accepts a reference (`epochs: "{n}"`); what a reference stands for is
checked again when cells are expanded (`settings.KINDS`).

Only `explain` imports this module: reading a spec that was found valid before needs no
pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from ftspec.address import NAME
from ftspec.spec.settings import KINDS, POSITIVE

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

_NAME_PATTERN = "^" + NAME.pattern.replace(r"\Z", "$")
_REFERENCE = r"^\{[A-Za-z_][A-Za-z0-9_.-]*\}$"

Reference = Annotated[str, StringConstraints(pattern=_REFERENCE)]
"""`{name}` as the whole scalar: the value, type and all, of what it names."""

Name = Annotated[str, StringConstraints(pattern=_NAME_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1)]
Auto = Literal["auto"]
Whole = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Scalar = str | int | float | bool


class Accepts:
    """Makes one error of everything that is wrong with a value: what it must be, in words."""

    def __init__(self, phrase: str) -> None:
        self.phrase = phrase

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Wrap the schema of the annotated type."""
        return core_schema.custom_error_schema(
            handler(source), custom_error_type="expected", custom_error_message="{phrase}", custom_error_context={"phrase": self.phrase}
        )


def _kind(path: str) -> Accepts:
    return Accepts(KINDS[path].phrase)


class Block(BaseModel):
    """The base of every mapping in a spec: no unknown keys, no conversions, no inputs in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, validate_default=False)


class OpenBlock(Block):
    """A mapping whose further keys belong to an engine or a user."""

    model_config = ConfigDict(extra="allow")


_Count = Annotated[Whole | Reference, Accepts("a whole number of at least 1")]
_Names = Annotated[Text | list[Text], Accepts("a name or a list of names")]


class LimitsBlock(Block):
    """A queue in front of the engine."""

    max_running: _Count | None = Field(None, description="How many jobs may run at once.")
    leave_free: Annotated[Annotated[int, Field(ge=0)] | Reference, Accepts("a whole number of at least 0")] | None = Field(
        None, description="How many of the engine's slots stay free for others."
    )
    per_day: _Count | None = Field(None, description="How many jobs may be launched in any 24 hours.")


class EngineBlock(OpenBlock):
    """A place that trains, and the account it bills. Types may have settings of their own (`ftspec doctor` lists them)."""

    type: Annotated[Text, Accepts("the name of an engine type")] | None = Field(
        None, description="Engine type: `sandbox`, `local`, `openai`, `openai-compatible`, ... Default: the name of this entry."
    )
    base_url: Text | None = Field(None, description="Where the engine answers. Needs `ftspec trust ORIGIN` unless it belongs to the type.")
    api_key_env: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\*?$"), Accepts("the name of an environment variable")] | None
    ) = Field(
        None,
        description="NAME of the environment variable that holds the API key. Never the key. A trailing `*` tries every variable that starts so. Other names than the type's own (`OPENAI_API_KEY`, `OPENAI_API_KEY_TEAM`; for this machine `FTSPEC_...`) are allowed once, outside the repo: `ftspec trust ORIGIN --key-env NAME`.",
    )
    organization: Text | None = Field(None, description="Organization to bill.")
    project: Text | None = Field(None, description="Project to bill; files and models belong to it.")
    scope: Text | None = Field(
        None, description="Name of the account, where organization and project do not tell accounts apart. Part of every job's identity."
    )
    limits: LimitsBlock | None = Field(None, description="How many jobs to run at once and to launch per day.")


class SplitBlock(OpenBlock):
    """Parts of a dataset and their shares: `{train: 0.8, test: 0.2}`. Rows keep their part when others are added."""

    __pydantic_extra__: dict[str, Annotated[Positive | Reference, Accepts(POSITIVE.phrase)]] = Field(init=False)
    seed: Annotated[int | Reference, Accepts("a whole number")] | None = Field(None, description="Deals the rows differently.")
    group_by: Text | None = Field(None, description="Rows with the same value here stay in one part (a key of the row, dotted).")


class TransformBlock(OpenBlock):
    """One step that makes training rows of the file's rows."""

    type: Text = Field(description="`sample`, `mix`, `dedupe`, `reasoning`, `system_prompt`, ...")


class DatasetBlock(Block):
    """A JSONL file."""

    path: Text = Field(description="The file, relative to this spec file, inside the project.")
    format: (
        Annotated[
            Literal["chat", "preference", "reinforcement", "completion", "eval"],
            Accepts("`chat`, `preference`, `reinforcement`, `completion` or `eval`"),
        ]
        | None
    ) = Field(None, description="Format of its rows. Default: told from the first rows.")
    split: SplitBlock | None = Field(None, description="Parts and their shares; refer to them as `name.part`.")
    transforms: list[Text | TransformBlock] | None = Field(
        None, description="Steps applied to the rows, in order; part of the dataset's identity."
    )
    description: str | None = Field(None, description="For people.")


class HyperparametersBlock(OpenBlock):
    """Hyperparameters under the names of the OpenAI protocol. Engines may have more of their own."""

    __pydantic_extra__: dict[str, Scalar | list[Scalar] | None] = Field(init=False)
    n_epochs: Annotated[Whole | Auto | Reference, _kind("hyperparameters.n_epochs")] | None = Field(
        None, description="Passes over the training rows. Short: `epochs`."
    )
    batch_size: Annotated[Whole | Literal["auto", "max"] | Reference, _kind("hyperparameters.batch_size")] | None = Field(
        None, description="Rows per update."
    )
    learning_rate_multiplier: Annotated[Positive | Auto | Reference, _kind("hyperparameters.learning_rate_multiplier")] | None = Field(
        None, description="Factor on the engine's own learning rate. Excludes `learning_rate`."
    )
    learning_rate: Annotated[Positive | Auto | Reference, _kind("hyperparameters.learning_rate")] | None = Field(
        None, description="Absolute learning rate, for engines that take one. Excludes `learning_rate_multiplier`."
    )
    beta: Annotated[Positive | Auto | Reference, _kind("hyperparameters.beta")] | None = Field(
        None, description="dpo: how strongly the model is held to its base."
    )
    reasoning_effort: Text | None = Field(None, description="reinforcement: `default`, `low`, `medium` or `high`.")
    compute_multiplier: Annotated[Positive | Auto | Reference, _kind("hyperparameters.compute_multiplier")] | None = Field(
        None, description="reinforcement: how much to explore."
    )
    eval_interval: Annotated[Whole | Auto | Reference, _kind("hyperparameters.eval_interval")] | None = Field(
        None, description="reinforcement: steps between evaluations."
    )
    eval_samples: Annotated[Whole | Auto | Reference, _kind("hyperparameters.eval_samples")] | None = Field(
        None, description="reinforcement: samples per evaluation."
    )


MethodName = Literal["supervised", "dpo", "reinforcement"]


class MethodBlock(Block):
    """How the model is trained."""

    type: Annotated[MethodName | Reference, _kind("method")] | None = Field(
        None, description="`supervised` (default), `dpo` or `reinforcement`."
    )
    hyperparameters: HyperparametersBlock | None = Field(None, description="Hyperparameters of the method.")
    grader: dict[str, Any] | None = Field(
        None, description="reinforcement: what scores the answers (`string_check`, `text_similarity`, `python`, `score_model`, `multi`)."
    )


class LoraBlock(Block):
    """Low-rank adapters, on engines that have them."""

    rank: Annotated[Whole | Reference, _kind("lora.rank")] | None = Field(None, description="Rank of the adapters.")
    alpha: Annotated[Positive | Reference, _kind("lora.alpha")] | None = Field(None, description="Scale of the adapters.")
    dropout: Annotated[Annotated[float, Field(ge=0, lt=1)] | Reference, _kind("lora.dropout")] | None = Field(
        None, description="Dropout in the adapters."
    )
    targets: _Names | None = Field(None, description="Modules that get adapters.")


class ChainBlock(Block):
    """Another experiment's models as base models: one job for each that matches."""

    from_: Text = Field(alias="from", description="Experiment (or address of one job) whose models to train further.")
    where: dict[str, Any] | None = Field(None, description="Axis values that its jobs must have; a list means any of them.")


class IntegrationBlock(OpenBlock):
    """A service that the engine reports to."""

    type: Text = Field(description="Name of the service: `wandb`.")


_Tags = dict[
    Annotated[str, StringConstraints(min_length=1, max_length=64)], Annotated[Scalar | None, Accepts("text, a number, `true` or `false`")]
]


class Settings(Block):
    """The settings of a job, shared by `defaults` and experiments. `null` clears a default."""

    engine: Annotated[Text, _kind("engine")] | None = Field(None, description="Name of an entry under `engines`.")
    base_model: Text | ChainBlock | None = Field(
        None, description="Model to train: a name of the engine's, or `{from: EXPERIMENT, where: {axis: value}}`."
    )
    method: Annotated[MethodName | Reference, _kind("method")] | MethodBlock | None = Field(
        None, description="`supervised` (default), `dpo` or `reinforcement`, or a mapping with `type`, `hyperparameters` and `grader`."
    )
    train: Annotated[Text, _kind("train")] | None = Field(None, description="Training dataset: `name`, or `name.part` of a split one.")
    validation: Annotated[Text, _kind("validation")] | None = Field(
        None, description="Validation dataset: `name`, or `name.part` of a split one."
    )
    epochs: Annotated[Whole | Auto | Reference, _kind("hyperparameters.n_epochs")] | None = Field(
        None, description="Passes over the training rows, or `auto`. Short for `method.hyperparameters.n_epochs`."
    )
    batch_size: Annotated[Whole | Literal["auto", "max"] | Reference, _kind("hyperparameters.batch_size")] | None = Field(
        None, description="Rows per update, or `auto`. Short for `method.hyperparameters.batch_size`."
    )
    learning_rate_multiplier: Annotated[Positive | Auto | Reference, _kind("hyperparameters.learning_rate_multiplier")] | None = Field(
        None, description="Factor on the engine's own learning rate, or `auto`. Excludes `learning_rate`."
    )
    learning_rate: Annotated[Positive | Auto | Reference, _kind("hyperparameters.learning_rate")] | None = Field(
        None, description="Absolute learning rate, for engines that take one. Excludes `learning_rate_multiplier`."
    )
    seed: Annotated[Annotated[int, Field(ge=0, lt=1 << 31)] | Reference, _kind("seed")] | None = Field(
        None, description="Seed of the training run. Where the engine allows it, the same seed gives the same model."
    )
    replicate: Annotated[Annotated[int, Field(ge=0)] | Text, _kind("replicate")] | None = Field(
        None, description="Tells otherwise equal jobs apart, to train the same thing again on purpose."
    )
    suffix: Annotated[Text | int | float, _kind("suffix")] | None = Field(
        None, description="Label in the model's name; `{axis}` refers to values of the cell. Changing it retrains nothing."
    )
    name: Annotated[Text | int | float, _kind("name")] | None = Field(
        None, description="Template of the job's name in its address, instead of `axis=value,...`."
    )
    lora: LoraBlock | None = Field(None, description="Low-rank adapters, on engines that have them.")
    engine_options: dict[str, Any] | None = Field(None, description="Options that only this engine has. Part of the job's identity.")
    tags: _Tags | None = Field(None, description="Labels for selecting jobs (`tag:owner=ann`). Never part of the identity.")
    integrations: list[IntegrationBlock] | None = Field(None, description="Services that the engine reports to.")
    evals: _Names | None = Field(None, description="Evals to run on the trained model.")
    depends_on: _Names | None = Field(None, description="Experiments or addresses that must have succeeded before.")
    preset: Annotated[Literal["classification"], _kind("preset")] | None = Field(
        None,
        description="`classification`: replies are labels; they are checked as such and scored with accuracy, F1 and a confusion matrix.",
    )


class DefaultsBlock(Settings):
    """Settings that hold for every experiment that does not say otherwise."""


_Axis = Annotated[Annotated[list[Any], Field(min_length=1)] | Reference, Accepts("a list of values")]
_Rows = list[dict[str, Any]]


class OverrideBlock(Block):
    """Settings of some cells."""

    where: dict[str, Any] = Field(description="Axis values of the cells; a list means any of them.")
    set: dict[str, Any] = Field(description="Settings (dotted names allowed) that these cells get.")


class MatrixBlock(OpenBlock):
    """A grid: every other key is an axis, named after a setting (dotted allowed) or used as `{axis}` in one."""

    __pydantic_extra__: dict[str, _Axis] = Field(init=False)
    zip: dict[str, _Axis] | list[dict[str, _Axis]] | None = Field(None, description="Axes that advance together: lists of equal length.")
    exclude: _Rows | None = Field(None, description="Cells to leave out: axis values; a list means any of them.")
    include: _Rows | None = Field(None, description="Whole cells to append.")
    overrides: list[OverrideBlock] | None = Field(None, description="Settings for some cells, applied last.")


class ExperimentBlock(Settings):
    """A named block of jobs."""

    description: str | None = Field(None, description="For people.")
    matrix: MatrixBlock | None = Field(None, description="Expands the block into a grid of jobs.")


class EvalBlock(Block):
    """A dataset, how models are asked, how answers are graded."""

    dataset: Text | None = Field(None, description="Dataset, or `name.part` of a split one.")
    kind: Annotated[Literal["chat", "inspect", "command"], Accepts("`chat`, `inspect` or `command`")] | None = Field(
        None, description="`chat` (default): ask and grade here. `inspect`: an Inspect task. `command`: any harness."
    )
    graders: dict[Name, dict[str, Any]] | None = Field(
        None, description="Graders by name; `{{item.x}}` and `{{sample.output_text}}` are theirs."
    )
    prompt: Any = Field(None, description="Messages to ask with, instead of those of the row.")
    sampling: dict[str, Any] | None = Field(None, description="Sampling options: `temperature`, `max_tokens`, `seed`, ...")
    repeat: _Count | None = Field(None, description="Samples per item.")
    models: _Names | None = Field(None, description="What to evaluate: `base`, `job`, `job@checkpoints`, or names of models.")
    compare_to: Text | None = Field(None, description="What results are compared with; default `base`.")
    require: Annotated[Text | list[Text], Accepts("a condition or a list of conditions")] | None = Field(
        None, description='Conditions that must hold, such as `"exact >= base.exact - 0.01"`.'
    )
    budget: Annotated[Positive | Reference, Accepts(POSITIVE.phrase)] | None = Field(None, description="Most money that one run may cost.")
    preset: Annotated[Literal["classification"], _kind("preset")] | None = Field(
        None, description="`classification`: answers are labels; graded by equality, with macro F1 and a confusion matrix."
    )
    group_by: Text | None = Field(None, description="Items with the same value here count as one (a key of the row, dotted).")
    max_connections: _Count | None = Field(None, description="Requests at once.")
    isolation: Text | None = Field(None, description="How code of graders is kept apart from this machine.")
    options: dict[str, Any] | None = Field(None, description="Options of the kind: `task`, `command`, ...")
    description: str | None = Field(None, description="For people.")


class PolicyBlock(Block):
    """What a plan may not exceed."""

    max_cost: Annotated[Annotated[float, Field(ge=0)] | Reference, Accepts("a number of at least 0")] | None = Field(
        None, description="Most money that one apply may cost."
    )
    max_jobs: Annotated[Annotated[int, Field(ge=0)] | Reference, Accepts("a whole number of at least 0")] | None = Field(
        None, description="Most jobs that one apply may launch."
    )
    max_tokens: Annotated[Annotated[int, Field(ge=0)] | Reference, Accepts("a whole number of at least 0")] | None = Field(
        None, description="Most tokens that one apply may train."
    )
    require_validation: bool | None = Field(None, description="Refuse jobs without a validation dataset.")
    require_known_cost: bool | None = Field(None, description="Refuse jobs whose cost cannot be told.")
    allow_leakage: bool | None = Field(None, description="Let models be measured on rows that they were trained on. Default: no.")
    allow_engines: list[Text] | None = Field(None, description="Engines that may be used.")
    distinct_suffixes: bool | None = Field(
        None, description="Refuse a suffix that labels other training data already, in the spec or in state. Default: a warning."
    )


class IdentityBlock(Block):
    """What belongs to a job's identity."""

    suffix: bool | None = Field(None, description="Whether a changed suffix makes a new job. Default: no.")


class NotifyBlock(Block):
    """Who hears about the end of an apply. No secrets here: name a variable."""

    command: Annotated[Text | list[Text], Accepts("a command or a list of its words")] | None = Field(
        None, description="Command to run; it reads JSON on stdin."
    )
    webhook: Text | None = Field(None, description="URL to post JSON to.")
    webhook_env: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"), Accepts("the name of an environment variable")] | None
    ) = Field(None, description="NAME of the environment variable that holds the URL.")
    on: _Names | None = Field(None, description="When: `succeeded`, `failed`, `finished`.")


class SpecFile(Block):
    """An ftspec file: fine-tuning experiments as text."""

    ftspec: Annotated[Literal[1], Accepts("`1`, the version of this format")] | None = Field(None, description="Version of this format: 1.")
    project: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_{][A-Za-z0-9_.{}-]{0,127}$")] | None = Field(
        None, description="Name of the project; jobs carry it on the engine."
    )
    include: _Names | None = Field(None, description="Other spec files to merge, relative to this one.")
    vars: dict[Name, Any] | None = Field(
        None, description="Values that any text can refer to as `{name}`; `--var name=value` replaces them."
    )
    engines: dict[Name, EngineBlock | None] | None = Field(None, description="Where jobs train. `sandbox` and `local` need no entry.")
    datasets: dict[Name, Text | DatasetBlock] | None = Field(
        None, description="JSONL files: a path, or a mapping with `path`, `split`, ..."
    )
    defaults: DefaultsBlock | None = Field(None, description="Settings of every experiment that does not say otherwise.")
    experiments: dict[Name, ExperimentBlock] | None = Field(None, description="Named blocks of jobs.")
    evals: dict[Name, EvalBlock] | None = Field(None, description="Evals by name.")
    policy: PolicyBlock | None = Field(None, description="What a plan may not exceed.")
    identity: IdentityBlock | None = Field(None, description="What belongs to a job's identity.")
    state: Text | None = Field(None, description="Folder of the state, relative to this file. Default: `state`.")
    prices: dict[str, Any] | None = Field(None, description="Prices that replace or extend the shipped table.")
    notify: list[NotifyBlock] | None = Field(None, description="Commands and webhooks to call when an apply ends.")
    protect: _Names | None = Field(None, description="Selectors of jobs that must not be replaced or forgotten.")


BLOCKS: dict[tuple[str, ...], tuple[type[BaseModel], str]] = {
    (): (SpecFile, "a spec"),
    ("engines", "*"): (EngineBlock, "an engine"),
    ("engines", "*", "limits"): (LimitsBlock, "`limits`"),
    ("datasets", "*"): (DatasetBlock, "a dataset"),
    ("defaults",): (DefaultsBlock, "a job"),
    ("experiments", "*"): (ExperimentBlock, "an experiment"),
    ("experiments", "*", "matrix"): (MatrixBlock, "a matrix"),
    ("experiments", "*", "matrix", "overrides", "*"): (OverrideBlock, "an override"),
    ("experiments", "*", "base_model"): (ChainBlock, "`base_model`"),
    ("experiments", "*", "method"): (MethodBlock, "`method`"),
    ("experiments", "*", "lora"): (LoraBlock, "`lora`"),
    ("defaults", "base_model"): (ChainBlock, "`base_model`"),
    ("defaults", "method"): (MethodBlock, "`method`"),
    ("defaults", "lora"): (LoraBlock, "`lora`"),
    ("evals", "*"): (EvalBlock, "an eval"),
    ("policy",): (PolicyBlock, "`policy`"),
    ("identity",): (IdentityBlock, "`identity`"),
    ("notify", "*"): (NotifyBlock, "`notify`"),
}
"""Which model and noun belong to a place in a spec; `*` is any key or index."""


def fields_of(model: type[BaseModel]) -> list[str]:
    """Return the keys that a mapping may have, as people write them."""
    return [field.alias or name for name, field in model.model_fields.items()]


class _Plain(GenerateJsonSchema):
    """A schema without titles that only repeat names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 pydantic's signature
        """Never."""
        return False


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec file."""
    schema = SpecFile.model_json_schema(by_alias=True, schema_generator=_Plain)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "ftspec"
    schema["patternProperties"] = {"^x-": {"description": "Ignored: a place for YAML anchors."}}
    _close(schema)
    return schema


def _close(node: Any) -> None:
    """Refuse names that do not fit the pattern of names."""
    if isinstance(node, dict):
        if "patternProperties" in node:
            node.setdefault("additionalProperties", False)
        for one in node.values():
            _close(one)
    elif isinstance(node, list):
        for one in node:
            _close(one)
