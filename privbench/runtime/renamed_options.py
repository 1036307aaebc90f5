"""Options that have a new name, by their full dotted names."""

ADDED_OPTIONS = {"attack.search": "'+attack.search.FIELD=[LOW,HIGH,log]'"}
"""Options that no yaml has, with the words that add them."""
RENAMED_OPTIONS = {
    "attack.eps": "attack.adam_eps",
    "attack.inner.eps": "attack.inner.adam_eps",
    "attack.inner.resolution": "attack.inner.noise_variance",
    "attack.inner.resolution_last": "attack.inner.noise_variance_last",
    "attack.inner.start": "attack.inner.init",
    "attack.inverter.eps": "attack.inverter.adam_eps",
    "attack.inverter.resolution": "attack.inverter.noise_variance",
    "attack.inverter.resolution_last": "attack.inverter.noise_variance_last",
    "attack.inverter.start": "attack.inverter.init",
    "attack.resolution": "attack.noise_variance",
    "attack.resolution_last": "attack.noise_variance_last",
    "attack.settings": "attack.trials",
    "attack.start": "attack.init",
    "attack.teacher": "attack.supervision",
    "trainer": "device",
    "trainer.accelerator": "device.accelerator",
    "trainer.progress": "device.progress",
    "trainer.threads": "device.threads",
    "victim.least_steps": "victim.min_steps",
    "workers.at_once": "workers.max_parallel",
}
"""The present name of each option by its former one."""
