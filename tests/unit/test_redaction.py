"""Addresses and settings as they may be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_asr.redaction import is_secret_name, redacted, redacted_settings

SECRET = "vErY/sEcReT+kEy"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("s3://AKIA:s%2Fe@bucket/key?region=eu", "s3://***@bucket/key?region=eu"),
        (f"s3://AKIA:{SECRET}@bucket/key", "s3://***@bucket/key"),
        ("https://TOKEN@host/x.wav", "https://***@host/x.wav"),
        ("sftp://me:pw@host:22/x", "sftp://***@host:22/x"),
        ("s3://***@bucket/key", "s3://***@bucket/key"),
        (
            "https://h/x.wav?X-Amz-Date=1&X-Amz-Credential=A%2F1&X-Amz-Signature=f00",
            "https://h/x.wav?X-Amz-Date=1&X-Amz-Credential=***&X-Amz-Signature=***",
        ),
        ("https://a.blob/x?sv=1&sig=abc%3D&se=2", "https://a.blob/x?sv=1&sig=***&se=2"),
        ("https://h/x?AWSAccessKeyId=AK&Signature=x", "https://h/x?AWSAccessKeyId=***&Signature=***"),
        ("s3://b/x?secret_key=a&access_key=b&token=c", "s3://b/x?secret_key=***&access_key=***&token=***"),
        ("Cannot parse URI: 's3://k:s@b/x y' there", "Cannot parse URI: 's3://***@b/x y' there"),
        ("s3://k:s@b/x and http://u:p@h/y", "s3://***@b/x and http://***@h/y"),
    ],
)  # fmt: skip
def test_secrets_of_an_address_are_hidden(address: str, shown: str) -> None:
    assert redacted(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "/data/a b/key=1/x.wav",
        "s3://bucket/token=abc/part-0.parquet",  # a partition's folder
        "s3://bucket/take@2.wav",
        "http://127.0.0.1:9000/bucket/a@b",
        "abfs://container@account.dfs.core.windows.net/x",
        "s3://bucket/x?region=eu&endpoint_override=localhost:9000",
        "12 of 30 units (5 rows) are done",
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(address: str) -> None:
    assert redacted(address) == address


@given(
    user=st.text("abcXYZ012%", min_size=1),
    secret=st.text("abcXYZ012/+=:%", min_size=8),
    key=st.text("abc/_-. ", max_size=20),
)
def test_no_secret_of_user_info_is_ever_shown(user: str, secret: str, key: str) -> None:
    shown = redacted(f"the store s3://{user}:x{secret}@bucket/{key} does not answer")
    assert shown == f"the store s3://***@bucket/{key} does not answer"


@pytest.mark.parametrize(
    "name", ["hf_token", "token", "api-key", "apikey", "secret", "db.password", "AUTH_TOKEN"]
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["tokenizer", "token_list", "eos_token", "token_num_relax", "keyword", "author", "key_file"],
)
def test_names_of_a_models_own_settings_are_none(name: str) -> None:
    assert not is_secret_name(name)


def test_settings_are_shown_without_secrets_at_any_depth() -> None:
    settings = {
        "hub": "hf",
        "funasr_options": {"hf_token": "hf_abc", "seed": 1, "more": [{"password": "x", "n": None}]},
        "baseline": "s3://k:s@b/x",
        "secret": "",
    }
    assert redacted_settings(settings) == {
        "hub": "hf",
        "funasr_options": {"hf_token": "***", "seed": 1, "more": [{"password": "***", "n": None}]},
        "baseline": "s3://***@b/x",
        "secret": "",
    }
