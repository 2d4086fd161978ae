"""Texts in a model's chat template: the template's own tokens, and characters mapped back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.models.chat import ChatTemplate, chat_template
from probes.models.loading import open_model
from probes.models.tokens import encode, tokenizer_fingerprint
from tests.tiny_checkpoints import make_tokenizer, write_checkpoint

CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""SmolLM2, Qwen: nothing is stripped, no beginning-of-sequence token."""
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}<|im_end|>\n\n"
    "{{ m['content'] | trim }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant<|im_end|>\n\n{% endif %}"
)
"""Llama 3, Gemma: stripped, with a beginning-of-sequence token."""
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "[INST] {{ m['content'] }} [/INST]{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)
"""Mistral: no generation prompt, and a space before the reply."""
DATED = "{{ strftime_now('%Y-%m-%d') }} " + CHATML
TEMPLATES = {"chatml": CHATML, "headers": HEADERS, "inst": INST, "dated": DATED}
TEXTS = [
    "The old sailor  mended nets.",
    " naïve café\n",
    "\n\nSeven dogs bark",
    "a",
    "x<s>y",
    "[INST]",
]


def templated(template: str, **options: Any) -> Any:
    tokenizer = make_tokenizer(**options)
    marks = [AddedToken(mark, special=True) for mark in ("<|im_start|>", "<|im_end|>")]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.chat_template = template
    return tokenizer


def found(tokenizer: Any) -> ChatTemplate:
    chat = chat_template(tokenizer, "user", "tiny")
    assert chat is not None
    return chat


def as_transformers(tokenizer: Any, text: str, *, prompt: bool) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}],
        add_generation_prompt=prompt,
        chat_template=tokenizer.chat_template.replace("strftime_now('%Y-%m-%d')", "'2024-07-26'"),
        return_dict=False,
    )
    return ids


@pytest.mark.parametrize("name", TEMPLATES)
def test_ids_are_those_of_the_template(name: str) -> None:
    tokenizer = templated(TEMPLATES[name])
    chat = found(tokenizer)
    for text in TEXTS:
        (closed,) = encode(tokenizer, [text], "auto", chat=chat)
        assert closed.ids == as_transformers(tokenizer, text, prompt=False)
        assert not closed.prompted
        (opened,) = encode(tokenizer, [text], "auto", chat=chat, replies=[len(text)])
        assert opened.ids == as_transformers(tokenizer, text, prompt=True)
        assert opened.prompted and opened.special[-1]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("reply", [False, True])
def test_tokens_know_their_characters(name: str, reply: bool) -> None:
    """Each character of the text is covered, once at least, by tokens that hold just it."""
    tokenizer = templated(TEMPLATES[name])
    chat = found(tokenizer)
    for text in TEXTS:
        (encoding,) = encode(
            tokenizer, [text], "auto", chat=chat, replies=[len(text) if reply else -1]
        )
        kept = text.strip() if name == "headers" else text
        start = text.index(kept)
        spans = [
            span
            for span, special in zip(encoding.offsets, encoding.special, strict=True)
            if not special
        ]
        assert set().union(*(range(*span) for span in spans)) == set(
            range(start, start + len(kept))
        )
        assert spans == sorted(spans)
        of_text = [i for i, special in enumerate(encoding.special) if not special]
        assert of_text == list(range(of_text[0], of_text[-1] + 1))
        for index in of_text:
            begin, end = encoding.offsets[index]
            if text[begin:end].isascii():  # a byte of a longer character decodes to nothing
                token = tokenizer.decode([encoding.ids[index]])
                assert token.strip() in text[begin:end] or text[begin:end] in token


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_reply_is_what_the_model_would_have_said(name: str) -> None:
    """Question, generation prompt, and the answer where generated tokens would stand."""
    tokenizer = templated(TEMPLATES[name])
    chat = found(tokenizer)
    text = "Who believed it?  Nobody in the village"
    asked = text.index("  Nobody")
    (encoding,) = encode(tokenizer, [text], "auto", chat=chat, replies=[asked])
    space = " " if name == "inst" else ""
    whole = tokenizer.decode(encoding.ids)
    prompt = tokenizer.decode(as_transformers(tokenizer, text[:asked], prompt=True))
    assert whole == f"{prompt}{space}Nobody in the village"
    assert not encoding.prompted
    said = [i for i, (begin, end) in enumerate(encoding.offsets) if end > begin >= asked + 2]
    assert tokenizer.decode([encoding.ids[i] for i in said]).strip() == "Nobody in the village"
    assert encoding.offsets[said[-1]][1] == len(text)
    between = [
        span
        for span, special in zip(encoding.offsets, encoding.special, strict=True)
        if not special and span[0] == span[1]
    ]
    assert set(between) <= {(asked + 2, asked + 2)}


@pytest.mark.parametrize("bos", ["auto", "always", "never"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_beginning_of_sequence_once(name: str, bos: str) -> None:
    """The template brings it or not; what the tokenizer adds to plain texts is not added again."""
    tokenizer = templated(TEMPLATES[name], bos=True)
    (encoding,) = encode(tokenizer, ["one dog"], bos, chat=found(tokenizer))
    brings = "bos_token" in TEMPLATES[name]
    wanted = {"auto": brings, "always": True, "never": False}[bos]
    assert encoding.ids.count(tokenizer.bos_token_id) == int(wanted)
    assert (encoding.ids[0] == tokenizer.bos_token_id) == wanted


def test_templates_have_fingerprints_of_their_own() -> None:
    prints = set()
    for template in TEMPLATES.values():
        tokenizer = templated(template)
        prints |= {
            tokenizer_fingerprint(tokenizer, "auto"),
            tokenizer_fingerprint(tokenizer, "auto", found(tokenizer)),
        }
    assert len(prints) == 1 + len(TEMPLATES)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template.*Try model.chat=none"),
        ("{{ messages[0]['content'] | upper }}", "does not show it once and as it is"),
        ("{{ messages[0]['content'] * 2 }}", "does not show it once and as it is"),
        ("no message", "does not show it once and as it is"),
        ("{{ messages[0]['content'] | replace(' \n', '-') }}", "changes white space around it"),
        ("{{ raise_exception('only tools') }}", "TemplateError: only tools"),
        ("{{ messages[0].content.split(' ', 1)", "fails on it"),
    ],
)
def test_templates_that_cannot_be_used(template: str | None, message: str) -> None:
    with pytest.raises(UserError, match=f"(?s)model.chat=user: .*{message}"):
        chat_template(templated(template or ""), "user", "tiny")


def test_a_handle_with_a_template(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, tokenizer=templated(CHATML))
    plain = open_model(ModelConfig(name=str(tmp_path)))
    chat = open_model(ModelConfig(name=str(tmp_path), chat="user"))
    assert plain.chat is None and chat.chat == found(templated(CHATML))
    assert plain.fingerprint == chat.fingerprint
    assert plain.tokenizer_fingerprint != chat.tokenizer_fingerprint
    assert chat.encode(["a dog"])[0].ids == as_transformers(chat.tokenizer, "a dog", prompt=False)
