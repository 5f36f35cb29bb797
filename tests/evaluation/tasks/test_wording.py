from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.evaluation.conftest import GUXIANG, KONGYIJI

from pangu_alpha.errors import ConfigError, DataError
from pangu_alpha.evaluation.tasks.catalogue import TASKS
from pangu_alpha.evaluation.tasks.measure import make_plans
from pangu_alpha.evaluation.tasks.task import Item, with_setting
from pangu_alpha.evaluation.tasks.wording import ask, example, first_scored
from pangu_alpha.tokenizer import Tokenizer

C3_ITEM = Item("1", {"passage": "男：" + "走" * 90, "question": "去哪里？"}, ("桥头", "山上"), 1)


def cuts(text: str, number: int) -> list[int]:
    return sorted(random.Random(5).sample(range(1, len(text)), number))


def test_a_token_across_a_random_cut_is_scored_and_none_before_it(released: Tokenizer) -> None:
    # The released tokenizer normalises and takes words from their surroundings: a third of the cuts move its tokens.
    text = GUXIANG + KONGYIJI
    ids = released.encode(text)
    num_unstable = 0
    for cut in cuts(text, 120):
        before = released.encode(text[:cut])
        start = first_scored(ids, text[:cut], released)
        num_characters = len(released.decode(before))
        assert len(released.decode(ids[:start])) <= num_characters
        assert len(released.decode(ids[: start + 2])) > num_characters  # a piece may be the space before a word
        num_unstable += ids[: len(before)] != before
    assert 12 <= num_unstable <= 60


def test_characters_of_several_tokens_are_not_torn(pieces: Tokenizer) -> None:
    text = "𠮷野家在桥头，龘字很难写。🐯老虎在山上"
    ids = pieces.encode(text)
    assert len(ids) > len(text)  # rare characters are three or four bytes
    for cut in range(len(text)):
        start = first_scored(ids, text[:cut], pieces)
        assert pieces.decode(ids[:start]) in (text[:cut], text[: cut - 1], text[: cut - 2], text[: cut - 3])
        assert len(pieces.decode(ids[: start + 4]).rstrip("\ufffd")) > cut


class Joining(Tokenizer):
    """Joins the last two letters of abc when nothing follows, and has a tiger in four bytes."""

    def __init__(self) -> None:
        self.parts = [b"a", b"bc", b"ab", b"c", *(bytes([byte]) for byte in "🐯".encode())]

    def encode(self, text: str) -> list[int]:
        return {"abc": [0, 1], "abc🐯": [2, 3, 4, 5, 6, 7]}[text]

    def decode(self, ids: Iterable[int]) -> str:
        return b"".join(self.parts[id_] for id_ in ids).decode(errors="replace")

    def _join(self, ids: list[int]) -> str:
        return self.decode(ids)


def test_a_character_of_bytes_is_scored_from_its_first_byte() -> None:
    tokenizer = Joining()
    assert first_scored(tokenizer.encode("abc🐯"), "abc", tokenizer) == 2


def test_candidates_with_one_context_are_scored_from_one_token(pieces: Tokenizer) -> None:
    task = with_setting(with_setting(TASKS["chid"], "context", "{left}"), "scored", "{choice}{right}")
    text = "老虎看见了河边的石头，它高兴地跳了起来。"
    for cut in range(1, 12):
        item = Item("1", {"left": text[:cut], "right": "。"}, ("在", "一日千里", text[cut : cut + 4]), 2)
        candidates = ask(task, item, [], pieces, 512).candidates
        (start,) = {candidate.start for candidate in candidates}
        assert len({candidate.ids[:start] for candidate in candidates}) == 1
        for candidate in candidates:
            assert len(pieces.decode(candidate.ids[:start])) <= cut


def test_what_is_scored_is_the_text_after_the_label(data_sets: Path, pieces: Tokenizer) -> None:
    (plan,) = make_plans(TASKS["tnews"], data_sets, ["few"], 1, 1, None)
    for item in plan.items:
        for candidate in ask(plan.task, item, plan.examples[""], pieces, 4096).candidates:
            assert pieces.decode(candidate.ids[candidate.start :]) == item.fields["passage"]


def test_examples_go_before_the_text_is_cut(pieces: Tokenizer) -> None:
    task = TASKS["c3"]
    examples = [example(task, C3_ITEM)] * 3
    length = len(ask(task, C3_ITEM, [], pieces, 4096).candidates[0].ids)
    assert ask(task, C3_ITEM, examples, pieces, 4 * length + 8).num_shots == 3
    assert (found := ask(task, C3_ITEM, examples, pieces, 2 * length + 4)).num_shots == 1
    assert found.limit is None
    found = ask(task, C3_ITEM, examples, pieces, length - 5)
    assert found.num_shots == 0
    assert found.limit is not None
    longest = max(len(candidate.ids) for candidate in found.candidates)
    assert longest <= length - 5
    one_more = task.scored.format(passage=C3_ITEM.fields["passage"][: found.limit + 1])
    assert all(C3_ITEM.fields["passage"][: found.limit] == candidate.scored for candidate in found.candidates)
    assert max(len(pieces.encode(candidate.context + one_more)) for candidate in found.candidates) > length - 5


def test_a_cloze_keeps_what_is_beside_its_blank(pieces: Tokenizer) -> None:
    item = Item("1", {"left": "前" * 200 + "左", "right": "右" + "后" * 200}, ("桥头", "山上"), 1)
    question = ask(TASKS["chid"], item, [], pieces, 60)
    assert [candidate.scored.strip("前后") for candidate in question.candidates] == ["左桥头右", "左山上右"]


def test_generation_leaves_room_for_what_is_generated(pieces: Tokenizer) -> None:
    task = TASKS["cmrc2018"]
    item = Item("1", {"passage": "走" * 300, "question": "去哪里？"}, references=("桥头",))
    (candidate,) = ask(task, item, [], pieces, 200).candidates
    assert 190 <= len(candidate.ids) + task.max_new_tokens <= 200
    assert candidate.context.endswith("\n问：去哪里？\n答：")


def test_a_window_without_room_is_said(pieces: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"c3: item 1 has \d+ tokens without its long texts, but the network sees 12"):
        ask(TASKS["c3"], C3_ITEM, [], pieces, 12)


@pytest.mark.parametrize("template", ["{dialogue}", "{passage", "{}", "{passage.x}", "{passage:d}"])
def test_a_template_that_cannot_be_filled_is_said(template: str, pieces: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=r"cannot be filled .*: this task has .passage., .question., .choice."):
        ask(with_setting(TASKS["c3"], "scored", template), C3_ITEM, [], pieces, 512)


def test_nothing_to_score_is_said(pieces: Tokenizer) -> None:
    with pytest.raises(DataError, match="item 1 leaves nothing to score with the choice '桥头'"):
        ask(with_setting(TASKS["c3"], "scored", ""), C3_ITEM, [], pieces, 512)
