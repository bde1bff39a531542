"""What a model's folder could do besides being a model.

FunASR runs what a configuration names: code of the folder's own, further models, classes that load
others' code, pickles. Owns what is looked for in a folder before FunASR has it, and which of
FunASR's classes were read for it. Must not know FunASR or torch: it reads names, YAML and pickles.

FunASR's ways that this closes were read in 1.4.16: `download_from_ms`, `download_from_hf` and
`AutoModel` take `trust_remote_code`, `remote_code`, `vad_model`, `punc_model`, `spk_model` and
their `*_kwargs` from the folder as from a caller; OmegaConf resolves `${oc.env:NAME}`; a relative
path starts where the process runs; `torch.load` is called without a word about pickles.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ray_asr.engine import llm_folders
from ray_asr.engine.checkpoints import foreign_names
from ray_asr.engine.model_files import METAS, files_by_name, is_qwen3_asr, read_settings

CODE, CLASS, PLACE, WEIGHTS = "code", "class", "place", "weights"

# Each was read: it builds layers, reads the files of `_FILES` as text, and runs nothing else. A
# test looks through the modules that register them. `FunASRNano` gives a folder to transformers,
# which is looked at (`llm_folders`). `Qwen3ASR` does that with the whole model: it is taken in its
# own form alone, where no configuration of FunASR's says otherwise.
KNOWN_CLASSES = frozenset(
    [
        "Paraformer", "BiCifParaformer", "SeacoParaformer", "ContextualParaformer",
        "ParaformerStreaming", "EParaformer", "Paraformer_v2_community", "SenseVoiceSmall",
        "MonotonicAligner", "SANM", "SCAMA", "UniASR", "Conformer", "Transformer", "Branchformer",
        "EBranchformer", "Transducer", "BAT", "CTC", "CTTransformer", "CTTransformerStreaming",
        "FsmnVADStreaming", "SANMEncoder", "SANMEncoderChunkOpt", "SANMVadEncoder",
        "SenseVoiceEncoderSmall", "FSMN", "ConformerEncoder", "ChunkConformerEncoder",
        "TransformerEncoder", "BranchformerEncoder", "EBranchformerEncoder",
        "ParaformerSANMDecoder", "ParaformerSANMDecoder_v2_community", "ParaformerSANDecoder",
        "ParaformerDecoderSAN", "ContextualParaformerDecoder", "FsmnDecoder", "FsmnDecoderSCAMAOpt",
        "TransformerDecoder", "LightweightConvolutionTransformerDecoder",
        "LightweightConvolution2DTransformerDecoder", "DynamicConvolutionTransformerDecoder",
        "DynamicConvolution2DTransformerDecoder", "rnnt_decoder", "rnn_decoder", "joint_network",
        "CifPredictor", "CifPredictorV2", "CifPredictorV3", "PifPredictor", "SpecAug", "SpecAugLFR",
        "GlobalMVN", "UtteranceMVN", "CharTokenizer", "SentencepiecesTokenizer", "WavFrontend",
        "wav_frontend", "WavFrontendOnline", "CAMPPlus", "FunASRNano", "HuggingfaceTokenizer",
        "SenseVoiceTokenizer",
    ]
)  # fmt: skip
# Where a configuration names a class of FunASR's tables; `seaco_decoder` is such a place too.
_NAMES_A_CLASS = re.compile(
    r"(.*_)?(model|encoder|decoder|predictor|specaug|normalize|joint_network|tokenizer|frontend"
    r"|adaptor)"
)
_FURTHER_MODELS = ("vad_model", "punc_model", "spk_model")
_FILES = frozenset(
    [
        "init_param", "config", "token_list", "token_lists", "bpemodel", "seg_dict", "seg_dicts",
        "seg_dict_file", "cmvn_file", "jieba_usr_dict", "stats_file", "non_linguistic_symbols",
        "vocab_path",
    ]
)  # fmt: skip
_ASKS_A_RESOLVER = re.compile(r"\$\{[^}]*:")
_MOST_NAMES = 3
_MOST_SHOWN = 120  # characters of a value, in a message
# Names that FunASR loads without a folder, with code that comes with the weights.
_LOAD_THEMSELVES = ("MOSS-Transcribe-Diarize", "OpenMOSS-Team/MOSS-Transcribe-Diarize")


class Concern(NamedTuple):
    """One thing that a folder asks for and only a trusted one may have.

    Attributes:
        kind: `CODE`, `CLASS`, `PLACE` or `WEIGHTS`.
        what: names the file and what it asks for.
    """

    kind: str
    what: str


def concerns(folder: Path, options: Mapping[str, Any]) -> list[Concern]:
    """What a model's folder asks for that could run code or reach other files.

    Args:
        folder: is there.
        options: what `AutoModel` is given besides, which counts before the configuration.

    Raises:
        ValueError: a configuration cannot be read; says which.
    """
    folder = Path(os.path.abspath(folder))
    if is_qwen3_asr(folder):
        asked = llm_folders.asks(folder, {llm_folders.QWEN3_ASR})
        found = [Concern(CODE, what) for what in asked]
        return [*found, *_pickles(llm_folders.pickled(folder))]
    if not any((folder / name).is_file() for name in (METAS, "config.yaml")):
        what = f"{folder} has no config.yaml: a class of FunASR's would load it in its own way"
        return [Concern(CLASS, what)]
    settings, file, given = _settings(folder)
    found = [*_code(settings, file), *_classes({**settings, **options}, file)]
    places, weights = [], [] if (folder / METAS).is_file() else [folder / "model.pt"]
    for key, value in _texts(settings):
        if key == "init_param_path":
            found += _language_model(value, folder, file)
            weights.append(Path(os.path.abspath(value)))
        if key not in _FILES or key in given or not os.path.exists(value):
            continue
        path = Path(os.path.abspath(value))
        if not path.is_relative_to(folder):
            what = f"{file} points out of the folder ({key}: {_short(value)})"
            places.append(Concern(PLACE, what))
        if key == "init_param":
            weights.append(path)
    return [*found, *places, *_pickles(weights)]


def loads_itself(name: str) -> bool:
    """Whether FunASR has a class that loads a model of this name in its own way."""
    return name in _LOAD_THEMSELVES


def concerns_of_name(name: str, options: Mapping[str, Any]) -> list[Concern]:
    """The same of a name that FunASR takes for a class at once, without a look at any folder."""
    is_class = "model_conf" in options and name not in KNOWN_CLASSES
    if is_class or loads_itself(name):
        return [Concern(CLASS, f"{_short(name)} is a class that may load others' code")]
    return []


def _settings(folder: Path) -> tuple[Mapping[str, Any], Path, frozenset[str]]:
    """What FunASR makes of a folder's files, with the file that says most of it.

    And the kinds of files that the folder has by their usual names, whatever its settings name.
    """
    if not (folder / METAS).is_file():
        file = folder / "config.yaml"
        return read_settings(file), file, frozenset(role for role, _ in files_by_name(folder))
    named = _located(folder, read_settings(folder / METAS).get("file_path_metas"))
    file = named.get("config")
    if not isinstance(file, str):
        return named, folder / METAS, frozenset()
    return _merged(read_settings(Path(file)), named), Path(file), frozenset()


def _located(folder: Path, metas: Any) -> dict[str, Any]:
    """The tree of `file_path_metas` with paths where there are files, as FunASR has them."""

    def located(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: located(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [located(inner) for inner in value]
        path = os.path.join(folder, value) if isinstance(value, str) else ""
        return path if path and os.path.exists(path) else None

    return located(metas) if isinstance(metas, Mapping) else {}


def _merged(settings: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(below, value)
        elif value is not None:
            merged[key] = value
    return merged


def _all(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a tree that is no mapping or list, by the nearest key above it."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _all(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _all(inner, key)
    else:
        yield key, value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _texts(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((key, value) for key, value in _all(settings) if isinstance(value, str))


def _code(settings: Mapping[str, Any], file: Path) -> Iterator[Concern]:
    for key, value in _all(settings):
        if key in ("trust_remote_code", "remote_code") and value:
            yield Concern(CODE, f"{file} asks for code of its own ({key}: {_short(value)})")
        if isinstance(value, str) and _ASKS_A_RESOLVER.search(value):
            yield Concern(PLACE, f"{file} asks for what is not in it ({key}: {_short(value)})")
    encoder = settings.get("audio_encoder_conf")
    if isinstance(encoder, Mapping) and encoder.get("hub") == "ms":
        what = _short(settings.get("audio_encoder"))
        yield Concern(CODE, f"{file} names a further model (audio_encoder: {what})")
    language_model = settings.get("llm_conf")
    if isinstance(language_model, Mapping):
        for what in llm_folders.loading_asks(language_model.get("load_kwargs"), file):
            yield Concern(CODE, what)
    for key in _FURTHER_MODELS:
        if settings.get(key):
            yield Concern(CODE, f"{file} names a further model ({key}: {_short(settings[key])})")


def _classes(settings: Mapping[str, Any], file: Path) -> Iterator[Concern]:
    for key, value in _texts(settings):
        if key in _FURTHER_MODELS or not _NAMES_A_CLASS.fullmatch(key):
            continue
        for name in value.split(",") if key == "tokenizer" else [value]:
            if name not in KNOWN_CLASSES:
                what = f"{file} names a class that may load others' code ({key}: {_short(name)})"
                yield Concern(CLASS, what)


def _language_model(value: str, folder: Path, file: Path) -> Iterator[Concern]:
    """What the folder of a language model, or a file of weights, asks for that a model names."""
    path = Path(os.path.abspath(value))
    if not path.exists() or not path.is_relative_to(folder):
        what = f"{file} names a model that is not in its folder (init_param_path: {_short(value)})"
        yield Concern(PLACE, what)
    elif path.is_dir():
        for what in llm_folders.asks(path, llm_folders.LLMS):
            yield Concern(CODE, what)


def _pickles(weights: list[Path]) -> Iterator[Concern]:
    for file in weights:
        if file.is_file() and (names := foreign_names(file)):
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            asked = f"{', '.join(names[:_MOST_NAMES])}{more}"
            yield Concern(WEIGHTS, f"{file} holds more than weights ({asked})")
