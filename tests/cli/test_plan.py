from pathlib import Path

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.cli.plan_recipe import refused_of_layout, write_recipe
from pangu_alpha.config import load_config
from pangu_alpha.planner.hardware import load_hardware
from pangu_alpha.planner.job import Job
from pangu_alpha.planner.space import Layout

SMALL = ("plan", "2b6", "model.num_layers=8", "--batch-size", "32", "--devices", "8")


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def test_an_explained_layout_need_not_go_with_the_recipes_own(capsys: pytest.CaptureFixture[str]) -> None:
    """32 samples are no multiple of the recipe's dp, 64."""
    own = ("plan", "2b6", "model.num_layers=8", "train.batch_size=32")
    for batch in ([], ["--batch-size", "16"], ["--tokens-per-step", "16384"]):
        text = output(capsys, *own, "--explain", "dp=8,mp=1,pp=1", *batch)
        assert text.startswith("16 samples" if batch else "32 samples")


def test_the_best_layouts_are_shown_with_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, *SMALL, "--best", "3")
    assert "32 samples of 1024 tokens a step = 32.8k tokens; " in text and "\n8 × Ascend 910A, 30.0 GiB of each" in text
    lines = text.splitlines()
    header = next(number for number, line in enumerate(lines) if "tokens/s" in line)
    assert [line.split()[0] for line in lines[header + 1 : header + 4]] == ["1", "2", "3"]
    for words in ("waiting in the pipeline", "Adam moments", "less memory for more time", "do not fit in 30.00 GiB"):
        assert words in text


def test_the_recipes_own_layout_stands_beside_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "plan", "2b6", "model.num_layers=8", "parallel.dp=8", "parallel.mp=1", "train.batch_size=64")
    assert "= the recipe's own layout: " in text


def test_a_layout_is_explained_operator_by_operator(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, *SMALL, "--explain", "dp=2,mp=2,pp=2,micro=4,chunks=2,remat=none,seq=true")
    for words in ("layer.attention.scores", "token_loss.exp", "layer, collectives", "one change at a time"):
        assert words in text
    assert "dp" in text and " 2    2    2      4      2         none  yes" in text


def test_the_words_of_the_table_are_those_of_an_explanation(capsys: pytest.CaptureFixture[str]) -> None:
    layout = "dp=2,mp=1,pp=4,micro=16,remat=whole:2"
    text = output(capsys, *SMALL, "--explain", layout)
    assert " 2    1    4     16      1      whole:2   no" in text
    of_stages = (*SMALL, "parallel.pp=4", "parallel.rematerialised_stages=2", "train.num_micro_batches=16")
    assert "     none   no" in output(capsys, *of_stages, "--explain", "dp=2,mp=1,remat=none")
    interleaved = (*SMALL, "parallel.pp=4", "parallel.schedule=interleaved", "parallel.num_chunks=2")
    assert " 8    1    1      1      1 " in output(capsys, *interleaved, "--explain", "dp=8,mp=1,pp=1,micro=1")


def test_a_change_that_may_not_be_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    layout = (*SMALL, "model.dropout=0.3", "--explain", "dp=4,mp=1,pp=2,micro=4,remat=none")

    def rows(*words: str) -> list[str]:
        return output(capsys, *layout, *words).partition("one change at a time")[2].splitlines()[2:]

    assert len(rows("--best", "1")) == 1 < len(rows())
    assert len(rows("--verified")) < len(rows())
    assert "no single change gives a layout that fits" in output(capsys, *layout, "--memory", "1")


def test_layouts_of_a_class_that_is_not_executed_are_named_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, *SMALL, "model.dropout=0.3", "--best", "1000")
    (line,) = [line for line in text.splitlines() if "`pangu verify` executes none of the class of " in line]
    shown = [line for line in text.splitlines() if " stage " in line and line[:3].strip().isdigit()]
    named = line.partition("class of ")[2].partition(";")[0].split(", ")
    verified = output(capsys, *SMALL, "model.dropout=0.3", "--best", "1000", "--verified")
    assert "are of a class that `pangu verify` does not execute" in verified
    assert "`pangu verify` executes a layout of the class of each" in verified
    rest = [line for line in verified.splitlines() if " stage " in line and line[:3].strip().isdigit()]
    assert 0 < len(rest) == len(shown) - len(named)


def test_what_is_written_is_a_recipe_with_the_best_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    text = output(capsys, *SMALL, "--write", str(path))
    written = load_config(path)
    assert written.parallel.num_devices == 8 and written.train.batch_size == 32
    best = next(line for line in text.splitlines() if line.startswith("  1 ")).split()
    parallel = written.parallel
    assert best[1:5] == [str(n) for n in (parallel.dp, parallel.mp, parallel.pp, written.train.num_micro_batches)]
    recipe = load_config("2b6", ["model.num_layers=8"])
    assert written.model == recipe.model and written.optimizer == recipe.optimizer
    assert main([*SMALL, "--write", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    dangling = tmp_path / "link.yaml"
    dangling.symlink_to(tmp_path / "nothing")
    assert main([*SMALL, "--write", str(dangling)]) == 2
    assert "is there already" in capsys.readouterr().err and dangling.is_symlink()


def test_a_recipe_for_another_batch_reads_as_many_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped one for 1,536 samples is what is written, from its own layout."""
    shipped, path = load_config("200b_2048_fast_1536"), tmp_path / "my recipe.yaml"
    layout = "dp=32,mp=4,micro=48,chunks=4,remat=whole,seq=yes"
    words = ("plan", "200b_2048_fast", "--batch-size", "1536", "--explain", layout, "--write", str(path))
    text = output(capsys, *words)
    assert "21,667 steps = 34.1G tokens" in text and f"`pangu compile '{path}'`" in text
    assert "its 21,667 steps read as many tokens as 200b_2048_fast's 130,000" in text
    written = load_config(path)
    assert written.model_copy(update={"output": shipped.output}) == shipped


def test_a_short_training_keeps_a_decay_that_is_longer_than_its_warm_up(tmp_path: Path) -> None:
    settings = ["train.steps=4", "schedule.warmup_steps=1", "schedule.decay_steps=2", "train.batch_size=64"]
    recipe, path, chip = load_config("2b6", settings), tmp_path / "mine.yaml", load_hardware("910a")
    best = Layout(dp=8, mp=1, pp=1).config(recipe, 256)
    write_recipe("2b6", Job(recipe, 8, chip, chip.memory_bytes, 256, num_tokens=4 * 64 * 1024), best, path)
    written = load_config(path)
    assert (written.train.steps, written.schedule.warmup_steps, written.schedule.decay_steps) == (1, 1, 2)


def test_what_a_training_refuses_of_the_layout_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A CPU trains no pipeline; data.train, which the recipe lacks too, is no matter of the layout."""
    recipe, path = load_config("2b6", ["model.num_layers=8", "device=cpu", "parallel.mp=1"]), tmp_path / "mine.yaml"
    best = Layout(dp=1, mp=1, pp=2, num_micro_batches=8, num_chunks=2, rematerialisation="whole").config(recipe, 8)
    chip = load_hardware("910a")
    tokens = recipe.train.steps * 8 * 1024
    write_recipe("2b6", Job(recipe, 2, chip, chip.memory_bytes, 8, tokens), best, path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pangu: {path}: a training refuses it: parallel.mp=1 and parallel.pp=2: MindSpore splits")
    assert load_config(path) == best
    on_ascend = {"device": "ascend"}
    assert refused_of_layout(recipe.model_copy(update=on_ascend), best.model_copy(update=on_ascend)) == []


def test_the_pipeline_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "step.svg"
    layout = "dp=2,mp=2,pp=2,micro=4,chunks=2,remat=none"
    text = output(capsys, *SMALL, "--explain", layout, "--output", str(path))
    assert f"picture in {path}" in text
    assert "4 micro-batches on 2 stages of Ascend 910A" in path.read_text(encoding="utf-8")


def test_what_has_no_pipeline_is_written_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn, written = tmp_path / "step.svg", tmp_path / "mine.yaml"
    words = ("--explain", "dp=8,mp=1,pp=1,micro=1", "--output", str(drawn), "--write", str(written))
    assert main([*SMALL, *words]) == 0
    assert "one stage, and no pipeline to draw" in capsys.readouterr().err
    assert written.exists() and not drawn.exists()


def test_pictures_of_the_step_its_memory_and_all_meshes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pictures" / "of_it"
    text = output(capsys, *SMALL, "--pictures", str(folder))
    assert text.endswith(f"pictures in {folder}: step.svg, memory.svg, map.svg\n")
    assert sorted(path.name for path in folder.iterdir()) == ["map.svg", "memory.svg", "step.svg"]
    layout = ("--explain", "dp=8,mp=1,pp=1,micro=1", "--pictures", str(folder / "map.svg"))
    assert main([*SMALL, *layout]) == 2
    assert "map.svg: the directory cannot be made" in capsys.readouterr().err


def test_other_numbers_of_devices_and_other_chips(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, *SMALL, "--sensitivity", "--scaling", "--what-if")
    assert "the winner if the chip were another" in text and " C+ " in text and " O- " in text
    assert "       4 devices: " in text and ", 100% of" in text
    assert "16 devices: " in text and "% of the first's" in text
    for words in ("as it is", "half the devices", "twice the batch", "links half as fast"):
        assert f" {words} " in text


def test_days_tokens_and_dollars(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("plan", "2b6", "model.num_layers=8", "--tokens-per-step", "1048576", "--days", "5", "--price", "1.5")
    text = output(capsys, *words)
    header, best = text.splitlines()[4:6]
    assert header.split()[-2:] == ["days", "dollars"] and float(best.split()[-2]) <= 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "0"], "--devices 0: give a number from 1 to 16,384"),
        (["--devices", "99999"], "--devices 99999: give a number from 1 to 16,384"),
        (["--batch-size", "0"], "--batch-size 0: give a number"),
        (["--batch-size", "65537"], "--batch-size 65537: give a number from 1 to 65,536"),
        (["--tokens-per-step", "1000"], "--tokens-per-step 1000 ÷ model.seq_length(1024) is not a whole number"),
        (["--days", "3", "--explain", "dp=2"], "leave one of them out"),
        (["--days", "0"], "--days 0: give a number above 0"),
        (["--price", "inf"], "--price inf: give a number above 0"),
        (["--days", "0.01"], "--days 0.01: no number of devices up to 16,384"),
        (["--memory", "lots"], "--memory lots: give 2³⁰ bytes"),
        (["--memory", "0"], "--memory 0: give 2³⁰ bytes"),
        (["--best", "0"], "--best 0: give a number from 1 to 1,000"),
        (["--hardware", "a101"], "no chip 'a101': did you mean a100?"),
        (["--explain", "dp=2,xx=3"], "'xx=3' is none of dp=, mp="),
        (["--explain", ""], "'' is none of dp=, mp="),
        (["--explain", "dp=,mp=8"], "'dp=' has no value, as in dp=2"),
        (["--explain", "dp=8,mp=8,pp=1,dp=4"], "dp is there twice"),
        (["--explain", "dp=x"], "--explain dp=x:\n  parallel.dp"),
        (["--output", "step.pdf"], "--output step.pdf: pictures are .svg or .png"),
        (["--output", "no/such/step.svg"], "--output no/such/step.svg: there is no directory no/such"),
        (["--write", "no/such/my.yaml"], "--write no/such/my.yaml: there is no directory no/such"),
        (["--explain", "dp=3,mp=1,pp=1"], "is not whole"),
        (["--explain", "dp=2,mp=1,pp=4,micro=2"], "num_micro_batches(2) < pp(4)"),
        (["--explain", "dp=2,mp=1,pp=1", "--devices", "8"], "= 2 ≠ devices(8)"),
        (["--devices", "8", "--memory", "0.5"], "no layout on 8 devices"),
        (["model.compute_dtype=bfloat16"], "has no products of bfloat16"),
        (
            ["model.compute_dtype=bfloat16", "--hardware", "910b", "--devices", "8", "--verified"],
            "leave --verified out",
        ),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "2b6", "model.num_layers=8", *words]) == 2
    assert message in capsys.readouterr().err
