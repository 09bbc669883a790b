"""What a person asks of a retraining: the training, the comparison and the release."""

from pydantic import Field

from tasks.config import FinetuneConfig, Section
from tasks.release_config import ReleaseConfig


class EvaluationChoice(Section):
    """How the challenger is measured against the champion: same rows, same code, one job each."""

    rows: int = Field(
        500,
        ge=1,
        title="Rows",
        description="Held-out conversations on which the loss is measured, from the start of the "
        "test split.",
    )
    replies: int = Field(
        32,
        ge=0,
        title="Replies",
        description="Conversations of them to which a reply is generated, for ROUGE-L. 0: none.",
    )
    max_new_tokens: int = Field(
        128, ge=1, title="Reply length", description="Longest of these replies, in tokens."
    )
    max_length: int = Field(
        2048,
        ge=16,
        title="Conversation length",
        description="Tokens of a conversation that are read; the rest is cut off.",
    )
    margin: float = Field(
        0.01,
        ge=0,
        lt=1,
        title="Margin",
        description="How much lower than the champion's loss the challenger's must be, as a share "
        "of it: 0.01 is one percent.",
    )
    highest_loss: float | None = Field(
        None,
        gt=0,
        title="Highest loss",
        description="A challenger with a higher loss is never released, champion or not. None: no "
        "limit.",
    )
    most_rouge_lost: float = Field(
        0.05,
        ge=0,
        le=1,
        title="Largest loss of ROUGE-L",
        description="How much of the champion's ROUGE-L (0 to 1) the challenger may lose.",
    )
    environment: str = Field(
        "azureml://registries/azureml/environments/acft-hf-nlp-gpu/labels/latest",
        title="Environment",
        description="Environment of the evaluation job: Python with torch and transformers.",
    )
    minutes: float = Field(
        120,
        gt=0,
        title="Deadline",
        description="Minutes for an evaluation job to begin, and as many for it to end.",
    )


class RetrainConfig(Section):
    """Everything that one retraining is made from."""

    finetune: FinetuneConfig = Field(
        default_factory=FinetuneConfig,
        title="Training",
        description="What is trained. Its test endpoint is not used: the release tests the model.",
    )
    evaluation: EvaluationChoice = Field(
        default_factory=EvaluationChoice,
        title="Evaluation",
        description="How the challenger is measured against the champion.",
    )
    release: ReleaseConfig | None = Field(
        default_factory=ReleaseConfig,
        title="Release",
        description="Where and how a better model is released. None: it becomes the champion and "
        "nothing is deployed.",
    )
    force: bool = Field(
        False,
        title="Retrain anyway",
        description="Retrain although nothing has changed since the champion was made.",
    )
