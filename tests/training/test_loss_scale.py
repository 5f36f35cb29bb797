from __future__ import annotations

from pangu_alpha.config import LossScaleConfig
from pangu_alpha.training.loss_scale import LARGEST, LossScaler


def test_overflow_halves_and_a_window_of_good_steps_doubles() -> None:
    scaler = LossScaler(LossScaleConfig(initial=1024, window=3), 1024.0)
    scaler.update(overflow=True)
    assert scaler.scale == 512
    scales = []
    for _ in range(6):
        scaler.update(overflow=False)
        scales.append(scaler.scale)
    assert scales == [512, 512, 1024, 1024, 1024, 2048]


def test_an_overflow_starts_the_window_anew() -> None:
    scaler = LossScaler(LossScaleConfig(initial=8, window=2), 8.0)
    for overflow in (False, True, False):
        scaler.update(overflow)
    assert scaler.scale == 4
    scaler.update(overflow=False)
    assert scaler.scale == 8


def test_the_scale_stays_in_its_bounds() -> None:
    scaler = LossScaler(LossScaleConfig(initial=2, window=1), 2.0)
    for _ in range(5):
        scaler.update(overflow=True)
    assert scaler.scale == 1
    for _ in range(50):
        scaler.update(overflow=False)
    assert scaler.scale == LARGEST
