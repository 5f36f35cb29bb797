"""Chinese text for the corpus: paragraphs of a novel and of an essay, put together anew for each document."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import CHUSHIBIAO, SANGUO

_WORDS = sorted({SANGUO[i : i + 2] for i in range(len(SANGUO) - 1)} | {CHUSHIBIAO[i : i + 2] for i in range(200)})


def chinese_text(seed: int, sentences: int = 14) -> str:
    """Text of Han characters and full stops that resembles no other seed's: some 24 characters a sentence."""
    draw = random.Random(seed)
    words = [word for word in _WORDS if word.isalpha()]
    lines = [
        "".join(draw.choices(words, k=11)) + "，" + "".join(draw.choices(words, k=2)) + "。" for _ in range(sentences)
    ]
    return "\n".join("".join(lines[i : i + 3]) for i in range(0, len(lines), 3))


def write_jsonl(path: Path, texts: Sequence[str]) -> Path:
    """A line a text."""
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    return path


REAL = (
    # 陶渊明《桃花源记》
    "晋太元中，武陵人捕鱼为业。缘溪行，忘路之远近。忽逢桃花林，夹岸数百步，中无杂树，芳草鲜美，落英缤纷。渔人甚异之，"
    "复前行，欲穷其林。\n"
    "林尽水源，便得一山，山有小口，仿佛若有光。便舍船，从口入。初极狭，才通人。复行数十步，豁然开朗。土地平旷，屋舍俨然，"
    "有良田、美池、桑竹之属。阡陌交通，鸡犬相闻。其中往来种作，男女衣着，悉如外人。黄发垂髫，并怡然自乐。\n"
    "见渔人，乃大惊，问所从来。具答之。便要还家，设酒杀鸡作食。村中闻有此人，咸来问讯。",
    # 范仲淹《岳阳楼记》
    "庆历四年春，滕子京谪守巴陵郡。越明年，政通人和，百废具兴，乃重修岳阳楼，增其旧制，刻唐贤今人诗赋于其上，属予作文以记之。\n"
    "予观夫巴陵胜状，在洞庭一湖。衔远山，吞长江，浩浩汤汤，横无际涯，朝晖夕阴，气象万千，此则岳阳楼之大观也，前人之述备矣。"
    "然则北通巫峡，南极潇湘，迁客骚人，多会于此，览物之情，得无异乎？\n"
    "至若春和景明，波澜不惊，上下天光，一碧万顷，沙鸥翔集，锦鳞游泳，岸芷汀兰，郁郁青青。",
    # 欧阳修《醉翁亭记》
    "环滁皆山也。其西南诸峰，林壑尤美，望之蔚然而深秀者，琅琊也。山行六七里，渐闻水声潺潺，而泻出于两峰之间者，酿泉也。"
    "峰回路转，有亭翼然临于泉上者，醉翁亭也。作亭者谁？山之僧智仙也。名之者谁？太守自谓也。\n"
    "太守与客来饮于此，饮少辄醉，而年又最高，故自号曰醉翁也。醉翁之意不在酒，在乎山水之间也。山水之乐，得之心而寓之酒也。\n"
    "若夫日出而林霏开，云归而岩穴暝，晦明变化者，山间之朝暮也。野芳发而幽香，佳木秀而繁阴，风霜高洁，水落而石出者，山间之四时也。",
    # 鲁迅《故乡》
    "我冒了严寒，回到相隔二千余里，别了二十余年的故乡去。\n"
    "时候既然是深冬；渐近故乡时，天气又阴晦了，冷风吹进船舱中，呜呜的响，从篷隙向外一望，苍黄的天底下，远近横着几个萧索的荒村，"
    "没有一些活气。我的心禁不住悲凉起来了。\n"
    "我所记得的故乡全不如此。我的故乡好得多了。但要我记起他的美丽，说出他的佳处来，却又没有影像，没有言辞了。仿佛也就如此。"
    "于是我自己解释说：故乡本也如此，——虽然没有进步，也未必有如我所感的悲凉，这只是我自己心情的改变罢了。",
    # 鲁迅《孔乙己》
    "鲁镇的酒店的格局，是和别处不同的：都是当街一个曲尺形的大柜台，柜里面预备着热水，可以随时温酒。\n"
    "做工的人，傍午傍晚散了工，每每花四文铜钱，买一碗酒，——这是二十多年前的事，现在每碗要涨到十文，——靠柜外站着，热热的喝了休息；"
    "倘肯多花一文，便可以买一碟盐煮笋，或者茴香豆，做下酒物了，如果出到十几文，那就能买一样荤菜，但这些顾客，多是短衣帮，大抵没有这样阔绰。\n"
    "只有穿长衫的，才踱进店面隔壁的房子里，要酒要菜，慢慢地坐喝。",
)
"""Prose as people wrote it, of the fourth, eleventh and twentieth centuries, in paragraphs."""
