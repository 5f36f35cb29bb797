"""A few items of every data set, our own sentences, written as the data set's files are published."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ANIMALS = (
    "老虎",
    "狐狸",
    "兔子",
    "乌鸦",
    "山羊",
    "松鼠",
    "刺猬",
    "野牛",
    "小马",
    "青蛙",
    "鲤鱼",
    "蜻蜓",
    "孔雀",
    "大雁",
    "黄牛",
    "白鹅",
)
PLACES = (
    "河边",
    "山上",
    "林中",
    "村口",
    "桥头",
    "湖里",
    "路旁",
    "田间",
    "井边",
    "洞口",
    "谷底",
    "岸上",
    "院里",
    "门前",
    "屋后",
    "坡下",
)


def lines(records: list[Any]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _pairs(labels: tuple[str, ...], number: int, first: int = 0, **more: Any) -> str:
    return lines(
        [
            {
                "sentence1": f"{ANIMALS[one]}住在{PLACES[one]}。",
                "sentence2": f"{PLACES[one]}有一只{ANIMALS[one if one % 2 else one - 1]}",
                "label": labels[one % len(labels)],
                **more,
            }
            for one in range(first, first + number)
        ]
    )


def _squad(number: int, split: str) -> dict[str, Any]:
    paragraphs = [
        {
            "context": f"从前{PLACES[one]}住着一只{ANIMALS[one]}，它每天清晨都到{PLACES[one - 1]}去喝水。",
            "id": f"{split}_{one}",
            "qas": [
                {
                    "id": f"{split}_{one}_0",
                    "question": f"{PLACES[one]}住着什么？",
                    "answers": [
                        {"id": "1", "text": f"一只{ANIMALS[one]}", "answer_start": 7},
                        {"id": "2", "text": ANIMALS[one], "answer_start": 9},
                    ],
                }
            ],
        }
        for one in range(number)
    ]
    return {"version": "1.3", "data": [{"title": "故事", "id": split, "paragraphs": paragraphs}]}


def _cmrc2018(number: int, split: str) -> list[dict[str, Any]]:
    return [
        {
            "context_id": f"{split}_{one}",
            "context_text": f"从前{PLACES[one]}住着一只{ANIMALS[one]}，它每天清晨都到{PLACES[one - 1]}去喝水。",
            "title": "故事",
            "qas": [
                {
                    "query_id": f"{split}_{one}_QUERY_0",
                    "query_text": "它每天去哪里？",
                    "answers": [f"到{PLACES[one - 1]}去喝水", PLACES[one - 1], PLACES[one - 1]],
                }
            ],
        }
        for one in range(number)
    ]


def _cloze(number: int, with_answers: bool) -> str:
    text = ""
    for one in range(number):
        text += f"1 ||| 一 天 ， XXXXX 来到 {PLACES[one]} 。\n2 ||| 大家 都 喜欢 {ANIMALS[one]} ， 因为 它 很 善良 。\n"
        answer = f" ||| {ANIMALS[one]}" if with_answers else ""
        text += f"<qid_{one}> ||| 一 天 ， XXXXX 来到 {PLACES[one]} 。{answer}\n"
    return text


def _clue_chid(number: int) -> tuple[str, str]:
    idioms = [
        "百尺竿头",
        "随波逐流",
        "方兴未艾",
        "身体力行",
        "一日千里",
        "三十而立",
        "逆水行舟",
        "日新月异",
        "百花齐放",
        "沧海一粟",
    ]
    records, answers = [], {}
    for one in range(number):
        blanks = (f"#idiom{2 * one:06}#", f"#idiom{2 * one + 1:06}#")
        passages = [f"{PLACES[one]}的变化真是{blanks[0]}，人人都这么说。", f"不要{blanks[1]}，要有自己的主意。"]
        records.append({"content": passages, "candidates": idioms})
        answers |= {blanks[0]: (7 + one) % 10, blanks[1]: 1}
    return lines(records), json.dumps(answers)


def _cmrc2019(number: int, split: str) -> dict[str, Any]:
    data = [
        {
            "context": f"{ANIMALS[one]}早上起来，[BLANK1]，然后回家吃饭，[BLANK2]，很快就睡着了。",
            "context_id": f"{split}_{one}",
            "choices": ["晚上躺在床上", f"先到{PLACES[one]}跑步", "它从来没见过大海"],
            "answers": [1, 0],
        }
        for one in range(number)
    ]
    return {"data": data}


def _wsc(number: int, first: int = 0) -> str:
    records = []
    for one in range(first, first + number):
        text = f"{ANIMALS[one]}看见了{PLACES[one]}的石头，它高兴地跳了起来。"
        is_true = one % 3 != 0
        noun = ANIMALS[one] if is_true else "石头"
        target = {
            "span1_text": noun,
            "span1_index": text.index(noun),
            "span2_text": "它",
            "span2_index": text.index("，它") + 1,
        }
        records.append({"target": target, "idx": one, "label": "true" if is_true else "false", "text": text})
    return lines(records)


def _c3(number: int, split: str) -> str:
    entries = [
        [
            [f"男：你看见{ANIMALS[one]}了吗？", f"女：它在{PLACES[one]}。"],
            [
                {
                    "question": f"{ANIMALS[one]}在哪里？",
                    "choice": [PLACES[one - 1], PLACES[one], PLACES[one - 2]],
                    "answer": PLACES[one],
                }
            ],
            f"{split}-{one}",
        ]
        for one in range(number)
    ]
    return json.dumps(entries, ensure_ascii=False)


def _tnews(number: int) -> str:
    topics = [
        ("100", "news_story", "狐狸的故事讲完了"),
        ("103", "news_sports", "昨晚的球赛赢了两个球"),
        ("106", "news_house", "这套房子朝南"),
        ("107", "news_car", "新车比旧车省油"),
        ("116", "news_game", "这个游戏有三关"),
    ]
    chosen = [topics[one % len(topics)] for one in range(number)]
    return lines(
        [
            {"label": code, "label_desc": name, "sentence": f"{text}，{PLACES[one]}", "keywords": ""}
            for one, (code, name, text) in enumerate(chosen)
        ]
    )


def _iflytek(number: int) -> str:
    kinds = ["打车", "地图导航", "租车", "休闲益智", "收款"]
    return lines(
        [
            {
                "label": str(one % 5),
                "label_des": kinds[one % 5],
                "sentence": f"用它{kinds[one % 5]}很方便，在{PLACES[one]}也能用。",
            }
            for one in range(number)
        ]
    )


def _csl(number: int) -> str:
    return lines(
        [
            {
                "id": one,
                "abst": f"本文研究{ANIMALS[one]}在{PLACES[one]}的习性，记录了它们的活动。",
                "keyword": [ANIMALS[one], "习性" if one % 2 else "铁路"],
                "label": str(one % 2),
            }
            for one in range(number)
        ]
    )


def _exam(number: int, answer_name: str, first_name: str, question: str) -> str:
    rows = [f"{first_name},{question},A,B,C,D,{answer_name}"]
    rows += [
        f'{one},{ANIMALS[one]}最喜欢住在,{PLACES[one]},"海底,深处",天上,书里,{"ABCD"[one % 4]}' for one in range(number)
    ]
    return "\n".join(rows) + "\n"


def _dureader(number: int) -> str:
    records = []
    for one in range(number):
        documents = [
            {"is_selected": False, "title": "别的", "paragraphs": ["无关的话。"]},
            {
                "is_selected": True,
                "title": "水",
                "most_related_para": 1,
                "paragraphs": ["第一段。", f"{ANIMALS[one]}一天要喝三升水。"],
            },
        ]
        records.append(
            {
                "question_id": 100 + one,
                "question_type": "DESCRIPTION",
                "question": f"{ANIMALS[one]}一天喝多少水",
                "documents": documents,
                "answers": ["三升水。", "大约三升"],
            }
        )
    return lines(records)


def _webqa(number: int, split: str) -> str:
    records = {}
    for one in range(number):
        name = f"Q_{split}_{one:06}"
        evidences = {
            f"{name}#00": {"answer": [f"{2 + one}条腿"], "evidence": f"{ANIMALS[one]}有{2 + one}条腿。"},
            f"{name}#01": {"answer": ["no_answer"], "evidence": "不知道。"},
        }
        records[name] = {"question": f"{ANIMALS[one]}有几条腿？", "evidences": evidences}
    return json.dumps(records, ensure_ascii=False)


def _fewclue() -> dict[str, str]:
    chid = lines(
        [
            {
                "id": one,
                "candidates": ["日新月异", "随波逐流", "一日千里", "百花齐放", "逆水行舟", "三十而立", "沧海一粟"],
                "content": f"{PLACES[one]}的变化真是#idiom#。",
                "answer": one % 3,
            }
            for one in range(8)
        ]
    )
    reviews = lines(
        [
            {
                "id": one,
                "sentence": f"东西{'很好' if one % 2 else '坏了'}，{PLACES[one]}",
                "label": ("Negative", "Positive")[one % 2],
            }
            for one in range(8)
        ]
    )
    papers = lines(
        [
            {"content": f"论{ANIMALS[one]}的生长。", "label": ("畜牧学/兽医学", "水产", "作物学")[one % 3], "id": one}
            for one in range(8)
        ]
    )
    nli = ("entailment", "neutral", "contradiction")
    texts = {
        "eprstmt": reviews,
        "bustm": _pairs(("0", "1"), 8),
        "ocnli": _pairs(nli, 8),
        "csldcp": papers,
        "tnews": _tnews(8),
        "iflytek": _iflytek(8),
        "cluewsc": _wsc(16),
        "csl": _csl(12),
        "chid": chid,
    }
    return {
        f"datasets/{name}/{split}.json": text
        for name, text in texts.items()
        for split in ("train_few_all", "test_public")
    }


def published() -> dict[str, dict[str, str]]:
    """Name of the folder or zip → name of the file → text."""
    dump = lambda value: json.dumps(value, ensure_ascii=False)  # noqa: E731
    nli = ("entailment", "neutral", "contradiction", "-")
    words = [
        {
            "masked_text": f"很久以前，{PLACES[one]}住着{ANIMALS[one]}。多年以后，人们又看见了<mask>",
            "correct_word": ANIMALS[one],
        }
        for one in range(5)
    ]
    chid, chid_answers = _clue_chid(4)
    return {
        "cmrc2018": {"cmrc2018_train.json": dump(_squad(6, "TRAIN")), "cmrc2018_dev.json": dump(_cmrc2018(5, "DEV"))},
        "drcd": {"DRCD_training.json": dump(_squad(6, "TRAIN")), "DRCD_test.json": dump(_squad(5, "TEST"))},
        "dureader.zip": {
            "preprocessed/trainset/zhidao.train.json": _dureader(8),
            "preprocessed/devset/zhidao.dev.json": _dureader(5),
        },
        "webqa": {"me_train.json": _webqa(10, "TRN"), "me_test.ann.json": _webqa(6, "TST")},
        "pd.zip": {"pd/pd.train": _cloze(6, True), "pd/pd.test": _cloze(5, True), "__MACOSX/pd/._pd.test": "\0"},
        "cft.zip": {"cft.test.auto": _cloze(6, True), "cft.test.human": _cloze(5, True)},
        "cmrc2017": {
            "cloze.train.doc_query_answer": _cloze(6, True),
            "cloze.valid.doc_query": _cloze(5, False),
            "cloze.valid.answer": "".join(f"<qid_{one}> ||| {ANIMALS[one]}\n" for one in range(5)),
        },
        "chid_public.zip": {
            "train.json": chid,
            "train_answer.json": chid_answers,
            "dev.json": chid,
            "dev_answer.json": chid_answers,
        },
        "cmrc2019": {
            "cmrc2019_train.json": dump(_cmrc2019(3, "TRAIN")),
            "cmrc2019_dev.json": dump(_cmrc2019(4, "DEV")),
        },
        "cmnli_public.zip": {"cmnli_public/train.json": _pairs(nli[:3], 9), "cmnli_public/dev.json": _pairs(nli, 11)},
        "ocnli": {"train.50k.json": _pairs(nli[:3], 9, level="easy"), "dev.json": _pairs(nli, 12)},
        "tnews_public.zip": {"train.json": _tnews(10), "dev.json": _tnews(7)},
        "iflytek_public.zip": {"train.json": _iflytek(10), "dev.json": _iflytek(7)},
        "afqmc_public.zip": {"train.json": _pairs(("0", "1"), 8), "dev.json": _pairs(("0", "0", "1"), 9)},
        "csl_public.zip": {"train.json": _csl(14), "dev.json": _csl(7)},
        "cluewsc2020_public.zip": {"train.json": _wsc(15), "dev.json": _wsc(8)},
        "c3": {"c3-d-train.json": _c3(6, "t"), "c3-d-dev.json": _c3(7, "d"), "c3-m-dev.json": _c3(2, "m")},
        "wplc": {"train.jsonl": lines(words[2:]), "test.jsonl": lines(words)},
        "ceval-exam.zip": {
            f"{split}/{name}_{split}.csv": _exam(number, "answer", "id", "question")
            for split, number in (("dev", 5), ("val", 6))
            for name in ("logic", "physics")
        },
        "cmmlu_v1.zip": {
            f"{split}/{name}.csv": _exam(number, "Answer", "", "Question")
            for split, number in (("dev", 5), ("test", 6))
            for name in ("agronomy", "anatomy")
        },
        "FewCLUE": _fewclue(),
    }


def write_published(root: Path, sets: Mapping[str, Mapping[str, str]]) -> None:
    """Write the files, and pack those whose folder is a zip."""
    for name, files in sets.items():
        if name.endswith(".zip"):
            with zipfile.ZipFile(root / name, "w") as archive:
                for path, text in files.items():
                    archive.writestr(path, text)
            continue
        for path, text in files.items():
            (root / name / path).parent.mkdir(parents=True, exist_ok=True)
            (root / name / path).write_text(text, encoding="utf-8")
