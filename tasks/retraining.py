"""Whether there is anything new to train on, and the settings that pin it for the training."""

import hashlib
import json

from pydantic import BaseModel, ConfigDict

from tasks.champion import RETRAIN_KEY, Champion, find_judged
from tasks.clients import workspace_client
from tasks.data import pin_revision
from tasks.naming import model_name
from tasks.planning import look_up_component, look_up_model
from tasks.retrain_config import RetrainConfig

_KEY_LENGTH = 12


class Ingredients(BaseModel):
    """What a training would be made from now. Two equal ones make the same model."""

    model_config = ConfigDict(frozen=True)

    model: str
    """Id of the foundation model, its version included."""
    component: str
    dataset_revision: str
    model_name: str
    """Name under which the fine-tuned model is registered."""
    config: RetrainConfig
    """The configuration, with these versions pinned."""

    @property
    def key(self) -> str:
        """12 hex digits that stand for the model, the data, the configuration and the rules."""
        canonical = json.dumps(self._identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:_KEY_LENGTH]

    def _identity(self) -> dict[str, object]:
        # Left out is what changes neither the model nor the verdict on it: time-outs, sizes of
        # what is created, names, and where it is released.
        training = self.config.finetune
        return {
            "model": self.model,
            "component": self.component,
            "dataset": training.dataset.model_dump(mode="json", exclude={"seed"}),
            "parameters": training.parameters,
            "size": training.compute.size.lower(),
            "evaluation": self.config.evaluation.model_dump(
                mode="json", exclude={"minutes", "environment"}
            ),
        }


def look_up_ingredients(workspace: str, config: RetrainConfig) -> Ingredients:
    """The versions that the configuration stands for now, looked up side by side.

    Call it inside a flow. Raises what the look-ups raise: NotFound, DataError, PermissionProblem.
    """
    training = config.finetune
    workspace_client(workspace)  # made before the threads start: each would make one of its own
    model = look_up_model.submit(workspace, training.model)
    component = look_up_component.submit(workspace, training.component)
    revision = pin_revision.submit(training.dataset)
    found, declared = model.result(), component.result()
    return Ingredients(
        model=found.id,
        component=declared.id,
        dataset_revision=revision.result(),
        model_name=model_name(found.name, training.dataset.name),
        config=_pinned(config, found.version, declared.version, revision.result()),
    )


def _pinned(config: RetrainConfig, model: str, component: str, revision: str) -> RetrainConfig:
    """The configuration of the training: what was looked up, and no test endpoint.

    The endpoint's size is the release's, so that the plan checks the quota that this will need.
    """
    training, release = config.finetune, config.release
    serving = training.serving.model_copy(update={"test": False, "keep_endpoint": False})
    if release is not None:
        serving = serving.model_copy(update={"size": release.size, "instances": release.instances})
    pinned = training.model_copy(
        update={
            "model": training.model.model_copy(update={"version": model}),
            "component": training.component.model_copy(update={"version": component}),
            "dataset": training.dataset.model_copy(update={"revision": revision}),
            "serving": serving,
            "plan_only": False,
        }
    )
    return config.model_copy(update={"finetune": pinned})


def news(wanted: Ingredients, champion: Champion | None) -> tuple[str, ...]:
    """What is not as it was when the champion was made, a sentence each; () when nothing is."""
    if champion is None:
        return (f"There is no champion of {wanted.model_name} yet.",)
    tags = champion.tags
    if tags.get(RETRAIN_KEY) == wanted.key:
        return ()
    now = {
        "base_model": ("The foundation model", wanted.model),
        "component": ("The component", wanted.component),
        "dataset_revision": ("The dataset's revision", wanted.dataset_revision),
    }
    changed = tuple(
        f"{what} was {tags.get(tag, 'not recorded')} and is {value}."
        for tag, (what, value) in now.items()
        if tags.get(tag) != value
    )
    return changed or ("The configuration is another one.",)


def why_not(workspace: str, wanted: Ingredients, champion: Champion | None) -> str | None:
    """Why there is nothing to train; None when there is something."""
    if champion is not None and not news(wanted, champion):
        since = f"{champion.since:%Y-%m-%d %H:%M} UTC"
        return (
            f"Nothing has changed since the champion, {champion.model.name}:"
            f"{champion.model.version}, was made ({since})."
        )
    judged = find_judged(workspace, [wanted.model_name], wanted.key)
    if judged is None or judged.verdict == "better":  # better, but it was not released then
        return None
    return (
        f"Model {judged.model.name}:{judged.model.version} was made from the same, and is "
        f"{judged.verdict} ({judged.against} was the champion)."
    )
