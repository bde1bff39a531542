"""A model's folder: the files that its own configuration asks for, and what tells it from another.

FunASR goes on without a token list or without the file that normalizes features, and fails much
later in other words, or hears nonsense. Owns what is looked for in a folder before FunASR has it.
Must not know FunASR or torch: it reads names, YAML and checksums.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ray_asr.engine import llm_folders
from ray_asr.yaml_text import read_yaml

_REQUIRED = ("config.yaml", "model.pt")
# The form of ModelScope: paths by what they are for. With it FunASR looks at nothing else.
METAS = "configuration.json"
_ROLES = (
    "init_param", "config", "token_list", "bpemodel", "seg_dict", "seg_dict_file", "cmvn_file",
    "vocab_path", "init_param_path",
)  # fmt: skip
# Classes that are trained on features with zero mean and unit variance, and whose front end makes
# them so with the file.
_NORMALIZED = frozenset(
    [
        "Paraformer", "ParaformerStreaming", "BiCifParaformer", "SeacoParaformer",
        "ContextualParaformer", "SenseVoiceSmall", "FsmnVADStreaming",
    ]
)  # fmt: skip
_NORMALIZING = ("WavFrontend", "WavFrontendOnline")
_BLOCK = 2**20
_MOST_CHARACTERS = 2**24  # of a configuration; some hold a list of tokens


def missing_files(folder: Path, options: Mapping[str, Any]) -> list[str]:
    """What a folder lacks of what FunASR would load from it, each with who asks for it.

    Args:
        folder: is there.
        options: what `AutoModel` is given besides; it may name files itself.

    Raises:
        ValueError: a configuration cannot be read; says which.
    """
    if is_qwen3_asr(folder):
        return llm_folders.missing(folder)
    if (folder / METAS).is_file():
        named = dict(_named(read_settings(folder / METAS).get("file_path_metas")))
        missing = [
            f"{file}, which its {METAS} names"
            for role, file in named.items()
            if not (folder / file).exists()
        ]
        if missing or "config" not in named:
            return missing
        given = {role: str(folder / file) for role, file in named.items()}
        config_file = folder / named["config"]
    else:
        missing = [file for file in _REQUIRED if not (folder / file).is_file()]
        if missing:
            return missing
        given, config_file = dict(files_by_name(folder)), folder / "config.yaml"
    return list(_asked_for(read_settings(config_file), given, options))


def configuration(folder: Path) -> Path | None:
    """The file in which FunASR finds the class of a folder's model; None where there is none.

    Raises:
        ValueError: the hub's list of files cannot be read.
    """
    if not (folder / METAS).is_file():
        file = folder / "config.yaml"
        return file if file.is_file() else None
    named = dict(_named(read_settings(folder / METAS).get("file_path_metas")))
    return folder / named["config"] if "config" in named else None


def is_qwen3_asr(folder: Path) -> bool:
    """Whether a folder is as Qwen3-ASR comes: in the form of transformers, without FunASR's own.

    Raises:
        ValueError: its configuration cannot be read.
    """
    return configuration(folder) is None and llm_folders.kind_of(folder) == llm_folders.QWEN3_ASR


def model_class(folder: Path) -> str:
    """FunASR's name of the class that a folder's model is of; "" where it names none.

    Raises:
        ValueError: its configuration cannot be read.
    """
    if (file := configuration(folder)) is not None:
        return str(read_settings(file).get("model", ""))
    return "Qwen3ASR" if is_qwen3_asr(folder) else ""


def _named(metas: Any) -> Iterator[tuple[str, str]]:
    """Role and path of the files of `file_path_metas`, as far as FunASR cannot do without."""
    for role, value in metas.items() if isinstance(metas, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _named(value)
        elif isinstance(value, str) and role in _ROLES:
            yield role, value


def files_by_name(folder: Path) -> Iterator[tuple[str, str]]:
    """What FunASR takes from a folder of the plain form, by the names of the files."""
    for role, names in (
        ("token_list", ("tokens.json", "tokens.txt")),
        ("bpemodel", ("bpe.model",)),
        ("seg_dict", ("seg_dict",)),
        ("cmvn_file", ("am.mvn",)),
    ):
        for name in names:
            if (folder / name).exists():
                yield role, str(folder / name)
                break


def _asked_for(
    config: Mapping[str, Any], given: Mapping[str, str], options: Mapping[str, Any]
) -> Iterator[str]:
    def part(name: str) -> dict[str, Any]:
        parts = (config.get(name), given, options.get(name))
        return {key: p[key] for p in parts if isinstance(p, Mapping) for key in p}

    def setting(name: str) -> Any:
        return options.get(name, config.get(name))

    tokenizer, front_end = part("tokenizer_conf"), part("frontend_conf")
    # A keyword spotter has several token lists, under a name of their own.
    if setting("tokenizer") == "CharTokenizer" and not setting("token_lists"):
        yield from _unless_there(tokenizer.get("token_list"), "tokens.json", "CharTokenizer")
    if setting("tokenizer") == "SentencepiecesTokenizer":
        yield from _unless_there(tokenizer.get("bpemodel"), "bpe.model", "SentencepiecesTokenizer")
    if words := tokenizer.get("seg_dict") or tokenizer.get("seg_dict_file"):
        yield from _unless_there(words, "seg_dict", str(setting("tokenizer")))
    front = setting("frontend")
    if front in _NORMALIZING:
        statistics = front_end.get("cmvn_file")
        if statistics or setting("model") in _NORMALIZED:
            asking = f"{front}, before a {setting('model')},"
            yield from _unless_there(statistics, "am.mvn", asking)


def _unless_there(value: Any, name: str, asking: str) -> Iterator[str]:
    """A file that is not where it should be; `value` is its path, or what it would hold."""
    if not value or (isinstance(value, str) and not Path(value).exists()):
        yield f"{value or name}, which its {asking} needs"


def read_settings(file: Path) -> Mapping[str, Any]:
    """A configuration in YAML or JSON.

    Raises:
        ValueError: it cannot be read; says which.
    """
    try:
        if file.suffix == ".json":
            found = json.loads(file.read_text(encoding="utf-8"))
        else:
            found = read_yaml(file, _MOST_CHARACTERS)
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{file} cannot be read ({reason})") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{file} holds no settings")
    return found


def digest(folder: Path) -> str:
    """Twelve hex digits over the names and the content of a folder's files.

    Hidden files are left out: hubs keep notes in them, of when a folder was fetched.
    """
    whole = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder)
        if any(part.startswith(".") for part in name.parts):
            continue
        stat = file.stat()
        whole.update(
            f"{name.as_posix()} {_content(file, stat.st_size, stat.st_mtime_ns)}\n".encode()
        )
    return whole.hexdigest()[:12]


@cache
def _content(file: Path, size: int, modified_ns: int) -> str:
    """A digest of what a file holds; of weights by the checksums that they carry."""
    of_file = hashlib.sha256()
    if checksums := _checksums(file):
        of_file.update("\n".join(checksums).encode())
        return of_file.hexdigest()
    with file.open("rb") as source:
        while block := source.read(_BLOCK):
            of_file.update(block)
    return of_file.hexdigest()


def _checksums(file: Path) -> list[str]:
    """Name, size and CRC-32 of each tensor in a file of `torch.save`, without reading any.

    Empty for any other file, and for one that was written without checksums.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return []
    if any(record.file_size and not record.CRC for record in records):
        return []
    # The first part of a name is that of the file when it was saved.
    return [f"{r.filename.partition('/')[2]} {r.file_size} {r.CRC:08x}" for r in records]
