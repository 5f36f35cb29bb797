"""All rules: name, function, what it means, where it is from, its settings with their defaults."""

from __future__ import annotations

import math

from pangu_alpha.corpus.rules import characters, classifiers, lines, ngrams, perplexity, words
from pangu_alpha.corpus.rules.rule import Rule, RuleTable

_BOTH = {"min": None, "max": None}
_SHARE = (0.0, 1.0)
_PAPER, _FINEWEB2, _EVALWEB, _MNBVC = "PanGu-α §3.1.1", "FineWeb-2 cmn_Hani", "EvalWeb", "MNBVC"
_FREQUENT = "的 年 在 月 是 和 日 了 於 · 為 有 被 人 中 为 他 與 後 也 而 由"
"""FineWeb-2's 22 words of cmn_Hani."""

RULES = RuleTable(
    [
        Rule(
            "special_symbols",
            characters.special_symbols,
            "removes control and invisible characters, boxes, arrows, emoji",
            _PAPER,
            changes=True,
        ),
        Rule(
            "simplify",
            words.simplify,
            "traditional characters to simplified ones (OpenCC)",
            _PAPER,
            changes=True,
            settings={"config": "t2s"},
        ),
        Rule(
            "navigation",
            lines.navigation,
            "removes bars of links and runs of short lines without punctuation",
            _PAPER,
            changes=True,
            settings={"run": 4, "length": 12, "items": 4},
        ),
        Rule(
            "repeated_paragraphs",
            lines.repeated_paragraphs,
            "removes paragraphs that were there before",
            _PAPER,
            changes=True,
            settings={"length": 10},
        ),
        Rule(
            "short_paragraphs",
            lines.short_paragraphs,
            "removes paragraphs with too few Han characters",
            _MNBVC,
            changes=True,
            settings={"han": 10},
        ),
        Rule(
            "private_data",
            words.private_data,
            "replaces mail addresses, identity cards, telephone and QQ numbers",
            _MNBVC,
            changes=True,
        ),
        Rule("unfinished_end", lines.unfinished_end, "cuts off an unfinished last sentence", _MNBVC, changes=True),
        Rule(
            "chinese_share",
            characters.chinese_share,
            "Han ÷ all characters",
            _PAPER,
            settings={**_BOTH, "min": 0.6},
            between=_SHARE,
        ),
        Rule("length", characters.num_characters, "characters but white space", _PAPER, settings={**_BOTH, "min": 150}),
        Rule(
            "sentences",
            characters.num_sentences,
            "ends of sentences: a title has none",
            _PAPER,
            settings={**_BOTH, "min": 1},
        ),
        Rule(
            "advertisement",
            words.num_words_found,
            "phrases of advertisements that are found",
            _PAPER,
            settings={**_BOTH, "max": 2, "words": "advertisement"},
        ),
        Rule(
            "sensitive_words",
            words.num_words_found,
            "sensitive words that are found",
            "PanGu-α §3.1.1: more than three of 724",
            settings={**_BOTH, "max": 3, "words": "sensitive"},
        ),
        Rule(
            "sensitive_words_a_line",
            words.words_found_a_line,
            "sensitive words that are found ÷ lines",
            _EVALWEB,
            settings={**_BOTH, "max": 0.5, "words": "sensitive"},
        ),
        Rule(
            "traditional_share",
            words.traditional_share,
            "characters that simplification changes ÷ characters",
            _EVALWEB,
            settings={**_BOTH, "max": 0.05},
            between=_SHARE,
        ),
        Rule(
            "spam",
            classifiers.good_probability,
            "that a fastText classifier gives a text of being good and not spam; `pangu corpus train` says the min",
            _PAPER,
            settings={**_BOTH, "model": None},
            between=_SHARE,
        ),
        Rule(
            "quality",
            classifiers.good_probability,
            "that a fastText classifier gives a text of being like those of quality",
            _PAPER,
            settings={**_BOTH, "model": None},
            between=_SHARE,
        ),
        Rule(
            "quality_sampled",
            classifiers.sampled_quality,
            "the same probability + a draw − 1: from 0 on, GPT-3 keeps a document, and so some of low quality",
            "GPT-3, appendix A",
            settings={**_BOTH, "min": 0, "model": None, "alpha": 9},
            between=(-1.0, 1.0),
        ),
        Rule(
            "language",
            classifiers.language_probability,
            "that a fastText model, such as lid.176, gives the language",
            _FINEWEB2,
            settings={**_BOTH, "min": 0.65, "model": None, "label": "zh"},
            between=_SHARE,
        ),
        Rule(
            "perplexity",
            perplexity.perplexity,
            "of a character, by a language model of good texts; `pangu corpus train --web` makes it and says the max",
            "CCNet",
            settings={**_BOTH, "model": None},
            between=(1.0, math.inf),
        ),
        Rule(
            "line_length", lines.line_length, "characters of a line on average", _EVALWEB, settings={**_BOTH, "min": 10}
        ),
        Rule(
            "repeated_character_ngrams",
            ngrams.repeated_character_ngrams,
            "characters in n-grams that were there before ÷ characters",
            _EVALWEB,
            settings={**_BOTH, "max": 0.5, "ngram": 13},
            between=_SHARE,
        ),
        Rule(
            "line_end_share",
            lines.line_end_share,
            "lines that end with punctuation ÷ lines",
            _FINEWEB2,
            settings={**_BOTH, "min": 0.106},
            between=_SHARE,
        ),
        Rule(
            "line_break_share",
            ngrams.line_break_share,
            "line breaks ÷ words",
            _FINEWEB2,
            settings={**_BOTH, "max": 0.178},
        ),
        Rule(
            "repeated_line_share",
            lines.repeated_line_share,
            "lines that were there before ÷ lines",
            _FINEWEB2,
            settings={**_BOTH, "max": 0.287},
            between=_SHARE,
        ),
        Rule(
            "repeated_line_characters",
            lines.repeated_line_characters,
            "characters in lines that were there before ÷ characters",
            _FINEWEB2,
            settings={**_BOTH, "max": 0.1},
            between=_SHARE,
        ),
        Rule(
            "word_length",
            ngrams.word_length,
            "characters of a word on average (jieba)",
            _FINEWEB2,
            settings={**_BOTH, "min": 1, "max": 5},
        ),
        Rule(
            "letter_words",
            ngrams.letter_words,
            "words with a letter ÷ words",
            _FINEWEB2,
            settings={**_BOTH, "min": 0.735},
            between=_SHARE,
        ),
        Rule(
            "stop_words",
            ngrams.num_stop_words,
            "how many of the frequent words are there",
            _FINEWEB2,
            settings={
                **_BOTH,
                "min": 2,
                "frequent": _FREQUENT,
            },
        ),
        *(
            Rule(
                f"top_{n}_words",
                ngrams.top_word_ngram,
                f"characters of the most frequent {n} words in a row ÷ characters",
                _FINEWEB2,
                settings={**_BOTH, "max": most, "ngram": n},
            )
            for n, most in ((2, 0.256), (3, 0.201), (4, 0.171))
        ),
        *(
            Rule(
                f"repeated_{n}_words",
                ngrams.repeated_word_ngrams,
                f"characters in {n} words in a row that were there before ÷ characters",
                _FINEWEB2,
                settings={**_BOTH, "max": most, "ngram": n},
            )
            for n, most in ((5, 0.198), (6, 0.182), (7, 0.167), (8, 0.154), (9, 0.14), (10, 0.127))
        ),
    ]
)
