"""How far a training is, read from lines that real trainings have written."""

from tasks.following import how_far
from tasks.history import RunHistory, Step, _Tail
from tasks.progress import TrainingProgress, read_progress

LOCAL = """\
Model: 172,352 parameters, 17,408 of them are trained.
step 0  evaluation loss 4.700
step 10/40  epoch 0.50  loss 4.566  learning rate 3.5e-03  10,775 tokens/s  0:00:04 left
step 20/40  epoch 1.00  loss 4.263  learning rate 2.2e-03  11,653 tokens/s  0:00:02 left
step 20  evaluation loss 4.204
""".splitlines()

TRAINER_5 = """\
[transformers]   Num Epochs = 2
[transformers]   Total optimization steps = 16
  6%|▋         | 1/16 [00:00<00:06,  2.23it/s]
{'loss': '4.138', 'grad_norm': '1.978', 'learning_rate': '4.063e-05', 'epoch': '0.5', \
'num_input_tokens_seen': 256, 'train_runtime': '0.8441', 'train_tokens_per_second': '303.3'}
 50%|█████     | 8/16 [00:02<00:03,  2.44it/s][transformers]\x20
***** Running Evaluation *****
 50%|█████     | 1/2 [00:00<00:00, 199.20it/s]\x1b[A
100%|██████████| 2/2 [00:00<00:00, 199.20it/s]
{'eval_loss': '4.13', 'eval_runtime': '0.0172', 'epoch': '1', 'num_input_tokens_seen': 512}
""".splitlines()

TRAINER_4 = """\
Loading checkpoint shards: 100%|██████████| 2/2 [00:05<00:00,  2.71s/it]
Map: 100%|██████████| 1000/1000 [00:01<00:00, 812.29 examples/s]
100%|██████████| 900/900 [00:01<00:00, 812.29 examples/s]
  0%|          | 0/75 [00:00<?, ?it/s]
{'loss': 2.3175, 'grad_norm': 1.25, 'learning_rate': 1.6e-05, 'epoch': 0.48}
 16%|█▌        | 12/75 [01:00:10<5:00:50, 300.0s/it]
""".splitlines()


def test_a_local_training_tells_everything() -> None:
    seen = read_progress(LOCAL)
    assert seen.share == 0.5
    assert str(seen) == (
        "step 20 of 40, loss 4.26, evaluation loss 4.2, 11,653 tokens/s, 0:00:02 left"
    )


def test_the_trainer_of_version_5_writes_its_values_as_strings() -> None:
    seen = read_progress(TRAINER_5)
    assert (seen.step, seen.steps, seen.seconds_left) == (8, 16, 3)
    assert (seen.loss, seen.eval_loss, seen.epoch) == (4.138, 4.13, 1)
    assert seen.tokens_per_second == 256, "512 tokens in the 2 seconds of the bar"


def test_the_trainer_of_version_4_and_bars_of_other_work() -> None:
    seen = read_progress(TRAINER_4)
    assert str(seen) == "step 12 of 75, loss 2.32, 5:00:50 left"


def test_an_evaluation_before_the_training_gives_way_to_it() -> None:
    bars = ["100%|███| 9/9 [00:01<00:00, 9.0it/s]", "  1%|   | 1/75 [00:10<12:20, 10.0s/it]"]
    seen = read_progress(bars)
    assert (seen.step, seen.steps, seen.seconds_left) == (1, 75, 740)


def test_lines_come_in_pieces_and_may_say_nothing() -> None:
    whole = read_progress(LOCAL)
    known = None
    for line in LOCAL:
        known = read_progress([line, "", "ordinary words", "{'broken': nan}"], known)
    assert known == whole
    assert read_progress(["step by step", "12/75", "loss of 3 nodes"]) == TrainingProgress()
    assert str(TrainingProgress()) == ""
    assert TrainingProgress().share is None


def test_a_bar_is_read_before_its_line_has_ended() -> None:
    history = RunHistory(None, None)  # type: ignore[arg-type]
    history._tails["a log"] = _Tail(rest=b"  0%| | 0/9\r 50%| | 4/9 [00:01<00:02, 3.0it/s]\r")
    history._tails["b log"] = _Tail(rest=b"another one's")
    (bar,) = history.unfinished_lines(Step("a", "train", "Running"))
    assert read_progress([bar]).step == 4


def test_a_step_that_trains_counts_by_its_share() -> None:
    steps = [
        Step("a", "import", "Completed"),
        Step("b", "finetune", "Running"),
        Step("c", "convert", "NotStarted"),
        Step("d", "register", "NotStarted"),
    ]
    percent, text = how_far(steps, {"b": read_progress(LOCAL)})
    assert percent == 37.5
    assert text.startswith("1 of 4 steps done, finetune: step 20 of 40, ")
    assert how_far(steps, {}) == (25.0, "1 of 4 steps done, finetune")
    assert how_far([Step("job", "", "Running")], {"job": read_progress(LOCAL)})[0] == 50
    assert how_far([Step("job", "", "Running")], {}) == (0.0, "")
