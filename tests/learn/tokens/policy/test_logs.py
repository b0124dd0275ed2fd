import json
import math

from microdollar.learn.tokens.policy.logs import LINES, Logs


def lines(folder):
    return [json.loads(line) for line in (folder / LINES).read_text().splitlines()]


def test_lines_of_steps_that_come_again_are_forgotten(tmp_path):
    logs = Logs(tmp_path / "logs")
    for step in range(1, 5):
        logs.write(step, "joint", bits=step / 2, none=math.nan)
    logs.close()
    with (tmp_path / "logs" / LINES).open("a") as file:
        file.write('{"step": 5, "sta')
    again = Logs(tmp_path / "logs", after=2)
    again.write(3, "joint", bits=9.0)
    again.close()
    assert lines(tmp_path / "logs") == [
        {"step": 1, "stage": "joint", "bits": 0.5},
        {"step": 2, "stage": "joint", "bits": 1.0},
        {"step": 3, "stage": "joint", "bits": 9.0},
    ]
