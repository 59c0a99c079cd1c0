"""An operation's history for people: one line per event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Sentences for the kinds of events; a kind that is not here shows its name and its data.
_SENTENCES: Mapping[str, str] = {
    "created": "created",
    "lease": "a driver takes over",
    "step_started": "{step}: starts",
    "step_done": "{step}: done",
    "step_failed": "{step}: failed",
    "pause_requested": "a pause is asked for",
    "resumed": "goes on",
    "abort_requested": "an abort is asked for",
    "abort_started": "taking back what was done",
    "abort_refused": "the abort was refused: {why}",
    "retry_requested": "tried again at once",
    "signal": "told to {signal}",
    "flip-abandoned": "flip attempt {attempt} given up: {why}",
    "rolled-forward": "a flip cut off after its commit point was finished; the writer is {writer}",
    "provisioned": "provisioned by {by}",
    "shifted": "{percent} % of the requests to {environment}",
    "gate-failed": "a gate failed at {percent} %: {why}",
    "gates-unclear": "nobody can tell for too long: {why}",
    "promote-dropped": "a promote was dropped: {why}",
    "requests-back": "every request is back at {environment}, {detect_to_traffic_back_ms} ms after the deciding look",
    "postmortem": "post-mortem {number} written: {markdown}",
    "attention": "stopped; a person has to look",
}
#: Data that is in the sentence, or of no interest to people.
_QUIET = frozenset({"stalls", "kind", "json"})


def event_line(event: Mapping[str, Any]) -> str:
    """``14:02:11  copy: done`` with the data that the sentence does not say, and who did it."""
    detail = {
        key: value for key, value in event["detail"].items() if key not in _QUIET and value not in ("", None)
    }
    pattern = _SENTENCES.get(event["kind"], event["kind"].replace("_", " "))
    said = {key for key in detail if f"{{{key}}}" in pattern}
    text = pattern
    for key in said:
        text = text.replace(f"{{{key}}}", str(detail[key]))
    rest = " ".join(f"{key}={value}" for key, value in detail.items() if key not in said)
    by = f" by {event['actor']}" if event["actor"] not in ("", "engine") else ""
    return f"{event['at'][11:19]}  {text}{by}" + (f"  ({rest})" if rest else "")
