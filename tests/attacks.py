"""Hostile texts, by what they are after. Whatever a model, a tool or a person wrote may be one.

`RUNS` is what a script would call if it ran in a page; nothing may ever call it.
"""

RUNS = "window.pwned=1"

HTML = (
    f"<script>{RUNS}</script>",
    f"<ScRiPt >{RUNS}</sCrIpT\n>",
    f"<img src=x onerror={RUNS}>",
    f'"><svg/onload={RUNS}>',
    f"' onmouseover='{RUNS}",
    f'" autofocus onfocus="{RUNS}',
    f'<a href="javascript:{RUNS}">x</a>',
    f"<iframe srcdoc='<script>{RUNS}</script>'>",
    f"<details open ontoggle={RUNS}>",
    "<style>*{display:none}</style><base href=//evil.example><meta http-equiv=refresh content=0>",
    "</td></tr></table></div></details></main></body></html>",
    "<!-- <textarea><title><plaintext>",
    "]]><![CDATA[",
    "&lt;b&gt;&#x3c;&amp;amp;",
    "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
    "\x00<\x00script>",
)
"""They break out of a text, an attribute, a tag or a page."""

SCRIPT = (
    "</script>",
    f"</script><script>{RUNS}</script>",
    "<!--<script>",
    "-->",
    "\u2028\u2029",
    '\\"};window.pwned=1;//',
    "'+window.pwned+'",
    "`${window.pwned=1}`",
    "__proto__",
    "\ud800",
    "\\u003c/script\\u003e",
)
"""They break out of JSON or of a string in a script."""

MARKDOWN = (
    f"[x](javascript:{RUNS})",
    "![x](http://evil.example/pixel.png)",
    "<http://evil.example>",
    "http://evil.example www.evil.example",
    "| a | b |\n|---|---|\n| c | d |",
    "a|b||c",
    "```\n# heading\n```",
    "# heading\n\n- item\n\n---",
    "*a* _b_ **c** ~~d~~ `e`",
    "$x^2$ $$\\href{javascript:window.pwned=1}{x}$$",
    "[x]: http://evil.example\n[x]",
    "\\[\\]\\`",
)
"""They make links, pictures, tables, headings or formulas."""

TERMINAL = (
    "\x1b[2J\x1b[1;1H\x1b[31mred",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJmIC8=\x07",
    '\x1bP$q"p\x1b\\',
    "\x9b31m\x90q\x9c\x9d0;x\x9c",
    "all is well\b\b\b\b\b\b\b\bbroken",
    "first\rsecond",
    "\x07\x0e\x0f\x05",
    "line\nError: forged",
    "\u2028\u2029\x85\x0b\x0c",
    "\u202eexe.tset\u202c\u2066x\u2069\u200f",
    "zero\u200bwidth\ufeff\u00ad\U000e0041",
    "a" + "\u0301" * 200,
    "\x7f\x00",
)
"""They steer a terminal, or show another text than the one that is there."""

CSV = (
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r=1+1",
    '"=1+1',
    'a","=1+1","b',
    "a\r\n=1+1",
    ";=1+1",
    "＝1+1",
)
"""Spreadsheets take them for formulas, or for more cells."""

PATHS = (
    "../../../etc/passwd",
    "..\\..\\boot.ini",
    "~/.ssh/id_rsa",
    "a/../../b",
    "a\0.txt",
    ".",
    "..",
    "con",
    "a" * 300,
    "%2e%2e%2f",
    "-rf",
    "--help",
    "$(touch pwned)`touch pwned`;touch pwned|touch pwned",
)
"""They lead out of a folder, or are options and commands."""

SQL = (
    "' or '1'='1",
    "'; drop table events; --",
    '"; delete from parts; --',
    "%_\\",
    "*",
    'NEAR("a" "b")',
    "a OR b",
    '"',
    "?1 :name @name $name",
    "$.a.b[0]",
    '{"$part":"0"}',
    '{"$text":"\\\\ud800"}',
    "\0",
)
"""They are more than a value in a query, a search, a JSON path or the log's own JSON."""

LONG = ("x" * 100_000, "wide " * 20_000, "\u4e2d" * 40_000, "\n" * 5_000, "[" * 5_000)
"""They are long in a way that breaks a layout, or deep."""

KINDS = {
    "html": HTML,
    "script": SCRIPT,
    "markdown": MARKDOWN,
    "terminal": TERMINAL,
    "csv": CSV,
    "paths": PATHS,
    "sql": SQL,
    "long": LONG,
}

ATTACKS: tuple[str, ...] = tuple(dict.fromkeys(text for kind in KINDS.values() for text in kind))
"""All of them, once each."""
