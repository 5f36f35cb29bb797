"""The layouts that are verified: none forgotten, none twice."""

from __future__ import annotations

from pangu_alpha.emulator.cases import SEQ_LENGTH, VOCAB_SIZE, all_cases, batches, quick_cases


def test_every_combination_of_up_to_8_ranks_is_there_once() -> None:
    cases = all_cases()
    names = [str(case) for case in cases]
    assert len(set(names)) == len(names)
    meshes = {(case.parallel.dp, case.parallel.mp, case.parallel.pp) for case in cases}
    assert meshes == {(dp, mp, pp) for dp in (1, 2) for mp in (1, 2, 4) for pp in (1, 2, 4) if 1 < dp * mp * pp <= 8}
    # 2 shardings × 2 kinds of rows × 2 schedules × 3 rematerialisations, and one with dropout
    assert sum(name.startswith("dp2 mp2 pp2") for name in names) == 25
    assert sum(name.startswith("dp1 mp1 pp2") for name in names) == 7


def test_a_first_look_holds_every_feature() -> None:
    parallels = [case.parallel for case in quick_cases()]
    assert {str(case) for case in quick_cases()} - {str(case) for case in all_cases()} <= {
        str(case) for case in quick_cases() if case.dropout
    }
    for feature in ("optimizer_sharding", "sequence_parallel"):
        assert any(getattr(parallel, feature) for parallel in parallels)
    assert {parallel.rematerialisation for parallel in parallels} == {"none", "selective", "whole"}
    assert {parallel.schedule for parallel in parallels} == {"1f1b", "interleaved"}
    assert any(case.dropout for case in quick_cases())


def test_the_run_holds_what_can_go_wrong() -> None:
    assert VOCAB_SIZE % 2
    for batch in batches():
        assert batch.document_ids.max() > 0
        counted = batch.loss_mask.sum(axis=1)
        assert counted.min() < counted.max() == SEQ_LENGTH
        micro_batches = counted.reshape(4, -1).sum(axis=1)
        assert len(set(micro_batches.tolist())) > 1
