"""Settings of the device: ranges."""

import pytest

from privbench.runtime.device import DeviceConfig
from privbench.runtime.validation import describe


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"threads": 0}, "device.threads=0 is out of range: choose a whole number from 1, or null"),
        ({"accelerator": "tpu"}, "device.accelerator=tpu is not known: choose from auto, cpu, gpu"),
        ({"progress": 1}, "device.progress=1 is not known: choose from true, false"),
    ],
)
def test_a_device_out_of_range_is_described_in_one_line(change, line):
    """Before any device is looked for."""
    with pytest.raises(ValueError, match="validation error") as caught:
        DeviceConfig(**change)
    assert describe(caught.value, "device") == line
