"""The report of one fine-tuning run: what was planned, done, measured, said and deleted."""

from pydantic import BaseModel, Field, computed_field

from tasks.links import endpoint_page, model_page, run_page
from tasks.metrics import first_and_last
from tasks.recording import Record
from tasks.values import (
    JobOutcome,
    JobRef,
    LiveEndpoint,
    Metrics,
    Plan,
    RegisteredModel,
    Reply,
)


class SplitRows(BaseModel):
    """What became of the rows of one split."""

    used: int
    read: int
    dropped: dict[str, int] = Field(default_factory=dict)


class MetricEnds(BaseModel):
    """First and last value of one metric's curve."""

    first: float
    last: float


class RunReport(Record):
    """Everything that one fine-tuning run did. Parts that it did not reach are empty."""

    rows: dict[str, SplitRows] = Field(default_factory=dict)
    plan: Plan | None = None
    job: JobRef | None = None
    outcome: JobOutcome | None = None
    metrics: Metrics | None = None
    losses: dict[str, MetricEnds] = Field(default_factory=dict)
    model: RegisteredModel | None = None
    endpoint: LiveEndpoint | None = None
    reply: Reply | None = None
    deleted: list[str] = Field(default_factory=list)
    kept: list[str] = Field(default_factory=list)

    @property
    def job_status(self) -> str | None:
        return self.outcome.status if self.outcome else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def links(self) -> dict[str, str]:
        """What can be opened, by what it shows; an endpoint that was deleted has no page."""
        studio = self.job.studio_url if self.job else None
        found: dict[str, str] = {}
        if studio:
            found["job"] = studio
        if studio and self.metrics and self.metrics.run_id:
            found["metrics of the training"] = run_page(studio, self.metrics.run_id)
        if studio and self.model:
            found["registered model"] = model_page(studio, self.model)
        if self.endpoint and not self.endpoint_is_deleted:
            if studio:
                found["endpoint"] = endpoint_page(studio, self.endpoint.endpoint)
            found["scoring address"] = self.endpoint.scoring_uri
        return found

    @property
    def endpoint_is_deleted(self) -> bool:
        return self.endpoint is not None and f"endpoint {self.endpoint.endpoint}" in self.deleted

    def add_plan(self, plan: Plan) -> None:
        """Keep the plan, and the rows of its data by split."""
        self.plan = plan
        for part in (plan.data.train, plan.data.test, plan.data.sample):
            self.rows[part.split] = SplitRows(
                used=part.rows, read=part.rows_read, dropped=part.dropped
            )

    def add_metrics(self, metrics: Metrics) -> None:
        """Keep the metrics, and the ends of the loss curves."""
        self.metrics = metrics
        for name in ("loss", "eval_loss"):
            if ends := first_and_last(metrics, name):
                self.losses[name] = MetricEnds(first=ends[0], last=ends[1])

    def summary(self) -> list[tuple[str, str]]:
        """What a person wants to know at the end, as (label, text)."""
        rows: list[tuple[str, str]] = [("status", self.status)]
        if self.error:
            rows.append(("error", self.error))
        if self.plan:
            rows.append(("model", f"{self.plan.model.name}, version {self.plan.model.version}"))
        for split, count in self.rows.items():
            dropped = f", dropped {count.read - count.used}" if count.read > count.used else ""
            rows.append((f"rows {split}", f"{count.used}{dropped}"))
        if self.job:
            adopted = ", adopted" if self.job.adopted else ""
            rows.append(("job", f"{self.job.name}, {self.job_status or 'not ended'}{adopted}"))
        for name, ends in self.losses.items():
            rows.append((name, f"{ends.first:.3f} -> {ends.last:.3f}"))
        if self.model:
            rows.append(("registered model", f"{self.model.name}, version {self.model.version}"))
        if self.endpoint:
            gone = ", deleted" if self.endpoint_is_deleted else ""
            rows.append(("endpoint", f"{self.endpoint.endpoint}{gone}"))
        if self.reply:
            rows.append(("reply", " ".join(self.reply.reply.split())[:300]))
        if self.deleted:
            rows.append(("deleted", ", ".join(self.deleted)))
        if self.kept:
            rows.append(("left running", ", ".join(self.kept)))
        return rows + self._price() + self.spent()

    def _price(self) -> list[tuple[str, str]]:
        price = self.plan.price if self.plan else None
        if price is None:
            return []
        if price.most is not None:
            return [("price", f"at most {price.most:,.2f} USD for VMs, by the plan's estimate")]
        why = f"no price for {' and '.join(price.unknown)}" if price.unknown else "no end is set"
        return [("price", f"no estimate: {why}")]

    def markdown(self) -> str:
        """The summary, and what can be opened."""
        parts = [super().markdown()]
        pages = [f"- [{what}]({address})" for what, address in self.links.items()]
        if self.metrics and self.metrics.tracking_uri:
            pages.append(f"- MLflow: run `{self.metrics.run_id}` at the address below")
        if pages:
            parts += ["**To open**", "\n".join(pages)]
        if self.metrics and self.metrics.tracking_uri:
            parts.append(f"```\n{self.metrics.tracking_uri}\n```")
        return "\n\n".join(parts)
