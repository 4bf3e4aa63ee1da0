"""Answers of a language model in a file: recorded as they come, and given again without the model."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

from bebr.models.taggpt.port import LanguageModel

__all__ = ["Replay"]


class Replay:
    """A language model that answers from ``path``, JSON lines of ``{"prompt": sha256, "by": name, "replies": [...]}``.

    With ``model``, what the file lacks is asked of it and appended, so that a run that was killed goes on where it was
    and a second run costs nothing; ``path`` may then be None, and answers are kept in memory only. Without a model, an
    unknown prompt is a KeyError. The last of several lines for one prompt counts. Raises FileNotFoundError; ValueError
    naming a damaged line, or answers of another model.
    """

    def __init__(self, path: str | Path | None, model: LanguageModel | None = None) -> None:
        if path is None and model is None:
            raise ValueError("path, model: got neither, wanted recorded answers or someone to ask")
        self.path, self.model = None if path is None else Path(path), model
        self._lock = threading.Lock()
        self._replies: dict[str, list[str]] = {}
        self.name = f"replay of {self.path}" if model is None else model.name
        if self.path is not None:
            if model is None and not self.path.is_file():
                raise FileNotFoundError(f"{self.path}: no such file of recorded answers")
            if not self.path.parent.is_dir():
                raise FileNotFoundError(f"{self.path}: the folder {self.path.parent} does not exist")
            if self.path.exists():
                self._read(self.path)

    def __len__(self) -> int:
        return len(self._replies)

    def complete(self, prompt: str, n: int = 1) -> list[str]:
        """The first ``n`` recorded answers. KeyError where there are fewer and no model to ask."""
        key = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
        with self._lock:
            held = self._replies.get(key, [])
        if len(held) >= n:
            return held[:n]
        if self.model is None:
            raise KeyError(
                f"{self.path}: holds {len(held)} of {n} answers to the prompt {key[:12]}, which ends in "
                f"{prompt[-80:]!r}: record it with a model, or use the prompts and settings that were recorded"
            )
        replies: list[str] = held + self.model.complete(prompt, n - len(held))
        line = json.dumps({"prompt": key, "by": self.name, "replies": replies}) + "\n"
        with self._lock:
            self._replies[key] = replies
            if self.path is not None:
                with self.path.open("a", encoding="ascii") as file:  # a kill leaves a torn last line at most
                    file.write(line)
        return replies

    def _read(self, path: Path) -> None:
        raw = path.read_bytes()
        whole = raw.rpartition(b"\n")[0] + b"\n" if b"\n" in raw else b""
        if whole != raw:
            if self.model is None:
                raise ValueError(f"{path}: the last line is cut off: record again, or remove it")
            with path.open("r+b") as file:  # what a kill left of the line being written
                file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = json.loads(line)
                key, by, replies = record["prompt"], record["by"], record["replies"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}: line {number}: not a recorded answer: {error!r}") from error
            if not isinstance(replies, list) or not all(isinstance(reply, str) for reply in replies):
                raise ValueError(f"{path}: line {number}: 'replies' is not a list of strings")
            if self.model is not None and by != self.name:
                raise ValueError(
                    f"{path}: line {number}: answered by {by!r}, but {self.name!r} is to be recorded: give another file"
                )
            self._replies[key] = replies
