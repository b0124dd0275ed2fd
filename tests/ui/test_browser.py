"""The planner page as a person gets it: the real server, a real browser."""

import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

expect = pytest.importorskip("playwright.sync_api").expect

TWO = (
    "?model=llama-3.1-8b&device=h100-sxm&count=8&tokens=1G&zero=3&sequence=4096&batch=64"
    "&micro_batch=2&compare=on&b-model=llama-3.1-8b&b-device=a100-80gb&b-count=8&b-tokens=1G"
    "&b-zero=3&b-sequence=4096&b-batch=64&b-micro_batch=1&b-optimizer=collins"
)
PAGES = {
    "one": "",
    "two": TWO,
    "pasted": "?source=text&text=extends+%3D+%22rl-token-compression%22",
    "served": "?model=gpt2&device=l4&task=serve&generate=200",
}


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    process = subprocess.Popen(
        [sys.executable, "-m", "microdollar", "ui", "--port", "0", "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MICRODOLLAR_HOME": str(home)},
    )
    yield process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "Press Ctrl-C to end it.\n")


def time_of(page, plan=0):
    return float(page.locator("[data-row=Time] data").nth(plan).get_attribute("value"))


def changed(page, change):
    """Numbers before and after something is typed, once they have moved."""
    before = time_of(page)
    with page.expect_response("**/results") as answer:
        change()
    assert answer.value.status == 200
    page.wait_for_function(
        "old => +document.querySelector('[data-row=Time] data').value !== old", arg=before
    )
    return before, time_of(page)


def clipboard(page):
    return page.evaluate("navigator.clipboard.readText()")


def copied(page, name):
    page.get_by_role("button", name=name).first.click()
    page.get_by_role("button", name="Copied").wait_for()
    text = clipboard(page)
    page.get_by_role("button", name=name).first.wait_for()
    return text


def test_numbers_move_as_the_plan_changes(open_page, address):
    page = open_page(address, permissions=["clipboard-read", "clipboard-write"])
    first, larger = changed(page, lambda: page.get_by_label("Name of a model").fill("llama-3.1-8b"))
    assert larger > 2 * first
    assert "llama-3.1-8b" in page.locator(".head").inner_text()
    _, slower = changed(page, lambda: page.get_by_label("Device", exact=True).select_option("l4"))
    assert slower > larger
    assert "not" not in page.locator("#status").inner_text()
    assert "Chance to fit: below 1 %" in page.locator("#status").inner_text()
    _, fewer = changed(page, lambda: page.get_by_label("Training tokens").fill("1G"))
    assert fewer < slower

    # The address is that of what is shown.
    expect(page).to_have_url(re.compile("model=llama-3.1-8b.*tokens=1G"))
    page.reload()
    assert time_of(page) == fewer

    command = copied(page, "Copy command")
    assert shlex.split(command)[:5] == ["microdollar", "estimate", "llama-3.1-8b", "--device", "l4"]
    page.get_by_text("As a TOML plan").click()
    toml = copied(page, "Copy TOML")
    assert 'model = "llama-3.1-8b"\ndevice = "l4"\n' in toml
    # What was opened stays open as numbers change.
    changed(page, lambda: page.get_by_label("Training tokens").fill("2G"))
    assert page.locator("#toml-1").is_visible()


def test_two_plans_are_compared(open_page, address):
    page = open_page(address)
    one = time_of(page)
    page.get_by_role("button", name="Compare").click()
    expect(page).to_have_url(re.compile("compare=on"))
    assert [time_of(page, plan) for plan in (0, 1)] == [one, one]
    assert page.locator("[data-row=Time] .ratio").inner_text() == "1.00 ×"
    with page.expect_response("**/results"):
        page.locator("#b-tokens").fill("40G")
    page.wait_for_function(
        "document.querySelector('[data-row=Time] .ratio').textContent.startsWith('2.0')"
    )
    assert time_of(page) == one
    page.get_by_role("button", name="Swap").click()
    expect(page.locator("#tokens")).to_have_value("40G")
    assert time_of(page, 1) == one
    page.get_by_role("button", name="Only").click()
    expect(page.locator("[data-row=Time] data")).to_have_count(1)


@pytest.mark.parametrize("script", [True, False])
def test_enter_in_a_field_estimates_and_empties_nothing(open_page, address, script):
    page = open_page(address + "?model=gpt2&device=l4&count=2", java_script_enabled=script)
    page.locator("#tokens").fill("30G")
    page.locator("#tokens").press("Enter")
    expect(page.locator("#command-1")).to_contain_text("--count 2 --tokens 30G")
    expect(page.locator("#tokens")).to_have_value("30G")
    expect(page.locator("#count")).to_have_value("2")


def test_what_a_plan_says_itself_is_not_given_as_a_default(open_page, address):
    page = open_page(address + "?model=gpt2&device=l4")
    tokens, optimizer = page.locator("#tokens"), page.locator("#optimizer option").first
    expect(tokens).to_have_attribute("placeholder", "one step")
    expect(optimizer).to_have_text("adamw")
    page.locator("#model").fill("rl-token-compression")
    expect(tokens).to_have_attribute("placeholder", "its own")
    expect(optimizer).to_have_text("its own")
    page.reload()
    expect(tokens).to_have_attribute("placeholder", "its own")
    expect(optimizer).to_have_text("its own")
    page.locator("#model").fill("gpt2")
    expect(tokens).to_have_attribute("placeholder", "one step")
    expect(optimizer).to_have_text("adamw")


def test_what_is_wrong_is_said_by_the_form_and_the_numbers_stay(browser, address):
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    one = time_of(page)
    with page.expect_response("**/results") as answer:
        page.get_by_label("Training tokens").fill("many")
    assert answer.value.status == 422
    page.get_by_role("alert").get_by_text("'many' is not a number").wait_for()
    assert page.locator("#tokens").get_attribute("aria-invalid") == "true"
    assert page.locator("#tokens").get_attribute("aria-describedby") == "error"
    assert time_of(page) == one
    assert page.locator("#before").is_visible()
    with page.expect_response("**/results"):
        page.get_by_label("Training tokens").fill("20G")
    page.locator("#before").wait_for(state="hidden")
    assert page.locator("#error").inner_text() == ""
    assert page.locator("#tokens").get_attribute("aria-invalid") is None
    context.close()


def test_it_works_without_javascript(open_page, address):
    page = open_page(address, java_script_enabled=False)
    assert page.get_by_role("button", name="Copy command").count() == 0
    page.locator("#model").fill("gpt2")
    page.get_by_label("Pasted").check()
    assert not page.locator("#model").is_visible()
    page.get_by_label("config.json, or TOML").fill(
        'model = "gpt2"\ndevice = "l4"\n[serve]\nprompt_tokens = 9\nnew_tokens = 5'
    )
    page.get_by_role("button", name="Empty the fields").click()
    expect(page.locator("main")).to_contain_text("5 new tokens after 9")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("[data-row=Time] data")).to_have_count(2)


def test_the_keyboard_reaches_everything(open_page, address):
    page = open_page(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the numbers"
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none", seen[-1]
        if page.evaluate("document.activeElement.dataset.copy") == "command-1":
            break
    else:
        pytest.fail(f"the button was never reached: {seen}")
    assert {"model", "device", "tokens", "optimizer", "zero"} <= set(seen)


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        ("one", "light", 1280),
        ("one", "dark", 390),
        ("two", "dark", 1280),
        ("two", "light", 390),
        ("pasted", "light", 390),
        ("served", "dark", 1280),
    ],
)
def test_no_serious_finding_and_no_sideways_scrolling(open_page, axe, address, name, scheme, width):
    page = open_page(address + PAGES[name], width=width, scheme=scheme)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.locator("[data-row=Time] data").count() == (2 if name == "two" else 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(page) == []
