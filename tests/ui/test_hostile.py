"""Whatever is typed or pasted: an answer, no fault, no file, no markup."""

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import microdollar
from microdollar.ui.fields import FIELDS
from microdollar.ui.form import NAMES

PACKAGE = Path(microdollar.__file__).parent
NASTY = st.sampled_from(
    [
        "0",
        "-1",
        "1",
        "8",
        "1e308",
        "1e18",
        "9" * 25,
        "nan",
        "inf",
        "-inf",
        "1e-300",
        "1M",
        "3T",
        "None",
        "\x00",
        "\u202e",
        "１２",
        "<script>alert(1)</script>",
        "' onfocus=alert(1) x='",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "../../etc/passwd",
        "file:///etc/passwd",
        "this",
        "--json",
    ]
)
WORDS = st.one_of(NASTY, st.text(max_size=30), st.integers().map(str), st.floats().map(str))
FORMS = st.fixed_dictionaries(
    {"model": st.sampled_from(["gpt2", "t5-small", "rl-token-compression"]) | WORDS},
    optional={name: WORDS for name in NAMES if name not in ("model", "text", "source")}
    | {"device": st.sampled_from(["l4", "h100-sxm", "this", ""]) | WORDS}
    | {field.name: WORDS | st.sampled_from(["1", "2", "8"]) for field in FIELDS},
)


def assert_sound(answer, read):
    assert answer.status_code in (200, 422)
    shown = read(answer.text)
    assert bool(shown.problems) == (answer.status_code == 422)
    for row in shown.rows.values():
        for low, value, high in row:
            assert 0 <= low <= value <= high < float("inf")
    # Templates know these tags; a text that brings its own would show here.
    known = {"div", "section", "h2", "h3", "p", "b", "strong", "span", "svg", "rect", "table"}
    known |= {"caption", "thead", "tbody", "tr", "th", "td", "data", "small", "pre", "code"}
    known |= {"button", "details", "summary", "dl", "dt", "dd", "a"}
    assert {tag for tag, _ in shown.tags} <= known


@settings(max_examples=300)
@given(form=FORMS)
@example(form={"model": "gpt2", "device": "h100-sxm", "tokens": "9e18", "pue": "9.9"})
@example(form={"model": "gpt2", "device": "m3", "tokens": "1G"})
@example(form={"model": "<script>alert(1)</script>", "device": "l4"})
def test_any_form_has_an_answer(page, read, form):
    text = json.loads(json.dumps(form).encode("utf-8", "replace"))
    assert_sound(page.post("/results", text), read)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
CONFIGS = st.builds(
    lambda base, more: json.dumps(base | more),
    st.sampled_from(
        [
            {"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 50},
            {"model_type": "t5"},
            {},
        ]
    ),
    st.dictionaries(
        st.sampled_from(["n_embd", "n_layer", "n_head", "vocab_size", "_name_or_path", "name"]),
        JSON,
        max_size=3,
    ),
)
PLANS = st.builds(
    lambda lines: "\n".join(lines),
    st.lists(
        st.sampled_from(
            [
                'model = "gpt2"',
                'device = "l4"',
                'device = "this"',
                "[train]",
                "[serve]",
                "[layout]",
                "tokens = 1e308",
                "tokens = nan",
                "micro_batch = -1",
                "dp = 9999999999999999999",
                'extends = "rl-token-compression"',
                'extends = "/etc/hostname"',
                "prompt_tokens = 1",
                'model = "/etc/passwd"',
                "[[others]]",
                "new_tokens = 3",
                "[document]",
                "[model]",
                'learner = "ngram"',
                "data = { bytes = 1 }",
                "hidden = 64",
                "[[blocks]]",
                "count = 2",
                'name = "\\uFFFF<b>"',
                "published_parameters = 1e400",
                "pue = inf",
                "a.b.c = 1",
            ]
        ),
        max_size=8,
    ),
)


@settings(max_examples=300)
@given(text=CONFIGS | PLANS | st.text(max_size=50), device=st.sampled_from(["l4", ""]))
@example(text='{"model_type": "gpt2", "_name_or_path": "\\ud800", "n_embd": 8}', device="l4")
def test_any_text_has_an_answer(page, read, text, device):
    text = text.encode("utf-8", "replace").decode()
    answer = page.post("/results", {"source": "text", "text": text, "device": device})
    assert_sound(answer, read)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"%",
        b"=&=&",
        b"model=%ff%fe",
        b"\xff\x00",
        b"model=gpt2;device=l4",
        b"a" * 1000,
        b"model=gpt2&model=gpt2&device=l4",
        b"source=text&text=" + b"%5B" * 90000,
    ],
)
@pytest.mark.parametrize("path", ["/", "/results"])
def test_any_body_has_an_answer(page, path, body):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = page.request("POST", path, content=body, headers=headers)
    assert answer.status_code in (200, 413, 422)


def test_markup_stays_text(page):
    bad = "<img src=x onerror=alert(1)>"
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 50}
    for values in (
        {"model": bad, "device": bad, "tokens": bad},
        {"source": "text", "text": json.dumps(config | {"_name_or_path": bad}), "device": "l4"},
        {"model": "gpt2", "device": "l4", "stack": bad, "tokens": "1G"},
    ):
        for path in ("/", "/results"):
            assert bad not in page.post(path, values).text


@pytest.fixture
def opened():
    """Every file that is opened, made, listed or renamed while the fixture is in use."""
    found, on = [], True

    def hook(event, args):
        kinds = ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "glob")
        if on and event.startswith(("subprocess", "socket.connect", "sqlite3.connect")):
            found.append((event, str(args[0])))
        if on and event.startswith(kinds) and not isinstance(args[0], int):
            reads = event == "open" and args[1] in ("r", "rb")
            found.append((event if reads or event != "open" else "write", str(args[0])))

    sys.addaudithook(hook)
    yield found
    on = False


def test_no_file_is_opened_but_the_package_s_own(page, opened, empty_home):
    config = '{"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 50}'
    for name in ("gpt2", "config.json", "plan.toml", "secret"):
        (empty_home / name).write_text(config, "utf-8")
    (empty_home / "llama-3-8b").mkdir()
    opened.clear()
    here = str(empty_home)
    names = ["gpt2", "secret", "config.json", "./config.json", f"{here}/config.json", here, "."]
    names += ["../here", "~/x", "file:config.json", "plan.toml", "llama-3-8b", "/dev/stdin", "-"]
    for name in names:
        page.post("/results", {"model": name, "device": "l4"})
        page.post("/results", {"model": "gpt2", "device": name, "stack": name, "region": name})
        for text in (
            f'extends = "{name}"',
            f'model = "{name}"\ndevice = "l4"\n[train]',
            f'model = "gpt2"\ndevice = "{name}"\n[train]',
            f'model = "gpt2"\ndevice = "l4"\n[train]\n[[others]]\nmodel = "{name}"',
            'model = "gpt2"\ndevice = "l4"\n[train]\n[[document.claims]]\nquantity = "seconds"\n'
            f'value = 1\nthan = "{name}.toml"',
            name,
        ):
            page.post("/results", {"source": "text", "text": text})
            page.post("/results", {"source": "text", "text": text, "device": "this"})
    # What the machine is and its own calibration are looked up for the device ``this``.
    own = (str(PACKAGE), sys.prefix, sys.base_prefix, "/proc/", "/sys/", f"{here[:-4]}home/")
    assert not [path for event, path in opened if not path.startswith(own)]
    assert {event for event, _ in opened} <= {"open", "os.listdir", "os.scandir"}


def test_every_software_that_is_offered_has_numbers_of_its_own(page, read):
    plan = {"model": "llama-3.1-8b", "device": "h100-sxm", "count": "8", "zero": "3"}
    listed = re.search('id="stacks">(.*)', page.get("/").text)[1]
    offered = ["", *re.findall('value="([^"]+)"', listed)]
    times = {
        name: read(page.post("/results", plan | {"stack": name}).text).rows["Time"][0][1]
        for name in offered
    }
    assert len(set(times.values())) == len(offered) > 3


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"model": "gpt2", "device": "h100"}, "device"),
        ({"model": "gpt5", "device": "l4"}, "model"),
        ({"source": "text", "text": 'model = "gpt5"\ndevice = "l4"\n[train]'}, ""),
        ({"source": "text", "text": 'model = "gpt2"\ndevice = "h100"\n[train]'}, ""),
        ({"model": "gpt2", "device": "l4", "ep": "2"}, ""),
    ],
)
def test_an_unknown_name_is_said_of_its_field(page, read, form, field):
    assert list(read(page.post("/results", form).text).problems) == [("", field)]


def test_this_machine_is_not_measured_for_the_page(page, empty_home):
    answer = page.post("/results", {"model": "gpt2", "device": "this"})
    assert answer.status_code == 422
    assert "microdollar calibrate" in answer.text
    assert not (empty_home.parent / "home").exists()
