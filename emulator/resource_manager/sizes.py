"""The VM sizes that the local region offers: names, cores, GPUs and memory of the real ones."""

from typing import Any, NamedTuple


class Size(NamedTuple):
    name: str
    family: str
    vcpus: int
    gpus: int
    memory_gb: float


SIZES = (
    Size("Standard_DS1_v2", "standardDSv2Family", 1, 0, 3.5),
    Size("Standard_DS2_v2", "standardDSv2Family", 2, 0, 7),
    Size("Standard_DS11_v2", "standardDSv2Family", 2, 0, 14),
    Size("Standard_DS3_v2", "standardDSv2Family", 4, 0, 14),
    Size("Standard_DS12_v2", "standardDSv2Family", 4, 0, 28),
    Size("Standard_DS4_v2", "standardDSv2Family", 8, 0, 28),
    Size("Standard_DS13_v2", "standardDSv2Family", 8, 0, 56),
    Size("Standard_DS5_v2", "standardDSv2Family", 16, 0, 56),
    Size("Standard_DS14_v2", "standardDSv2Family", 16, 0, 112),
    Size("Standard_DS15_v2", "standardDSv2Family", 20, 0, 140),
    Size("Standard_D1_v2", "standardDv2Family", 1, 0, 3.5),
    Size("Standard_D2_v2", "standardDv2Family", 2, 0, 7),
    Size("Standard_D11_v2", "standardDv2Family", 2, 0, 14),
    Size("Standard_D12_v2", "standardDv2Family", 4, 0, 28),
    Size("Standard_D3_v2", "standardDv2Family", 4, 0, 14),
    Size("Standard_D4_v2", "standardDv2Family", 8, 0, 28),
    Size("Standard_D13_v2", "standardDv2Family", 8, 0, 56),
    Size("Standard_D5_v2", "standardDv2Family", 16, 0, 56),
    Size("Standard_D14_v2", "standardDv2Family", 16, 0, 112),
    Size("Standard_D15_v2", "standardDv2Family", 20, 0, 140),
    Size("Standard_F2s_v2", "standardFSv2Family", 2, 0, 4),
    Size("Standard_F4s_v2", "standardFSv2Family", 4, 0, 8),
    Size("Standard_F8s_v2", "standardFSv2Family", 8, 0, 16),
    Size("Standard_F16s_v2", "standardFSv2Family", 16, 0, 32),
    Size("Standard_F32s_v2", "standardFSv2Family", 32, 0, 64),
    Size("Standard_F64s_v2", "standardFSv2Family", 64, 0, 128),
    Size("Standard_F72s_v2", "standardFSv2Family", 72, 0, 144),
    Size("Standard_E2s_v3", "standardESv3Family", 2, 0, 16),
    Size("Standard_E4s_v3", "standardESv3Family", 4, 0, 32),
    Size("Standard_E8s_v3", "standardESv3Family", 8, 0, 64),
    Size("Standard_E16s_v3", "standardESv3Family", 16, 0, 128),
    Size("Standard_E32s_v3", "standardESv3Family", 32, 0, 256),
    Size("Standard_E64s_v3", "standardESv3Family", 64, 0, 432),
    Size("Standard_NC6", "standardNCFamily", 6, 1, 56),
    Size("Standard_NC12", "standardNCFamily", 12, 2, 112),
    Size("Standard_NC24", "standardNCFamily", 24, 4, 224),
    Size("Standard_NC4as_T4_v3", "standardNCASv3_T4Family", 4, 1, 28),
    Size("Standard_NC8as_T4_v3", "standardNCASv3_T4Family", 8, 1, 56),
    Size("Standard_NC16as_T4_v3", "standardNCASv3_T4Family", 16, 1, 110),
    Size("Standard_NC64as_T4_v3", "standardNCASv3_T4Family", 64, 4, 440),
    Size("Standard_NC6s_v3", "standardNCSv3Family", 6, 1, 112),
    Size("Standard_NC12s_v3", "standardNCSv3Family", 12, 2, 224),
    Size("Standard_NC24s_v3", "standardNCSv3Family", 24, 4, 448),
    Size("Standard_NC24rs_v3", "standardNCSv3Family", 24, 4, 448),
    Size("Standard_ND40rs_v2", "standardNDv2Family", 40, 8, 672),
    Size("Standard_NC24ads_A100_v4", "StandardNCADSA100v4Family", 24, 1, 220),
    Size("Standard_NC48ads_A100_v4", "StandardNCADSA100v4Family", 48, 2, 440),
    Size("Standard_NC96ads_A100_v4", "StandardNCADSA100v4Family", 96, 4, 880),
    Size("Standard_ND96asr_v4", "standardNDASv4_A100Family", 96, 8, 900),
    Size("Standard_ND96amsr_A100_v4", "standardNDAMSv4_A100Family", 96, 8, 1900),
    Size("Standard_NC40ads_H100_v5", "standardNCADSH100v5Family", 40, 1, 320),
    Size("Standard_NC80adis_H100_v5", "standardNCADSH100v5Family", 80, 2, 640),
    Size("Standard_ND96isr_H100_v5", "standardNDSH100v5Family", 96, 8, 1900),
    Size("Standard_D2s_v3", "standardDSv3Family", 2, 0, 8),
    Size("Standard_D4s_v3", "standardDSv3Family", 4, 0, 16),
    Size("Standard_D8s_v3", "standardDSv3Family", 8, 0, 32),
    Size("Standard_D16s_v3", "standardDSv3Family", 16, 0, 64),
    Size("Standard_D32s_v3", "standardDSv3Family", 32, 0, 128),
    Size("Standard_D2_v3", "standardDv3Family", 2, 0, 8),
    Size("Standard_D4_v3", "standardDv3Family", 4, 0, 16),
    Size("Standard_D8_v3", "standardDv3Family", 8, 0, 32),
    Size("Standard_D16_v3", "standardDv3Family", 16, 0, 64),
    Size("Standard_D32_v3", "standardDv3Family", 32, 0, 128),
    Size("Standard_D2as_v4", "standardDASv4Family", 2, 0, 8),
    Size("Standard_D4as_v4", "standardDASv4Family", 4, 0, 16),
    Size("Standard_D8as_v4", "standardDASv4Family", 8, 0, 32),
    Size("Standard_D16as_v4", "standardDASv4Family", 16, 0, 64),
    Size("Standard_D32as_v4", "standardDASv4Family", 32, 0, 128),
    Size("Standard_NV6", "standardNVFamily", 6, 1, 56),
    Size("Standard_NV12", "standardNVFamily", 12, 2, 112),
    Size("Standard_NV24", "standardNVFamily", 24, 4, 224),
)


def find_size(name: str) -> Size | None:
    return next((size for size in SIZES if size.name.lower() == name.lower()), None)


def describe(size: Size) -> dict[str, Any]:
    """A size as the service lists it. Memory in GB, disks in MB."""
    return {
        "name": size.name,
        "family": size.family,
        "vCPUs": size.vcpus,
        "gpus": size.gpus,
        "osVhdSizeMB": 1047552,
        "maxResourceVolumeMB": 65536 * max(1, size.vcpus // 4),
        "memoryGB": size.memory_gb,
        "lowPriorityCapable": True,
        "premiumIO": size.name.lower().endswith(("_v3", "_v4", "_v5", "s_v2")),
        "estimatedVMPrices": _prices(),
        "supportedComputeTypes": ["AmlCompute", "ComputeInstance", "ManagedOnlineEndpoint"],
    }


def _prices() -> dict[str, Any]:
    """What an hour costs here: nothing, on whatever terms."""
    return {
        "billingCurrency": "USD",
        "unitOfMeasure": "OneHour",
        "values": [
            {"retailPrice": 0.0, "osType": "Linux", "vmTier": tier}
            for tier in ("Standard", "LowPriority", "Spot")
        ],
    }
