"""Whether enough cores are free for training and serving at once."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.config import FinetuneConfig
from tasks.errors import QuotaExceeded, UserError
from tasks.values import Cluster, ClusterSize, Usage

_DEDICATED_TOTAL = "totalclusterdedicatedregionalvcpus"
_LOW_PRIORITY_TOTAL = "totalclusterlowpriorityregionalvcpus"
_SUFFIX = re.compile(r"(cluster)?(dedicated)?(vcpus?|cores)$")


@dataclass
class QuotaFindings:
    """What the check says: problems stop the plan, warnings and lines only inform."""

    problems: list[UserError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Need:
    """vCPUs that one use takes beyond what is in use now."""

    size: ClusterSize
    count: int
    use: str
    perhaps_counted: int = 0
    """vCPUs of these nodes that the region may count as used although they are not allocated."""
    reserve: int = 0
    """vCPUs that Azure may set aside on top."""

    @property
    def vcpus(self) -> int:
        return self.count * self.size.vcpus

    def __str__(self) -> str:
        return f"{self.use} {self.vcpus} ({self.count} x {self.size.name})"


def check_quota(
    config: FinetuneConfig,
    usages: Sequence[Usage],
    cluster_size: ClusterSize,
    serving_size: ClusterSize,
    cluster: Cluster | None,
    job_nodes: int = 1,
) -> QuotaFindings:
    """Compare what the run needs with what `usages`, the region's answer, leaves free.

    A cluster that has to be created needs all its nodes, one that exists only the job's nodes that
    are not allocated yet. The cluster's nodes are idle, not gone, while the endpoint is made: so
    both needs are added up. Where the answer does not decide it, a warning says so.
    """
    serving = _serving(config.serving.instances, serving_size)
    training = _training(config, cluster_size, cluster, job_nodes)
    findings = QuotaFindings()
    if cluster is not None and cluster.low_priority:
        _check_low_priority(usages, training, findings)
        _check_dedicated(usages, [serving], findings)
        return findings
    alone, low = QuotaFindings(), QuotaFindings()
    _check_dedicated(usages, [training], alone)
    if alone.problems and cluster is None and cluster_size.low_priority:
        _check_low_priority(usages, training, low)
        if not low.problems:
            low.warnings.insert(
                0,
                f"{alone.problems[0].message} The cluster will be made of low-priority nodes, "
                "which Azure may take away while the job runs.",
            )
            _check_dedicated(usages, [serving], low)
            return low
    _check_dedicated(usages, [training, serving], findings)
    if low.problems:
        first = findings.problems[0]
        findings.problems[0] = QuotaExceeded(
            f"{first.message} Low-priority nodes are no way out: {low.problems[0].message}",
            first.advice,
        )
    return findings


def _training(
    config: FinetuneConfig, size: ClusterSize, cluster: Cluster | None, job_nodes: int
) -> _Need:
    if cluster is None:
        return _Need(size, config.compute.max_nodes, "training")
    # Azure's documentation counts nodes that are not allocated, its answers have been seen not to.
    perhaps = (cluster.max_nodes - cluster.nodes) * size.vcpus
    return _Need(size, max(0, job_nodes - cluster.nodes), "training", perhaps_counted=perhaps)


def _serving(instances: int, size: ClusterSize) -> _Need:
    # For upgrades Azure sets aside a fifth more, rounded up, with some sizes and not with others.
    spare = math.ceil(1.2 * instances) - instances
    return _Need(size, instances, "serving", reserve=spare * size.vcpus)


def _check_dedicated(
    usages: Sequence[Usage], needs: Sequence[_Need], findings: QuotaFindings
) -> None:
    families: dict[str, list[_Need]] = {}
    for need in needs:
        families.setdefault(need.size.family.lower(), []).append(need)
    for family, members in families.items():
        usage = _family_usage(usages, family)
        if usage is None:
            sizes = " and ".join(dict.fromkeys(need.size.name for need in members))
            told = f" {members[0].size.family}" if family else ""
            findings.warnings.append(
                f"Whether the quota suffices for {sizes} cannot be told: the region lists no usage "
                f"for its family{told}."
            )
        else:
            _compare(usage, usage.name, members, findings)
    total = _named(usages, _DEDICATED_TOTAL)
    if total is not None:
        _compare(total, "all dedicated cores of the region", needs, findings)


def _check_low_priority(usages: Sequence[Usage], need: _Need, findings: QuotaFindings) -> None:
    usage = _named(usages, _LOW_PRIORITY_TOTAL)
    if usage is None:
        findings.warnings.append(
            "Whether the low-priority quota suffices cannot be told: the region does not list it."
        )
    else:
        _compare(usage, "low-priority cores of the region", [need], findings)


def _compare(usage: Usage, name: str, needs: Sequence[_Need], findings: QuotaFindings) -> None:
    needed, free = sum(need.vcpus for need in needs), max(0, usage.limit - usage.used)
    parts = " and ".join(str(need) for need in needs)
    findings.lines.append(f"{needed} of {free} free vCPUs of {name}")
    counted = sum(need.perhaps_counted for need in needs)
    reserve = sum(need.reserve for need in needs)
    if needed > free + (min(counted, usage.used) if counted else 0):
        findings.problems.append(
            QuotaExceeded(
                f"The quota of {name} is too small: {needed} vCPUs are needed at once for {parts}, "
                f"and {free} of {usage.limit} are free.",
                "Ask for more in the Azure portal (Quotas, Machine Learning), lower "
                "compute.max_nodes, or choose other sizes or another region.",
            )
        )
    elif needed > free:
        findings.warnings.append(
            f"{needed} vCPUs of {name} are needed for {parts}, and {free} of {usage.limit} are "
            "free: it cannot be told whether the cluster's idle nodes are counted as used. If "
            "not, the job waits until cores are free."
        )
    elif reserve and needed + reserve > free:
        findings.warnings.append(
            f"{free} vCPUs of {name} are free and {needed} are needed; for some sizes Azure sets "
            f"{reserve} more aside for upgrades of an endpoint, and would then refuse it."
        )


def _family_usage(usages: Sequence[Usage], family: str) -> Usage | None:
    wanted = _plain(family)
    return next((u for u in usages if wanted and _plain(u.name) == wanted and u.limit >= 0), None)


def _named(usages: Sequence[Usage], name: str) -> Usage | None:
    return next(
        (u for u in usages if re.sub(r"[\W_]", "", u.name.lower()) == name and u.limit >= 0), None
    )


def _plain(name: str) -> str:
    """A family's name in its two spellings, "standardDSv2Family" and "Standard DSv2 Family ...".

    Letters and digits in lower case, without the words that follow the family in a usage.
    """
    return _SUFFIX.sub("", re.sub(r"[\W_]", "", name.lower()))
