"""docs/conformance.md tells of every operation, and nothing that no test has shown."""

from tests.contract.page import PAGE, covered, page, registered, rows
from tests.contract.partly import PARTLY
from tests.contract.published import published_operations


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "make conformance writes it again"


def test_every_operation_is_on_it() -> None:
    listed = {row.name for row in rows()}
    assert listed >= {operation.name for operation in published_operations()}
    assert listed >= set(registered())
    text = PAGE.read_text()
    assert [name for name in sorted(listed) if f"| {name} |" not in text] == []


def test_what_works_was_done_by_a_test() -> None:
    tests = covered()
    for row in rows():
        assert (row.state == "works") <= (row.name in tests and row.name not in PARTLY)


def test_what_is_said_to_be_missing_is_about_what_is_there() -> None:
    assert set(PARTLY) <= {name for name, known in registered().items() if known.emulated}
