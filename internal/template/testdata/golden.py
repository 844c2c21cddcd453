"""Writes golden.json: what Jinja itself makes of the templates below. Run: pip install jinja2==3.1.6; python3 golden.py

A template is rendered with "value_json" decoded from the JSON of VARS, as gatepost does. "error" stands for any error.
"""
import json
import jinja2

VARS = r'''{
  "state": "ON", "t": 21.5, "n": 21, "zero": 0, "neg": -7, "big": 9007199254740993, "f1": 1.0, "tiny": 0.00001,
  "small": 0.0001, "huge": 1e16, "e22": 1e22, "third": 0.3333333333333333, "yes": true, "no": false, "nothing": null,
  "name": "Living room lamp", "uni": "Küche ☃ 😀", "quote": "it's", "empty": "", "list": [3, 1, 2], "words": ["b", "A", "c"],
  "mixed": [1, "a", null, 2.5, true, {"k": "v"}], "o": {"a": {"b": {"c": 42}}, "x": [10, 20, {"y": "deep"}]},
  "num": "12.7", "int": "12", "bad": "unavailable", "sp": "  x  ", "csv": "a,b,,c", "html": "<b>&\"'</b>",
  "devs": [{"id": 1, "on": true}, {"id": 2, "on": false}, {"id": 3, "on": true}]
}'''

EXPRESSIONS = r'''
state | n | t | f1 | tiny | small | huge | e22 | third | big | neg | yes | no | nothing | name | uni | quote | empty
list | words | mixed | o | o.a.b.c | o['a']['b'].c | o.x[0] | o.x[-1].y | o.x.2.y | o.x[9] | o.nope | o.nope.more
list[0] | list[1:] | list[:-1] | list[::-1] | list[::2] | name[0] | name[-4:] | name[::-1] | uni[6] | uni[1:3]
n + 1 | n - 1.5 | n * 2 | t * 2 | n / 2 | n / 7 | n // 2 | neg // 2 | n % 5 | neg % 5 | -7.5 % 2 | 2 ** 10 | 2 ** -1
2 ** 0.5 | -2 ** 2 | 2 ** 3 ** 2 | 7 // -2 | 7.5 // 2 | 1 / 0 | 1 % 0 | zero | -n | - -n | +n | n + t | 0.1 + 0.2
1e3 | 1.5e-3 | 1_000 | 0x1f | 1 + true | 'a' + 'b' | 'a' ~ 1 ~ 2.0 ~ none ~ true | 'ab' * 3 | 3 * 'ab' | [1] * 2
[1] + [2] | 'a' + 1 | 1 + 'a' | '%d items' % 3 | '%s' % 'x' | '%.2f' % t | 'x' 'y' | "it's" | 'a\tb\n' | '\u00e9\x41'
n == 21 | n == 21.0 | t == '21.5' | state == 'ON' | state != 'OFF' | n > 20 | n >= 21 | n < 21 | 1 < 2 < 3 | 1 < 3 < 2
'a' < 'b' | 'a' < 1 | list == [3, 1, 2] | o == o | nothing == none | none == false | 1 == true | 'a' in name | 'L' in name
2 in list | 5 not in list | 'a' in o | 'b' not in o | 'v' in mixed | nope in list | 1 in nope
state == 'ON' and n > 3 | state == 'x' or n | empty or 'none' | not empty | not not n | not n == 3 | n and t | zero and n
'on' if yes else 'off' | 'a' if no else 'b' if no else 'c' | 'a' if no | ('x' if yes else 'y') ~ 'z' | (n if yes else 2) + 1
nope | nope.more | nope[1] | nope is defined | o.nope is defined | n is defined | nope is not defined | nope is undefined
nope == none | nope == nope | nope ~ 'x' | nope + 1 | nope > 1 | not nope | nope|default('d') | o.nope|default('d')
empty|default('d') | empty|default('d', true) | nothing|default('d') | nothing|default('d', boolean=true) | n|d(3)
n is number | state is string | t is float | n is integer | yes is integer | yes is boolean | list is sequence | o is mapping
n is even | n is odd | n is divisibleby 7 | n is divisibleby(2) | n is eq 21 | n is gt 20 | n is in [21] | n is not none
nothing is none | list is iterable | n is iterable | 'abc' is lower | 'ABC' is upper | yes is true | no is false | 1 is sameas
state|lower | name|upper | name|title | 'hELLO wORLD'|capitalize | "o'neil-smith (x)"|title | sp|trim | 'xxaxx'|trim('x')
num|float | num|int | int|int | bad|int | bad|float | bad|int(-1) | bad|float(none) | bad|float(default=2.5) | '0x1f'|int(0, 16)
'1f'|int(base=16) | ' 12 '|int | '1e3'|float | '1_000'|int | nothing|int | list|int | nope|int | yes|int | t|int | neg|abs
t|abs | bad|abs | -3|abs | (-3.5)|abs | 2.567|round(2) | 2.675|round(2) | 1.005|round(2) | 21.45|round(1) | t|round(1)
n|round | t|round | 2.5|round | n|round(1) | n|round(-1) | 2.5|round(1, 'floor') | 2.55|round(1, 'ceil') | bad|round | 1234.567|round(2)
list|length | name|length | uni|length | o|length | n|length | nothing|length | list|count | nope|length
list|first | list|last | []|first | name|first | name|last | list|min | list|max | words|min | []|max | list|sum | mixed|sum
list|join | list|join(', ') | words|join('-') | mixed|join('/') | devs|join(',', attribute='id') | name|join('.')
list|sort | words|sort | list|sort(reverse=true) | mixed|sort | list|reverse|list | name|reverse | name|list|length
name|replace('room', 'hall') | 'aaa'|replace('a', 'b', 2) | 'aaa'|replace('', '-') | n|replace('2', '3') | n|string ~ 'x'
'%s is %d'|format('x', 3) | '%5.1f|%-4s|%04d|%x|%%'|format(2.25, 'a', 7, 255) | '%d'|format('x') | '%s'|format(n, 3)
o|tojson | html|tojson | mixed|tojson | 'foo bar baz qux'|truncate(9) | 'foo bar'|truncate(5, true, '…') | uni|upper
csv.split(',') | csv.split(',')[1] | 'a b  c'.split() | csv.split(',', 1) | name.startswith('Liv') | name.endswith('x')
name.lower() | sp.strip() | o.get('a').b.c | o.get('zz') | o.get('zz', 5) | o.get('zz').q | o.keys()|list | {1: 'a', 2: 'b'}[2]
{'a': 1}['a'] | {'a': 1}.b | {'ON': 'open', 'OFF': 'shut'}[state] | {true: 'y'}[1] | {'a': {}} | {} | [] | [1, 'a', [2]]
{1.0: 'x'}[1] | ','.join(words) | name.replace('i', 'o').upper() | range(3)|list | range(1, 7, 2)|list | range(5, 0, -2)|join
range(0)|length | quote ~ quote | [quote] | ['a"b'] | ['a\'b"c'] | [uni] | ['a\nb'] | true | True | none | None | false
n|float|round(1)|string | (n + 1)|string|length | n + 1|int | 'a'|upper ~ 'b'|upper | n if n is defined else 0 | -1|abs
1|foo | foo(1) | n.foo() | 1 + | (1 | [1, | {1 | 'a | a b | 1..2 | n! | $n | a = 1 | {{ | 1 is | n| | n|upper(
'''

TEMPLATES = [
    "plain", "", "a\n", "a\n\n", "{# gone #}x", "{#- a -#} x", "x  {{- n -}}  y", "x {%- if yes %} a {% endif -%} y",
    "{% if n > 30 %}hot{% elif n > 20 %}warm{% else %}cold{% endif %}", "{% if nope %}a{% endif %}b",
    "{% for i in list %}{{ i }},{% endfor %}", "{% for i in list if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}",
    "{% for i in [] %}x{% else %}none{% endfor %}", "{% for k, v in o.items() %}{{ k }} {% endfor %}", "{% for k in o %}{{ k }}{% endfor %}",
    "{% for d in devs if d.on %}{{ d.id }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for c in 'aé☃' %}[{{ c }}]{% endfor %}", "{% for i in range(3) %}{% for j in range(2) %}{{ i }}{{ j }}{{ loop.index0 }} {% endfor %}{% endfor %}",
    "{% for i in list %}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% set x = 1 %}{% for i in list %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}", "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set a, b = [1, 2] %}{{ b }}{{ a }}", "{% set a = 1, 2 %}{{ a[1] }}", "{% for a, b in [[1, 2], [3, 4]] %}{{ a + b }} {% endfor %}",
    "{% for i in nope %}x{% else %}y{% endfor %}", "{% for i in n %}x{% endfor %}", "{% for i in list %}{{ i }}{% endfor %}{{ i }}",
    "{{ '}}' }}{{ '{{' }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{ {n} } % # {", "{{\n  n\n  | string\n}}", "{%\nif\nyes\n%}x{%\nendif\n%}",
    "line 1\n  {{ n }}\nline 3\n", "{{ n }}\n{{ t }}", "{% if yes -%}\n  a\n{%- endif %}", "{%+ if yes +%} a{% endif %}",
    "{% set m = {'a': 'x', 'b': 'y'} %}{{ m[state|lower] | default('?') }}{{ m['a'] }}",
    "{{ value_json.t }} °C", "{{ value_json.o.a.b.c }}", "{{ value_json['name'] }}", "{{ value_json.nope }}", "{{ value_json.nope.x }}",
    "{% if %}", "{% if n %}", "{% endif %}", "{% for in list %}{% endfor %}", "{% for i list %}{% endfor %}", "{% set 1 = 2 %}", "{% else %}",
    "{{ n", "{% if n", "{# n", "{{ n }", "{{ }}", "{% %}", "{% if n %}{% else %}{% else %}{% endif %}", "{% if n %}{% endfor %}", "{{ n }}}", "{{{ n }}}",
    "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}", "{{ 1, 2 }}", "{{ (1,)[0] }}", "{{ () | length }}", "{{ 10 ** 30 }}", "{{ 12345678901234567890 }}", "{% for i in list %}{% if i == 1 %}one{% else %}{{ i }}{% endif %}{% endfor %}",
]


def main():
    env = jinja2.Environment()
    variables = json.loads(VARS)
    variables["value_json"] = json.loads(VARS)
    sources = ["{{ %s }}" % e.strip(" ") for line in EXPRESSIONS.strip().split("\n") for e in line.split(" | ")] + TEMPLATES
    cases = []
    for source in sources:
        try:
            cases.append({"src": source, "out": env.from_string(source).render(variables)})
        except Exception:  # whatever Python calls it
            cases.append({"src": source, "error": True})
    with open("golden.json", "w", encoding="utf-8") as f:
        json.dump({"jinja2": jinja2.__version__, "vars": json.loads(VARS), "cases": cases}, f, ensure_ascii=False, indent=0)
        f.write("\n")


main()
