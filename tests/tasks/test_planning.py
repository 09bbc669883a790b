from tasks.planning import sample_markdown


def test_the_sample_shows_who_says_what_and_that_something_was_cut() -> None:
    turn = [
        {"role": "user", "content": "a | b\n\n# not a heading"},
        {"role": "assistant", "content": "word " * 100},
    ]
    text = sample_markdown([turn * 5, turn])
    assert "**Conversation 2**" in text
    assert "| user | a \\| b<br><br># not a heading |" in text
    assert text.count(" ... |") == 4 + 1
    assert text.count("|  | and 2 more |") == 1
    assert max(len(line) for part in text.splitlines() for line in part.split("<br>")) < 100
