"""The whole training, from texts to a model folder, in stages that can be stopped at any step.

While it runs, MODEL.training holds a checkpoint, written whole every so many steps, and the logs.
Random numbers follow from the seed and the step, so a run that was killed and taken up again ends
with the same weights to the bit. MODEL itself is written at the end, whole.
"""

import hashlib
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from microdollar.errors import ModelFileError, UsageError
from microdollar.files import whole_file
from microdollar.learn.base import Progress, silent
from microdollar.learn.gradient.stepwise_torch import settings
from microdollar.learn.tokens.policy.config import TrainConfig
from microdollar.learn.tokens.policy.folder import PolicyModel
from microdollar.learn.tokens.policy.joint_torch import JointStage
from microdollar.learn.tokens.policy.logs import Logs
from microdollar.learn.tokens.policy.material import Material
from microdollar.learn.tokens.policy.pairs import Pairs
from microdollar.learn.tokens.policy.stages_torch import (
    ReconstructorStage,
    Stage,
    Workspace,
    start_network,
)
from microdollar.learn.tokens.policy.supervised_torch import SupervisedStage
from microdollar.learn.tokens.reconstruct.infiller import InfillerReconstructor
from microdollar.learn.tokens.reconstruct.infiller_torch import Infiller
from microdollar.learn.tokens.texts import Document, Split
from microdollar.learn.tokens.tokenizers import make_tokenizer
from microdollar.learn.tokens.vocabulary import Vocabulary

SUFFIX = ".training"
"""Of the folder beside the model's in which a training that has not ended stands."""
CHECKPOINT, LOGS = "checkpoint.pt", "logs"
_EXPECTED_BITS = 8.0
"""What dropping a token costs before anything was measured, about (assumed)."""
_LOG_STEPS = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What training gave."""

    model: PolicyModel
    infiller: InfillerReconstructor
    steps: int
    """Of all stages, those before an interruption too."""


def training_folder(folder: Path) -> Path:
    """Where a training of a model stands before it has ended."""
    return folder.with_name(folder.name + SUFFIX)


def train(
    documents: Split,
    folder: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    infiller: InfillerReconstructor | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train a policy and its reconstructor and write both to a folder.

    Args:
        documents: the test part is not looked at.
        folder: of the model; a model that is there is replaced at the end.
        config: all settings.
        resume: go on with a training that was interrupted; start anew if there is none.
        infiller: a trained reconstructor, instead of training one; its vocabulary is used.
        progress: told the steps of each stage.

    Raises:
        UsageError: if a training that has not ended stands there and ``resume`` is not asked for,
            or it is of other texts or settings.
        ModelFileError: if its checkpoint is damaged or the model can't be written.
        MicrodollarError: if training diverges.
    """
    there = training_folder(folder)
    path = there / CHECKPOINT
    if path.exists() and not resume:
        raise UsageError(
            f"{there} holds a training that has not ended. Go on with --resume, or delete it."
        )
    with settings(config.run.threads, config.run.products):
        work = prepare(documents, config, infiller)
        stages = _stages(config, trained=infiller is not None)
        facts = _fingerprint(documents, config, infiller)
        state = _read(path, facts) if path.exists() else None
        current, steps = 0, 0
        if state is not None:
            current, steps = state["stage"], state["steps"]
            work.load_state(state["work"])
        there.mkdir(parents=True, exist_ok=True)
        logs = Logs(there / LOGS, after=steps)
        try:
            for number in range(current, len(stages)):
                stage = _make(stages[number], work)
                if state is not None and state["state"] is not None:
                    stage.load_state(state["state"])
                state = None
                while stage.done < stage.total:
                    values = stage.step(progress)
                    steps += 1
                    if stage.coarse or stage.done % _LOG_STEPS == 0 or stage.done == stage.total:
                        logs.write(steps, stage.name, **values)
                    due = stage.coarse or stage.done % config.run.checkpoint_steps == 0
                    if due and stage.done < stage.total:
                        _write(path, facts, number, steps, work, stage)
                    progress(stage.done, stage.total, stage.name)
                stage.finish()
                if number + 1 < len(stages):
                    _write(path, facts, number + 1, steps, work, None)
        finally:
            logs.close()
    trained = _trained(work, steps)
    trained.model.save(
        folder,
        infiller=trained.infiller,
        logs=lambda fresh: _copy(there / LOGS, fresh),
    )
    shutil.rmtree(there, ignore_errors=True)
    return trained


def _stages(config: TrainConfig, *, trained: bool) -> list[str]:
    names = [] if trained else ["reconstructor"]
    if config.supervised.epochs:
        names.append("supervised")
        if config.supervised.policy_readings:
            names.append("supervised again")
    return [*names, *(["joint"] if config.joint.epochs else [])]


def _make(name: str, work: Workspace) -> Stage:
    if name == "reconstructor":
        return ReconstructorStage(work)
    if name == "joint":
        return JointStage(work)
    return SupervisedStage(work, again=name != "supervised")


def prepare(
    documents: Split, config: TrainConfig, infiller: InfillerReconstructor | None = None
) -> Workspace:
    """What the first stage begins with: texts as numbers, and networks that know nothing.

    Args:
        documents: the test part is not looked at.
        config: all settings.
        infiller: a trained reconstructor, if there is one.
    """
    run = config.run
    tokenizer = make_tokenizer(run.tokenizer)
    cut = [tokenizer.tokenize(document.text) for document in documents.train]
    if infiller is None:
        vocabulary = Vocabulary.of(cut, run.vocabulary, tokenizer=run.tokenizer)
        reader = Infiller(replace(config.infiller, vocabulary=len(vocabulary)), run.seed)
    else:
        vocabulary, reader = infiller.vocabulary, infiller.network.requires_grad_(True)
    pairs = Pairs.of([vocabulary.numbers(tokens) for tokens in cut], len(vocabulary))
    train = [Material.of(tokens, vocabulary, pairs, config.policy, seen=True) for tokens in cut]
    validation = [
        Material.of(tokenizer.tokenize(document.text), vocabulary, pairs, config.policy)
        for document in documents.validation
    ]
    return Workspace(
        config=config,
        vocabulary=vocabulary,
        pairs=pairs,
        train=train,
        validation=validation,
        network=start_network(config),
        reader=reader,
        expected=[each.spelled_bits + np.float32(_EXPECTED_BITS) for each in train],
    )


def _trained(work: Workspace, steps: int) -> Trained:
    facts = {"config": work.config.to_json(), "steps": steps, **work.history}
    model = PolicyModel(
        network=work.network, vocabulary=work.vocabulary, pairs=work.pairs, facts=facts
    )
    infiller = InfillerReconstructor(
        config=work.reader.config,
        vocabulary=work.vocabulary,
        weights=work.reader.weights(),
        facts=work.history.get("reconstructor", {}),
    )
    return Trained(model=model, infiller=infiller, steps=steps)


def _fingerprint(
    documents: Split, config: TrainConfig, infiller: InfillerReconstructor | None
) -> dict[str, str]:
    """What must be the same for a training to go on."""
    found = {"settings": hashlib.sha256(repr(config).encode()).hexdigest()}
    texts = hashlib.sha256()
    for part in (documents.train, documents.validation):
        texts.update(_joined(part))
    found["texts"] = texts.hexdigest()
    start = hashlib.sha256()
    for _, weight in sorted(infiller.weights.items()) if infiller else ():
        start.update(weight.tobytes())
    return {**found, "reconstructor": start.hexdigest()}


def _joined(documents: Sequence[Document]) -> bytes:
    return "\0".join(document.text for document in documents).encode("utf-8", "surrogatepass")


def _write(
    path: Path, facts: dict[str, str], number: int, steps: int, work: Workspace, stage: Stage | None
) -> None:
    state = {
        "facts": facts,
        "stage": number,
        "steps": steps,
        "work": work.state(),
        "state": None if stage is None else stage.state(),
    }
    try:
        with whole_file(path, "wb") as file:
            torch.save(state, file)
    except OSError as error:
        raise ModelFileError(
            f"{path} can't be written: {error.strerror or error}. Make room, then go on with "
            "--resume."
        ) from error


def _read(path: Path, facts: dict[str, str]) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        found = state["facts"]
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelFileError(
            f"{path} is damaged: {str(error).splitlines()[0]}. Delete {path.parent} and start anew."
        ) from error
    for name, value in facts.items():
        if found.get(name) != value:
            raise UsageError(
                f"{path.parent} holds a training with other {name}. Give the same ones, or delete "
                "it and start anew."
            )
    return state


def _copy(source: Path, target: Path) -> None:
    for path in source.iterdir():
        shutil.copy2(path, target / path.name)
