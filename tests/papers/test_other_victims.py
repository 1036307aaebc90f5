"""Accuracies of victims of another recipe or of other data than most."""

from privbench.papers.he2020.other_victims import accuracies
from tests.records import record, with_victim


def trained(seed: int, accuracy: float, strength: float = 1.0, *, images: int = 10_000, **others):
    """A record of a victim beside whose images the adversary holds so many."""
    defense = "gaussian" if strength else "none"
    one = record(defense, strength, "input", seed=seed, accuracy=accuracy,
                 key=f"{seed} {accuracy} {strength} {images}", **{"attack": "blind"} | others)  # fmt: skip
    one.config["dataset"] |= {"aux_images": images, "root": f"/{seed}"}
    return one


def test_victims_of_one_recipe_and_one_data_set_are_no_row():
    """Nor is a defense whose accuracy is not published."""
    usual = [trained(seed, 0.8) for seed in range(3)]
    assert accuracies(usual) == ([HEAD], [])
    assert accuracies([*usual, trained(3, 0.8, 1.23, images=1000)]) == ([HEAD], [])


def test_other_images_of_the_victim_stand_next_to_the_published_accuracy_and_the_usual_one():
    """Means over victims, whichever attack met them; targets sent several times count not."""
    attack = {"attack": "rmle_paper"}
    records = [trained(0, 0.7), trained(1, 0.8, **attack)]
    records += [trained(5, 0.9, images=1000, **attack)]
    records += [trained(6, 0.1, images=1000, transmissions=16)]
    rows, used = accuracies(records)
    (found,) = [row for row in rows[1:] if row[0] == "fig9"]
    usual = "0.750 (seeds 0, 1)"
    assert found == [
        *("fig9", "mnist relu2, gaussian 1 on input", "dataset.aux_images=1000"),
        *("0.831", usual, "0.900 (seed 5)"),
    ]
    assert {one.key for one in used} == {one.key for one in records[:3]}


def test_without_a_defense_there_is_one_row_a_figure():
    """Its six curves share the point; without a usual victim there is a dash."""
    records = [trained(seed, 0.8) for seed in range(3)]
    records += [trained(seed, 0.99, 0.0, images=1000) for seed in (0, 1)]
    (found,) = [row for row in accuracies(records)[0] if row[0] == "fig9"]
    assert found[1:] == [
        "mnist relu2, no defense", "dataset.aux_images=1000", "0.991", "-", "0.990 (seeds 0, 1)",
    ]  # fmt: skip


def test_the_curves_of_figure_10_publish_several_accuracies_without_a_defense():
    """Of one setting the first stands there."""
    records = [
        record("none", 0.0, seed=seed, dataset="cifar10", split="relu22", key=f"{images} {seed}")
        for images in (10_000, 1000)
        for seed in (0, 1)
    ]
    for one in records:
        one.config["dataset"]["aux_images"] = int(one.key.split()[0])
    (found,) = [row[:4] for row in accuracies(records[:3])[0][1:]]
    setting = "cifar10 relu22, no defense"
    assert found == ["fig10", setting, "dataset.aux_images=1000", "0.872"]


def test_both_sides_have_the_same_seeds():
    """Of the usual victims those that have a counterpart; an accuracy of more draws counts."""
    records = [trained(seed, 0.7 + 0.1 * seed) for seed in range(3)]
    records += [trained(1, 0.5, images=1000), trained(1, 0.6, images=1000)]
    records[-1].config["accuracy_draws"] = 3
    records[-2].config["accuracy_draws"] = 1
    for order in (records, records[::-1]):
        (found,) = [row for row in accuracies(order)[0] if row[0] == "fig9"]
        assert found[-2:] == ["0.800 (seed 1)", "0.600 (seed 1)"]


def test_each_victim_of_a_seed_counts():
    """Two machines trained seed 0 to other weights."""
    records = [trained(seed, 0.8) for seed in range(3)]
    records += [
        with_victim(trained(0, at, images=1000), sha) for at, sha in ((0.5, "a"), (0.7, "b"))
    ]
    (found,) = [row for row in accuracies(records)[0] if row[0] == "fig9"]
    assert found[-1] == "0.600 (seed 0)"


HEAD = ["where", "setting", "departure", "published", "usual victim", "this one"]
