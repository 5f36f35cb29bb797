"""The names inside a run's folder, `output` in its recipe."""

from __future__ import annotations

CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"
VALIDATIONS = "validation.jsonl"
TASKS = "tasks"
TASK_RESULTS = "tasks.jsonl"
SPIKES = "spikes.jsonl"
SAVES = "saves.jsonl"
LOSS_PICTURE = "loss.png"
TENSORBOARD = "tensorboard"
HEARTBEATS = "heartbeats"
LOGS = "logs"
EVALUATION = "evaluation"
ACCOUNTS = "accounts"
MEETING = ".meeting.json"
