"""What the paper has measured: Table 10, which has both sizes. 2.6B and 13B, in percent; WPLC is a perplexity."""

from __future__ import annotations

SIZES = {"2.6B": 2.6e9, "13B": 13.1e9}
"""The paper's networks, and their parameters (Table 1)."""

Pair = tuple[float, float]
_ZERO, _ONE, _FEW = "0", "1", "few"


def _three(zero: Pair, one: Pair, few: Pair) -> dict[str, Pair]:
    return {_ZERO: zero, _ONE: one, _FEW: few}


_ACCURACY = {
    "chid": _three((68.73, 70.64), (68.16, 70.05), (66.56, 70.91)),
    "cmrc2019": _three((68.22, 70.54), (68.05, 70.02), (66.26, 71.28)),
    "cmnli": _three((50.20, 48.44), (49.54, 46.81), (51.17, 46.18)),
    "ocnli": _three((42.61, 41.53), (44.00, 44.10), (46.78, 46.44)),
    "tnews": _three((60.95, 60.26), (57.95, 63.83), (63.62, 65.17)),
    "iflytek": _three((74.26, 73.80), (79.03, 78.95), (80.15, 80.34)),
    "afqmc": _three((59.29, 65.76), (64.62, 63.55), (69.00, 68.91)),
    "csl": _three((50.50, 49.30), (50.90, 50.20), (52.00, 55.70)),
    "cluewsc2020": _three((73.36, 75.00), (75.33, 75.00), (72.70, 78.62)),
    "c3": _three((53.42, 54.47), (52.82, 53.92), (53.64, 54.58)),
}
_OTHERS = {
    ("cmrc2018", "em"): _three((1.21, 1.46), (2.49, 3.76), (5.68, 9.76)),
    ("cmrc2018", "f1"): _three((16.65, 19.28), (18.57, 21.46), (23.22, 29.23)),
    ("drcd", "em"): _three((0.80, 0.66), (2.47, 4.22), (5.31, 9.09)),
    ("drcd", "f1"): _three((9.99, 10.55), (12.48, 15.01), (18.29, 23.46)),
    ("dureader", "rouge_1"): _three((21.07, 24.46), (20.18, 25.99), (21.43, 27.67)),
    ("webqa", "em"): _three((4.43, 5.13), (10.22, 13.43), (23.71, 31.18)),
    ("webqa", "f1"): _three((13.71, 14.47), (20.56, 24.52), (33.81, 41.21)),
    ("pd", "accuracy"): _three((38.47, 43.86), (38.80, 40.97), (39.07, 41.13)),
    ("cft", "accuracy"): _three((42.39, 46.60), (41.61, 45.42), (42.05, 45.86)),
    ("cmrc2017", "accuracy"): _three((37.83, 38.90), (38.00, 38.40), (36.33, 37.86)),
    ("wplc", "perplexity"): {_ZERO: (16.70, 19.18)},
}


def paper_value(task: str, metric: str, shots: str) -> Pair | None:
    """What the paper has for the 2.6B and the 13B network; None where it has nothing.

    Its accuracies of a choice are of the mean over tokens, so the sum has none beside it.
    """
    found = _ACCURACY.get(task, {}) if metric == "mean" else _OTHERS.get((task, metric), {})
    return found.get(shots)
