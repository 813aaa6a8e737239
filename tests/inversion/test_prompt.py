from __future__ import annotations

import pytest

from d2m_cli.errors import UsageError
from d2m_cli.ground.genres import GENRE_CODES, GENRE_WORDS, genre_code
from d2m_cli.inversion.genre_encoder import one_hot
from d2m_cli.inversion.prompt import (
    TempoWords,
    compose_prompt,
    describing_prompt,
    in_caption_octave,
    rhythm_words,
    tokenize,
    unread_text,
)
from d2m_cli.inversion.word_bank import WORD_BANK, bank_lines
from d2m_cli.rhythm.sequence import Tempo


def test_the_users_words_follow_the_training_prompt() -> None:
    assert compose_prompt("funky guitar", genre=True).text == "a @ music with * as the rhythm, funky guitar"
    assert compose_prompt(genre=True).text == "a @ music with * as the rhythm"
    assert compose_prompt("funky guitar", genre=False).text == "a music with * as the rhythm, funky guitar"


def test_a_prompt_with_placeholders_of_its_own_is_kept() -> None:
    assert compose_prompt("lively melody, *, in @ style", genre=True).text == "lively melody, *, in @ style"
    assert compose_prompt("lively @ melody with *", genre=False).text == "lively melody with *"


def test_tempo_in_words_is_folded_into_the_captions_octave() -> None:
    assert rhythm_words(Tempo(112.0, 0.32, 1.0)) == "112 bpm and first beat at 0.32 seconds"
    assert in_caption_octave(Tempo(160.0, 0.2, 1.0)) == Tempo(80.0, 0.2, 1.0)
    # At 50 bpm the first beat may come at 1.1 s; at 100 bpm (a beat each 0.6 s) one comes at 0.5 s.
    doubled = in_caption_octave(Tempo(50.0, 1.1, 1.0))
    assert (doubled.bpm, doubled.first_beat, doubled.confidence) == (100.0, pytest.approx(0.5), 1.0)


def test_a_prompt_can_go_without_rhythm() -> None:
    assert compose_prompt("harp", genre=True).without_rhythm().text == "a @ music, harp"
    assert compose_prompt("a harp, *", genre=True).without_rhythm().text == "a harp, a steady beat"


def test_a_family_words_tempi_in_its_own_way() -> None:
    assert TempoWords().say(Tempo(111.7, 0.1, 1.0)) == "112 BPM"
    assert TempoWords("bpm: {bpm}").say(Tempo(111.2, 0.1, 1.0)) == "bpm: 111"
    assert TempoWords().say(None) == "a steady beat"


def test_a_prompt_that_describes() -> None:
    funk, tempo = GENRE_WORDS["LO"], "112 BPM"
    assert describing_prompt(None, funk, tempo).text == "funk, 112 BPM, tight drums, slap bass"
    assert describing_prompt("wah guitar", funk, tempo).text == "funk, 112 BPM, tight drums, slap bass, wah guitar"
    assert describing_prompt("sad piano", None, tempo).text == "112 BPM, sad piano"
    assert describing_prompt(None, None, tempo).text == "dance music, 112 BPM"
    assert describing_prompt("a harp plays a @ groove, *", funk, tempo).text == (
        "a harp plays a funk groove, 112 BPM, tight drums, slap bass"
    )
    assert describing_prompt("a @ groove, *", None, tempo).text == "a groove, 112 BPM"
    assert describing_prompt("a harp, *", funk, tempo).text == "a harp, 112 BPM"


def test_every_genre_has_words_and_the_bank_those_of_the_paper() -> None:
    assert GENRE_WORDS.keys() == GENRE_CODES.keys()
    assert all(len(words.split(", ")) >= 3 and not set("@*") & set(words) for words in GENRE_WORDS.values())
    # Fig. 1 of the paper.
    assert {"piano", "guitar", "violin"} <= set(WORD_BANK["instruments"])
    assert {"joyful", "sad", "relaxing"} <= set(WORD_BANK["moods"])
    assert {"pop", "electronic", "funk"} <= set(WORD_BANK["genres"])
    assert "lock (LO): funk, tight drums, slap bass" in bank_lines()


class Letters:
    """A stand-in tokenizer: one token a word, numbered by its length."""

    bos_token_id, eos_token_id, pad_token_id = 100, 101, 102

    def __call__(self, text: str, add_special_tokens: bool = True, verbose: bool = True) -> dict[str, list[int]]:
        ids = [len(word) for word in text.split()]
        return {"input_ids": [self.bos_token_id, *ids, self.eos_token_id] if add_special_tokens else ids}


def test_placeholders_survive_beside_commas_and_are_counted_where_they_stand() -> None:
    ids, places = tokenize(Letters(), "a @ music, *,and *", {"@": 1, "*": 1}, 12)
    assert ids == [100, 1, 1, 6, 1, 4, 1, 101, 102, 102, 102, 102]
    assert places == {"@": [2], "*": [4, 6]}


def test_words_beyond_the_length_are_cut() -> None:
    ids, places = tokenize(Letters(), "* bb cc dd", {"*": 1}, 5)
    assert ids == [100, 1, 2, 2, 101]
    assert places == {"*": [1]}


@pytest.mark.parametrize(
    ("text", "length", "unread"),
    [
        ("* bb cc dd", 6, ""),
        ("* bb cc dd", 5, "dd"),
        ("* bb  cc, dd", 4, "cc, dd"),
        ("* bb cc dd", 3, "bb cc dd"),
        ("aa @ bb, * cc dd", 8, "dd"),
        ("aa @ bb, * cc dd", 6, "* cc dd"),
        ("aa bb, * cc", 4, "* cc"),
        ("", 3, ""),
    ],
)
def test_what_is_not_read_is_told(text: str, length: int, unread: str) -> None:
    # "@" takes two tokens, each word one, start and end one each.
    assert unread_text(Letters(), text, {"*": 1, "@": 2}, length) == unread


def test_a_placeholder_beyond_the_length_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"'\*' lies behind"):
        tokenize(Letters(), "aa bb cc *", {"*": 1}, 5)


@pytest.mark.parametrize("name", ["lock", "Lock", "LO", "locking", "lo"])
def test_genres_by_name_and_code(name: str) -> None:
    assert genre_code(name) == "LO"


def test_an_unknown_genre_lists_the_ten() -> None:
    with pytest.raises(UsageError, match=r"waltz.*break \(BR\).*waack \(WA\)"):
        genre_code("waltz")


def test_one_hot_follows_the_sorted_codes() -> None:
    rows = one_hot(["BR", "LO", "WA"])
    assert rows.argmax(1).tolist() == [0, 6, 9]
    assert rows.sum(1).tolist() == [1, 1, 1]
