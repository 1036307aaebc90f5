"""Options of the config groups read without Hydra."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from privbench.runtime.conf_files import load_option
from privbench.runtime.paths import register_hydra_plugins
from tests.support import ROOT, options


@pytest.mark.parametrize(
    ("group", "name"), [(g, n) for g in ("attack", "defense") for n in options(g)]
)
def test_an_option_is_what_hydra_composes(group, name):
    register_hydra_plugins()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = OmegaConf.to_container(compose("config", overrides=[f"{group}={name}"])[group])
    assert load_option(group, name) == composed
