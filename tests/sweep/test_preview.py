"""What a sweep would run: cells by attack, their times by the store, and what is trained."""

import json
import re

WORDS = ["-m", "attack=blind,rmle", "attack.steps=10,40", "defense.rate=0.1", "targets=5"]


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_preview_counts_cells_and_their_times_and_writes_nothing(privbench, warm):
    words = [*WORDS, f"output_dir={warm}", "sweep.report=false"]
    before = _files(warm)
    code, out, err = privbench(*words, "preview=true")
    assert code == 0, err
    assert _files(warm) == before
    assert out.startswith("cells: 3, with a record: 0\n")
    assert re.search(r"^rmle +2 +2 +unknown +unknown$", out, re.MULTILINE)
    assert "victims to train" not in out
    run_it = f"to run it: python -m privbench {' '.join(words)}"
    assert run_it in out and "preview=true" not in out


def test_times_are_those_of_the_store_by_the_work_of_the_attack(privbench, warm):
    """A cell with four times the steps takes four times as long."""
    ran = [*WORDS, f"output_dir={warm}", "sweep.report=false"]
    code, _, err = privbench(*[word.replace(",40", "").replace("blind,", "") for word in ran])
    assert code == 0, err
    (path,) = (warm / "store" / "records").glob("*/record.json")
    fields = json.loads(path.read_text())
    fields["seconds"] = {
        "victim": 500.0,
        "fit": 0.5,
        "reconstruct": 6.0,
        "score": 0.5,
        "total": 900.0,
    }
    path.write_text(json.dumps(fields))
    code, out, err = privbench(*ran, "preview=true")
    assert code == 0, err
    assert out.startswith("cells: 3, with a record: 1\n")
    assert re.search(r"^rmle +2 +1 +28 s +about 28 s$", out, re.MULTILINE), out
    assert re.search(r"^all +3 +2 +28 s +about 28 s, and 1 cells of which", out, re.MULTILINE), out


def test_a_preview_names_what_is_trained_and_what_is_refused(privbench, tmp_path):
    words = ["defense=noise_aware,dropout", "defense.rate=0.1,1.5", "attack=blind", "seed=0,1"]
    code, out, err = privbench("-m", *words, f"output_dir={tmp_path}", "preview=true")
    assert code == 1
    assert "victims to train first: lenet5 on digits (2)" in out
    assert "defenses to train, unless the store has them: 2" in out
    assert "rate=1.5 is out of range" in out, err
    assert not list(tmp_path.rglob("*.json*"))


def test_a_single_run_has_no_preview(privbench, tmp_path):
    code, _, err = privbench("preview=true", f"output_dir={tmp_path}")
    assert (code, "preview=true needs a sweep: type -m" in err) == (1, True)
