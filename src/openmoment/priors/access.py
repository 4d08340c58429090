"""How providers reach what they need: addresses, patience, devices."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Access:
    """How providers reach what they need."""

    base_url: str | None = None
    """Of an OpenAI-compatible server; None: OPENAI_BASE_URL, else OpenAI's own."""
    timeout_s: float = 120.0
    """For one answer."""
    max_retries: int = 3
    """Of an answer that did not come, or that the server asks to wait for."""
    device: str = "cpu"
    """Where local models run."""
