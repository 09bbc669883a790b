"""VM sizes: allowed by the model, offered by the region; letters' case is irrelevant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import SizeNotAllowed
from tasks.sizes import DENIED_SIZES, check_size, find_size
from tasks.values import ClusterSize

A100 = "Standard_NC24ads_A100_v4"
ALLOWED = (A100, "Standard_ND96asr_v4")
OFFERED = [
    ClusterSize(name="STANDARD_NC24ADS_A100_V4", gpus=1, vcpus=24, memory_gb=220),
    ClusterSize(name="Standard_NC48ads_A100_v4", gpus=2, vcpus=48, memory_gb=440),
    ClusterSize(name="Standard_DS3_v2", gpus=0, vcpus=4, memory_gb=14),
]


@given(st.sampled_from(ALLOWED), st.randoms())
def test_case_does_not_matter(name: str, random) -> None:  # type: ignore[no-untyped-def]
    spelt = "".join(random.choice((letter.lower(), letter.upper())) for letter in name)
    check_size(spelt, ALLOWED, "fine-tuning", "Phi-4")


def test_a_size_that_is_not_allowed_is_refused_with_the_list() -> None:
    with pytest.raises(SizeNotAllowed) as caught:
        check_size("Standard_ND40rs_v2", ALLOWED, "fine-tuning", "Phi-4")
    assert str(caught.value) == (
        "Standard_ND40rs_v2 is not allowed for fine-tuning Phi-4. "
        f"Allowed: {A100}, Standard_ND96asr_v4."
    )


def test_an_empty_list_allows_nothing_but_no_list_allows_what_is_not_denied() -> None:
    with pytest.raises(SizeNotAllowed):
        check_size(A100, (), "serving", "Phi-4")
    check_size(A100, None, "serving", "Phi-4")


@pytest.mark.parametrize("name", [*DENIED_SIZES, "standard_nc24R"])
def test_k80_sizes_are_denied_without_a_list(name: str) -> None:
    with pytest.raises(SizeNotAllowed, match="K80"):
        check_size(name, None, "fine-tuning", "Phi-4")


def test_an_offered_size_is_found_whatever_its_case() -> None:
    assert find_size(A100.lower(), OFFERED).gpus == 1


def test_a_size_that_is_not_offered_lists_what_is() -> None:
    with pytest.raises(SizeNotAllowed, match="Allowed and offered there: STANDARD_NC24ADS_A100"):
        find_size("Standard_ND96asr_v4", OFFERED, ALLOWED)
    with pytest.raises(SizeNotAllowed, match="another region"):
        find_size("Standard_ND96asr_v4", OFFERED, ("Standard_ND96asr_v4",))
    with pytest.raises(SizeNotAllowed, match=r"Nearest offered: .*NC48ads"):
        find_size("Standard_NC49ads_A100_v4", OFFERED)
