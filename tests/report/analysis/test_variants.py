"""Defenses that differ in another option than their strength; cells that are the same setting."""

import dataclasses

from privbench.report.analysis.operating_points import operating_points
from privbench.report.analysis.tradeoffs import panels
from privbench.report.analysis.variants import with_distinct_defenses
from privbench.store.group_keys import group_key
from privbench.store.recipes import FILES
from privbench.store.record_frame import newest
from tests.records import record


def defended(strength: float, ssim: float = 0.5, **options):
    """A record of a defense with these options."""
    one = record("dp_gaussian", strength, ssim=ssim, key=f"{strength} {options}")
    one.config["defense"] = {"_target_": "d", "site": "features", **options}
    return one


def test_a_training_of_two_kinds_makes_two_defenses():
    """Each has its own worst case, and strengths of its own."""
    records = [
        defended(1 / epsilon, ssim, epsilon=epsilon, train=train)
        for train, ssim in (("none", 0.2), ("both", 0.6))
        for epsilon in (2.0, 4.0)
    ]
    found = with_distinct_defenses(records)
    assert [one.defense for one in found] == ["dp_gaussian train none"] * 2 + [
        "dp_gaussian train both"
    ] * 2
    (panel,) = panels([record("none", 0.0), *found])
    points = [one for one in operating_points(panel, "ssim") if one.worst.strength]
    assert {(one.defense, round(one.worst.score("ssim"), 3)) for one in points} == {
        ("dp_gaussian train none", 0.2),
        ("dp_gaussian train both", 0.6),
    }
    assert len(points) == 4


def test_options_that_only_give_the_strength_distinguish_nothing():
    """Nor does one that an earlier record does not have, nor seeds, nor the undefended cell."""
    records = [defended(1 / levels, levels=levels, low=None) for levels in (2, 4, 16)]
    records += [record("none", 0.0), record("none", 0.0, seed=1)]
    del records[0].config["defense"]["low"]
    assert [one.defense for one in with_distinct_defenses(records)] == ["dp_gaussian"] * 3 + [
        "none"
    ] * 2


def test_a_number_at_one_strength_distinguishes():
    """Two clippings at one strength are two defenses."""
    found = with_distinct_defenses([defended(0.5, clip=clip) for clip in (1.0, 2.0)])
    assert [one.defense for one in found] == ["dp_gaussian clip 1.0", "dp_gaussian clip 2.0"]


def of_pictures(seed: int, root: str, stamp: str, **others):
    """A record of a folder of pictures."""
    one = record(seed=seed, key=f"{root}{seed}{others}", **others)
    one.config["dataset"]["root"] = root
    return dataclasses.replace(one, sources={FILES: stamp})


def test_the_same_pictures_elsewhere_are_the_same_setting():
    """Another machine's folder, or another spelling of it; other pictures are another setting."""
    records = [of_pictures(seed, f"/{seed}/photos", "a") for seed in range(3)]
    assert len({group_key(one) for one in records}) == 1
    assert len(panels(records)) == 1
    rival = of_pictures(0, "/elsewhere", "a", targets=7)
    assert not any("root" in panel.title for panel in panels([*records, rival]))
    assert len(newest([*records, of_pictures(0, "photos", "a")])) == 3
    other = of_pictures(0, "/other", "b")
    titles = sorted(panel.title for panel in panels([*records, other]))
    assert len(titles) == 2 and "root /other" in " ".join(titles)
    assert len(newest([*records, other])) == 4
    changed = of_pictures(0, "/0/photos", "b")
    assert len({panel.title for panel in panels([records[0], changed])}) == 2


def test_a_folder_identifies_images_where_nothing_else_does():
    """Those of a data set of one's own, in records of an earlier version."""
    records = [of_pictures(0, root, "") for root in ("/v1", "/v2")]
    assert len(newest(records)) == 2
    hashed = [dataclasses.replace(one, sources={"data.test": "a"}) for one in records]
    assert len(newest(hashed)) == 1


def test_a_typed_number_of_threads_is_part_of_a_cell():
    """It trains another victim, which stands beside the first."""
    records = [of_pictures(0, root, "a") for root in ("a", "b")]
    assert len(newest(records)) == 1
    for number, one in enumerate(records):
        one.config["device"] = {"threads": number or None}
    assert len(newest(records)) == 2
