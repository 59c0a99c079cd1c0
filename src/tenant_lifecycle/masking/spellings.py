"""How a value may be written in a copy: what the gate tries its own search with before it says that nothing leaked."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote


def spellings(value: str) -> Iterator[tuple[str, str]]:
    """Name of the spelling, and the value in the middle of a text."""
    data = value.encode(errors="surrogatepass")
    yield "plain", f"see {value} there"
    yield "upper case", f"see {value.upper()} there"
    yield "JSON", json.dumps({"note": f"see {value}."})
    yield "URL", f"https://host-1.example/?q={quote(value, safe='')}"
    yield "base64", f"payload={base64.b64encode(data).decode()};"
    yield "base64 in a text", base64.b64encode(b"so " + data + b" said it").decode()
    yield "hexadecimal", f"0x{data.hex()}"
    yield "other separators", f"a/{'_'.join(value.split())}_2.pdf"


def wilson(found: int, tried: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    if not tried:
        return 0.0, 1.0
    z, share = 1.959963984540054, found / tried
    middle = share + z * z / (2 * tried)
    width = z * ((share * (1 - share) + z * z / (4 * tried)) / tried) ** 0.5
    scale = 1 + z * z / tried
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)
