"""`lineside_convert.signing`; tests that import it from here are skipped where it can't be used."""

from __future__ import annotations

import pytest

pytest.importorskip("OpenSSL", reason="model-signing needs pyOpenSSL (extra convert)")
pytest.importorskip("model_signing", reason="signing needs the extra convert")
signing = pytest.importorskip("lineside_convert.signing", reason="signing needs the extra convert")
