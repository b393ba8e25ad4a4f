"""Chat templates: those of real models pass and render as transformers renders them; attacks are refused unrun."""

import pytest
from hostile_files import peak_bytes

from workbench.errors import ArtifactError
from workbench.untrusted_template import LONGEST_TEMPLATE, check_template

# As Llama 3, SmolLM2 and Mistral write theirs: the shapes that SQLCoder's bases use.
LLAMA = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim "
    "+ '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
)
SMOL = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou "
    "are helpful<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token}}{% endif %}"
    "{% endfor %}"
)
TOOLS = (
    "{%- if tools %}{% for tool in tools %}{{ tool | tojson(indent=4) }}{% endfor %}{% endif %}"
    "{%- set ns = namespace(last=0, text='') %}{% for message in messages[::-1] %}{% set ns.last = ns.last + 1 %}"
    "{% set ns.text = ns.text + message.content %}{% for call in message.tool_calls or [] %}{{ call.name }}"
    "{% for key, value in call.arguments | items %}{{ key }}={{ value }}{% endfor %}{% endfor %}{% endfor %}"
    "{{ ns.text.split('</think>')[-1].lstrip('\n') }}{{ strftime_now('%d %b %Y') }}{{ messages | length }}"
)


@pytest.mark.parametrize("text", [LLAMA, SMOL, MISTRAL, TOOLS, "", "Just text", "{{ raise_exception('never') }}"])
def test_templates_that_write_a_prompt_pass(text):
    check_template(text, "chat_template.jinja")


@pytest.mark.parametrize("text", [LLAMA, SMOL, MISTRAL])
def test_what_passes_renders_in_transformers(text):
    from transformers.utils.chat_template_utils import render_jinja_template

    conversation = [{"role": "user", "content": " How many? "}]
    rendered, _ = render_jinja_template([conversation], chat_template=text, bos_token="<s>", eos_token="</s>")
    assert "How many?" in rendered[0]


MADE = "{% set n = namespace(x='a') %}"


def turn(body):
    """In a loop over the conversation."""
    return "{% for m in messages %}" + body + "{% endfor %}"


ATTACKS = {
    "class": "{{ ''.__class__ }}",
    "class by item": "{{ ''['__class__'] }}",
    "class by filter": "{{ ''|attr('__class__') }}",
    "class by a made-up name": "{% set a = '_' ~ '_' %}{{ ''[a ~ 'class' ~ a] }}",
    "class by selection": "{{ messages | selectattr('__class__', 'defined') | list }}",
    "class by mapping": "{{ messages | map(attribute='__class__') | list }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "format": "{{ '{0.__class__}'.format(messages) }}",
    "format by filter": "{{ '%1000000000d' | format(1) }}",
    "format by remainder": "{{ '%1000000000d' % 1 }}",
    "range": "{% for i in range(10**9) %}x{% endfor %}",
    "product": "{{ 'a' * 10**9 }}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "center": "{{ 'a' | center(1000000000) }}",
    "method center": "{{ 'a'.center(1000000000) }}",
    "ljust": "{{ 'a'.ljust(1000000000) }}",
    "indent": "{{ messages | tojson(indent=1000000000) }}",
    "indent filter": "{{ 'a\n' | indent(1000000000) }}",
    "replace": "{{ 'aaaa'.replace('a', 'aaaaaaaaaaaaaaaa') }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "from import": "{% from 'os' import system %}",
    "extends": "{% extends 'x' %}",
    "macro": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "recursive": "{% for a in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "call of a loop": "{% for a in messages %}{{ loop(messages) }}{% endfor %}",
    "lorem ipsum": "{{ lipsum(n=1000000) }}",
    "unpacked": "{{ dict(**messages[0]) }}",
    "a date's width": "{{ strftime_now('%999999999d') }}",
    "a date of its own": "{{ strftime_now(messages[0].content) }}",
    "doubling": "{% set x = 'a' %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}",
    "doubling by two": "{% set a = 'a' %}" + "{% set b = a + a %}{% set a = b + b %}" * 30,
    "doubling in branches": "{% set x = 'a' %}" + "{% if messages %}{% set x = x ~ x %}{% endif %}" * 60,
    "doubling lists": "{% set x = [1] %}" + "{% set x = [x, x, x] %}" * 40,
    "doubling backslashes": "{% set x = messages[0].content %}" + "{% set x = [x] ~ '' %}" * 40,
    "quoting again": "{% set x = messages[0].content %}" + "{% set x = x | tojson %}" * 40,
    "joining again": "{% set x = messages[0].content %}"
    + "{% set x = x | list | join('aaaaaaaaaaaaaaaaaaaaaaaa') %}" * 9,
    "doubling in a namespace": MADE + turn("{% set n.x = n.x ~ n.x %}"),
    "by a variable": MADE + turn("{% set y = n.x ~ n.x %}{% set n.x = y %}"),
    "by another name": MADE + "{% set k = n %}" + turn("{% set n.x = k.x ~ k.x %}"),
    "by item": MADE + turn("{% set n.x = n['x'] ~ n['x'] %}"),
    "by a new namespace": MADE + turn("{% set k = namespace(x=n.x ~ n.x) %}{% set n.x = k.x %}"),
    "by a choice": "{% set n = namespace(x='a') if true else 1 %}" + turn("{% set n.x = n.x ~ n.x %}"),
    "loops in loops": turn(turn(turn("x"))),
    "loops over what was made": "{% set x = messages[0].content * 1 %}",
    "loops over lists": "{% set x = messages ~ messages ~ messages ~ messages ~ messages %}"
    "{% for a in x ~ x %}{% for b in x ~ x %}x{% endfor %}{% endfor %}",
    "a long list": "{% for a in [" + "1," * 5000 + "] %}x{% endfor %}",
    "deep": "{{ " + "(" * 3000 + ")" * 3000 + " }}",
    "deep minus": "{{ " + "-" * 5000 + "1 }}",
    "deep blocks": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "deep lists": "{{ " + "[" * 90 + "]" * 90 + " }}",
    "a long number": "{{ " + "9" * 5000 + " }}",
    "long": "a" * (LONGEST_TEMPLATE + 1),
    "no template": "{% if %}",
    "unknown": "{{ a | no_such_filter }}",
    "an error when rendered": "{{ 1 + 'a' }}",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_before_it_runs(name):
    with pytest.raises(ArtifactError, match=r"^t\.jinja is "):
        check_template(ATTACKS[name], "t.jinja")


def test_refusing_takes_little_memory():
    for text in ATTACKS.values():
        again = text + " "  # another text, so that nothing is remembered
        assert peak_bytes(lambda again=again: check_template(again, "t.jinja")) < 48 << 20
