"""The plan: everything that will be done, checked before anything is created or billed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from tasks.config import FinetuneConfig
from tasks.drift import check_pinned, diff_plans
from tasks.errors import ErrorKind, ParameterError, SizeNotAllowed, UserError
from tasks.model import check_model
from tasks.naming import chosen_names, name_problems, names, run_key
from tasks.parameters import merge_parameters, range_warnings
from tasks.preflight import check_min_spec, identity_warning
from tasks.prices import check_cost, estimate
from tasks.quota import check_quota
from tasks.sizes import Purpose, check_size, find_size
from tasks.values import (
    Cluster,
    ClusterSize,
    DataSnapshot,
    Draft,
    FoundationModel,
    Names,
    Parameter,
    PastRun,
    PipelineComponent,
    Plan,
    SplitFile,
    Usage,
)

_Checked = TypeVar("_Checked")


class PlanError(UserError):
    """The plan cannot be carried out.

    `problems` holds every reason, each with its next step; `draft` what is known of the plan.
    """

    def __init__(self, problems: Sequence[UserError], draft: Draft | None = None) -> None:
        self.problems = tuple(problems)
        self.draft = draft
        if len(problems) == 1:
            super().__init__(problems[0].message, problems[0].advice, problems[0].kind)
        else:
            listed = "".join(f"\n  {n}. {problem}" for n, problem in enumerate(problems, start=1))
            kinds = {problem.kind for problem in problems} - {ErrorKind.TRANSIENT}
            # The one that they share: while something else is wrong, waiting does not help.
            kind = kinds.pop() if len(kinds) == 1 else None if kinds else ErrorKind.TRANSIENT
            super().__init__(f"{len(problems)} things stand against the plan:{listed}", kind=kind)


@dataclass(frozen=True)
class Found:
    """What the look-ups brought. None: the look-up failed, and its reason is in `problems`."""

    model: FoundationModel | None = None
    component: PipelineComponent | None = None
    data: DataSnapshot | None = None
    sizes: Sequence[ClusterSize] | None = None
    usages: Sequence[Usage] | None = None
    cluster: Cluster | None = None
    """None also where the cluster does not exist."""
    region: str | None = None
    past: PastRun | None = None
    """The last successful run to compare with; None also where there was none."""
    problems: tuple[UserError, ...] = ()
    warnings: tuple[str, ...] = ()


class _Findings:
    """Runs checks and keeps what each one objects to."""

    def __init__(self, found: Found) -> None:
        self.problems: list[UserError] = list(found.problems)
        self.warnings: list[str] = list(found.warnings)

    def of(self, check: Callable[[], _Checked]) -> _Checked | None:
        try:
            return check()
        except PlanError as problem:
            self.problems += problem.problems
        except UserError as problem:
            self.problems.append(problem)
        return None


def check_plan(config: FinetuneConfig, found: Found, today: date) -> Plan:
    """Check everything and name everything; raise one PlanError with all that is wrong.

    What could not be looked up is left out of the checks, and its reason is among the problems.
    Calls no service.
    """
    findings = _Findings(found)
    model = found.model
    if model is not None:
        accept = config.model.accept_retired
        findings.warnings += findings.of(lambda: check_model(model, today, accept)) or ()
    if found.data is not None:
        findings.warnings += _data_warnings(found.data)
    cluster_size, serving_size = _sizes(config, found, findings)
    merged = _parameters(config, found, cluster_size, findings)
    named = _names(config, found, merged[0] if merged else None, findings)
    used, ignored = merged or ([], [])
    draft = Draft(
        config=config,
        model=model,
        component=found.component,
        parameters=tuple(used),
        ignored=tuple(ignored),
        data=found.data,
        cluster=found.cluster,
        cluster_size=cluster_size,
        serving_size=serving_size,
        names=named,
    )
    draft = _with_quota_and_price(draft, found, findings)
    draft = _with_changes(draft, found, findings)
    if model is not None:
        findings.warnings += range_warnings(used, model.defaults)
    draft = draft.model_copy(update={"warnings": tuple(findings.warnings)})
    if findings.problems:
        raise PlanError(findings.problems, draft)
    return Plan(**dict(draft))


def _sizes(
    config: FinetuneConfig, found: Found, findings: _Findings
) -> tuple[ClusterSize | None, ClusterSize | None]:
    """The sizes for the cluster and the deployment; an existing cluster's own size wins."""
    model, sizes = found.model, found.sizes
    wanted = found.cluster.size if found.cluster else config.compute.size
    if found.cluster and wanted.lower() != config.compute.size.lower():
        findings.warnings.append(
            f"Cluster {found.cluster.name} exists with size {wanted}: the configured size "
            f"{config.compute.size} is not used."
        )
    if warning := identity_warning(found.cluster, config.compute.cluster):
        findings.warnings.append(warning)
    if model is None or sizes is None:
        return None, None
    training = findings.of(lambda: _size(wanted, model.finetune_sizes, sizes, "fine-tuning", model))
    serving = findings.of(
        lambda: _size(config.serving.size, model.inference_sizes, sizes, "serving", model)
    )
    for size, spec, allowed in (
        (training, model.finetune_min_spec, model.finetune_sizes),
        (serving, model.inference_min_spec, model.inference_sizes),
    ):
        if size is not None:
            findings.warnings += (
                findings.of(lambda: check_min_spec(spec, size, allowed, model)) or ()  # noqa: B023
            )
    return training, serving


def _size(
    name: str,
    allowed: tuple[str, ...] | None,
    offered: Sequence[ClusterSize],
    purpose: Purpose,
    model: FoundationModel,
) -> ClusterSize:
    check_size(name, allowed, purpose, model.name)
    size = find_size(name, offered, allowed)
    if purpose == "fine-tuning" and size.gpus < 1:
        with_gpus = [other.name for other in offered if other.gpus > 0]
        raise SizeNotAllowed(
            f"{size.name} has no GPU, and fine-tuning {model.name} needs one.",
            f"Offered with GPUs: {', '.join(with_gpus) or 'none'}.",
        )
    return size


def _parameters(
    config: FinetuneConfig, found: Found, size: ClusterSize | None, findings: _Findings
) -> tuple[list[Parameter], list[Parameter]] | None:
    """The parameters in use, and the model's defaults that the component does not take."""
    model, component = found.model, found.component
    merged = None
    if model is not None and component is not None:
        gpus = "number_of_gpu_to_use_finetuning"
        # Without a usable size there is no plan, but its parameters are checked all the same.
        run_values = {gpus: size.gpus if size else 1} if gpus in component.inputs else {}
        merged = findings.of(
            lambda: merge_parameters(config.parameters, model.defaults, component, run_values)
        )
    findings.of(lambda: _check_nodes(config, found.cluster, merged[0] if merged else []))
    return merged


def _job_nodes(config: FinetuneConfig, used: Sequence[Parameter]) -> int:
    name = "num_nodes_finetune"
    nodes = next((item.value for item in used if item.name == name), config.parameters.get(name))
    return nodes if isinstance(nodes, int) else 1


def _check_nodes(
    config: FinetuneConfig, cluster: Cluster | None, used: Sequence[Parameter]
) -> None:
    nodes = _job_nodes(config, used)
    most = cluster.max_nodes if cluster else config.compute.max_nodes
    if nodes > most:
        limit = (
            f"cluster {cluster.name} can have ({most})"
            if cluster
            else f"compute.max_nodes = {most}"
        )
        raise ParameterError(
            f"num_nodes_finetune = {nodes} is more than {limit}: the job would wait for ever.",
            "Lower num_nodes_finetune or choose another cluster."
            if cluster
            else "Raise compute.max_nodes or lower num_nodes_finetune.",
        )


def _names(
    config: FinetuneConfig, found: Found, used: Sequence[Parameter] | None, findings: _Findings
) -> Names | None:
    model, component, data = found.model, found.component, found.data
    if model is None or component is None or data is None or used is None:
        findings.problems += name_problems(chosen_names(config))
        return None
    values = {parameter.name: parameter.value for parameter in used}
    key = run_key(model.id, component.id, data.fingerprint, values)
    made = names(config, model, component, key, used)
    findings.problems += name_problems(dict(made))
    return made


def _with_quota_and_price(draft: Draft, found: Found, findings: _Findings) -> Draft:
    config, cluster = draft.config, draft.cluster
    # A size that the model does not allow has a price and a quota all the same: both are told.
    training = draft.cluster_size or _offered(
        cluster.size if cluster else config.compute.size, found
    )
    serving = draft.serving_size or _offered(config.serving.size, found)
    if training is None or serving is None:
        return draft
    price = estimate(config, training, serving, cluster, found.region)
    findings.of(lambda: check_cost(config, price))
    lines: list[str] = []
    if found.usages is not None:
        nodes = _job_nodes(config, draft.parameters)
        told = check_quota(config, found.usages, training, serving, cluster, nodes)
        findings.problems += told.problems
        findings.warnings += told.warnings
        lines = told.lines
    return draft.model_copy(update={"price": price, "quota": tuple(lines)})


def _offered(name: str, found: Found) -> ClusterSize | None:
    return next((s for s in found.sizes or () if s.name.lower() == name.lower()), None)


def _with_changes(draft: Draft, found: Found, findings: _Findings) -> Draft:
    past = found.past
    previous = None
    if past is not None:
        previous = f"job {past.job} of {past.finished:%Y-%m-%d %H:%M} UTC"
        draft = draft.model_copy(
            update={"previous": previous, "changes": diff_plans(past.plan, draft)}
        )
    # Without the look-up's answer "nothing changed" would be a guess: then its own problem stands.
    if past is not None or not found.problems:
        findings.of(lambda: check_pinned(draft.config, draft.changes, previous))
    return draft


def _data_warnings(data: DataSnapshot) -> list[str]:
    return [
        f"{file.rows_read - file.rows} of {file.rows_read} rows of {file.split} are left out: "
        + ", ".join(f"{count} with {reason}" for reason, count in file.dropped.items())
        + "."
        for file in split_files(data)
        if file.dropped
    ]


def split_files(data: DataSnapshot) -> list[SplitFile]:
    """The files of the data, each once."""
    return list({file.split: file for file in (data.train, data.test, data.sample)}.values())
